"""A slide with an outline, and nothing that says whose slide or outline it is."""

from __future__ import annotations

import os

import cv2
import numpy as np
from PIL import Image

from drunet.files import whole_file
from drunet.report import overlay as paint
from drunet.slide import Slide

OUTLINE: paint.Colour = (255, 214, 10)
RIM: paint.Colour = (20, 24, 30)


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw a mask's edge over a picture, and leave the tissue on both sides as it is.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    mask : bool (any size)
        Stretched over the picture.

    Returns
    -------
    uint8 (h, w, 3)
        With a yellow line in a dark rim, which shows on tissue and on glass.
    """
    height, width = image.shape[:2]
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    edges, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    picture = np.ascontiguousarray(image).copy()
    core = max(1, round(max(height, width) / 700))
    for colour, thickness in ((RIM, core + 2), (OUTLINE, core)):
        cv2.drawContours(picture, edges, -1, colour, thickness, cv2.LINE_AA)
    return picture


def write_case(path: str | os.PathLike[str], slide: Slide, mask: np.ndarray, longest: int) -> None:
    """Write a slide with a model's outline as JPEG: no slide ID, no run, no annotation, a scale bar and a legend.

    Parameters
    ----------
    mask : bool (h, w)
        Over the whole slide.
    longest : int
        Longer side of the slide in the picture, in pixels; never finer than level 0.
    """
    size = slide.properties
    scale = min(1.0, longest / max(size.width, size.height))
    shape = max(1, round(size.height * scale)), max(1, round(size.width * scale))
    picture = paint.add_scale_bar(draw_outline(slide.read_whole(shape), mask), size.mpp * size.width / shape[1])
    words = "outlined as tumour" if mask.any() else "nothing on this slide was outlined as tumour"
    with whole_file(path) as temporary:
        # Full colour resolution: halved, it would smear the thin line.
        picture = paint.add_legend(picture, [(words, OUTLINE)])
        Image.fromarray(picture).save(temporary, quality=90, subsampling=0)
