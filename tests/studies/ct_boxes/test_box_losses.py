from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from shapely.geometry import box as rectangle
from shapely.ops import unary_union

from studies.common.saliency.maps import gradients
from studies.ct_boxes import geometry
from studies.ct_boxes.training import GIoULoss, MeanBoxIou, box_loss

TRUE = np.array([[0.2, 0.3, 0.6, 0.8]], np.float32)
PLACES = {
    "apart": [0.7, 0.85, 0.9, 0.95],
    "apart along one side": [0.7, 0.35, 0.9, 0.75],
    "over a corner": [0.1, 0.2, 0.41, 0.52],
    "inside": [0.3, 0.4, 0.5, 0.6],
    "around": [0.1, 0.15, 0.75, 0.95],
    "a line across": [0.4, 0.1, 0.4, 0.9],
    "a point outside": [0.9, 0.9, 0.9, 0.9],
    "swapped": [0.5, 0.7, 0.25, 0.35],
}


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float32)


def loss_of(loss: keras.losses.Loss, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(loss.call(ops.convert_to_tensor(true), ops.convert_to_tensor(predicted))))


def slope_of(loss: keras.losses.Loss, true: np.ndarray, predicted: Any) -> np.ndarray:
    """Gradient of the loss with respect to predicted boxes, (n, 4)."""
    boxes = np.asarray(predicted, np.float32).reshape(-1, 1, 1, 4)
    found = gradients(lambda x: loss.call(ops.convert_to_tensor(true), ops.reshape(x, (-1, 4))), boxes)[0]
    return np.asarray(found, dtype=np.float64).reshape(-1, 4)


def giou_of_polygons(a: np.ndarray, b: np.ndarray) -> float:
    one, other = rectangle(*map(float, a)), rectangle(*map(float, b))
    union, around = unary_union([one, other]).area, unary_union([one, other]).envelope.area
    return one.intersection(other).area / union - (around - union) / around


def test_the_loss_is_one_less_the_generalised_overlap_of_polygons() -> None:
    true, predicted = random_boxes(40, 0), random_boxes(40, 1)
    expected = [1 - giou_of_polygons(a, b) for a, b in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(loss_of(GIoULoss(), true, predicted), expected, rtol=1e-4)
    np.testing.assert_allclose(loss_of(GIoULoss(), true, true), 0, atol=1e-5)
    assert float(GIoULoss()(true, predicted)) == pytest.approx(np.mean(expected), rel=1e-4)
    # In px of a picture of 512 the same; and edges that are swapped are put in order.
    np.testing.assert_allclose(loss_of(GIoULoss(side=512), true * 512, predicted * 512), expected, rtol=1e-4)
    np.testing.assert_allclose(loss_of(GIoULoss(), true, predicted[:, [2, 1, 0, 3]]), expected, rtol=1e-4)


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("l1", [0.0, 0.7])
def test_the_slope_is_that_of_finite_differences(where: str, l1: float) -> None:
    loss, place = GIoULoss(l1=l1), np.array(PLACES[where])
    found = slope_of(loss, TRUE, place)[0]
    assert np.isfinite(found).all()
    if where in ("a line across", "a point outside"):
        return  # there the loss has a kink: edges change places
    step = 2e-3
    for edge in range(4):
        moved = [place + sign * step * (np.arange(4) == edge) for sign in (1, -1)]
        up, down = (
            1 - giou_of_polygons(np.r_[np.minimum(m[:2], m[2:]), np.maximum(m[:2], m[2:])], TRUE[0]) for m in moved
        )
        wanted = (up - down) / (2 * step) + l1 * np.sign(place[edge] - float(TRUE[0, edge])) / 4
        assert found[edge] == pytest.approx(wanted, abs=0.02), where


@pytest.mark.parametrize("where", [place for place in PLACES if place != "inside"])
def test_following_the_slope_leads_to_the_true_box(where: str) -> None:
    loss, place = GIoULoss(), np.array([PLACES[where]])
    before = loss_of(loss, TRUE, place.astype(np.float32))[0]
    slope = slope_of(loss, TRUE, place)
    assert np.abs(slope).max() > 1e-3, where
    after = loss_of(loss, TRUE, (place - 0.01 * slope / np.linalg.norm(slope)).astype(np.float32))[0]
    assert after < before, where


def test_a_point_inside_the_true_box_needs_the_second_term() -> None:
    point = [[0.35, 0.5, 0.35, 0.5]]
    np.testing.assert_allclose(slope_of(GIoULoss(), TRUE, point), 0, atol=1e-6)
    np.testing.assert_allclose(slope_of(GIoULoss(l1=1.0), TRUE, point), [[0.25, 0.25, -0.25, -0.25]], atol=1e-6)


def test_boxes_without_an_area_lose_no_number() -> None:
    nothing = np.zeros((1, 4), np.float32)
    for true, predicted in ((nothing, nothing), (nothing, TRUE), (TRUE, nothing), (nothing, nothing + 0.5)):
        for l1 in (0.0, 1.0):
            assert np.isfinite(loss_of(GIoULoss(l1=l1), true, predicted)).all()
            assert np.isfinite(slope_of(GIoULoss(l1=l1), true, predicted)).all()


def test_the_metric_is_the_mean_overlap_and_leaves_padding_out() -> None:
    true, predicted = random_boxes(9, 2) * 64, random_boxes(9, 3) * 64
    predicted[4] = predicted[4][[2, 1, 0, 3]]
    expected = geometry.iou(true, predicted)
    assert expected[4] == 0 and (expected > 0).sum() > 3
    metric = MeanBoxIou()
    metric.update_state(true[:5], predicted[:5])
    metric.update_state(np.vstack([true[5:], np.zeros((3, 4), np.float32)]), np.vstack([predicted[5:], predicted[:3]]))
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-5)
    metric.reset_state()
    metric.update_state(true, predicted, sample_weight=np.arange(9, dtype=np.float32))
    assert float(metric.result()) == pytest.approx(np.average(expected, weights=np.arange(9)), rel=1e-5)


def test_losses_by_name() -> None:
    true, predicted = random_boxes(6, 4) * 64, random_boxes(6, 5) * 64
    giou = np.mean([1 - giou_of_polygons(a, b) for a, b in zip(true, predicted, strict=True)])
    apart = np.abs(true - predicted).mean() / 64
    expected = {"mse": ((true - predicted) ** 2).mean(), "giou": giou, "giou_l1": giou + 5 * apart}
    for name, value in expected.items():
        assert float(box_loss(name, side=64)(true, predicted)) == pytest.approx(value, rel=1e-4), name
