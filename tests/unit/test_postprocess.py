from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from drunet.components import filter_components
from drunet.grid import Grid, square_to_slide
from drunet.postprocess import _enlarged, finest_mask, min_fragment_um2, segment, segment_slide
from drunet.settings.postprocess import PostprocessSettings

EIGHT = np.ones((3, 3), bool)
BARE: dict[str, Any] = {"opening_px": 0, "median_px": 0}
SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))["postprocess"]
SHIPPED |= {"opening_um": None, "median_um": None}  # kernels are in px, but where a test says µm


def cleaning(**changes: object) -> PostprocessSettings:
    return PostprocessSettings.of({**SHIPPED, **changes}, "postprocess")


PAPER = cleaning(threshold=0.5, opening_px=7, median_px=11)


def blobs(seed: int, shape: tuple[int, int] = (90, 120), sigma: float = 4) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return (0.5 + noise / np.abs(noise).max()).clip(0, 1).astype(np.float32)


def everywhere(field: np.ndarray) -> np.ndarray:
    return np.ones(field.shape, bool)


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_a_pixel_at_the_threshold_is_tumour_and_one_not_looked_at_is_not() -> None:
    field = np.array([[0.49999, 0.5, 0.50001, np.nan]], np.float32)
    assert segment(field, everywhere(field), **BARE).tolist() == [[False, True, True, False]]
    assert segment(field, everywhere(field), threshold=0.0, **BARE).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("side", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_opening_is_that_of_scipy(side: int, seed: int) -> None:
    field = blobs(seed)
    # Beyond the picture counts as tumour for the erosion: a tumour at the border is not eaten from outside.
    square = np.ones((side, side), bool)
    eroded = ndimage.binary_erosion(field >= 0.5, square, border_value=1)
    expected = ndimage.binary_dilation(eroded, square)
    opened = segment(field, everywhere(field), opening_px=side, median_px=0)
    inner = (slice(side, -side), slice(side, -side))
    np.testing.assert_array_equal(opened[inner], expected[inner])
    assert not (opened & (field < 0.5)).any(), "an opening adds nothing"
    assert 0 < opened.sum() < (field >= 0.5).sum()


@pytest.mark.parametrize("side", [3, 5, 11])
def test_the_median_is_that_of_scipy(side: int) -> None:
    field = blobs(2, sigma=2)
    expected = ndimage.median_filter((field >= 0.5).astype(np.uint8), side, mode="nearest") > 0
    np.testing.assert_array_equal(segment(field, everywhere(field), opening_px=0, median_px=side), expected)


def test_the_median_has_an_odd_side() -> None:
    field = blobs(3)
    with pytest.raises(ValueError, match="odd side, not 4"):
        segment(field, everywhere(field), median_px=4)


@pytest.mark.parametrize("smallest", [0, 1, 2, 9, 9.5, 40])
def test_fragments_are_removed_below_the_threshold_and_kept_at_it(smallest: float) -> None:
    mask = blobs(4, sigma=1.2) >= 0.62
    labels, count = ndimage.label(mask, EIGHT)
    area = ndimage.sum_labels(mask, labels, range(1, count + 1))
    expected = np.isin(labels, 1 + np.flatnonzero(area >= smallest)) & mask
    np.testing.assert_array_equal(filter_components(mask, min_area=smallest), expected)
    assert {1, 9} <= set(area.astype(int)), "the example must have fragments at the thresholds"


def test_corners_hold_a_fragment_together() -> None:
    diagonal = np.eye(6, dtype=bool)
    assert filter_components(diagonal, min_area=6).sum() == 6 and not filter_components(diagonal, min_area=7).any()


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    opening=st.integers(0, 8),
    median=st.sampled_from([0, 1, 3, 7, 11]),
    smallest=st.integers(0, 12),
)
def test_nothing_outside_tissue_becomes_tumour_and_no_small_fragment_is_left(
    data: st.DataObject, shape: tuple[int, int], opening: int, median: int, smallest: int
) -> None:
    field = data.draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([0, 0.4, 0.6, 1, np.nan])))
    tissue = data.draw(hnp.arrays(bool, shape))
    mask = segment(field, tissue, min_fragment_px=smallest, opening_px=opening, median_px=median)
    assert mask.dtype == bool and mask.shape == shape
    assert not (mask & ~tissue).any()
    labels, count = ndimage.label(mask, EIGHT)
    assert count == 0 or np.bincount(labels.ravel())[1:].min() >= smallest


