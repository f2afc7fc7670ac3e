"""Pyramidal, tiled TIFF: one writer for masks and slides."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from drunet.files import AnyPath, whole_file

UM_PER_CM = 10_000.0


@dataclass(frozen=True)
class Level:
    """One level of a pyramid: uint8 (h, w) or (h, w, 3), pixels per centimetre in x and y (None writes no resolution),
    and its `ImageDescription`.
    """

    pixels: np.ndarray
    per_cm: tuple[float, float] | None
    description: str | None = None


def write_levels(path: AnyPath, levels: Iterable[Level], *, tile: int = 256, **page: Any) -> None:
    """Write levels, the finest first, one at a time.

    `tile` is the side of a TIFF tile in px, a multiple of 16; `page` has photometric, compression and the like of every
    level, as for `tifffile.TiffWriter.write`.
    """
    with whole_file(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for index, level in enumerate(levels):
            # Without a resolution tifffile writes 1/1 with no unit, which readers take for "not known".
            tiff.write(
                level.pixels,
                tile=(tile, tile),
                subfiletype=1 if index else 0,
                resolution=level.per_cm,
                resolutionunit="CENTIMETER" if level.per_cm else None,
                description=level.description,
                metadata=None,
                **page,
            )
