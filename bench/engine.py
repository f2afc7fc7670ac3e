"""How close the streaming engine comes to the same session fed from memory.

    python bench/engine.py SLIDE MODEL.onnx [--mpp 1.0] [--step 224] [--tiles 256] [--batch 16] [--repeats 3]

Both arms classify the same tiles with one ONNX Runtime session, in turn, in one process. "Memory" holds every tile
decoded before its clock starts; "slide" is `drunet.inference.classify`, reading and decoding included. The ratio of the
two is what a machine's speed does not change. Also printed: the peak memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from drunet.grid import Grid
from drunet.inference import EngineOptions, classify, open_session
from drunet.inspection import find_tissue
from drunet.settings.merging import read_yaml
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, tile_table

TISSUE = TissueSettings.of(read_yaml(Path(__file__).parents[1] / "config.yaml")["tissue"], "tissue")


def main() -> None:
    """Run both arms and print tiles/s and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--slide-mpp", type=float, default=None)
    parser.add_argument("--mpp", type=float, default=1.0)
    parser.add_argument("--step", type=int, default=None)
    parser.add_argument("--tiles", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--provider", default="cpu")
    arguments = parser.parse_args()

    options = EngineOptions(arguments.provider, batch_size=arguments.batch, readers=arguments.readers)
    session = open_session(arguments.model, options, where="bench")
    size = int(session.get_inputs()[0].shape[1])
    with Slide(arguments.slide, "bench", arguments.slide_mpp) as slide:
        grid = Grid(
            slide.properties.width,
            slide.properties.height,
            slide.properties.mpp,
            arguments.mpp,
            size,
            arguments.step or size,
        )
        table = tile_table(grid, find_tissue(slide, TISSUE)[0], None, TileRules()).head(arguments.tiles)
        x, y = table["x"].to_numpy(), table["y"].to_numpy()
        held = [slide.read(int(a), int(b), (size, size), arguments.mpp) for a, b in zip(x, y, strict=True)]

    def from_memory() -> float:
        name = session.get_inputs()[0].name
        begin = time.perf_counter()
        for i in range(0, len(held), arguments.batch):
            session.run(None, {name: np.stack(held[i : i + arguments.batch]).astype(np.float32)})
        return time.perf_counter() - begin

    def from_slide() -> float:
        return classify(
            session,
            lambda: Slide(arguments.slide, "bench", arguments.slide_mpp),
            x,
            y,
            size=size,
            mpp=arguments.mpp,
            options=options,
            where="bench",
        ).seconds

    session.run(None, {session.get_inputs()[0].name: np.zeros((arguments.batch, size, size, 3), np.float32)})
    ratios = []
    for repeat in range(arguments.repeats):
        # The order changes, so that a machine which slows down does not favour one arm.
        arms = (from_memory, from_slide) if repeat % 2 else (from_slide, from_memory)
        seconds = {arm.__name__: arm() for arm in arms}
        ratios.append(seconds["from_memory"] / seconds["from_slide"])
        rates = {name: len(held) / s for name, s in seconds.items()}
        memory, slide_rate = rates["from_memory"], rates["from_slide"]
        print(f"{len(held)} tiles: memory {memory:.1f}, slide {slide_rate:.1f} tiles/s, ratio {ratios[-1]:.3f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"median ratio {statistics.median(ratios):.3f}; peak memory {peak:.0f} MiB, the held tiles included")


if __name__ == "__main__":
    main()
