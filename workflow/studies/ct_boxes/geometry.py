"""Boxes as rows of float64 (n, 4): xmin, ymin, xmax, ymax.

Coordinates are continuous: those of the edges of pixels, so that a box that covers a picture of 512 px is
(0, 0, 512, 512), and the area of a box is (xmax - xmin)(ymax - ymin). A box whose edges are swapped, fall together or
are no numbers, which a regressor is free to answer, has no area.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

COORDINATES = ("xmin", "ymin", "xmax", "ymax")

Boxes = NDArray[np.float64]


def as_boxes(values: ArrayLike) -> Boxes:
    """Boxes (n, 4) of anything that has four columns, or of a single box."""
    return np.atleast_2d(np.asarray(values, dtype=np.float64))


def area(boxes: ArrayLike) -> NDArray[np.float64]:
    """Areas (n,), in squared units of the coordinates; 0 where edges are swapped or no numbers."""
    x0, y0, x1, y1 = as_boxes(boxes).T
    sides = np.stack([x1 - x0, y1 - y0])
    return np.where(np.isfinite(sides).all(axis=0) & (sides > 0).all(axis=0), sides.prod(axis=0), 0.0)


def iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union (n,) of each box with the one in the same row; 0 where one of the two has no area.

    Boxes are neither ordered nor clipped first: one with swapped edges has no area, and the part outside the image
    counts in the union, as published.
    """
    a, b = as_boxes(first), as_boxes(second)
    areas = area(a), area(b)
    common = area(np.column_stack([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])]))
    there = (areas[0] > 0) & (areas[1] > 0)
    common = np.where(there, common, 0.0)
    union = areas[0] + areas[1] - common
    return np.divide(common, union, out=np.zeros(len(a)), where=there)


def clip(boxes: ArrayLike, width: float, height: float) -> Boxes:
    """Boxes cut off at the sides of the picture; one that lies outside has no area."""
    return np.clip(as_boxes(boxes), 0.0, (width, height, width, height))


def mirror(boxes: ArrayLike, width: float) -> Boxes:
    """Boxes on a picture that is mirrored left to right."""
    x0, y0, x1, y1 = as_boxes(boxes).T
    return np.column_stack([width - x1, y0, width - x0, y1])
