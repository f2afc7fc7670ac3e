"""Segmentation masks as pyramidal TIFF."""

from __future__ import annotations

import os

import cv2
import numpy as np
import tifffile

from drunet.atomic import whole_file
from drunet.outcome import require_result

# A level smaller than this is enough for any viewer's overview.
_SMALLEST_LEVEL = 512
# Masks are 0 and 255, so that a viewer which knows nothing of classes shows them white on black, not black on black.
TUMOUR_VALUE = 255


def write_mask_image(
    path: str | os.PathLike[str], mask: np.ndarray, resolution: tuple[float, float], description: str
) -> None:
    """Write a bool (h, w) mask as a tiled, deflate-compressed pyramid; `resolution` is µm/px in x and y."""
    level = finest = mask.astype(np.uint8) * TUMOUR_VALUE
    per_cm = np.array([10_000 / resolution[0], 10_000 / resolution[1]])
    with whole_file(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        first = True
        while True:
            tiff.write(
                level,
                tile=(256, 256),
                photometric="minisblack",
                compression="deflate",
                subfiletype=0 if first else 1,
                resolution=tuple(per_cm),
                resolutionunit="CENTIMETER",
                description=description if first else None,
                metadata=None,
            )
            if max(level.shape) <= _SMALLEST_LEVEL:
                return
            smaller = (max(1, level.shape[1] // 2), max(1, level.shape[0] // 2))
            per_cm = per_cm * (smaller[0] / level.shape[1], smaller[1] / level.shape[0])
            # By area and always from the finest level: nearest would lose thin parts at random, and from level to level
            # the pixels that are just half tumour would add up.
            share = cv2.resize(finest, smaller, interpolation=cv2.INTER_AREA)
            level = (share > TUMOUR_VALUE // 2).astype(np.uint8) * TUMOUR_VALUE
            first = False


def read_mask_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the finest level of a mask that `write_mask_image` wrote: bool (h, w).

    Raises
    ------
    FailedSlideError
        If the slide has none.
    """
    require_result(path)
    with tifffile.TiffFile(path) as tiff:
        return np.asarray(tiff.pages.first.asarray() > TUMOUR_VALUE // 2)
