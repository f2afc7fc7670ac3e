"""Slides as several runs see them: pictures with outlines, and the tissue around a tumour that is called tumour."""

import math
import os
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from drunet.annotation import Annotation, measured_region, rasterise
from drunet.annotation.parsed import read_parsed
from drunet.export.mask_image import read_mask_image
from drunet.report import overlay as paint
from drunet.slide import Slide
from drunet.tiles import read_mask

Path = str | os.PathLike[str]


def seen_by_runs(
    row: Mapping[str, Any],
    slide_file: Path,
    annotation_file: Path,
    tissue: Path,
    masks: Mapping[str, Path],
    *,
    slide_mpp: float | None,
    mpp: float,
    band_um: float,
    longest: int | None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Margins and pictures of a slide (`row`) in several runs, from their segmentation.tif.

    Returns by run the share of the tissue within `band_um` of the tumour, counted at `mpp`, that it calls tumour; and
    overlays, uint8 (h, w, 3), as in Fig. 6 of Oskouei et al. 2025, with the slide itself under the empty name.
    `longest` is their longest side in px; None: no pictures. `slide_mpp` is what the sheet gives.
    """
    with Slide(slide_file, row["slide"], slide_mpp) as slide:
        size, known_mpp = (slide.properties.width, slide.properties.height), slide.properties.mpp
        pictures = {}
        if longest is not None:
            scale = longest / max(size)
            pictures[""] = slide.read_whole((max(1, round(size[1] * scale)), max(1, round(size[0] * scale))))
    annotation = read_parsed(annotation_file, slide_id=row["slide"], size=size)
    if annotation is None:
        raise ValueError(f"{row['slide']} has no annotation to compare with")
    margin = tumour_margin(annotation, read_mask(tissue), slide_size=size, slide_mpp=known_mpp, mpp=mpp, band=band_um)
    shares = {}
    for run, path in masks.items():
        mask = read_mask_image(path)
        shares[run] = share_called_tumour(mask, margin)
        if longest is not None:
            pictures[run] = _overlay(pictures[""], mask, annotation, size)
    return shares, pictures


def tumour_margin(
    annotation: Annotation,
    tissue: np.ndarray,
    *,
    slide_size: tuple[int, int],
    slide_mpp: float,
    mpp: float,
    band: float,
) -> np.ndarray:
    """Tissue within `band` µm of the annotated tumour, outwards from its outline, that is not tumour itself: bool (h,
    w).

    Empty on a slide without tumour. Of a partially annotated slide the marked non-tumour alone, and nothing that is to
    be ignored. `tissue`, bool (h, w) of any size, is over the whole slide: glass would make the share that is called
    tumour look small. `slide_size` is (width, height), level-0 px; `slide_mpp` and `mpp` are µm/px of the slide, and
    (about) of the result.
    """
    width, height = slide_size
    shape = max(1, round(height * slide_mpp / mpp)), max(1, round(width * slide_mpp / mpp))
    truth = rasterise(annotation.tumour, shape, slide_size=slide_size)
    if not truth.any():
        return np.zeros(shape, bool)
    away = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.resize(tissue.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    margin = ~truth & inside & (away * mpp <= band)
    if annotation.kind == "psa":
        margin &= rasterise(annotation.non_tumour, shape, slide_size=slide_size)
    if not annotation.ignore.is_empty:
        margin &= ~rasterise(annotation.ignore, shape, slide_size=slide_size)
    return margin


def share_called_tumour(predicted: np.ndarray, margin: np.ndarray) -> float:
    """Share of a margin that a mask of the whole slide, of any size, calls tumour; NaN where there is no margin."""
    called = cv2.resize(predicted.astype(np.float32), margin.shape[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
    return float(called[margin].mean()) if margin.any() else math.nan


def _overlay(image: np.ndarray, mask: np.ndarray, annotation: Annotation, size: tuple[int, int]) -> np.ndarray:
    shape = image.shape[:2]
    # By area: a mask is far finer than the picture, and thin parts would come and go at random.
    predicted = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) >= 0.5
    truth = rasterise(annotation.tumour, shape, slide_size=size)
    return paint.overlay(image, predicted, truth, region=measured_region(annotation, truth, slide_size=size))
