"""Slides that lost tiles (kinds `missing` and `border`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
from pydicom.encaps import encapsulate, generate_frames
from torture import tiffs
from torture.corpus import KEPT, Member, Rng, members, on_slide
from torture.intact import TILE
from torture.rules import Case

# By share across and down, row and column. Tissue lies over shares 0.08-0.86 across and 0.06-0.85 down, the tumour
# over 0.31-0.6 across and 0.27-0.67 down.
LOST: dict[str, tiffs.Chosen] = {
    "one": lambda u, v, r, c: abs(u - 0.5) < 0.08 and abs(v - 0.5) < 0.11,
    "in-tumour": lambda u, v, r, c: 0.34 < u < 0.52 and 0.3 < v < 0.6,
    "two-apart": lambda u, v, r, c: (r, c) in ((2, 3), (1, 2)),
    "edge-of-tissue": lambda u, v, r, c: r == 1 and u < 0.3,
    "row": lambda u, v, r, c: 0.4 < v < 0.6,
    "column": lambda u, v, r, c: 0.4 < u < 0.52,
    "first-half": lambda u, v, r, c: v < 0.5,
    "last-half": lambda u, v, r, c: v > 0.5,
    "every-fourth": lambda u, v, r, c: (r * 7 + c) % 4 == 0,
    "every-other": lambda u, v, r, c: (r + c) % 2 == 0,
    "all-but-one": lambda u, v, r, c: (r, c) != (2, 2),
    "all": lambda u, v, r, c: True,
    "third-right": lambda u, v, r, c: u > 0.66,
}
BORDER: dict[str, tiffs.Chosen] = {
    "first-row": lambda u, v, r, c: r == 0,
    "first-column": lambda u, v, r, c: c == 0,
    "last-row": lambda u, v, r, c: v > 0.85,
    "last-column": lambda u, v, r, c: u > 0.9,
    "two-rows": lambda u, v, r, c: r <= 1,
    "two-columns": lambda u, v, r, c: c <= 1,
    "row-and-column": lambda u, v, r, c: r == 0 or c == 0,
    "all-round": lambda u, v, r, c: r == 0 or c == 0 or v > 0.8 or u > 0.9,
    "corner": lambda u, v, r, c: r <= 1 and c <= 1,
}
TIFFS = ("generic", "svs", "ome", "single")


def _random(path: Path, rng: Rng, share: float = 0.1) -> None:
    page = tiffs.levels_of(path)[0]
    count = len(page.dataoffsets)
    gone = set(rng.permutation(count)[: max(1, round(share * count))].tolist())
    across = -(-page.imagewidth // page.tilewidth)
    tiffs.forget(path, lambda u, v, r, c: r * across + c in gone)


def drop_frames(case: Case, chosen: tiffs.Chosen, files: Callable[[int], bool] = lambda level: level == 0) -> None:
    """Leave frames out of levels of a sparse DICOM series."""
    for path in sorted(case.slide.parent.glob("*.dcm"), key=lambda p: len(p.name)):
        level = 0 if path == case.slide else int(path.stem[-1])
        if not files(level):
            continue
        data = pydicom.dcmread(path)
        size = data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows
        frames = list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))
        kept: list[tuple[bytes, Any]] = []
        for frame, place in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
            at = place.PlanePositionSlideSequence[0]
            x, y = at.ColumnPositionInTotalImagePixelMatrix - 1, at.RowPositionInTotalImagePixelMatrix - 1
            if not chosen((x + TILE / 2) / size[0], (y + TILE / 2) / size[1], y // TILE, x // TILE):
                kept.append((frame, place))
        data.NumberOfFrames = len(kept)
        data.PixelData = encapsulate([frame for frame, _ in kept])
        data.PerFrameFunctionalGroupsSequence = [place for _, place in kept]
        data.save_as(path, enforce_file_format=True)


def _dropped(chosen: tiffs.Chosen, **options: Any) -> Callable[[Any, Case, Rng], None]:
    return lambda _, case, rng: drop_frames(case, chosen, **options)


def lost_tiles() -> Iterator[Member]:
    yield from members("missing", TIFFS, {k: on_slide(tiffs.forget, v) for k, v in LOST.items()})
    yield from members("missing", TIFFS, {f"random-{n}": on_slide(_random, share=n / 100) for n in (3, 10, 25, 60)})
    pyramids = ("generic", "svs", "big")
    offsets = {
        f"{k}-offsets": on_slide(tiffs.forget, LOST[k], tag="TileOffsets") for k in ("one", "row", "every-fourth")
    }
    yield from members("missing", pyramids, offsets)
    of_all = {
        f"{k}-of-all-levels": on_slide(tiffs.forget_in_all, LOST[k]) for k in ("one", "row", "in-tumour", "first-half")
    }
    yield from members("missing", pyramids, of_all)
    coarse = {
        f"{k}-of-level-{level}": on_slide(tiffs.forget, LOST[k], level=level)
        for k in ("all", "first-half", "one", "third-right")
        for level in (1, 2)
        if (k, level) != ("one", 2)
    }
    yield from members("missing", "generic", coarse, allowed=KEPT)
    # Of a file like Aperio's, whose levels shrink by 4, the last has one tile.
    some = {k: v for k, v in coarse.items() if k not in ("first-half-of-level-2", "one-of-level-1")}
    yield from members("missing", "svs", some, allowed=KEPT)
    yield from members("missing", "sparse", {k: _dropped(v) for k, v in LOST.items() if k != "all"})
    held = {f"{k}-of-all-levels": _dropped(LOST[k], files=lambda level: True) for k in ("one", "row", "in-tumour")}
    yield from members("missing", "sparse", held)
    held = {f"{k}-of-coarse-levels": _dropped(LOST[k], files=lambda level: level > 0) for k in ("row", "first-half")}
    yield from members("missing", "sparse", held, allowed=KEPT)


def lost_borders() -> Iterator[Member]:
    yield from members("border", TIFFS, {k: on_slide(tiffs.forget, v) for k, v in BORDER.items()})
    of_all = {f"{k}-of-all-levels": on_slide(tiffs.forget_in_all, v) for k, v in BORDER.items()}
    yield from members("border", ("generic", "svs"), of_all)
    yield from members("border", "sparse", {k: _dropped(v) for k, v in BORDER.items()})
    held = {f"{k}-of-all-levels": _dropped(v, files=lambda level: True) for k, v in BORDER.items() if "round" not in k}
    yield from members("border", "sparse", held)
