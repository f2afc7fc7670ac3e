"""What the file of an image gives away besides the picture: by such facts alone its source may be told."""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studies.common.images.folder import FORMATS

FACTS = (
    *("format", "bytes", "width", "height", "aspect", "bits", "channels"),
    *("bits_per_pixel", "jpeg_quality", "coloured"),
)
# Grey values by which channels differ in what is no grey; lossy compression of grey stays below.
_COLOUR_DIFFERENCE = 8
_PNG_DEPTH = 24
# Luminance table of JPEG (T.81, table K.1).
_LUMINANCE = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""


def picture_facts(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Facts of a PNG, JPEG, BMP or TIFF.

    `pixels`: uint8 (h, w, 3), as `studies.common.images.folder.read_image` gives them. Sides are in px, bits per
    channel, channels as stored (palette and transparency are one each), jpeg_quality that of the IJG tables nearest to
    the file's (1 to 100; NaN where it is no JPEG), coloured the share of pixels whose channels differ by more than 8.
    """
    with Image.open(path, formats=FORMATS) as picture:
        own = {"format": str(picture.format).lower(), "channels": len(picture.getbands())}
        own |= {"bits": _depth(path, picture), "jpeg_quality": _jpeg_quality(picture)}
    coloured = float((np.ptp(pixels.astype(np.int16), axis=2) > _COLOUR_DIFFERENCE).mean())
    return _facts(path, pixels.shape[1], pixels.shape[0], coloured=coloured, **own)


def dicom_facts(path: str | os.PathLike[str], width: int, height: int, bits: int) -> dict[str, Any]:
    """Facts of a CT slice in DICOM, as of `picture_facts`; `bits` are those stored per value."""
    own = {"format": "dicom", "bits": bits, "channels": 1, "jpeg_quality": float("nan"), "coloured": 0.0}
    return _facts(path, width, height, **own)


def _facts(path: str | os.PathLike[str], width: int, height: int, **own: Any) -> dict[str, Any]:
    size = Path(path).stat().st_size
    own |= {"bytes": size, "width": width, "height": height, "aspect": width / height}
    own["bits_per_pixel"] = 8 * size / (width * height)
    return {fact: own[fact] for fact in FACTS}


def _depth(path: str | os.PathLike[str], picture: Image.Image) -> int:
    """Bits of a channel. Pillow unpacks a PNG's, whose header has them at a fixed place."""
    if picture.format == "PNG":
        with Path(path).open("rb") as file:
            return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]
    return 1 if picture.mode == "1" else 16 if picture.mode.startswith("I;16") else 8


def _jpeg_quality(picture: Image.Image) -> float:
    tables = getattr(picture, "quantization", None)
    if picture.format != "JPEG" or not tables:
        return float("nan")
    found = np.sort(np.array(tables[min(tables)], np.float64))
    return float(np.abs(_quality_tables() - found).sum(axis=1).argmin() + 1)


@functools.cache
def _quality_tables() -> NDArray[np.float64]:
    """Luminance tables of the qualities 1 to 100, as the Independent JPEG Group's library scales them."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    luminance = np.array(_LUMINANCE.split(), np.int64)
    # In ascending order, for that in which files hold them differs from program to program.
    return np.sort(np.clip((luminance * scale + 50) // 100, 1, 255), axis=1).astype(np.float64)
