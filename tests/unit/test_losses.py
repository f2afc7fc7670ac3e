from __future__ import annotations

import keras
import numpy as np
import pytest

from drunet.training.losses import DiceLoss, ThresholdedDice


def maps(seed: int, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Make one-hot truth and softmax-like predictions, (n, 8, 6, 2) float32."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 8, 6)) < rng.random((n, 1, 1))).astype(np.float32)
    predicted = rng.random((n, 8, 6)).astype(np.float32)
    return tuple(np.stack([1 - foreground, foreground], axis=-1) for foreground in (truth, predicted))


def dice_by_formula(truth: np.ndarray, predicted: np.ndarray, smooth: float = 1.0) -> list[float]:
    return [
        float((2 * (t * p).sum() + smooth) / ((t * t).sum() + (p * p).sum() + smooth))
        for t, p in zip(truth[..., 1].astype(float), predicted[..., 1].astype(float), strict=True)
    ]


def test_the_loss_is_what_is_worked_out_by_hand() -> None:
    truth = np.array([[[[0, 1], [0, 1], [1, 0], [1, 0]]]], dtype=np.float32)
    predicted = np.array([[[[0.5, 0.5], [0, 1], [0.5, 0.5], [1, 0]]]], dtype=np.float32)
    # overlap 0.5 + 1; squares 2 and 0.25 + 1 + 0.25: dice = (3 + 1) / (2 + 1.5 + 1) = 8/9
    assert float(DiceLoss()(truth, predicted)) == pytest.approx(1 / 9)
    # above 0.5 only the second pixel is foreground: (2 + 1) / (2 + 1 + 1)
    metric = ThresholdedDice()
    metric.update_state(truth, predicted)
    assert float(metric.result()) == pytest.approx(3 / 4)


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_metric_average_over_samples_not_pixels(seed: int) -> None:
    truth, predicted = maps(seed)
    assert float(DiceLoss()(truth, predicted)) == pytest.approx(
        1 - np.mean(dice_by_formula(truth, predicted)), abs=1e-6
    )
    hard = (predicted > 0.5).astype(float)
    metric = ThresholdedDice()
    metric.update_state(truth[:2], predicted[:2])
    metric.update_state(truth[2:], predicted[2:])
    assert float(metric.result()) == pytest.approx(np.mean(dice_by_formula(truth, hard)), abs=1e-6)


def test_perfect_and_empty_samples_cost_nothing() -> None:
    truth, _ = maps(1)
    truth[0] = [1, 0]
    assert float(DiceLoss()(truth, truth)) == pytest.approx(0, abs=1e-6)


def test_background_is_not_counted() -> None:
    truth, predicted = maps(2)
    other = predicted.copy()
    other[..., 0] = 0.123
    assert float(DiceLoss()(truth, other)) == float(DiceLoss()(truth, predicted))


def test_a_foreground_mask_stands_for_its_one_hot_form() -> None:
    truth, predicted = maps(3)
    assert float(DiceLoss()(truth[..., 1:], predicted)) == float(DiceLoss()(truth, predicted))
    one, two = ThresholdedDice(), ThresholdedDice()
    one.update_state(truth, predicted)
    two.update_state(truth[..., 1:] > 0, predicted)
    assert float(one.result()) == float(two.result())


def test_sample_weights_count() -> None:
    truth, predicted = maps(4)
    dice = dice_by_formula(truth, predicted)
    weighted = float(DiceLoss()(truth, predicted, sample_weight=np.array([1.0, 0.0, 0.0], dtype=np.float32)))
    assert weighted == pytest.approx((1 - dice[0]) / 3, abs=1e-6)
    metric = ThresholdedDice()
    metric.update_state(truth, predicted, sample_weight=np.array([0.0, 1.0, 3.0]))
    hard = dice_by_formula(truth, (predicted > 0.5).astype(float))
    assert float(metric.result()) == pytest.approx((hard[1] + 3 * hard[2]) / 4, abs=1e-6)


def test_both_survive_being_written_and_read() -> None:
    truth, predicted = maps(5)
    loss = keras.losses.deserialize(keras.losses.serialize(DiceLoss(channel=0, smooth=2.5)))
    flipped = dice_by_formula(truth[..., ::-1], predicted[..., ::-1], smooth=2.5)
    assert float(loss(truth, predicted)) == pytest.approx(1 - np.mean(flipped), abs=1e-6)
    metric = keras.metrics.deserialize(keras.metrics.serialize(ThresholdedDice(threshold=0.8, smooth=0.5)))
    metric.update_state(truth, predicted)
    hard = dice_by_formula(truth, (predicted > 0.8).astype(float), smooth=0.5)
    assert float(metric.result()) == pytest.approx(np.mean(hard), abs=1e-6)
    assert metric.name == "dice"


def test_a_step_down_the_gradient_lowers_the_loss() -> None:
    truth, _ = maps(6)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 6, 1)), keras.layers.Conv2D(2, 3, padding="same", activation="softmax")])
    model.compile(keras.optimizers.Adam(0.05), DiceLoss(), metrics=[ThresholdedDice()])
    history = model.fit(truth[..., 1:], truth, epochs=12, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.02
    assert "dice" in history
