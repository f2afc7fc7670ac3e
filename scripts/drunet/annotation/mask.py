"""Mask images: tumour painted white on black, stretched over the slide."""

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

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
# Others are refused unopened: Pillow would hand some of them to foreign programs.
FORMATS = ("PNG", "TIFF")
# Pixels at a time, and pieces of a row in all, which bound memory and time.
STRIP_PX, MAX_RUNS = 1 << 22, 1_000_000
# From three channels to one number.
LABEL_DIGITS, COLOUR_DIGITS = np.array([65536, 256, 1], np.int32), np.array([1024, 32, 1], np.int32)
# Labels that are named in a message.
NAMED_LABELS = 8
# Values (n, w) or (n, w, 3) of the rows from the first to before the last.
Rows = Callable[[int, int], NDArray[Any]]
BLACK_AND_WHITE = "Save a mask with tumour 255 and everything else 0, without transparency."


def read_mask(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read a mask image as one tumour region, or none where it is all black.

    Grey and colour images are tumour where their brightest channel is in the upper half of its range: two even tones,
    and between them whatever soft edges and JPEG make. Images whose values are all small hold labels, of which there
    may be one beside 0. The colours of a palette count, and what is transparent is not tumour. Raises AnnotationError
    for images that are too large, damaged, of another aspect than the slide, or hold several classes (a third even
    tone, two bright ones, a second colour among what is bright, a second label); for dark 16-bit images, which hold
    neither; for values that are no numbers or negative, and colours that are nowhere to be seen.
    """
    image = _opened(data, source)
    mask = _binary(_rows_of(image, source), image.height, image.width, source)
    image.close()
    if not mask.any():
        return ()
    if (runs := sum(np.count_nonzero(row[1:] > row[:-1]) for row in mask)) > MAX_RUNS:
        mend = "Smooth it, or save it at a lower resolution."
        raise source.error("the mask is in too many pieces to be outlined", found=f"{runs:,} runs", mend=mend)
    height, width = mask.shape
    geometry = outline(mask, source.width / width, source.height / height)
    return (Region(geometry.geoms[0] if len(geometry.geoms) == 1 else geometry, MASK_CLASS, "tumour"),)


def _opened(data: bytes, source: Source) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Between once and twice its limit Pillow only warns; a mask of a byte a pixel fits there.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_aspect(image.size, source)
            image.load()
            return image
    except Image.DecompressionBombError:
        found = f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} px"
        mend = "Save it at a lower resolution; some 8,000 px on the longer side are plenty."
        raise source.error("the mask image is too large to be read safely", found=found, mend=mend) from None
    except UnidentifiedImageError:
        raise source.error("the file is not an image in PNG or TIFF", mend="Save the mask as PNG.") from None
    except (OSError, SyntaxError, ValueError, OverflowError, MemoryError, EOFError) as error:
        found = type(error).__name__
        raise source.error("the mask image is damaged", found=found, mend="Save it again.") from None


def _check_aspect(size: tuple[int, int], source: Source) -> None:
    aspect = (size[0] / size[1]) / (source.width / source.height)
    if abs(aspect - 1.0) > ASPECT_TOLERANCE:
        what = "the mask has another aspect than the slide, so that it cannot lie over it"
        found = f"{size[0]} x {size[1]} px on a slide of {source.width} x {source.height} px"
        mend = "Check that the mask belongs to this slide, is of the whole of it and is not turned."
        raise source.error(what, found=found, mend=mend)


def _rows_of(image: Image.Image, source: Source) -> Rows:
    """A reader of rows, without transparency and palette."""
    if image.has_transparency_data:
        return _opaque_rows(image, source)
    if image.mode == "P":
        return _palette_rows(image, source)
    plain = image.mode in ("1", "L") or image.mode.startswith(("I", "F"))
    if plain:
        return lambda first, last: np.asarray(_crop(image, first, last))
    return lambda first, last: np.asarray(_crop(image, first, last).convert("RGB"))


def _crop(image: Image.Image, first: int, last: int) -> Image.Image:
    return image.crop((0, first, image.width, last))


def _opaque_rows(image: Image.Image, source: Source) -> Rows:
    """Colours where an image is opaque, and black where it is transparent: what nobody sees is not tumour."""

    def values(first: int, last: int) -> NDArray[np.uint8]:
        return np.array(_crop(image, first, last).convert("RGBA"))

    alpha = [
        (seen.min(), seen.max()) for seen in (values(*rows)[..., 3] for rows in _strips(image.height, image.width))
    ]
    clearest, opaque = min(low for low, _ in alpha), max(high for _, high in alpha)
    if clearest == opaque > 0:
        return lambda first, last: values(first, last)[..., :3]

    def visible(first: int, last: int) -> NDArray[np.uint8]:
        seen = values(first, last)
        seen[seen[..., 3] <= opaque // 2] = 0
        return seen[..., :3]

    if not any(visible(*rows).any() for rows in _strips(image.height, image.width)):
        found = "black all over, and transparent in places" if opaque else "transparent all over"
        raise source.error("nothing is to be seen on the mask", found=found, mend=BLACK_AND_WHITE)
    return visible


def _palette_rows(image: Image.Image, source: Source) -> Rows:
    """The colours of a palette; its indices where all are dark, as those of labels may be."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    brightness = palette.max(axis=1)
    if brightness[used].max() > HIGHEST_LABEL:
        return lambda first, last: palette[np.asarray(_crop(image, first, last))]
    if 0 in used and brightness[0] > brightness[used].min():
        found = f"index 0 is #{bytes(palette[0]).hex()}"
        what = "the palette of the mask does not say which index is tumour"
        raise source.error(what, found=found, mend=BLACK_AND_WHITE)
    return lambda first, last: np.asarray(_crop(image, first, last))


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, STRIP_PX // width)
    return ((top, min(height, top + step)) for top in range(0, height, step))


def _brightest(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.ndim == 2 else values.max(axis=2)


def _binary(rows: Rows, height: int, width: int, source: Source) -> NDArray[np.bool_]:
    highest = 0.0
    for strip in _strips(height, width):
        values = rows(*strip)
        if not np.isfinite(values).all() or values.min() < 0:
            found = "not a number" if not np.isfinite(values).all() else f"{values.min():g}"
            raise source.error("the mask holds values that say nothing", found=found, mend=BLACK_AND_WHITE)
        highest = max(highest, float(values.max()))
    threshold = 0
    if highest <= HIGHEST_LABEL:
        _check_labels((rows(*strip) for strip in _strips(height, width)), source)
    elif 255 < highest <= 32767:
        found = f"values up to {highest:g} of 65535"
        raise source.error("the mask holds neither labels nor black and white", found=found, mend=BLACK_AND_WHITE)
    else:
        threshold = 127 if highest <= 255 else 32767
        _check_tones(rows, highest, height, width, source)
    mask = np.empty((height, width), bool)
    for first, last in _strips(height, width):
        mask[first:last] = _brightest(rows(first, last)) > threshold
    return mask


def _check_labels(strips: Iterator[NDArray[Any]], source: Source) -> None:
    """Refuse more than one value, or colour, beside 0."""
    labels: set[str] = set()
    for pixels in strips:
        if pixels.ndim == 3:
            labels |= {f"#{v:06x}" for v in np.unique(pixels.astype(np.int32) @ LABEL_DIGITS) if v}
        else:
            labels |= {str(v) for v in np.unique(pixels)[: NAMED_LABELS + 1] if v}
        if len(labels) > 1:
            raise _several(source, f"values {', '.join(sorted(labels, key=_numerically)[:NAMED_LABELS])}")


def _numerically(label: str) -> float:
    return int(label[1:], 16) if label.startswith("#") else float(label)


def _check_tones(rows: Rows, highest: float, height: int, width: int, source: Source) -> None:
    """Refuse several even tones, or bright colours, in values up to 255 or 65535."""
    counts, colours = np.zeros(256, np.int64), np.zeros(32**3, np.int64)
    for first, last in _strips(height, width):
        above, below = max(0, first - 1), min(height, last + 1)
        strip = rows(above, below)
        strip = strip if highest <= 255 else strip.clip(0, 65535) // 257
        values = _even(strip.astype(np.uint8), slice(first - above, last - above))
        brightest = values if values.ndim == 1 else values.max(axis=1)
        counts += np.bincount(brightest, minlength=256)
        if values.ndim == 2:
            # In steps of 8: few enough to count, fine enough to compare.
            step = values[brightest > HIGHEST_LABEL].astype(np.int32) >> 3
            colours += np.bincount(step @ COLOUR_DIGITS, minlength=32**3)
    least = max(1.0, SPECK_SHARE * counts[HIGHEST_LABEL + 1 :].sum())
    levels = np.flatnonzero(counts)
    groups = np.split(levels, np.flatnonzero(np.diff(levels) > SAME_TONE) + 1)
    tones = [str(group[counts[group].argmax()]) for group in groups if counts[group].sum() >= least]
    if len(tones) > 2 or (len(tones) == 2 and int(tones[0]) > HIGHEST_LABEL):
        raise _several(source, f"areas of the even tones {', '.join(tones[:8])}")
    _check_colours(colours, least, source)


def _even(strip: NDArray[np.uint8], rows: slice) -> NDArray[np.uint8]:
    """Values (n,) or (n, 3) of the pixels in `rows` of a strip that equal all their neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    same = cv2.erode(strip, kernel) == cv2.dilate(strip, kernel)
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
    mend = "Save a mask with tumour 255 and everything else 0, or export outlines with classes."
    return source.error(what, found=found, mend=mend)
