"""Write an array as a pyramidal, tiled TIFF that OpenSlide reads."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.export.pyramid import UM_PER_CM, Level, write_levels
from drunet.files import AnyPath

JPEG_QUALITY = 90


def aperio_description(width: int, height: int, mpp: float, objective: int, tile: int = 256) -> str:
    """The `ImageDescription` by which OpenSlide knows an Aperio file, its objective power and its µm/px."""
    size = f"{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q={JPEG_QUALITY}"
    return f"Aperio Image Library v12.0.15\r\n{size}|AppMag = {objective}|MPP = {mpp:.4f}"


def write_pyramid(
    path: AnyPath, image: NDArray[np.uint8], mpp: float | None, description: str | None = None,
    levels: int | None = None, tile: int = 256,
) -> None:  # fmt: skip
    """Write uint8 RGB (h, w, 3) as a tiled JPEG TIFF; levels halve by area until a side would fall under 256 px.

    `mpp` is written as resolution in cm (None: none, as some converters do), `description` into every level. Raises
    ValueError if the image is not uint8 RGB, µm/px is not positive, or a level would be empty.
    """
    side = min(image.shape[:2])
    count = max(int(np.log2(max(side, 1) / 256)) + 1, 1) if levels is None else levels
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or (mpp is not None and not mpp > 0):
        raise ValueError(f"expected uint8 (h, w, 3) and positive mpp, got {image.dtype} {image.shape} and {mpp}")
    if count < 1 or side // 2 ** (count - 1) < 1:
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
