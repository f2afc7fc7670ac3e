"""Run many tiny slides, then a report of ten thousand, and watch memory, open files and time: `make soak`.

Nothing of it may grow but what has to: the memory of Snakemake itself by what it plans for a slide, time in proportion
to the slides, the page's tables by a row each. Slides share jobs' imports (`started_snakemake`), so that seconds a
slide are fewer than a user's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tiny_cohort import copy_repository

from soak.rows import report_of
from soak.run import run_slides


def main() -> int:
    """Print what was seen of each run and each report; 1 if a page does not open or files stay open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", nargs="*", type=int, default=[100, 200], help="of each run (default: 100 200)")
    parser.add_argument("--rows", nargs="*", type=int, default=[1000, 10_000], help="of each report (1000 10000)")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        folder = Path(name).resolve()
        repository = copy_repository(folder / "drunet")
        made = None
        print("slides  seconds  a slide  first half  second half  MB early, late, most  open files likewise")
        for count in options.slides or [3]:
            seen = run_slides(folder / f"run{count}", repository, count)
            print(seen, flush=True)
            wrong += not seen.sound
            made = seen.project
        print("rows    outcomes s  report s  memory MB  page MB")
        for rows in options.rows:
            told = report_of(made, folder / f"rows{rows}", rows)
            print(told, flush=True)
            wrong += not told.opens
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
