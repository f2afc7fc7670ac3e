"""Tiles read per second of processor time, in tissue order, from a cold file: directly, and as OpenSlide gives them.

python -m bench.reading SLIDE... [--mpp MPP] [--size 224] [--tiles 2000]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drunet.grid import Grid
from drunet.inspection import find_tissue
from drunet.segment import _TISSUE
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, tile_table


def main() -> None:
    """Print a row per slide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--mpp", type=float, help="level-0 µm/px, where the file does not say it")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--tiles", type=int, default=2000)
    asked = parser.parse_args()
    print(f"{'slide':28}{'tiles':>7}{'OpenSlide/s':>13}{'direct/s':>10}{'ratio':>7}")
    for path in asked.slides:
        places = tissue_places(path, asked.mpp, asked.size)[: asked.tiles]

        def before(slide: Slide) -> Any:
            # Every place as it is asked for, between the pixels of a level too.
            return slide._by_openslide

        slow = rate(path, asked, places, before)
        fast = rate(path, asked, places, None)
        print(f"{path.name:28}{len(places):>7}{slow:>13.0f}{fast:>10.0f}{fast / slow:>7.1f}")


def tissue_places(path: Path, mpp: float | None, size: int) -> list[tuple[int, int]]:
    """Corners of the tissue tiles of a slide, level-0 px."""
    with Slide(path, "slide", mpp) as slide:
        mask, _ = find_tissue(slide, TissueSettings.of(_TISSUE, "tissue"))
        own = slide.properties
        grid = Grid(own.width, own.height, mpp=own.mpp, tile_mpp=1.0, size=size, step=size)
    table = tile_table(grid, mask, None, TileRules(min_tissue=0.25, min_tumour=0.05, max_non_tumour=0, min_annotated=0))
    return list(zip(table["x"].tolist(), table["y"].tolist(), strict=True))


def rate(path: Path, asked: Any, places: list[tuple[int, int]], reader: Callable[[Slide], Any] | None) -> float:
    """Tiles per second of processor time, opening included."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.process_time()
    with Slide(path, "slide", asked.mpp) as slide:
        if reader is not None:
            slide.region = reader(slide)  # type: ignore[method-assign]
        for x, y in places:
            slide.read(x, y, (asked.size, asked.size), 1.0)
    return len(places) / max(time.process_time() - start, 1e-9)


if __name__ == "__main__":
    main()
