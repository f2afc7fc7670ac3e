"""Slides as several runs see them: what is shown in a grid of pictures, and what is called tumour around a tumour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from drunet.annotation import Annotation, measured_region, rasterise
from drunet.annotation.parsed import read_parsed
from drunet.evaluation import share_called_tumour, tumour_margin
from drunet.export.mask_image import read_mask_image
from drunet.report import overlay as paint
from drunet.slide import Slide
from drunet.tiles import read_mask

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class SlideFiles:
    """Where a slide's files are, and what the workflow knows of it.

    Attributes
    ----------
    slide : str
        ID.
    path, annotation, tissue : path
        The slide, its parsed annotation, and its tissue mask.
    mpp : float or None
        µm/px that the sheet gives.
    """

    slide: str
    path: Path
    annotation: Path
    tissue: Path
    mpp: float | None


def seen_by_runs(
    files: SlideFiles,
    masks: Mapping[str, Path],
    *,
    mpp: float,
    band_um: float,
    longest: int | None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What the runs make of a slide.

    Parameters
    ----------
    masks : mapping of run to segmentation.tif
    mpp : float
        µm/px at which the margin is counted.
    band_um : float
        Width of the margin.
    longest : int or None
        Longest side of the pictures in px; None: no pictures.

    Returns
    -------
    shares : dict of run to float
        Share of the tissue around the tumour that the run calls tumour.
    pictures : dict of run to uint8 (h, w, 3)
        Overlays as in the paper's Fig. 6, and under the empty name the slide itself.
    """
    with Slide(files.path, files.slide, files.mpp) as slide:
        size, slide_mpp = (slide.properties.width, slide.properties.height), slide.properties.mpp
        image = None
        if longest is not None:
            scale = longest / max(size)
            image = slide.read_whole((max(1, round(size[1] * scale)), max(1, round(size[0] * scale))))
    annotation = read_parsed(files.annotation, slide_id=files.slide, size=size)
    if annotation is None:
        raise ValueError(f"{files.slide} has no annotation to compare with")
    margin = tumour_margin(
        annotation, read_mask(files.tissue), slide_size=size, slide_mpp=slide_mpp, mpp=mpp, band=band_um
    )
    shares, pictures = {}, {} if image is None else {"": image}
    for run, path in masks.items():
        mask = read_mask_image(path)
        shares[run] = share_called_tumour(mask, margin)
        if image is not None:
            pictures[run] = _overlay(image, mask, annotation, size)
    return shares, pictures


def _overlay(image: np.ndarray, mask: np.ndarray, annotation: Annotation, size: tuple[int, int]) -> np.ndarray:
    shape = image.shape[:2]
    # By area: a mask is far finer than the picture, and thin parts would come and go at random.
    predicted = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) >= 0.5
    truth = rasterise(annotation.tumour, shape, slide_size=size)
    region = measured_region(annotation, truth, slide_size=size)
    return paint.overlay(image, predicted, truth, region=region)
