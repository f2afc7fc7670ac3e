"""Mask images: tumour painted white on black, stretched over the slide."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drunet.annotation.outline import outline
from drunet.annotation.region import Region, Source

ASPECT_TOLERANCE = 0.01
MASK_CLASS = "tumour"


def read_mask(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read a mask image as one tumour region, or none where it is all black.

    Grey and colour images are tumour where their brightest channel is in the upper half of its range. Images whose
    values are all small hold labels, of which there may be one beside 0.

    Raises
    ------
    AnnotationError
        For images that are too large, damaged, of another aspect than the slide, or hold several classes.
    """
    values = _values(data, source)
    mask = _binary(values, source)
    if not mask.any():
        return ()
    height, width = mask.shape
    geometry = outline(mask, source.width / width, source.height / height)
    return (Region(geometry.geoms[0] if len(geometry.geoms) == 1 else geometry, MASK_CLASS, "tumour"),)


def _values(data: bytes, source: Source) -> NDArray[np.generic]:
    try:
        with warnings.catch_warnings():
            # Between once and twice its limit Pillow only warns; a mask of a byte a pixel fits there.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                _check_aspect(image.size, source)
                return _brightest(image)
    except Image.DecompressionBombError:
        raise source.error(
            "the mask image is too large to be read safely",
            found=f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} px",
            mend="Save it at a lower resolution; some 8,000 px on the longer side are plenty.",
        ) from None
    except UnidentifiedImageError:
        raise source.error("the file is not an image", mend="Save the mask as PNG or check the suffix.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise source.error("the mask image is damaged", found=error, mend="Save it again.") from None


def _check_aspect(size: tuple[int, int], source: Source) -> None:
    aspect = (size[0] / size[1]) / (source.width / source.height)
    if abs(aspect - 1.0) > ASPECT_TOLERANCE:
        raise source.error(
            "the mask has another aspect than the slide, so that it cannot lie over it",
            found=f"{size[0]} x {size[1]} px on a slide of {source.width} x {source.height} px",
            mend="Check that the mask belongs to this slide, is of the whole of it and is not turned.",
        )


def _brightest(image: Image.Image) -> NDArray[np.generic]:
    """Pixel values (h, w): the brightest colour channel, without transparency; palette images keep their indices."""
    if image.mode in ("LA", "PA"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("1", "L", "P") or image.mode.startswith(("I", "F")):
        return np.asarray(image)
    return np.asarray(image.convert("RGB")).max(axis=2)


def _binary(values: NDArray[np.generic], source: Source) -> NDArray[np.bool_]:
    if values.dtype == np.bool_:
        return np.asarray(values, dtype=bool)
    highest = float(values.max())
    if highest <= 127:
        labels = np.unique(values)
        if len(labels[labels != 0]) > 1:
            raise source.error(
                "the mask holds several classes, and which of them is tumour is not said",
                found=f"values {', '.join(str(v) for v in labels[:8])}",
                mend="Save a mask with tumour 255 and everything else 0, or export polygons with classes.",
            )
        return np.asarray(values != 0)
    threshold = 127 if highest <= 255 else 32767
    return np.asarray(values.astype(np.float64) > threshold)