def test_a_clean_shape_stays_as_it_is() -> None:
    shape = disc((120, 160), 60, 60, 35) | disc((120, 160), 55, 125, 22)
    once = segment(shape.astype(np.float32), everywhere(shape), min_fragment_px=50)
    twice = segment(once.astype(np.float32), everywhere(shape), min_fragment_px=50)
    for cleaned in (once, twice):
        assert np.count_nonzero(cleaned ^ shape) < 0.03 * shape.sum()
    # A straight edge has no curvature that a median could take: it stays to the pixel.
    rows, columns = np.indices((80, 100))
    for half in (columns < 47, rows >= 30, columns + rows < 90):
        straight = segment(half.astype(np.float32), everywhere(half), min_fragment_px=50)
        np.testing.assert_array_equal(straight[10:-10, 10:-10], half[10:-10, 10:-10])


def test_specks_bridges_and_teeth_are_smoothed_away() -> None:
    body = np.zeros((100, 140), bool)
    body[20:80, 10:60], body[20:80, 80:130] = True, True
    rough = body.copy()
    rough[50:53, 60:80] = True  # a bridge of 3 px
    rough[5:8, 70:73] = True  # a speck
    clean = segment(rough.astype(np.float32), everywhere(rough))
    assert not clean[:, 62:78].any()
    assert ndimage.label(clean, EIGHT)[1] == 2
    assert np.count_nonzero(clean ^ body) < 0.02 * body.sum()


def test_fragments_too_small_are_gone_before_smoothing_could_join_them() -> None:
    pair = np.zeros((60, 80), bool)
    pair[20:40, 15:35] = pair[20:40, 38:58] = True  # 400 px each, 3 px apart
    joined = segment(pair.astype(np.float32), everywhere(pair), min_fragment_px=300)
    assert ndimage.label(joined, EIGHT)[1] == 1 and joined.sum() > 500
    assert not segment(pair.astype(np.float32), everywhere(pair), min_fragment_px=500).any()


def test_what_smoothing_cuts_off_goes_if_it_is_too_small() -> None:
    dumbbell = np.zeros((60, 100), bool)
    dumbbell[10:50, 10:50] = dumbbell[22:38, 70:86] = True  # 1600 and 256 px
    dumbbell[29:32, 50:70] = True  # a waist of 3 px
    both = segment(dumbbell.astype(np.float32), everywhere(dumbbell))
    assert ndimage.label(both, EIGHT)[1] == 2
    alone = segment(dumbbell.astype(np.float32), everywhere(dumbbell), min_fragment_px=300)
    np.testing.assert_array_equal(alone, both & (np.indices(both.shape)[1] < 60))


def test_smoothing_does_not_close_a_slit_of_glass() -> None:
    tissue = np.ones((50, 60), bool)
    tissue[:, 30] = False
    np.testing.assert_array_equal(segment(np.ones((50, 60), np.float32), tissue), tissue)


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ValueError, match=r"probability is \(3, 4\), tissue \(4, 3\)"):
        segment(np.zeros((3, 4), np.float32), np.zeros((4, 3), bool))


def test_the_smallest_fragment_is_the_configured_then_the_annotated_then_a_cell() -> None:
    grid = Grid(1000, 1000, 0.25, 1.0, 64, 32)
    assert min_fragment_um2(12.5, {"smallest_tumour_um2": 900.0}, grid) == 12.5
    assert min_fragment_um2(0.0, {"smallest_tumour_um2": 900.0}, grid) == 0
    assert min_fragment_um2(None, {"smallest_tumour_um2": 900.0}, grid) == 900
    assert min_fragment_um2(None, {"smallest_tumour_um2": None}, grid) == 32 * 32
    assert min_fragment_um2(None, {}, grid) == 32 * 32


