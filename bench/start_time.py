"""How long reading the rules, and the start of a job, take: two checkouts, in turn, in one run.

    python -m bench.start_time OLD NEW [--rounds 5]

A job reads the rules as `--list-rules` does, then starts its script, whose imports are timed here. User and system time
of the processes, medians; the ratio is NEW over OLD.
"""

from __future__ import annotations

import argparse
import ast
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

RULES = ("inspect_slide", "extract_tiles", "postprocess", "measure")


def imports_of(script: Path) -> str:
    """The import statements at the head of a script."""
    found = [
        n for n in ast.parse(script.read_text(encoding="utf-8")).body if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    return "\n".join(map(ast.unparse, found))


def seconds(command: list[str], root: Path) -> float:
    """Processor time of a command and of those it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": f"{root / 'scripts'}:{root / 'workflow'}", "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a row per start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("roots", nargs=2, type=Path, metavar=("OLD", "NEW"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {"--list-rules": [[sys.executable, "-m", "snakemake", "--list-rules"]] * 2}
    for rule in RULES:
        commands[rule] = [[sys.executable, "-c", imports_of(root / f"scripts/{rule}.py")] for root in options.roots]
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in commands}
    for _ in range(options.rounds):
        for name, pair in commands.items():
            for times, command, root in zip(taken[name], pair, options.roots, strict=True):
                times.append(seconds(command, root))
    print(f"{'start':20}{'old, s':>9}{'new, s':>9}{'ratio':>8}")
    for name, (old, new) in taken.items():
        before, after = statistics.median(old), statistics.median(new)
        print(f"{name:20}{before:>9.2f}{after:>9.2f}{after / before:>8.2f}")


if __name__ == "__main__":
    main()
