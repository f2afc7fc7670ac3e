"""Slices as a journal prints them: windowed, cropped, enlarged, lettered and compressed.

Nothing of the original's Hounsfield units, size or margin is left, and every article has its own way. A classifier that
is to tell disease from disease may learn to tell such figures from a scanner's files instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drunet.files import whole_file
from drunet.synth.ct_phantom import Slice

WINDOWS = ((-600.0, 1500.0), (-600.0, 1200.0), (-500.0, 1400.0), (-350.0, 1500.0), (-200.0, 1500.0), (-400.0, 1800.0))
SHORTEST = 40


@dataclass(frozen=True)
class Style:
    """How the figures of one article look.

    `window` is centre and width in HU; `margin` what is left around the lungs, as a share of their extent (None: the
    whole picture); `scale` enlarges; `sharpen` is the strength of an unsharp mask. `mode` is Pillow's, `quality` is
    JPEG's (None: PNG). `letter` puts a letter in a corner, `strip` a caption below, `arrow` an arrow of a colour.
    """

    window: tuple[float, float]
    margin: float | None
    scale: float
    sharpen: float
    mode: str
    quality: int | None
    letter: bool
    strip: bool
    arrow: tuple[int, int, int] | None

    @property
    def suffix(self) -> str:
        """Of the article's files."""
        return ".png" if self.quality is None else ".jpeg"


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the habits of a journal and of its authors."""
    colours = (None, None, (255, 255, 255), (250, 220, 40), (220, 40, 40))
    arrow = colours[int(rng.integers(len(colours)))]
    coloured = arrow is not None and len(set(arrow)) > 1
    return Style(
        window=WINDOWS[int(rng.integers(len(WINDOWS)))],
        margin=float(rng.uniform(0.01, 0.22)) if rng.random() < 0.65 else None,
        scale=float(rng.uniform(0.85, 1.7)),
        sharpen=float(rng.choice([0.0, 0.0, 0.6, 1.2])),
        mode="RGB" if coloured or rng.random() < 0.5 else "L",
        quality=int(rng.integers(38, 90)) if rng.random() < 0.5 else None,
        letter=bool(rng.random() < 0.5),
        strip=bool(rng.random() < 0.2),
        arrow=arrow,
    )


def draw_figure(rng: np.random.Generator, drawn: Slice, style: Style, number: int) -> NDArray[np.uint8]:
    """Print a slice.

    Parameters
    ----------
    rng : numpy Generator
        Crops no two figures of an article quite alike.
    drawn : Slice
    style : Style
    number : int
        Place in the article, from 0: the letter that the figure carries.

    Returns
    -------
    uint8 (h, w, 3)
        RGB, though grey but for a coloured arrow; no side is below `SHORTEST` px.
    """
    centre, width = style.window
    grey = np.clip((drawn.hu - (centre - width / 2)) / width * 255, 0, 255).astype(np.float32)
    top, bottom, left, right = _crop(rng, drawn.lung, style.margin)
    cut = grey[top:bottom, left:right]
    scale = max(style.scale, SHORTEST / min(cut.shape))
    size = (round(cut.shape[1] * scale), round(cut.shape[0] * scale))
    image = cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    if style.sharpen:
        image = image + style.sharpen * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    colour = np.repeat(np.clip(image + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if style.arrow is not None:
        ill = (drawn.hu > -650) & (drawn.hu < 60) & drawn.lung
        _draw_arrow(rng, colour, ill[top:bottom, left:right], style.arrow)
    if style.letter:
        cv2.putText(
            colour, "abcdef"[number % 6], (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
        )
    return _with_caption(colour, number) if style.strip else colour


def save_figure(path: Path, figure: NDArray[np.uint8], style: Style) -> None:
    """Write a figure as its article's files are, whole or not at all."""
    image = Image.fromarray(figure).convert(style.mode)
    with whole_file(path) as temporary:
        if style.quality is None:
            image.save(temporary, format="PNG")
        else:
            image.save(temporary, format="JPEG", quality=style.quality)


def _crop(rng: np.random.Generator, lung: NDArray[np.bool_], margin: float | None) -> tuple[int, int, int, int]:
    """Rows and columns that are kept: those of the lungs and a margin, not quite the same on all sides."""
    if margin is None or not lung.any():
        return 0, lung.shape[0], 0, lung.shape[1]
    edges = []
    for axis in (1, 0):
        found = np.flatnonzero(lung.any(axis=axis))
        more = margin * (found[-1] - found[0]) * rng.uniform(0.6, 1.4, 2)
        edges += [max(0, int(found[0] - more[0])), min(lung.shape[1 - axis], int(found[-1] + 2 + more[1]))]
    top, bottom, left, right = edges
    return top, bottom, left, right


def _draw_arrow(
    rng: np.random.Generator, image: NDArray[np.uint8], ill: NDArray[np.bool_], colour: tuple[int, int, int]
) -> None:
    """Point at a place that is ill (`ill` has the picture's extent, not its size)."""
    rows, columns = np.nonzero(ill)
    if not rows.size:
        return
    place, turn = int(rng.integers(rows.size)), rng.uniform(0, 2 * np.pi)
    scale = image.shape[0] / ill.shape[0]
    tip = np.array([columns[place], rows[place]]) * scale
    tail = tip + 0.14 * min(image.shape[:2]) * np.array([np.cos(turn), np.sin(turn)])
    ends = [tuple(np.rint(end).astype(int).tolist()) for end in (tail, tip)]
    cv2.arrowedLine(image, ends[0], ends[1], colour, 1, cv2.LINE_AA, 0, 0.35)


def _with_caption(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The figure above a white strip with its number."""
    strip = np.full((14, image.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, f"Figure {number + 1}", (3, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])