@pytest.mark.parametrize(("width", "height"), [(8000, 4000), (4000, 8000)])
def test_a_circle_stays_a_circle_on_a_slide_that_is_no_square(width: int, height: int) -> None:
    grid = Grid(width, height, 0.5, 1.0, 64, 64)
    side, radius_um = 256, 600.0
    # On the stretched square a circle of the slide is an ellipse.
    rows, columns = (np.indices((side, side)) + 0.5) / side
    y_um, x_um = rows * height * 0.5, columns * width * 0.5
    inside = np.hypot(y_um - height * 0.25, x_um - width * 0.25) <= radius_um
    square = inside.astype(np.float32)
    mask = segment_slide(square, np.ones((50, 100), bool), grid, 0.0, PAPER)
    assert mask.shape == ((128, 256) if width > height else (256, 128))
    um = 4000 / 256  # of a pixel, on both axes
    high, wide = (np.count_nonzero(mask.any(axis)) * um for axis in (1, 0))
    assert high == pytest.approx(2 * radius_um, abs=3 * um) and wide == pytest.approx(2 * radius_um, abs=3 * um)
    assert mask.sum() * um**2 == pytest.approx(np.pi * radius_um**2, rel=0.03)


def test_the_smallest_fragment_is_measured_in_square_micrometres() -> None:
    grid = Grid(8000, 4000, 0.5, 1.0, 64, 64)
    square = np.zeros((256, 256), np.float32)
    square[100:140, 100:120] = 1.0  # 20 x 20 px of 15.625 µm on the slide: 97,656 µm²
    tissue = np.ones((64, 128), bool)
    bare = cleaning(opening_px=0, median_px=0)
    assert segment_slide(square, tissue, grid, 90_000, bare).any()
    assert not segment_slide(square, tissue, grid, 105_000, bare).any()


def test_glass_on_a_coarser_tissue_mask_cuts_a_segmentation() -> None:
    grid = Grid(8000, 4000, 0.5, 1.0, 64, 64)
    tissue = np.zeros((25, 50), bool)
    tissue[:, 25:] = True
    mask = segment_slide(np.ones((256, 256), np.float32), tissue, grid, 0.0, PAPER)
    assert not mask[:, :128].any() and mask[:, 128:].all()


def test_the_longer_side_keeps_its_pixels() -> None:
    assert square_to_slide(100, Grid(3000, 1000, 1, 1, 8, 8)) == (33, 100)
    assert square_to_slide(100, Grid(10, 10_000, 1, 1, 8, 8)) == (100, 1)


def test_the_finest_mask_has_the_resolution_asked_for_but_none_finer_than_the_slide() -> None:
    grid = Grid(4001, 2000, 0.5, 1.0, 64, 64)
    coarse = disc((128, 256), 64, 128, 40)
    fine, resolution = finest_mask(coarse, grid, 2.0)
    assert fine.shape == (500, 1000) and fine.dtype == bool
    assert resolution == pytest.approx((4001 * 0.5 / 1000, 2.0))
    assert fine.mean() == pytest.approx(coarse.mean(), rel=0.01)
    assert finest_mask(coarse, grid, 0.1)[0].shape == (2000, 4001)


def test_kernels_in_micrometres_do_the_same_to_a_biopsy_and_to_a_resection() -> None:
    """A bridge of 40 µm is opened away by a kernel of 60 µm on either slide; in pixels only on one of them."""
    kept = {}
    for name, side_um in (("biopsy", 1000), ("resection", 8000)):
        grid = Grid(side_um * 2, side_um * 2, 0.5, 1.0, 64, 64)
        pixel = side_um / 500
        field = np.zeros((500, 500), np.float32)
        middle = round(500 / pixel)
        for x in (200, 800):
            field[round(300 / pixel) : round(700 / pixel), round((x - 150) / pixel) : round((x + 150) / pixel)] = 1
        half = max(1, round(20 / pixel))
        field[middle - half : middle + half, round(300 / pixel) : round(700 / pixel)] = 1
        for kernel in ({"opening_um": 60.0}, {"opening_px": 7}):
            settings = cleaning(**{"median_px": 0, "opening_px": 0, **kernel})
            mask = segment_slide(field, np.ones((10, 10), bool), grid, 0.0, settings)
            kept[name, next(iter(kernel))] = ndimage.label(mask)[1]
    assert kept["biopsy", "opening_um"] == kept["resection", "opening_um"] == 2
    assert kept["biopsy", "opening_px"] == 1 and kept["resection", "opening_px"] == 2


