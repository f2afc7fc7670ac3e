"""Scores against scikit-learn, SciPy, distance transforms and cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial.distance import directed_hausdorff
from sklearn import metrics as sk

from drunet.metrics import area_under_roc, segmentation_scores, summarise, tile_scores


def blobs(seed: int, shape: tuple[int, int] = (40, 57)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    for _ in range(3):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        mask[y : y + rng.integers(4, 16), x : x + rng.integers(4, 20)] = True
    return mask


def edge(mask: np.ndarray) -> np.ndarray:
    """Boundary by SciPy's own erosion with a cross."""
    return mask & ~binary_erosion(mask)


@pytest.mark.parametrize("seed", range(6))
def test_overlap_agrees_with_scikit_learn(seed: int) -> None:
    predicted, truth = blobs(seed), blobs(seed + 100)
    scores = segmentation_scores(predicted, truth, mpp=4.0)
    flat = truth.ravel(), predicted.ravel()
    assert scores.dsc == pytest.approx(sk.f1_score(*flat))
    assert scores.iou == pytest.approx(sk.jaccard_score(*flat))
    assert scores.precision == pytest.approx(sk.precision_score(*flat))
    assert scores.recall == pytest.approx(sk.recall_score(*flat))


@pytest.mark.parametrize("seed", range(6))
def test_the_hausdorff_distance_agrees_with_scipy(seed: int) -> None:
    predicted, truth = blobs(seed), blobs(seed + 100)
    a, b = np.argwhere(edge(predicted)), np.argwhere(edge(truth))
    expected = 4.0 * max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert segmentation_scores(predicted, truth, mpp=4.0).hd_um == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
def test_the_95th_percentile_agrees_with_distance_transforms_on_oblong_pixels(seed: int) -> None:
    predicted, truth, mpp = blobs(seed), blobs(seed + 100), (2.0, 3.5)
    a, b = edge(predicted), edge(truth)
    there = distance_transform_edt(~b, sampling=mpp)[a]
    back = distance_transform_edt(~a, sampling=mpp)[b]
    scores = segmentation_scores(predicted, truth, mpp=mpp)
    assert scores.hd95_um == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert scores.hd_um == pytest.approx(max(there.max(), back.max()))


def test_a_square_moved_sideways_is_as_far_off_as_it_moved() -> None:
    truth, predicted = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[5:15, 5:15] = predicted[5:15, 8:18] = True
    scores = segmentation_scores(predicted, truth, mpp=2.0)
    assert scores.hd_um == pytest.approx(3 * 2.0)
    assert scores.dsc == pytest.approx(2 * 70 / 200)
    assert scores.iou == pytest.approx(70 / 130)


def test_distances_run_between_boundaries_and_not_between_areas() -> None:
    truth, predicted = np.zeros((31, 31), bool), np.zeros((31, 31), bool)
    truth[5:26, 5:26] = True
    predicted[5:26, 5:26] = True
    predicted[15, 15] = False  # a hole's rim is ten pixels from the truth's boundary, though inside its area
    assert segmentation_scores(predicted, truth, mpp=1.0).hd_um == pytest.approx(9.0)


NAN = math.nan
EMPTY, SOME = np.zeros((8, 8), bool), np.pad(np.ones((2, 2), bool), 3)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (EMPTY, EMPTY, (1, 1, 0, 0, NAN, NAN)),
        (SOME, EMPTY, (0, 0, NAN, NAN, 0, NAN)),
        (EMPTY, SOME, (0, 0, NAN, NAN, NAN, 0)),
        (SOME, SOME, (1, 1, 0, 0, 1, 1)),
    ],
)
def test_empty_masks_score_as_the_table_says(
    predicted: np.ndarray, truth: np.ndarray, expected: tuple[float, ...]
) -> None:
    scores = segmentation_scores(predicted, truth, mpp=1.0)._asdict()
    assert list(scores) == ["dsc", "iou", "hd_um", "hd95_um", "precision", "recall"]
    np.testing.assert_array_equal(list(scores.values()), expected)


def test_outside_the_annotated_region_nothing_counts() -> None:
    predicted, truth = blobs(1), blobs(2)
    region = np.zeros_like(truth)
    region[:, :30] = True
    scores = segmentation_scores(predicted, truth, mpp=1.0, region=region)
    assert scores.dsc == pytest.approx(sk.f1_score(truth[region], predicted[region]))
    assert math.isnan(scores.hd_um) and math.isnan(scores.hd95_um)
    changed = segmentation_scores(predicted ^ ~region, truth, mpp=1.0, region=region)
    assert changed._asdict() == pytest.approx(scores._asdict(), nan_ok=True)


def test_an_empty_region_leaves_nothing_defined() -> None:
    scores = segmentation_scores(SOME, SOME, mpp=1.0, region=EMPTY)
    assert all(math.isnan(value) for value in scores)


