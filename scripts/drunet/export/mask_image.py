"""Segmentation masks as pyramidal TIFF."""

from collections.abc import Iterator

import cv2
import numpy as np
import tifffile

from drunet.export.pyramid import UM_PER_CM, Level, write_levels
from drunet.files import AnyPath
from drunet.outcome import require_result

# A level smaller than this is enough for any viewer's overview.
_SMALLEST_LEVEL = 512
# Masks are 0 and 255, so that a viewer which knows nothing of classes shows them white on black, not black on black.
TUMOUR_VALUE = 255


def write_mask_image(path: AnyPath, mask: np.ndarray, resolution: tuple[float, float], description: str) -> None:
    """Write a bool (h, w) mask as a tiled, deflate-compressed pyramid; `resolution` is µm/px in x and y."""
    write_levels(path, mask_levels(mask, resolution, description), photometric="minisblack", compression="deflate")


def mask_levels(mask: np.ndarray, resolution: tuple[float, float], description: str) -> Iterator[Level]:
    """The mask, halved until its longer side is no longer than `_SMALLEST_LEVEL`."""
    level = finest = mask.view(np.uint8) * np.uint8(TUMOUR_VALUE)
    x, y = (UM_PER_CM / mpp for mpp in resolution)
    yield Level(level, (x, y), description)
    while max(level.shape) > _SMALLEST_LEVEL:
        height, width = level.shape
        smaller = (max(1, width // 2), max(1, height // 2))
        x, y = x * (smaller[0] / width), y * (smaller[1] / height)
        # By area and always from the finest level: nearest would lose thin parts at random, and from level to level
        # the pixels that are just half tumour would add up.
        share = cv2.resize(finest, smaller, interpolation=cv2.INTER_AREA)
        level = (share > TUMOUR_VALUE // 2).view(np.uint8) * np.uint8(TUMOUR_VALUE)
        yield Level(level, (x, y))


def read_mask_image(path: AnyPath) -> np.ndarray:
    """Read the finest level of such a mask: bool (h, w); raises FailedSlideError if the slide has none."""
    require_result(path)
    with tifffile.TiffFile(path) as tiff:
        return np.asarray(tiff.pages.first.asarray() > TUMOUR_VALUE // 2)
