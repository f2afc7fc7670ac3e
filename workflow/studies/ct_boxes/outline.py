"""Outline of the object in a box, along its strongest edges.

Source: D. Pravdyvets, master's thesis (UOC 2023), section 3.2, which names Sobel's edge detector only: how edges become
an outline, and which are too faint, is chosen here.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Polygon

from drunet.annotation.outline import outline
from studies.ct_boxes import geometry

# Response of Sobel's 3x3 kernel to an edge of one grey level.
_PER_LEVEL = 4.0
_BLUR = 1.0  # px, standard deviation of the Gaussian against noise
_LEAST_STEP = 8.0  # grey levels of the strongest edge
_CLOSE = 3  # px, side of the square that closes gaps
_LEAST_SHARE = 0.02  # of the box; what is smaller is a vessel or noise, and the box is not about it
_LEAST_SIDE = 5  # px, below which a box holds no edge that its own sides are not


def sobel_magnitude(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient of an image, float32 (h, w), in grey levels of a sharp, straight edge."""
    across, down = (
        cv2.Sobel(grey, cv2.CV_32F, *way, ksize=3, borderType=cv2.BORDER_REPLICATE) for way in ((1, 0), (0, 1))
    )
    return np.asarray(np.hypot(across, down) / _PER_LEVEL, dtype=np.float32)


def sobel_outline(image: NDArray[np.uint8], box: ArrayLike) -> Polygon | None:
    """Outline of the area that the strongest edges in a box enclose.

    Pixels whose gradient is above Otsu's threshold are edges; gaps are closed; the largest enclosed piece counts, up to
    the middle of its edges, which are several pixels wide. Where edges enclose almost nothing, the object extends
    beyond the box: then the box's sides are edges too, and the piece in the middle counts.

    `image`: uint8 (h, w). `box`: (4,), px. Returns a polygon in px of the image, its edges at whole numbers, without
    holes; None where the box has less than 5 px a side in the image, edges fainter than 8 grey levels, or less than a
    fiftieth of its area enclosed.
    """
    height, width = image.shape
    x0, y0, x1, y1 = geometry.clip(box, width, height)[0]
    if not np.isfinite([x0, y0, x1, y1]).all():
        return None
    left, top, right, bottom = (int(v) for v in (np.floor(x0), np.floor(y0), np.ceil(x1), np.ceil(y1)))
    if right - left < _LEAST_SIDE or bottom - top < _LEAST_SIDE:
        return None
    # Of the whole picture, cut afterwards: the box's own sides are no edges.
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    gradient = sobel_magnitude(np.asarray(blurred, dtype=np.float32))[top:bottom, left:right]
    strongest = float(gradient.max())
    if strongest < _LEAST_STEP:
        return None
    levels = np.rint(gradient * (255 / strongest)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    inside = _surrounded(levels > threshold)
    if inside.mean() < _LEAST_SHARE:
        inside = _surrounded(levels > threshold, sides=True)
    if inside.mean() < _LEAST_SHARE:
        return None
    largest = max(outline(inside).geoms, key=lambda piece: piece.area)
    # Less than a pixel takes out the stairs.
    smooth = Polygon(largest.exterior).simplify(0.75)
    return Polygon(np.asarray(smooth.exterior.coords) + (left, top))


def _surrounded(edges: NDArray[np.bool_], sides: bool = False) -> NDArray[np.bool_]:
    """Area that edges enclose, up to their middle; with `sides`, the box's sides count too, and the middle piece."""
    # A margin: what is outside must be one piece, and closing must not stop at the border.
    margin = _CLOSE + 1
    if sides:
        edges = np.pad(edges[1:-1, 1:-1], 1, constant_values=True)
    padded = np.pad(edges, margin).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros_like(edges)
    whole = cv2.drawContours(np.zeros_like(closed), [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    holes = (whole > 0) & (closed == 0)
    hole, outside = holes, whole == 0
    if sides:
        _, pieces = cv2.connectedComponents(holes.astype(np.uint8), connectivity=4)
        hole = holes & (pieces == pieces[pieces.shape[0] // 2, pieces.shape[1] // 2])
        outside = outside | (holes & ~hole)
    if not hole.any():
        return np.zeros_like(edges)
    inside = (whole > 0) & (_distance(~hole) <= _distance(~outside))
    return np.asarray(inside[margin:-margin, margin:-margin], dtype=bool)


def _distance(away: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest that is not `away`, px."""
    return np.asarray(
        cv2.distanceTransform(away.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32
    )
