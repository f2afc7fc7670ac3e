"""Cut runs off at 25 moments, take each up again and compare its results with an undisturbed run's: `make kills`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kills.cutting import run, survive
from kills.learning_cohort import make_learning_project, make_repository
from kills.moments import MOMENTS


def main() -> int:
    """Print a line for each moment; 1 if one did not end in the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="moments to try, from 1; all if none is named")
    parser.add_argument("--spoil", action="store_true", help="change a byte of the undisturbed run: all must differ")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="moments at a time (default: 2)")
    options = parser.parse_args()
    chosen = options.numbers or range(1, len(MOMENTS) + 1)
    # A shell that starts this in the background has it ignore Ctrl-C, and the runs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        folder = Path(name).resolve()
        begun = time.perf_counter()
        undisturbed = make_learning_project(folder / "undisturbed", make_repository(folder / "drunet"))
        done = run(undisturbed)
        assert done.status == 0, done.output
        print(f"{0:3} {time.perf_counter() - begun:5.0f} s  undisturbed run", flush=True)
        if options.spoil:
            mask = undisturbed.results / "runs/learnt/learnt/segmentation.tif"
            mask.write_bytes(mask.read_bytes()[:-1] + b"\x01")

        def same_bytes(number: int) -> bool:
            started, moment = time.perf_counter(), MOMENTS[number - 1]
            wrong, tries = survive(moment, undisturbed, folder / f"moment{number}")
            shutil.rmtree(folder / f"moment{number}", ignore_errors=True)
            said = "; ".join(wrong) or "the same bytes"
            again = f" (try {tries})" if tries > 1 else ""
            print(f"{number:3} {time.perf_counter() - started:5.0f} s  {moment}{again}: {said}", flush=True)
            return not wrong

        with ThreadPoolExecutor(options.at_once) as pool:
            same = sum(pool.map(same_bytes, chosen))
        print(f"{time.perf_counter() - begun:.0f} s\n{same} of {len(chosen)} the same bytes")
    return int(same < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
