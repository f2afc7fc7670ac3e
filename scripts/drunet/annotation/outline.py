"""Masks to polygons: the inverse of `rasterise`."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon


def outline(mask: NDArray[np.bool_], scale_x: float = 1.0, scale_y: float = 1.0) -> MultiPolygon:
    """Trace a mask, bool (h, w), along the edges of its pixels.

    Every row's runs are boxes, and their union is the outline: exact in area, valid, holes included, which contours
    through pixel centres are not. Pixel (row, column) covers [column, column + 1] × [row, row + 1]; `scale_x` and
    `scale_y` are level-0 pixels per mask pixel. The result, in level-0 pixels, is empty for an empty mask, and its area
    is ``mask.sum() * scale_x * scale_y``.

    Examples
    --------
    >>> outline(np.array([[0, 1, 1], [0, 1, 1]], bool), scale_x=4.0, scale_y=4.0).bounds
    (4.0, 0.0, 12.0, 8.0)
    """
    padded = np.pad(np.asarray(mask, dtype=bool), ((0, 0), (1, 1)))
    steps = np.diff(padded.astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    stops = np.nonzero(steps == -1)[1]
    boxes = shapely.box(starts, rows, stops, rows + 1)
    # In whole pixels first: integer coordinates meet exactly, scaled ones might not.
    merged = shapely.simplify(shapely.union_all(boxes), 0)
    scaled = shapely.transform(merged, lambda xy: xy * (scale_x, scale_y))
    return polygons_of(scaled)


def polygons_of(geometry: shapely.Geometry) -> MultiPolygon:
    """Keep what has an area of any geometry, as one MultiPolygon (empty where nothing has)."""
    parts = shapely.get_parts(geometry)
    while any(part.geom_type not in ("Polygon", "LineString", "Point") for part in parts):
        parts = shapely.get_parts(parts)
    return MultiPolygon([part for part in parts if isinstance(part, Polygon) and part.area > 0])
