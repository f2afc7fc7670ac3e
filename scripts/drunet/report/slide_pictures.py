"""The two pictures of every slide: its heatmap, and its segmentation over the truth."""

import cv2
import numpy as np
from PIL import Image

from drunet.annotation import Annotation, measured_region, rasterise
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid, square_to_slide
from drunet.report import overlay as paint
from drunet.slide import Slide


def write_pictures(
    slide: Slide,
    mask: np.ndarray,
    heatmap: np.ndarray,
    grid: Grid,
    annotation: Annotation | None,
    *,
    longest: int,
    heatmap_path: AnyPath,
    overlay_path: AnyPath,
) -> None:
    """Write the heatmap over the slide, and the segmentation over the slide and the truth, as JPEG.

    `mask` is the segmentation over the whole slide, bool (h, w), `heatmap` float32 (rows, columns) of `grid`, `longest`
    the longest side of the pictures in pixels. With a whole annotation false and true are shown everywhere but in what
    is to be ignored, with a partial one inside the marked regions only, without one the outline alone.
    """
    shape = square_to_slide(longest, grid)
    image = slide.read_whole(shape)
    mpp = grid.width * grid.mpp / shape[1]
    heat = paint.heatmap_picture(image, heatmap, grid)
    _write(heatmap_path, paint.add_colour_bar(paint.add_scale_bar(heat, mpp)))

    predicted = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
    truth = region = None
    legend = paint.NO_TRUTH_LEGEND
    if annotation is not None:
        size = (grid.width, grid.height)
        truth = rasterise(annotation.tumour, shape, slide_size=size)
        legend = paint.TRUTH_LEGEND
        region = measured_region(annotation, truth, slide_size=size)
        if region is not None:
            legend = (*legend, *(e for e in paint.NO_TRUTH_LEGEND if e not in legend))
    picture = paint.overlay(image, predicted, truth, region=region)
    _write(overlay_path, paint.add_legend(paint.add_scale_bar(picture, mpp), legend))


def _write(path: AnyPath, picture: np.ndarray) -> None:
    with whole_file(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=88)
