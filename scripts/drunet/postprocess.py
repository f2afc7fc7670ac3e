"""From a refined probability to a clean outline (DRU-Net, "Post-processing")."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from drunet.components import filter_components
from drunet.files import AnyPath
from drunet.grid import Grid, square_to_slide
from drunet.heatmap import read_field, read_heatmap
from drunet.settings.postprocess import PostprocessSettings

# Rows that are enlarged at a time.
_ROWS = 256


def segment(
    probability: np.ndarray,
    tissue: np.ndarray,
    *,
    threshold: float = 0.5,
    min_fragment_px: float = 0.0,
    opening_px: int = 7,
    median_px: int = 11,
    median_first: bool = False,
) -> np.ndarray:
    """Threshold, smooth and clean a probability map, float32 (h, w) in which NaN counts as not tumour: bool (h, w).

    Raises ValueError if the shapes differ or `median_px` is even.

    Parameters
    ----------
    tissue : bool (h, w)
        Nothing outside becomes tumour.
    threshold : float
        A pixel is tumour at this probability or above.
    min_fragment_px : float
        Smaller connected fragments (8-neighbourhood) are removed, before and after smoothing.
    opening_px, median_px : int
        Kernel sides in pixels (paper: 7 and 11); 0 or 1 leaves the step out.
    median_first : bool
        The median before the opening (authors' code), not after it (the order in which the paper names them).

    Examples
    --------
    >>> probability = np.zeros((40, 40), np.float32)
    >>> probability[5:25, 5:25], probability[32, 32] = 0.9, 0.9
    >>> mask = segment(probability, np.ones((40, 40), bool), min_fragment_px=10)
    >>> bool(mask[15, 15]), bool(mask[32, 32])
    (True, False)
    """
    if probability.shape != tissue.shape:
        raise ValueError(f"probability is {probability.shape}, tissue {tissue.shape}")
    with np.errstate(invalid="ignore"):
        mask = np.nan_to_num(probability, nan=-1.0) >= threshold
    mask = filter_components(mask & tissue, min_area=min_fragment_px)
    steps = [(_opened, opening_px), (_median, median_px)]
    for step, side in reversed(steps) if median_first else steps:
        if side > 1:
            mask = step(mask, side)
    # Smoothing can push an edge over the tissue's, and can cut a fragment in two.
    return filter_components(mask & tissue, min_area=min_fragment_px)


def _opened(mask: np.ndarray, side: int) -> np.ndarray:
    kernel = np.ones((side, side), np.uint8)
    eroded = cv2.erode(mask.astype(np.uint8), kernel, anchor=(side // 2, side // 2))
    # The mirrored anchor: with an even side OpenCV's own opening would move everything by a pixel.
    mirrored = (side - 1) // 2
    return cv2.dilate(eroded, kernel, anchor=(mirrored, mirrored)) > 0


def _median(mask: np.ndarray, side: int) -> np.ndarray:
    if side % 2 == 0:
        raise ValueError(f"the median's kernel has an odd side, not {side}")
    # On a binary image the median is the majority; OpenCV's 8-bit median accepts any odd size.
    return cv2.medianBlur(mask.astype(np.uint8) * 255, side) > 127


def min_fragment_um2(configured: float | None, refiner: Mapping[str, Any], grid: Grid) -> float:
    """Area in µm² under which a fragment is removed.

    The configured value, else the smallest tumour annotated in the training slides of a refiner (paper: in the ground
    truth), else, where there is none or its training is not known, one cell of the heatmap: nothing smaller was
    resolved.
    """
    if configured is not None:
        return configured
    smallest = refiner.get("smallest_tumour_um2")
    return float(smallest) if smallest is not None else (grid.step * grid.tile_mpp) ** 2


def unrefined(heatmap: np.ndarray, grid: Grid, size: int) -> np.ndarray:
    """A heatmap as a refiner would answer, for runs without one: float32 (size, size), the whole slide stretched."""
    return grid.resample_to_slide(heatmap, (size, size), smooth=True)


def read_probability(heatmap: AnyPath, refined: AnyPath | None, size: int) -> tuple[np.ndarray, Grid]:
    """What a run's threshold is applied to, and the grid: the refined map or the heatmap; raises FailedSlideError."""
    stitched, grid = read_heatmap(heatmap)
    return read_field(refined)[0] if refined else unrefined(stitched, grid, size), grid


def segment_slide(
    probability: np.ndarray, tissue: np.ndarray, grid: Grid, min_um2: float, settings: PostprocessSettings
) -> np.ndarray:
    """Segment a slide from a probability (h, w) over the whole of it, stretched to a square or not: bool (h, w).

    A square is first undone to the slide's own aspect, with the same number of pixels along the longer side, so that
    the kernels are as wide as they are high. Kernels given in µm clean a biopsy as they clean a resection. `tissue`,
    bool of any size, is of the whole slide, too; fragments below `min_um2` µm² are dropped; of the settings all but the
    smallest fragment, `unrefined_px` and `mpp` is read.
    """
    shape = square_to_slide(max(probability.shape), grid)
    straight = cv2.resize(probability, shape[::-1], interpolation=cv2.INTER_LINEAR)
    allowed = tissue if settings.within_tissue else np.ones_like(tissue)
    inside = cv2.resize(allowed.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    pixel_um2 = (grid.width * grid.mpp / shape[1]) * (grid.height * grid.mpp / shape[0])
    if settings.smoothing_um:
        straight = _smoothed(straight, inside, settings.smoothing_um / pixel_um2**0.5)
    return segment(
        straight,
        inside,
        threshold=settings.threshold,
        min_fragment_px=min_um2 / pixel_um2,
        opening_px=_side_px(settings.opening_um, settings.opening_px, pixel_um2),
        median_px=_side_px(settings.median_um, settings.median_px, pixel_um2),
        median_first=settings.order == "median_opening",
    )


def _smoothed(probability: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    seen = (inside & np.isfinite(probability)).astype(np.float32)
    summed, weight = (cv2.GaussianBlur(each, (0, 0), sigma) for each in (np.where(seen, probability, 0) * seen, seen))
    # Glass and what was not looked at weigh nothing, so that a margin along glass is not pulled down.
    return np.where(seen, summed / np.maximum(weight, 1e-6), np.nan).astype(np.float32)


def _side_px(um: float | None, px: int, pixel_um2: float) -> int:
    """Side of a kernel in pixels; one in µm gets the nearest odd side."""
    return px if um is None else 2 * round((um / pixel_um2**0.5 - 1) / 2) + 1


def finest_mask(mask: np.ndarray, grid: Grid, mpp: float) -> tuple[np.ndarray, tuple[float, float]]:
    """A mask at about `mpp` µm/px (never finer than level 0), and its exact µm/px in x and y.

    >>> grid = Grid(400, 200, mpp=1.0, tile_mpp=1.0, size=64, step=64)
    >>> finest, resolution = finest_mask(np.ones((10, 20), bool), grid, mpp=2.0)
    >>> finest.shape, resolution
    ((100, 200), (2.0, 2.0))
    """
    scale = grid.mpp / max(mpp, grid.mpp)
    width, height = max(1, round(grid.width * scale)), max(1, round(grid.height * scale))
    return _enlarged(mask, width, height), (grid.width * grid.mpp / width, grid.height * grid.mpp / height)


def _enlarged(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A mask, bool, interpolated linearly and cut at one half: enlarging by pixels would draw stairs.

    As OpenCV does it, but for a few rows at a time: of a whole slide the shares alone would take a gigabyte.
    """
    shares = cv2.resize(mask.astype(np.float32), (width, len(mask)), interpolation=cv2.INTER_LINEAR)
    place = np.clip((np.arange(height) + 0.5) * (len(mask) / height) - 0.5, 0, len(mask) - 1)
    above = place.astype(int)
    below, weight = np.minimum(above + 1, len(mask) - 1), (place - above).astype(np.float32)[:, None]
    enlarged = np.empty((height, width), bool)
    for first in range(0, height, _ROWS):
        rows = slice(first, first + _ROWS)
        enlarged[rows] = shares[above[rows]] * (1 - weight[rows]) + shares[below[rows]] * weight[rows] >= 0.5
    return enlarged
