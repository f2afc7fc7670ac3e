"""Write an array as a pyramidal, tiled TIFF that OpenSlide reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.export.pyramid import UM_PER_CM, Level, write_levels

JPEG_QUALITY = 90
SMALLEST_LEVEL_PX = 256


def count_levels(height: int, width: int) -> int:
    """Levels of a pyramid by halves whose last one has no side under 256 px (at least one level)."""
    levels = 1
    while min(height, width) // 2**levels >= SMALLEST_LEVEL_PX:
        levels += 1
    return levels


def aperio_description(width: int, height: int, mpp: float, objective: int, tile: int = 256) -> str:
    """The `ImageDescription` by which OpenSlide knows an Aperio file, its objective power and its µm/px."""
    return (
        f"Aperio Image Library v12.0.15\r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) "
        f"JPEG/RGB Q={JPEG_QUALITY}|AppMag = {objective}|MPP = {mpp:.4f}"
    )


def write_pyramid(
    path: str | os.PathLike[str],
    image: NDArray[np.uint8],
    mpp: float | None,
    description: str | None = None,
    levels: int | None = None,
    tile: int = 256,
) -> None:
    """Write `image` as a tiled JPEG TIFF with levels halved by area.

    Parameters
    ----------
    path : path
        The file, conventionally `.tif`.
    image : uint8 (h, w, 3)
        RGB, the finest level.
    mpp : float or None
        µm/px, written as resolution in cm; None writes no resolution, as some converters do.
    description : str, optional
        `ImageDescription` of every level; one of the Aperio form makes OpenSlide report vendor, objective and µm/px.
    levels : int, optional
        Number of levels; by default they halve until a side would fall under 256 px.
    tile : int
        Side of a TIFF tile in px, a multiple of 16.

    Raises
    ------
    ValueError
        The image is not uint8 RGB, µm/px is not positive, or a level would be empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (h, w, 3), got {image.dtype} {image.shape}")
    if mpp is not None and not mpp > 0:
        raise ValueError(f"mpp must be positive, got {mpp}")
    count = count_levels(*image.shape[:2]) if levels is None else levels
    if count < 1 or min(image.shape[:2]) // 2 ** (count - 1) < 1:
        raise ValueError(f"{count} levels do not fit an image of {image.shape[:2]}")
    page = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": JPEG_QUALITY}, "software": False}
    write_levels(path, _levels(image, mpp, description, count), tile=tile, **page)


def _levels(image: NDArray[np.uint8], mpp: float | None, description: str | None, count: int) -> Iterator[Level]:
    level = np.ascontiguousarray(image)
    for index in range(count):
        if index:
            size = (image.shape[1] // 2**index, image.shape[0] // 2**index)
            level = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield Level(level, None if mpp is None else (UM_PER_CM / (mpp * 2**index),) * 2, description)
