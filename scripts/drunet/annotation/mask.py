"""Mask images: tumour painted white on black, stretched over the slide."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drunet.annotation.outline import outline
from drunet.annotation.region import Region, Source

ASPECT_TOLERANCE = 0.01
MASK_CLASS = "tumour"
# Up to here values are labels or dark, above it they are bright.
HIGHEST_LABEL = 127
# A tone is even where 3 x 3 pixels are equal, which soft edges never are. Tones this close are one, as JPEG leaves
# them; hues are one that, at full brightness, differ by no more in any channel; what is rarer than this share of all
# that is bright and even is a speck.
SAME_TONE, SAME_HUE, SPECK_SHARE = 16, 64, 1e-3
# Rows at a time, which bounds memory.
STRIP = 1024


def read_mask(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read a mask image as one tumour region, or none where it is all black.

    Grey and colour images are tumour where their brightest channel is in the upper half of its range: two even tones,
    and between them whatever soft edges and JPEG make. Images whose values are all small hold labels, of which there
    may be one beside 0.

    Raises AnnotationError for images that are too large, damaged, of another aspect than the slide, or hold several
    classes: a third even tone, a second colour among what is bright, a second label; and for dark 16-bit images, which
    hold neither.
    """
    mask = _binary(_pixels(data, source), source)
    if not mask.any():
        return ()
    height, width = mask.shape
    geometry = outline(mask, source.width / width, source.height / height)
    return (Region(geometry.geoms[0] if len(geometry.geoms) == 1 else geometry, MASK_CLASS, "tumour"),)


def _pixels(data: bytes, source: Source) -> NDArray[np.generic]:
    try:
        with warnings.catch_warnings():
            # Between once and twice its limit Pillow only warns; a mask of a byte a pixel fits there.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                _check_aspect(image.size, source)
                return _channels(image)
    except Image.DecompressionBombError:
        found = f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} px"
        mend = "Save it at a lower resolution; some 8,000 px on the longer side are plenty."
        raise source.error("the mask image is too large to be read safely", found=found, mend=mend) from None
    except UnidentifiedImageError:
        raise source.error("the file is not an image", mend="Save the mask as PNG or check the suffix.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise source.error("the mask image is damaged", found=error, mend="Save it again.") from None


def _check_aspect(size: tuple[int, int], source: Source) -> None:
    aspect = (size[0] / size[1]) / (source.width / source.height)
    if abs(aspect - 1.0) > ASPECT_TOLERANCE:
        what = "the mask has another aspect than the slide, so that it cannot lie over it"
        found = f"{size[0]} x {size[1]} px on a slide of {source.width} x {source.height} px"
        mend = "Check that the mask belongs to this slide, is of the whole of it and is not turned."
        raise source.error(what, found=found, mend=mend)


def _channels(image: Image.Image) -> NDArray[np.generic]:
    """Values (h, w), or (h, w, 3) of colour images, without transparency; palettes of labels keep their indices."""
    if image.mode in ("LA", "PA"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("1", "L") or image.mode.startswith(("I", "F")):
        return np.asarray(image)
    if image.mode == "P" and np.asarray(image).max() <= HIGHEST_LABEL:
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def _binary(pixels: NDArray[np.generic], source: Source) -> NDArray[np.bool_]:
    if pixels.dtype == np.bool_:
        return np.asarray(pixels, dtype=bool)
    values = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    highest = float(values.max())
    if highest <= HIGHEST_LABEL:
        _check_labels(pixels, source)
        return np.asarray(values != 0)
    if 255 < highest <= 32767:
        found = f"values up to {highest:g} of 65535"
        mend = "Save a mask with tumour 255 and everything else 0."
        raise source.error("the mask holds neither labels nor black and white", found=found, mend=mend)
    _check_tones(pixels if highest <= 255 else pixels.clip(0, 65535) // 257, source)
    threshold = 127 if highest <= 255 else 32767
    return np.asarray(values.astype(np.float64) > threshold)


def _check_labels(pixels: NDArray[np.generic], source: Source) -> None:
    """Refuse more than one value, or colour, beside 0."""
    if pixels.ndim == 3:
        labels = [f"#{v:06x}" for v in np.unique(pixels.astype(np.int32) @ [65536, 256, 1]) if v]
    else:
        labels = [str(v) for v in np.unique(pixels) if v]
    if len(labels) > 1:
        raise _several(source, f"values {', '.join(labels[:8])}")


def _check_tones(pixels: NDArray[np.generic], source: Source) -> None:
    """Refuse several even tones, or bright colours, in (h, w) or (h, w, 3) of 0 to 255."""
    counts, colours = np.zeros(256, np.int64), np.zeros(32**3, np.int64)
    for top in range(0, len(pixels), STRIP):
        values = _even(pixels, top)
        brightest = values if values.ndim == 1 else values.max(axis=1)
        counts += np.bincount(brightest, minlength=256)
        if values.ndim == 2:
            # In steps of 8: few enough to count, fine enough to compare.
            step = values[brightest > HIGHEST_LABEL].astype(np.int32) >> 3
            colours += np.bincount(step @ [1024, 32, 1], minlength=32**3)
    least = max(1.0, SPECK_SHARE * counts[HIGHEST_LABEL + 1 :].sum())
    levels = np.flatnonzero(counts)
    groups = np.split(levels, np.flatnonzero(np.diff(levels) > SAME_TONE) + 1)
    tones = [str(group[counts[group].argmax()]) for group in groups if counts[group].sum() >= least]
    if len(tones) > 2:
        raise _several(source, f"areas of the even tones {', '.join(tones[:8])}")
    _check_colours(colours, least, source)


def _even(pixels: NDArray[np.generic], top: int) -> NDArray[np.uint8]:
    """Values (n,) or (n, 3) of the pixels of a strip from row `top` that equal all their neighbours."""
    first = max(0, top - 1)
    strip = pixels[first : top + STRIP + 1].astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    same = cv2.erode(strip, kernel) == cv2.dilate(strip, kernel)
    rows = slice(top - first, top - first + STRIP)
    return np.asarray(strip[rows][same[rows] if same.ndim == 2 else same[rows].all(axis=2)])


def _check_colours(counts: NDArray[np.int64], least: float, source: Source) -> None:
    """Refuse several hues, whatever their brightness, among counted colours of 32 steps a channel."""
    used = np.flatnonzero(counts)
    if not len(used):
        return
    colours = np.stack([used >> 10, used >> 5 & 31, used & 31], axis=1) * 8 + 4
    hues = colours * 255 / colours.max(axis=1, keepdims=True)
    usual = counts[used].argmax()
    other = np.abs(hues - hues[usual]).max(axis=1) > SAME_HUE
    if counts[used[other]].sum() >= least:
        second = np.flatnonzero(other)[counts[used[other]].argmax()]
        names = " and ".join("#{:02x}{:02x}{:02x}".format(*colours[i]) for i in (usual, second))
        raise _several(source, f"areas of about the colours {names}")


def _several(source: Source, found: str) -> Exception:
    what = "the mask holds several classes, and which of them is tumour is not said"
    mend = "Save a mask with tumour 255 and everything else 0, or export polygons with classes."
    return source.error(what, found=found, mend=mend)