def test_the_probability_is_averaged_over_the_tissue_alone_before_the_threshold() -> None:
    """Beside SciPy's Gaussian, as an average weighted by what is tissue and was looked at."""
    grid = Grid(4000, 4000, 0.5, 1.0, 64, 64)  # 250 px over 2 mm: 8 µm a pixel
    field = blobs(7, (250, 250), 3)
    field[100:120, 40:60] = np.nan
    tissue = disc(field.shape, 120, 120, 90)
    seen = tissue & np.isfinite(field)
    over, weight = (
        ndimage.gaussian_filter(each, 3.0, mode="mirror") for each in (np.where(seen, field, 0), seen.astype(float))
    )
    expected = seen & (over >= 0.5 * weight)
    bare = {"opening_um": 0.0, "median_um": 0.0}
    found = segment_slide(field, tissue, grid, 0.0, cleaning(**bare, smoothing_um=24.0))
    # OpenCV's kernel ends at four sigma rounded otherwise than SciPy's.
    assert (found != expected).mean() < 0.001 and (
        found != segment_slide(field, tissue, grid, 0.0, cleaning(**bare))
    ).any()
    # What is the same everywhere stays so up to the edge of the tissue.
    even = np.where(seen, 0.6, np.nan).astype(np.float32)
    np.testing.assert_array_equal(
        segment_slide(even, tissue, grid, 0.0, cleaning(**bare, smoothing_um=200.0, threshold=0.59)), seen
    )


@pytest.mark.parametrize(("um", "side"), [(0.0, 0), (9.0, 0), (24.0, 3), (47.0, 5), (49.0, 7), (56.0, 7)])
def test_a_kernel_in_micrometres_has_the_nearest_odd_side(um: float, side: int) -> None:
    grid = Grid(4000, 4000, 0.5, 1.0, 64, 64)  # 250 px over 2 mm: 8 µm a pixel
    noise = np.random.default_rng(4).random((250, 250)).astype(np.float32)
    tissue = np.ones((250, 250), bool)
    found = segment_slide(noise, tissue, grid, 0.0, cleaning(opening_px=0, median_um=um, threshold=0.4))
    expected = segment(noise, tissue, threshold=0.4, opening_px=0, median_px=side)
    np.testing.assert_array_equal(found, expected)


def test_the_median_can_come_before_the_opening() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(5).random((120, 120)), 1.5).astype(np.float32)
    everything, threshold = np.ones(noise.shape, bool), float(np.median(noise))
    first = noise >= threshold
    by_median = ndimage.median_filter(first.astype(np.uint8), 5, mode="nearest") > 0
    opened = ndimage.binary_dilation(
        ndimage.binary_erosion(by_median, np.ones((3, 3)), border_value=1), np.ones((3, 3))
    )
    found = segment(noise, everything, threshold=threshold, opening_px=3, median_px=5, median_first=True)
    np.testing.assert_array_equal(found, opened)
    assert (found != segment(noise, everything, threshold=threshold, opening_px=3, median_px=5)).any()


def test_what_lies_outside_the_tissue_stays_where_the_paper_leaves_it() -> None:
    grid, nowhere = Grid(8000, 4000, 0.5, 1.0, 64, 64), np.zeros((25, 50), bool)
    everywhere_tumour = np.ones((128, 256), np.float32)
    assert segment_slide(everywhere_tumour, nowhere, grid, 0.0, cleaning(within_tissue=False)).all()
    assert not segment_slide(everywhere_tumour, nowhere, grid, 0.0, PAPER).any()


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factor=st.tuples(st.floats(0.4, 40.0), st.floats(0.4, 40.0)),
    seed=st.integers(0, 999),
)
def test_a_mask_is_enlarged_in_strips_as_opencv_enlarges_all_of_it(
    size: tuple[int, int], factor: tuple[float, float], seed: int
) -> None:
    mask = np.random.default_rng(seed).random(size) > 0.5
    height, width = (max(1, round(side * by)) for side, by in zip(size, factor, strict=True))
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    # Where both sides of the edge are as near, the last digit decides.
    decided = np.abs(share - 0.5) > 1e-4
    assert np.array_equal(_enlarged(mask, width, height)[decided], share[decided] > 0.5)
