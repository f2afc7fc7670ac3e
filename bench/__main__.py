"""Run the benchmarks that need nothing but this checkout, in 20 minutes at most: `make bench`.

    python -m bench [--slide SLIDE] [--minutes 20] [NAME ...]

Each prints a table of ratios, its command above it. Without a slide of your own they read one that is written first;
the network is a tiny one. What is not done when its share of the time is over is stopped, and said so.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import flags
from bench.memory import SMALL, write_slide

ROOT = Path(__file__).parents[1]
# SLIDE and MODEL stand for the files; a benchmark that is not in this checkout is passed over.
COMMANDS = {
    "reading": "SLIDE --tiles 500",
    "engine": "SLIDE MODEL --tiles 256",
    "training_pipeline": "SLIDE --tiles 320 --rounds 3",
    "student": "--repeats 10",
    "multi_lens": "--size 96 --steps 4 --rounds 2",
    "polygons": "--side 60",
    "planning": "--slides 300",
    "memory": "--width 40000 --height 30000",
}
# These need the models or the results of a run, a second checkout, or packages of others.
BY_HAND = ("cascade", "colour_baseline", "peers", "start_time", "viewer")


def run(command: list[str], seconds: float) -> str:
    """Run a benchmark with its children; how it ended, in words."""
    folders = [str(ROOT), *(str(ROOT / name) for name in ("scripts", "workflow"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "TF_CPP_MIN_LOG_LEVEL": "2"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    begun = time.monotonic()
    try:
        status = process.wait(max(seconds, 1.0))
        return f"{time.monotonic() - begun:.0f} s" + (f", exit status {status}" if status else "")
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> None:
    """Run one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)} (default: all)")
    parser.add_argument("--slide", type=Path, help="a slide of your own")
    parser.add_argument("--minutes", type=float, default=20.0)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in COMMANDS]:
        parser.error(f"unknown benchmark: {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    wanted = [n for n in options.names or COMMANDS if Path(__file__).with_name(f"{n}.py").is_file()]
    end, ended = time.monotonic() + 60 * options.minutes, {}
    print(flags(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        slide, model = (options.slide or Path(name) / "slide.tif").absolute(), Path(name) / "model.onnx"
        if not options.slide:
            write_slide(slide, SMALL, SMALL, 0.5)
        import tiny_onnx

        tiny_onnx.colour_model(model, size=224)
        for number, each in enumerate(wanted):
            given = [{"SLIDE": str(slide), "MODEL": str(model)}.get(a, a) for a in shlex.split(COMMANDS[each])]
            print(f"\n== python -m bench.{each} {COMMANDS[each]}", flush=True)
            # What one leaves over, those after it may take.
            share = (end - time.monotonic()) / (len(wanted) - number)
            ended[each] = run([sys.executable, "-m", f"bench.{each}", *given], share)
    print("\n" + "\n".join(f"{each:20}{how}" for each, how in ended.items()))
    print(f"By hand, as they need results, another checkout or other packages: {', '.join(BY_HAND)}.")


if __name__ == "__main__":
    main()
