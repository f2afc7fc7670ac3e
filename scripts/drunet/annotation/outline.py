"""Masks to polygons: the inverse of `rasterise`."""

from collections.abc import Sequence

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

# Up to so many runs a union is quick; its time grows faster than they do.
UNITED_RUNS = 20_000


def outline(mask: NDArray[np.bool_], scale_x: float = 1.0, scale_y: float = 1.0) -> MultiPolygon:
    """Trace a mask, bool (h, w), along the edges of its pixels.

    Every row's runs are boxes, and their union is the outline: exact in area, valid, holes included, which contours
    through pixel centres are not. With many runs the same outline is made by walking along the edges. Pixel (row,
    column) covers [column, column + 1] × [row, row + 1]; `scale_x` and `scale_y` are level-0 pixels per mask pixel. The
    result, in level-0 pixels, is empty for an empty mask, and its area is ``mask.sum() * scale_x * scale_y``.

    >>> outline(np.array([[0, 1, 1], [0, 1, 1]], bool), scale_x=4.0, scale_y=4.0).bounds
    (4.0, 0.0, 12.0, 8.0)
    """
    padded = np.pad(np.asarray(mask, dtype=bool), ((0, 0), (1, 1)))
    steps = np.diff(padded.astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    stops = np.nonzero(steps == -1)[1]
    if len(rows) > UNITED_RUNS:
        return shapely.transform(_traced(mask), lambda xy: xy * (scale_x, scale_y))
    boxes = shapely.box(starts, rows, stops, rows + 1)
    # In whole pixels first: integer coordinates meet exactly, scaled ones might not.
    merged = shapely.simplify(shapely.union_all(boxes), 0)
    scaled = shapely.transform(merged, lambda xy: xy * (scale_x, scale_y))
    return polygons_of(scaled)


def _traced(mask: NDArray[np.bool_]) -> MultiPolygon:
    """The outline in mask pixels, in time that grows with its length.

    Every side of a pixel that borders on the outside is an edge with the inside on its right. Where two pixels meet at
    a corner alone, walks turn right, so that such pixels stay apart; a walk that comes to a corner twice is two rings.
    """
    start, end, heading, pixel = _edges(np.asarray(mask, bool))
    order = np.argsort(start, kind="stable")
    start, end, heading, pixel = start[order], end[order], heading[order], pixel[order]
    following = np.searchsorted(start, end)
    double = np.append(start[1:] == start[:-1], False)
    fork = double[following]
    following += fork & (heading[following] != (heading + 1) % 4)
    rings = _walks(following.tolist(), (double | np.roll(double, 1)).tolist(), start.tolist())
    edge = np.array([e for ring in rings for e in ring])
    number = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    first = np.flatnonzero(np.diff(number, prepend=-1))
    # Corners are where the heading changes; the edge before a ring's first is its last.
    before = np.arange(-1, len(edge) - 1)
    before[first] = np.append(first[1:], len(edge)) - 1
    turns = heading[edge] != heading[edge[before]]
    part = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].ravel()[pixel[edge[first]]]
    corner, number = edge[turns], number[turns]
    x, y = start[corner] % (mask.shape[1] + 1), start[corner] // (mask.shape[1] + 1)
    linear = shapely.linearrings(x.astype(float), y.astype(float), indices=number)
    order = np.lexsort((-shapely.area(shapely.polygons(linear)), part))
    # Of the rings of one part the largest is its outside.
    return MultiPolygon(list(shapely.polygons(linear[order], indices=part[order] - 1)))


def _edges(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Sides of pixels at the outside: corner of start and end, heading (east, south, west, north), pixel, all (n,)."""
    height, width = mask.shape
    across = width + 1
    found = []
    for heading, (dy, dx) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
        inner = np.zeros_like(mask)
        rows, columns = (slice(max(0, -d), n - max(0, d)) for d, n in ((dy, height), (dx, width)))
        inner[rows, columns] = mask[rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
        y, x = np.nonzero(mask & ~inner)
        # Clockwise around the pixel: the corner where its side begins, and where it ends.
        sy, sx = ((0, 0), (0, 1), (1, 1), (1, 0))[heading]
        ey, ex = ((0, 1), (1, 1), (1, 0), (0, 0))[heading]
        start, end = (y + sy) * across + x + sx, (y + ey) * across + x + ex
        found.append([start, end, np.full(len(y), heading), y * width + x])
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _walks(following: list[int], shared: list[bool], start: list[int]) -> list[list[int]]:
    """Rings of edges; `shared` says at which edges a corner begins that two walks come to."""
    rings: list[list[int]] = []
    done = [False] * len(following)
    for first in range(len(following)):
        if done[first]:
            continue
        path: list[int] = []
        place: dict[int, int] = {}
        edge = first
        while not done[edge]:
            done[edge] = True
            if shared[edge]:
                corner = start[edge]
                if corner in place:
                    rings.append(path[place[corner] :])
                    for e in rings[-1]:
                        if shared[e]:
                            place.pop(start[e], None)
                    del path[len(path) - len(rings[-1]) :]
                place[corner] = len(path)
            path.append(edge)
            edge = following[edge]
        rings.append(path)
    return rings


def united(areas: Sequence[shapely.Geometry]) -> MultiPolygon:
    """Union of areas. What does not meet is united apart: one union of thousands would take time by their square."""
    return polygons_of(shapely.disjoint_subset_union_all(np.array(areas, object)))


def polygons_of(geometry: shapely.Geometry) -> MultiPolygon:
    """Keep what has an area of any geometry, as one MultiPolygon (empty where nothing has)."""
    parts = shapely.get_parts(geometry)
    while any(part.geom_type not in ("Polygon", "LineString", "Point") for part in parts):
        parts = shapely.get_parts(parts)
    return MultiPolygon([part for part in parts if isinstance(part, Polygon) and part.area > 0])
