"""Polygons to masks."""

import numpy as np
import shapely
from numpy.typing import NDArray

from drunet.annotation.outline import polygons_of
from drunet.annotation.region import Annotation


def rasterise(geometry: shapely.Geometry, shape: tuple[int, int], *, slide_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Paint polygons into a mask that covers the whole slide: bool (rows, columns).

    A pixel is set if its centre is inside, by the even-odd rule along each row (scan-line conversion; Foley et al.,
    Computer Graphics, ch. 3). Unlike drawing routines that take every touched pixel, areas stay unbiased at any scale.
    `geometry` is a valid Polygon, MultiPolygon or nothing, in level-0 pixels, whose holes are left out; the mask of
    `shape` (rows, columns) is stretched over the slide of `slide_size` (width, height) in level-0 pixels.

    >>> rasterise(shapely.box(20, 0, 40, 10), (2, 4), slide_size=(40, 20)).astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 0, 0]])
    """
    rows, columns = shape
    width, height = slide_size
    if min(rows, columns, width, height) <= 0:
        raise ValueError(f"sizes must be positive, got mask {shape} and slide {slide_size}")
    mask = np.zeros(shape, dtype=bool)
    if geometry.is_empty:
        return mask
    # In units in which pixel centres are whole numbers.
    edges = _edges(geometry) * (columns / width, rows / height) - 0.5
    upper = edges[:, 0, 1] <= edges[:, 1, 1]
    top = np.where(upper[:, None], edges[:, 0], edges[:, 1])
    bottom = np.where(upper[:, None], edges[:, 1], edges[:, 0])
    # Half open, top <= row < bottom: a corner on a row is counted once.
    first = np.clip(np.ceil(top[:, 1]), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(bottom[:, 1]), 0, rows).astype(np.int64)
    counts = np.maximum(last - first, 0)
    if not counts.any():
        return mask
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (bottom[edge, 0] - top[edge, 0]) / (bottom[edge, 1] - top[edge, 1])
    crossing = top[edge, 0] + (row - top[edge, 1]) * slope
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    # Only the rows that are crossed, so that a small region on a large mask costs little.
    start, stop = int(row.min()), int(row.max()) + 1
    cells, times = np.unique((row - start) * (columns + 1) + column, return_counts=True)
    odd = np.zeros((stop - start, columns + 1), dtype=bool)
    odd.flat[cells[times % 2 == 1]] = True
    np.logical_xor.accumulate(odd, axis=1, out=odd)
    mask[start:stop] = odd[:, :columns]
    return mask


def measured_region(
    annotation: Annotation, truth: NDArray[np.bool_], *, slide_size: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Where an annotation says what is right and what is wrong: bool (rows, columns), or None for everywhere.

    Of a partial annotation these are the marked regions, of a whole one all but what is to be ignored. `truth` is its
    tumour, bool (rows, columns) from `rasterise`; `slide_size` is (width, height) in level-0 pixels.
    """
    if annotation.kind == "psa":
        return truth | rasterise(annotation.non_tumour, truth.shape, slide_size=slide_size)
    if annotation.ignore.is_empty:
        return None
    return ~rasterise(annotation.ignore, truth.shape, slide_size=slide_size)


def _edges(geometry: shapely.Geometry) -> NDArray[np.float64]:
    """All ring edges as (n, 2 ends, 2 coordinates)."""
    rings = shapely.get_rings(polygons_of(geometry).geoms)
    ends = [shapely.get_coordinates(ring) for ring in rings]
    return np.concatenate([np.stack([xy[:-1], xy[1:]], axis=1) for xy in ends])
