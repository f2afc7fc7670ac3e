"""What a TIFF says of itself beside its pixels: resolution, and tiles that it lacks."""

import logging
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tifffile

T = TypeVar("T")
# It logs what it cannot read, word by word: an ImageDescription may hold a patient's name.
logging.getLogger("tifffile").disabled = True

# What tifffile raises at tags of a wrong type, count, place or value.
BROKEN = (
    tifffile.TiffFileError, struct.error, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    MemoryError,
)  # fmt: skip
# Compression tags of Deflate.
_DEFLATE = (8, 32946)
# Resolutions of two levels that differ by less than this (a factor) agree.
_AGREE = 1.1
# µm/px of a level; more is a default of image editors, as 72 dpi.
_COARSEST_LEVEL = 300.0


def tiff_resolution(path: Path, coarsest: float) -> list[float] | None:
    """µm/px of the first TIFF page across and down, if its tags state a real unit and are finer than `coarsest`."""
    return _seen(path, lambda tiff: _stated(tiff.pages.first, coarsest))


def stated_by_levels(path: Path) -> list[tuple[int, list[float] | None]]:
    """Width in px, and µm/px across and down, of the levels of a TIFF, the finest first; None where one states none."""
    return _seen(path, lambda tiff: [(p.imagewidth, _stated(p, _COARSEST_LEVEL)) for p in _tiled(tiff)]) or []


def disagreeing(levels: Sequence[tuple[int, list[float] | None]]) -> float | None:
    """µm/px of level 0 (mean of both axes) that the coarser levels agree on, against its own; None if they don't.

    `levels` are width and µm/px, as `stated_by_levels` gives them. Writers give each level its own resolution, or all
    of them that of level 0.
    """
    if not levels or levels[0][1] is None:
        return None
    known = [(float(np.mean(both)), levels[0][0] / width) for width, both in levels if both is not None and width]
    own, others = known[0][0], [mpp / factor for mpp, factor in known[1:] if factor > 1]
    if not own or not others or max(others) > _AGREE * min(others):
        return None
    copied = all(1 / _AGREE < mpp / own < _AGREE for mpp, _ in known[1:])
    implied = float(np.mean(others))
    return None if copied or 1 / _AGREE < implied / own < _AGREE else implied


def missing_tiles(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Tiles of a level, by its size (width, height), without bytes in a TIFF: bool (rows, columns), and their (h, w)
    px.

    None if the file has no such level, or is no TIFF. OpenSlide gives such tiles as transparent, without an error.
    """

    def of_size(tiff: tifffile.TiffFile) -> tuple[np.ndarray, tuple[int, int]] | None:
        for page in _tiled(tiff):
            if (page.imagewidth, page.imagelength) == size:
                shape = -(-size[1] // page.tilelength), -(-size[0] // page.tilewidth)
                counts = np.asarray(page.databytecounts)
                side = page.tilelength, page.tilewidth
                return (counts.reshape(shape) == 0, side) if counts.size == np.prod(shape) else None
        return None

    return _seen(path, of_size)


def spoilt_tiles(path: Path, size: tuple[int, int], wanted: np.ndarray) -> list[int]:
    """Which of the `wanted` tiles (row-major indices) of the level of a size do not match their check sums.

    Only Deflate has one, which libtiff does not look at: damaged tiles come as other pixels, without an error.
    """

    def of_size(tiff: tifffile.TiffFile) -> list[int]:
        page = next(p for p in _tiled(tiff) if (p.imagewidth, p.imagelength) == size)
        if page.compression not in _DEFLATE:
            return []
        held = page.tilelength * page.tilewidth * page.samplesperpixel * max(1, page.bitspersample // 8)
        return [tile for tile in wanted.tolist() if not _matches(tiff.filehandle, page, tile, held)]

    return _seen(path, of_size) or []


def _matches(file: Any, page: tifffile.TiffPage, tile: int, held: int) -> bool:
    if not page.databytecounts[tile]:
        return True  # missing, and counted as such
    file.seek(page.dataoffsets[tile])
    stream = zlib.decompressobj()
    try:
        # No further than the tile's pixels and the sum behind them: it may be a bomb.
        stream.decompress(file.read(page.databytecounts[tile]), held + 1)
    except zlib.error:
        return False
    return stream.eof


def _seen(path: Path, look: Callable[[tifffile.TiffFile], T]) -> T | None:
    """What there is to see in a TIFF; None if the file is none, or its tags are broken: they then state nothing."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return look(tiff)
    except BROKEN:
        return None


def _tiled(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    return [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]


def _stated(page: Any, coarsest: float) -> list[float] | None:
    tags = page.tags
    micrometres = {2: 25_400.0, 3: 10_000.0}.get(int(tags["ResolutionUnit"].value))
    per_unit = [_number(tags[name].value) for name in ("XResolution", "YResolution")]
    if micrometres is None or not all(np.isfinite(v) and v > 0 for v in per_unit):
        return None
    # 72 dpi and its like are defaults of image editors, not measurements: 350 µm/px is no microscope.
    both = [micrometres / v for v in per_unit]
    return both if sum(both) / 2 <= coarsest else None


def _number(value: Any) -> float:
    """A resolution in whatever type its writer chose; NaN if it is no number."""
    if isinstance(value, tuple) and len(value) == 2:
        return value[0] / value[1] if value[1] else float("nan")
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return float(value) if isinstance(value, int | float) else float("nan")