@pytest.mark.parametrize(
    ("predicted", "mpp"),
    [(SOME.astype(np.uint8), 1.0), (SOME[:4], 1.0), (SOME, 0.0), (SOME, (1.0, math.nan))],
)
def test_what_is_no_mask_or_no_resolution_is_refused(predicted: np.ndarray, mpp: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        segmentation_scores(predicted, SOME, mpp=mpp)


masks = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


@given(masks)
def test_scores_keep_their_bounds_their_symmetry_and_their_relation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    there = segmentation_scores(pair[0], pair[1], mpp=2.0)
    back = segmentation_scores(pair[1], pair[0], mpp=2.0)
    assert there.dsc == back.dsc and 0 <= there.iou <= there.dsc <= 1
    assert there.iou == pytest.approx(there.dsc / (2 - there.dsc))
    np.testing.assert_array_equal([there.precision, there.hd_um], [back.recall, back.hd_um])
    if not math.isnan(there.hd_um):
        assert 0 <= there.hd95_um <= there.hd_um
        assert (there.hd_um == 0) == np.array_equal(edge(pair[0]), edge(pair[1]))


def test_tile_scores_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    label = rng.integers(-1, 2, 400)
    p = np.round(np.clip(rng.normal(0.4 + 0.2 * label, 0.25), 0, 1), 2)  # rounded: there are ties
    p[:20] = np.nan
    counts = (label >= 0) & np.isfinite(p)
    called = p[counts] >= 0.5
    scores = tile_scores(p, label, 0.5)
    assert scores.tiles == counts.sum() and scores.unreadable == np.count_nonzero(label[:20] >= 0)
    assert scores.precision == pytest.approx(sk.precision_score(label[counts], called))
    assert scores.recall == pytest.approx(sk.recall_score(label[counts], called))
    assert scores.f1 == pytest.approx(sk.f1_score(label[counts], called))
    assert scores.auc == pytest.approx(sk.roc_auc_score(label[counts], p[counts]))


def test_a_tile_at_the_threshold_is_called_tumour() -> None:
    assert tile_scores(np.array([0.5, 0.4]), np.array([1, 0]), 0.5).recall == 1.0


def test_one_class_alone_has_no_area_under_the_curve() -> None:
    scores = tile_scores(np.array([0.2, 0.9]), np.array([0, 0]), 0.5)
    assert math.isnan(scores.auc) and math.isnan(scores.recall)
    assert scores.precision == 0.0 and scores.f1 == 0.0
    nothing = tile_scores(np.array([np.nan]), np.array([1]), 0.5)
    assert (nothing.tiles, nothing.unreadable) == (0, 1) and math.isnan(nothing.f1)


def test_ties_count_half() -> None:
    assert area_under_roc(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) == 0.5


def test_a_summary_is_that_of_the_known_values() -> None:
    values = [0.5, 0.7, math.nan, 0.9]
    summary = summarise(values, ["a", "a", "b", "c"], resamples=500, seed=1)
    assert (summary.n, summary.left_out, summary.groups) == (3, 1, 2)
    assert summary.mean == pytest.approx(0.7) and summary.median == pytest.approx(0.7)
    assert summary.sd == pytest.approx(0.2)
    assert summary == summarise(values, ["a", "a", "b", "c"], resamples=500, seed=1)


def test_the_interval_agrees_with_the_theory_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    summary = summarise(values, np.arange(400), resamples=4000, seed=2)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert summary.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert summary.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_slides_of_one_patient_do_not_narrow_the_interval() -> None:
    patients = np.random.default_rng(3).normal(0.8, 0.1, 30)
    once = summarise(patients, np.arange(30), resamples=2000, seed=4)
    repeated = summarise(np.repeat(patients, 9), np.repeat(np.arange(30), 9), resamples=2000, seed=4)
    assert repeated.high - repeated.low == pytest.approx(once.high - once.low)


def test_a_patient_with_more_slides_weighs_more() -> None:
    # Two patients: a draw holds a twice, b twice, or both; the mean of all values is then 0, 1 or 3/4.
    summary = summarise([0.0, 1.0, 1.0, 1.0], ["a", "b", "b", "b"], resamples=4000, seed=5, level=0.4)
    assert (summary.low, summary.high) == (0.75, 0.75)


def test_one_patient_has_no_interval_and_none_has_no_mean() -> None:
    one = summarise([0.5, 0.6], ["a", "a"], resamples=100, seed=0)
    assert one.mean == pytest.approx(0.55) and math.isnan(one.low) and math.isnan(one.high)
    none = summarise([math.nan], ["a"], resamples=100, seed=0)
    assert (none.n, none.left_out) == (0, 1) and math.isnan(none.mean)
