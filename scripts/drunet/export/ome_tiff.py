"""Probability and mask of a slide as pyramidal OME-TIFF, for Bio-Formats, QuPath, Fiji and napari."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import tifffile

from drunet.export.pyramid import UM_PER_CM
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid, square_to_slide
from drunet.outcome import require_result

_SIDE = 256
# A level: its (h, w), and its pixels, uint8 (h, w), or its tiles row by row, uint8 (_SIDE, _SIDE).
Level = tuple[tuple[int, ...], np.ndarray | Iterator[np.ndarray]]


def write_mask(path: AnyPath, mask: AnyPath, grid: Grid, name: str) -> None:
    """Write what `drunet.export.mask_image` wrote, tile by tile: 255 is tumour. `name` is what viewers show."""
    require_result(mask)
    with tifffile.TiffFile(mask) as tiff:
        levels: list[Level] = [(page.shape, _tiles(page)) for page in tiff.pages]
        _write(path, levels, grid, name, "tumour")


def write_probability(path: AnyPath, probability: np.ndarray, grid: Grid, name: str) -> None:
    """Write a tumour probability over the whole slide, float32 (h, w), stretched to a square or not.

    It has the raster on which `drunet.postprocess.segment_slide` thresholds it; 0..255 is 0..1, and NaN 0.
    """
    height, width = square_to_slide(max(probability.shape), grid)
    straight = cv2.resize(np.nan_to_num(probability, nan=0.0), (width, height), interpolation=cv2.INTER_LINEAR)
    levels: list[Level] = []
    level = np.rint(straight.clip(0, 1) * 255).astype(np.uint8)
    while not levels or max(levels[-1][0]) > 2 * _SIDE:
        levels.append((level.shape, level))
        level = cv2.resize(level, [max(1, n // 2) for n in level.shape[::-1]], interpolation=cv2.INTER_AREA)
    _write(path, levels, grid, name, "tumour probability, 255 is 1")


def _tiles(page: Any) -> Iterator[np.ndarray]:
    return (tile.reshape(_SIDE, _SIDE) for tile, *_ in page.segments(maxworkers=1))


def _write(path: AnyPath, levels: Sequence[Level], grid: Grid, name: str, channel: str) -> None:
    # tifffile's own holds the time and the address of the network card.
    facts: dict[str, Any] = {"UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"drunet/{name}/{channel}"))}
    facts |= {"axes": "YX", "Name": name, "Channel": {"Name": channel}}
    with whole_file(path) as temporary, tifffile.TiffWriter(temporary, ome=True) as tiff:
        for index, ((height, width), pixels) in enumerate(levels):
            across, down = grid.width * grid.mpp / width, grid.height * grid.mpp / height
            tiff.write(
                pixels,
                shape=(height, width),
                dtype=np.uint8,
                tile=(_SIDE, _SIDE),
                compression="deflate",
                photometric="minisblack",
                subifds=None if index else len(levels) - 1,
                subfiletype=int(index > 0),
                resolution=(UM_PER_CM / across, UM_PER_CM / down),
                resolutionunit="CENTIMETER",
                metadata=None if index else {**facts, "PhysicalSizeX": across, "PhysicalSizeY": down},
            )
