"""Tiles read per second of processor time, in tissue order, from a cold file: directly, and as OpenSlide gives them.

python -m bench.reading SLIDE... [--mpp MPP] [--size 224] [--tiles 2000] [--rounds 5]

Both take turns; printed are medians over the rounds, the lowest and the highest ratio of a round, and the ratio once
the slide is open and its first tile read: a slide of a hundred tiles spends a third of its time on opening.
"""

from __future__ import annotations

import argparse
import os
import statistics
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
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(
        f"{'slide':28}{'tiles':>7}{'OpenSlide/s':>13}{'direct/s':>10}{'ratio':>7}{'lowest':>8}{'highest':>9}{'opened':>8}"
    )
    for path in asked.slides:
        places = tissue_places(path, asked.mpp, asked.size)[: asked.tiles]

        def before(slide: Slide) -> Any:
            # Every place as it is asked for, between the pixels of a level too.
            return slide._by_openslide

        rounds = [(rate(path, asked, places, before), rate(path, asked, places, None)) for _ in range(asked.rounds)]
        slow, fast = (statistics.median(whole for whole, _ in rates) for rates in zip(*rounds, strict=True))
        whole, opened = zip(*((f[0] / s[0], f[1] / s[1]) for s, f in rounds), strict=True)
        row = f"{path.name:28}{len(places):>7}{slow:>13.0f}{fast:>10.0f}{statistics.median(whole):>7.1f}"
        print(f"{row}{min(whole):>8.1f}{max(whole):>9.1f}{statistics.median(opened):>8.1f}")


def tissue_places(path: Path, mpp: float | None, size: int) -> list[tuple[int, int]]:
    """Corners of the tissue tiles of a slide, level-0 px."""
    with Slide(path, "slide", mpp) as slide:
        mask, _ = find_tissue(slide, TissueSettings.of(_TISSUE, "tissue"))
        own = slide.properties
        grid = Grid(own.width, own.height, mpp=own.mpp, tile_mpp=1.0, size=size, step=size)
    table = tile_table(grid, mask, None, TileRules(min_tissue=0.25, min_tumour=0.05, max_non_tumour=0, min_annotated=0))
    return list(zip(table["x"].tolist(), table["y"].tolist(), strict=True))


def rate(
    path: Path, asked: Any, places: list[tuple[int, int]], reader: Callable[[Slide], Any] | None
) -> tuple[float, float]:
    """Tiles per second of processor time, opening included, and of those after the first tile."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    marks = [time.process_time()]
    with Slide(path, "slide", asked.mpp) as slide:
        if reader is not None:
            slide.region = reader(slide)  # type: ignore[method-assign]
        for x, y in places:
            slide.read(x, y, (asked.size, asked.size), 1.0)
            marks.append(time.process_time())
    end = time.process_time()
    return len(places) / max(end - marks[0], 1e-9), (len(places) - 1) / max(end - marks[1], 1e-9)


if __name__ == "__main__":
    main()
