"""What a benchmark says of the machine that it ran on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

# Processor flags that decide how fast networks and JPEG run.
_TOLD = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "bf16")


def flags() -> str:
    """A line: date, processor, cores that this process may use, and the flags that matter."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = {"model name": platform.processor() or platform.machine(), "flags": ""}
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            name = name.strip().replace("Features", "flags")
            told[name] = value.strip()
    own = told["flags"].split()
    known = [flag for flag in _TOLD if flag in own]
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{date}; {told['model name']}, {cores} cores; {' '.join(known) or 'no flags known'}"
