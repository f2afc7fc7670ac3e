"""Pictures of a slide with what was found on it.

Colours follow the paper's Fig. 6: green where prediction and truth agree, white for a false positive, red for a false
negative. The slide beneath is dimmed, since white would not read on glass.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drunet.grid import Grid

Colour = tuple[int, int, int]

# Green leans to blue and red to orange: the pair stays apart for red-green colour-blind readers.
TRUE_POSITIVE: Colour = (0, 204, 136)
FALSE_POSITIVE: Colour = (255, 255, 255)
FALSE_NEGATIVE: Colour = (255, 72, 40)
PREDICTED: Colour = (255, 214, 10)
COLOUR_MAP = "viridis"

TRUTH_LEGEND: tuple[tuple[str, Colour], ...] = (
    ("true positive", TRUE_POSITIVE),
    ("false positive", FALSE_POSITIVE),
    ("false negative", FALSE_NEGATIVE),
)
NO_TRUTH_LEGEND: tuple[tuple[str, Colour], ...] = (("predicted, no annotation to compare with", PREDICTED),)

_FILL, _OPACITY = 0.4, 0.6
_OUTLINE_PX = 2
_INK: Colour = (28, 32, 38)
_PAPER: Colour = (255, 255, 255)


def overlay(
    image: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None = None, *, region: np.ndarray | None = None
) -> np.ndarray:
    """Lay a segmentation, bool (h, w), over its slide, uint8 (h, w, 3) RGB: uint8 (h, w, 3).

    With the `truth`, bool (h, w), pixels are coloured as true positive, false positive or false negative; without, what
    was predicted is tinted in one colour. The `region`, bool (h, w) from `drunet.annotation.measured_region`, is what
    the annotation speaks of: outside it nothing is right or wrong, and predictions take the colour of `PREDICTED`.
    """
    _require_image(image)
    for name, mask in (("predicted", predicted), ("truth", truth), ("region", region)):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != image.shape[:2]):
            raise ValueError(f"{name} must be bool {image.shape[:2]}, not {mask.dtype} {mask.shape}")
    picture, classes = _dimmed(image), _classes(predicted, truth, region)
    for mask, colour in classes:
        picture[mask] = (1 - _FILL) * picture[mask] + _FILL * np.asarray(colour, np.float32)
    # Outlines last, so that no neighbour's fill washes them out; the picture's own edge is no outline.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _OUTLINE_PX + 1, 2 * _OUTLINE_PX + 1))
    for mask, colour in classes:
        inner = cv2.erode(mask.astype(np.uint8), kernel).astype(bool)
        picture[mask & ~inner] = colour
    return np.rint(picture).astype(np.uint8)


def heatmap_picture(image: np.ndarray, heatmap: np.ndarray, grid: Grid) -> np.ndarray:
    """Lay a heatmap, float32 (rows, columns) of `grid`, over a picture of exactly the whole slide, RGB: uint8 (h, w,
    3).

    The colour map is perceptually uniform; what reaches past the slide is cropped exactly, and NaN shows the slide.
    """
    _require_image(image)
    laid = grid.resample_to_slide(heatmap, image.shape[:2])
    known = np.isfinite(laid)
    colours = matplotlib.colormaps[COLOUR_MAP](np.clip(laid[known], 0, 1))[:, :3].astype(np.float32) * 255
    picture = image.astype(np.float32)
    # Structure shows through as brightness only: the stain's own colour would falsify the colour map.
    picture[known] = (1 - _OPACITY) * _grey(image)[known][:, None] + _OPACITY * colours
    return np.rint(picture).astype(np.uint8)


def add_scale_bar(image: np.ndarray, mpp: float) -> np.ndarray:
    """Draw a bar of a round length in the lower left corner of a copy of a picture, uint8 (h, w, 3).

    `mpp` is µm per pixel of this picture (not of the slide). Pictures too small for a bar come back as they are.
    """
    _require_image(image)
    height, width = image.shape[:2]
    if min(height, width) < 48:
        return image.copy()
    length_um = round_length(0.2 * width * mpp)
    length = max(1, round(length_um / mpp))
    size = _text_size(width)
    font, label, pad = _font(size), length_label(length_um), max(4, size // 2)
    box_width = max(length, math.ceil(font.getlength(label))) + 2 * pad
    box_height = round(size * 1.35) + 2 * pad
    left, top = pad, height - pad - box_height

    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.rounded_rectangle((left, top, left + box_width, top + box_height), radius=4, fill=(*_PAPER, 225))
    draw.text((left + box_width / 2, top + pad * 0.7), label, fill=_INK, font=font, anchor="mt")
    bar_left, bar_bottom = left + (box_width - length) // 2, top + box_height - round(pad * 0.8)
    draw.rectangle((bar_left, bar_bottom - max(2, size // 5), bar_left + length - 1, bar_bottom), fill=_INK)
    return np.asarray(canvas)


def add_legend(image: np.ndarray, entries: Sequence[tuple[str, Colour]]) -> np.ndarray:
    """Add a strip beneath a picture that names its colours; uint8 (h, w, 3) → uint8 (h + strip, w, 3)."""
    _require_image(image)
    width = image.shape[1]
    size = _text_size(width)
    font, gap, swatch = _font(size), size, size
    lines: list[list[tuple[str, Colour]]] = [[]]
    used = gap
    for label, colour in entries:
        needed = swatch + gap // 2 + math.ceil(font.getlength(label)) + 2 * gap
        if lines[-1] and used + needed > width:
            lines.append([])
            used = gap
        lines[-1].append((label, colour))
        used += needed

    line_height = round(size * 1.7)
    strip = Image.new("RGB", (width, line_height * len(lines) + size), _PAPER)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        x, middle = gap, size // 2 + line_height * number + line_height // 2
        for label, colour in line:
            top = middle - swatch // 2
            # The rim keeps a white swatch visible on white paper.
            draw.rectangle((x, top, x + swatch, top + swatch), fill=colour, outline=(110, 116, 124))
            draw.text((x + swatch + gap // 2, middle), label, fill=_INK, font=font, anchor="lm")
            x += swatch + gap // 2 + math.ceil(font.getlength(label)) + 2 * gap
    return np.concatenate([image, np.asarray(strip)])


def add_colour_bar(image: np.ndarray, label: str = "probability of tumour") -> np.ndarray:
    """Add a strip beneath a heatmap picture with its colours from 0 to 1."""
    _require_image(image)
    width = image.shape[1]
    size = _text_size(width)
    font = _font(size)
    strip = Image.new("RGB", (width, round(size * 1.7) + size), _PAPER)
    draw, middle = ImageDraw.Draw(strip), (round(size * 1.7) + size) // 2
    x = size
    draw.text((x, middle), f"{label}   0", fill=_INK, font=font, anchor="lm")
    x += math.ceil(font.getlength(f"{label}   0")) + size // 2
    bar_width = max(8, min(size * 14, width - x - 3 * size))
    ramp = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, bar_width))[:, :3]
    bar = np.broadcast_to(np.rint(ramp * 255).astype(np.uint8), (size, bar_width, 3))
    strip.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, middle - size // 2))
    draw.text((x + bar_width + size // 2, middle), "1", fill=_INK, font=font, anchor="lm")
    return np.concatenate([image, np.asarray(strip)])


def round_length(longest: float) -> float:
    """Largest 1, 2 or 5 times a power of ten that is no longer than `longest`."""
    if not (math.isfinite(longest) and longest > 0):
        raise ValueError(f"a scale bar needs a positive length, not {longest}")
    power = 10.0 ** math.floor(math.log10(longest) + 1e-9)
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest * (1 + 1e-9))


def length_label(length_um: float) -> str:
    """A length in words: `500 µm`, `2 mm`."""
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"


def _classes(
    predicted: np.ndarray, truth: np.ndarray | None, region: np.ndarray | None
) -> list[tuple[np.ndarray, Colour]]:
    if truth is None:
        return [(predicted, PREDICTED)]
    inside = np.ones_like(predicted) if region is None else region
    classes = [
        (predicted & truth & inside, TRUE_POSITIVE),
        (predicted & ~truth & inside, FALSE_POSITIVE),
        (~predicted & truth & inside, FALSE_NEGATIVE),
    ]
    return classes if region is None else [(predicted & ~region, PREDICTED), *classes]


def _dimmed(image: np.ndarray) -> np.ndarray:
    """The slide darker and paler, float32; glass, being brightest, is dimmed most, so that white stands out on it."""
    grey = _grey(image)[..., None]
    light = 0.68 - 0.42 * (grey / 255) ** 11
    return light * (0.7 * image.astype(np.float32) + 0.3 * grey)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)


def _text_size(width: int) -> int:
    return int(np.clip(round(width / 62), 11, 40))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings this font along, wherever it is installed, and it has the µ.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _require_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 (h, w, 3), not {image.dtype} {image.shape}")
