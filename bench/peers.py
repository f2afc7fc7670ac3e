"""Tiles read per second of processor time by other libraries of the field, beside this one's, from the same slide.

    python -m bench.peers SLIDE [--mpp MPP] [--size 224] [--environments FOLDER]

Each peer is installed into an environment of its own, some 7 GB with what it asks for, and read from as its
documentation shows: tissue tiles at 1 µm/px, in the slide's order, one thread. With `--environments` they are kept for
the next time. TIAToolbox is given our places; LazySlide finds tissue and cuts tiles itself, and reads those.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.machine import flags
from bench.reading import rate, tissue_places

from drunet.slide import Slide

# What is installed, and what its interpreter runs: SLIDE, MPP, SIZE and a file of places are its arguments.
PEERS = {
    "TIAToolbox 2.1.3": (
        "tiatoolbox==2.1.3",
        """
from tiatoolbox.wsicore.wsireader import OpenSlideWSIReader
def read(slide, mpp, size, places):
    reader = OpenSlideWSIReader(slide)
    for place in places:
        # By the factor: where the file says its resolution in TIFF's tags alone, this reader does not know it.
        reader.read_rect(place, (size, size), resolution=mpp, units="baseline")
    return len(places)
""",
    ),
    "LazySlide 0.13.0": (
        "lazyslide==0.13.0",
        """
import lazyslide
from wsidata import open_wsi
def read(slide, mpp, size, places):
    opened = open_wsi(slide)
    opened.set_mpp(mpp)
    lazyslide.pp.find_tissues(opened)
    lazyslide.pp.tile_tissues(opened, size, mpp=1.0)
    return sum(1 for tile in opened.iter.tile_images("tiles") if tile.image is not None)
""",
    ),
}
TIMED = """
import json, sys, time
slide, mpp, size, places = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), json.load(open(sys.argv[4]))
begun = time.process_time()
count = read(slide, mpp, size, places)
print("RESULT", count, count / (time.process_time() - begun))
"""


def installed(folder: Path, package: str) -> Path:
    """The interpreter of an environment that holds the package, made if it is not there."""
    python = folder / package.replace("==", "-") / "bin/python"
    if not (done := python.parents[1] / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True)
        done.touch()
    return python


def main() -> None:
    """Print a row per library."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpp", type=float, help="level-0 µm/px, where the file does not say it")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--environments", type=Path, help="keep the peers' environments here")
    asked = parser.parse_args()
    places = tissue_places(asked.slide, asked.mpp, asked.size)
    with Slide(asked.slide, "slide", asked.mpp) as slide:
        mpp = slide.properties.mpp
    print(flags())
    print(f"{'':20}{'tiles':>7}{'tiles/s':>9}{'ratio':>7}")
    own = rate(asked.slide, asked, places, None)
    print(f"{'this library':20}{len(places):>7}{own:>9.0f}{1:>7.2f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name) / "places.json"
        listed.write_text(json.dumps(places), encoding="utf-8")
        for peer, (package, script) in PEERS.items():
            python = installed(asked.environments or Path(name), package)
            given = [str(asked.slide.resolve()), str(mpp), str(asked.size), str(listed)]
            # Neither our modules nor more threads than one.
            alone = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
            command = [str(python), "-c", script + TIMED, *given]
            done = subprocess.run(command, cwd=name, env=alone, capture_output=True, text=True, check=False)
            told = [line.split() for line in done.stdout.splitlines() if line.startswith("RESULT")]
            if not told:
                print(f"{peer:20} failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}", flush=True)
                continue
            count, speed = int(told[-1][1]), float(told[-1][2])
            print(f"{peer:20}{count:>7}{speed:>9.0f}{speed / own:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
