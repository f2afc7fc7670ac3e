"""QuPath's reading of GeoJSON, repeated with its own two libraries, JTS and Gson, where Java and Debian's jars are."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

JARS = [Path("/usr/share/java", jar) for jar in ("jts-core.jar", "gson.jar")]


def read_as_qupath(*paths: Path) -> list[dict[str, Any]]:
    """What it reads from each file: types of objects, sums of measurements, area; ValueError where it would refuse."""
    if not shutil.which("java") or not all(jar.is_file() for jar in JARS):
        pytest.skip("Java with JTS and Gson is not here (Debian: default-jre-headless libjts-java libgoogle-gson-java)")
    source = Path(__file__).with_name("ReadAsQuPath.java")
    # It compiles the source first, which Java before version 11 cannot.
    command = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, JARS)), str(source)]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
