"""The grid: level-0 pixels, cells and low-resolution pixels agree, and nothing drifts."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drunet.grid import LEVEL_TOLERANCE, Grid, nearest_finer_level

MPPS = st.sampled_from([0.1, 0.23, 0.25, 0.2527, 0.499, 0.5, 1.0])


@st.composite
def grids(draw: st.DrawFn, largest: int = 6000) -> Grid:
    mpp = draw(MPPS)
    size = draw(st.sampled_from([16, 64, 100, 224]))
    return Grid(
        width=draw(st.integers(1, largest)),
        height=draw(st.integers(1, largest)),
        mpp=mpp,
        tile_mpp=draw(st.sampled_from([mpp, 1.0, 2.0, 3.3])),
        size=size,
        step=draw(st.integers(min(8, size), size)),
    )


def cells(grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    row, column = (a.ravel() for a in np.indices(grid.shape))
    return column, row


@settings(max_examples=60, deadline=None)
@given(grids())
def test_the_grid_is_the_smallest_that_covers_the_slide(grid: Grid) -> None:
    for length, count in ((grid.width, grid.columns), (grid.height, grid.rows)):
        assert count * grid.cell >= length - 1e-6
        assert count == 1 or (count - 1) * grid.cell < length + 1e-6


@pytest.mark.parametrize(
    ("width", "mpp", "tile_mpp", "step", "columns"),
    [
        (896, 0.25, 1.0, 224, 1),
        (897, 0.25, 1.0, 224, 2),
        (300, 0.1, 0.3, 10, 10),
        (21, 0.1, 0.7, 3, 1),
        (1, 1.0, 1.0, 64, 1),
    ],
)
def test_a_slide_of_whole_cells_has_no_further_column(
    width: int, mpp: float, tile_mpp: float, step: int, columns: int
) -> None:
    exact = math.ceil(Fraction(width) * Fraction(str(mpp)) / (Fraction(str(tile_mpp)) * step))
    grid = Grid(width, width, mpp, tile_mpp, step, step)
    assert grid.columns == grid.rows == columns == exact


@settings(max_examples=60, deadline=None)
@given(grids())
def test_a_tile_is_centred_on_its_cell_also_where_tiles_overlap(grid: Grid) -> None:
    column, row = cells(grid)
    x, y = grid.tile_origin(column, row)
    half = grid.size * grid.downsample / 2
    # Origins are whole pixels: half a pixel of rounding.
    assert np.abs(x + half - (column + 0.5) * grid.cell).max() <= 0.5 + 1e-6
    assert np.abs(y + half - (row + 0.5) * grid.cell).max() <= 0.5 + 1e-6


def test_overlapping_tiles_stand_out_of_their_cells_by_the_same_margin_on_all_sides() -> None:
    grid = Grid(width=1000, height=800, mpp=0.5, tile_mpp=1.0, size=64, step=32)
    assert grid.cell == 64
    x, y = grid.tile_origin(np.array([0, 3]), np.array([0, 2]))
    assert x.tolist() == [-32, 160]
    assert y.tolist() == [-32, 96]
    assert grid.tile_boxes(np.array([0, 3]), np.array([0, 2])).tolist() == [[0, 0, 96, 96], [160, 96, 288, 224]]


@settings(max_examples=60, deadline=None)
@given(grids())
def test_boxes_stay_on_the_slide_and_cover_it(grid: Grid) -> None:
    boxes = grid.tile_boxes(*cells(grid))
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= grid.width
    assert boxes[:, 3].max() <= grid.height
    assert boxes[-1, 2] >= grid.width - 0.5 - 1e-6
    assert boxes[-1, 3] >= grid.height - 0.5 - 1e-6


@settings(max_examples=40, deadline=None)
@given(grids(2000), st.integers(1, 40), st.integers(1, 40))
def test_a_laid_heatmap_shows_in_every_pixel_the_cell_under_its_centre(grid: Grid, height: int, width: int) -> None:
    assume(grid.rows * grid.columns < 40_000)
    heatmap = np.arange(grid.rows * grid.columns, dtype=np.float32).reshape(grid.shape)
    laid = grid.resample_to_slide(heatmap, (height, width))
    assert laid.shape == (height, width)
    assert laid.dtype == np.float32
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5) * grid.width / width, (i + 0.5) * grid.height / height
            # On the very border of two cells either is right.
            rows, columns = ({int((at + d) // grid.cell) for d in (-1e-6, 1e-6)} for at in (y, x))
            allowed = {float(heatmap[row, column]) for row in rows for column in columns}
            assert float(laid[i, j]) in allowed


@pytest.mark.parametrize("smooth", [False, True])
def test_nothing_drifts_on_a_grid_that_overhangs_the_slide(smooth: bool) -> None:
    # 20.1 columns and 10.02 rows: stretching the whole heatmap would move the last cells by most of a cell.
    grid = Grid(width=20 * 256 + 26, height=10 * 256 + 5, mpp=0.25, tile_mpp=1.0, size=64, step=64)
    assert grid.shape == (11, 21)
    shape = (grid.height // 8, grid.width // 8)
    for column, row in [(0, 0), (7, 3), (18, 8), (19, 9)]:
        heatmap = np.zeros(grid.shape, np.float32)
        heatmap[row, column] = 1
        laid = grid.resample_to_slide(heatmap, shape, smooth=smooth)
        down, across = np.nonzero(laid > 0.5)
        for found, cell, length, pixels in (
            (across, column, grid.width, shape[1]),
            (down, row, grid.height, shape[0]),
        ):
            scale = length / pixels
            assert found.min() * scale == pytest.approx(cell * 256, abs=256 / 4 if smooth else scale)
            assert (found.max() + 1) * scale == pytest.approx((cell + 1) * 256, abs=256 / 4 if smooth else scale)


def bilinear(heatmap: NDArray[np.float32], u: float, v: float) -> float:
    """Weighted mean of the known ones among the four cells around (u, v), in units of cells."""
    rows, columns = heatmap.shape
    total = weight = 0.0
    left, top = math.floor(u - 0.5), math.floor(v - 0.5)
    for i in (top, top + 1):
        for j in (left, left + 1):
            value = heatmap[min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)]
            w = (1 - abs(v - 0.5 - i)) * (1 - abs(u - 0.5 - j))
            if np.isfinite(value):
                total, weight = total + w * float(value), weight + w
    return total / weight


@pytest.mark.parametrize("seed", range(4))
def test_smoothing_is_bilinear_and_leaves_out_what_is_not_a_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(width=1100, height=730, mpp=0.5, tile_mpp=1.0, size=50, step=50)
    heatmap = rng.random(grid.shape).astype(np.float32)
    heatmap[rng.random(grid.shape) < 0.3] = np.nan
    shape = (61, 97)
    smooth, nearest = (grid.resample_to_slide(heatmap, shape, smooth=s) for s in (True, False))
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(nearest))
    for i, j in np.argwhere(np.isfinite(smooth)):
        u = (j + 0.5) / shape[1] * grid.width / grid.cell
        v = (i + 0.5) / shape[0] * grid.height / grid.cell
        # OpenCV may round positions to 1/32 of a cell, and a weight of at least a quarter divides that error.
        assert smooth[i, j] == pytest.approx(bilinear(heatmap, u, v), abs=0.13)
    known = np.isfinite(smooth)
    errors = [
        abs(smooth[i, j] - bilinear(heatmap, (j + 0.5) / 97 * 11, (i + 0.5) / 61 * 7.3)) for i, j in np.argwhere(known)
    ]
    assert np.mean(errors) < 0.02


def test_smoothing_keeps_a_constant_beside_unknown_cells_and_stays_in_range() -> None:
    grid = Grid(width=1000, height=1000, mpp=1.0, tile_mpp=1.0, size=100, step=100)
    heatmap = np.full(grid.shape, 0.7, np.float32)
    heatmap[3:6, 4] = np.nan
    heatmap[0, 0] = np.nan
    laid = grid.resample_to_slide(heatmap, (200, 200), smooth=True)
    np.testing.assert_allclose(laid[np.isfinite(laid)], 0.7, atol=1e-5)
    assert np.isnan(laid).sum() == 4 * 20 * 20
    assert np.isnan(grid.resample_to_slide(np.full(grid.shape, np.nan, np.float32), (5, 5), smooth=True)).all()


def test_a_heatmap_of_another_grid_is_refused() -> None:
    grid = Grid(width=1000, height=500, mpp=1.0, tile_mpp=1.0, size=100, step=100)
    with pytest.raises(ValueError, match=r"\(10, 5\)"):
        grid.resample_to_slide(np.zeros((10, 5), np.float32), (5, 5))


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"height": -1}, {"mpp": 0.0}, {"tile_mpp": -1.0}, {"size": 0}, {"step": 0}]
)
def test_a_grid_without_extent_is_refused(bad: dict[str, Any]) -> None:
    good = {"width": 10, "height": 10, "mpp": 1.0, "tile_mpp": 1.0, "size": 8, "step": 8}
    with pytest.raises(ValueError, match="positive"):
        Grid(**(good | bad))


@settings(max_examples=20, deadline=None)
@given(grids())
def test_a_grid_comes_back_from_json(grid: Grid) -> None:
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


@given(
    st.lists(st.floats(1.001, 300), max_size=8).map(lambda levels: (1.0, *sorted(levels))),
    st.floats(0.1, 400),
)
def test_the_level_chosen_is_the_coarsest_that_is_fine_enough(downsamples: tuple[float, ...], wanted: float) -> None:
    chosen = downsamples[nearest_finer_level(downsamples, wanted)]
    limit = wanted * (1 + LEVEL_TOLERANCE)
    if wanted >= 1:
        assert chosen <= limit
    else:
        assert chosen <= max(limit, 1.0)
    assert not [d for d in downsamples if chosen < d <= limit]


@pytest.mark.parametrize(
    ("downsamples", "wanted", "level"),
    [
        ((1.0, 2.00004, 4.0003, 8.0005), 4.0, 2),
        ((1.0, 2.0, 4.0007, 8.0014), 8.0, 3),
        ((1.0, 4.0003, 16.004), 16.0, 2),
        ((1.0, 4.0, 16.0), 3.0, 0),
        ((1.0, 4.0, 16.0), 15.0, 1),
        ((1.0, 4.0, 16.0), 0.5, 0),
        ((1.0,), 64.0, 0),
    ],
)
def test_the_level_is_chosen_with_a_tolerance(downsamples: tuple[float, ...], wanted: float, level: int) -> None:
    assert nearest_finer_level(downsamples, wanted) == level
