from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from drunet.errors import ConfigError
from drunet.settings.loss import LossSettings
from drunet.training.losses import DiceLoss, FocalLoss, ThresholdedDice, classification_loss, refinement_loss

COUNTS = {"tumour": 10, "non_tumour": 30}


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
    loss = keras.losses.deserialize(keras.losses.serialize(DiceLoss(smooth=2.5)))
    soft = dice_by_formula(truth, predicted, smooth=2.5)
    assert float(loss(truth, predicted)) == pytest.approx(1 - np.mean(soft), abs=1e-6)
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


# Losses of classifiers: truth and prediction as [non-tumour, tumour].
TRUTH = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
GUESS = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], np.float32)
OF_TRUTH = np.array([0.9, 0.8, 0.3, 0.4])
IS_TUMOUR = np.array([0, 1, 1, 0])


def loss_of(**config: Any) -> float:
    return float(built(**config)[0](TRUTH, GUESS))


def built(**config: Any) -> tuple[keras.losses.Loss, dict[str, Any]]:
    return classification_loss(LossSettings.of({"class_weights": None, **config}, "here.loss"), COUNTS)


def test_plain_cross_entropy_is_keras_own() -> None:
    assert loss_of(name="cross_entropy") == pytest.approx(-np.log(OF_TRUTH).mean(), rel=1e-6)
    loss, facts = built(name="cross_entropy")
    assert type(loss) is keras.losses.CategoricalCrossentropy
    assert facts == {"name": "cross_entropy", "class_weights": None}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_the_published_formula(gamma: float) -> None:
    by_hand = -((1 - OF_TRUTH) ** gamma) * np.log(OF_TRUTH)
    assert loss_of(name="focal", gamma=gamma) == pytest.approx(by_hand.mean(), rel=1e-5)
    alpha = np.where(IS_TUMOUR, 0.25, 0.75)
    assert loss_of(name="focal", gamma=gamma, alpha=0.25) == pytest.approx((alpha * by_hand).mean(), rel=1e-5)


def test_focal_loss_is_keras_own_but_for_certainty() -> None:
    own = keras.losses.CategoricalFocalCrossentropy(alpha=[0.7, 0.3], gamma=2.0)
    assert loss_of(name="focal", alpha=0.3) == pytest.approx(float(own(TRUTH, GUESS)), rel=1e-5)
    read = keras.losses.deserialize(keras.losses.serialize(FocalLoss(1.5, [2, 3])))
    assert float(read(TRUTH, GUESS)) == float(FocalLoss(1.5, [2, 3])(TRUTH, GUESS))


def test_focal_loss_discounts_as_published_where_nothing_else_is_said() -> None:
    assert loss_of(name="focal") == loss_of(name="focal", gamma=2.0, alpha=None)
    # Lin et al.: at gamma 2 a sample at 0.9 costs a hundredth of its cross-entropy.
    loss, _ = built(name="focal")
    one = float(loss(TRUTH[:1], GUESS[:1]))
    assert one == pytest.approx(-np.log(0.9) / 100, rel=1e-4)


def test_class_weights_are_those_of_weighted_samples() -> None:
    weights = [0.4, 2.5]
    plain = keras.losses.CategoricalCrossentropy()
    expected = float(plain(TRUTH, GUESS, sample_weight=np.take(weights, IS_TUMOUR)))
    assert loss_of(name="cross_entropy", class_weights=weights) == pytest.approx(expected, rel=1e-5)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=3.0)
    expected = float(focal(TRUTH, GUESS, sample_weight=np.take(weights, IS_TUMOUR)))
    assert loss_of(name="focal", gamma=3.0, class_weights=weights) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_scikit_learns_and_average_to_one() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    _, facts = built(name="cross_entropy", class_weights="balanced")
    labels = np.repeat([0, 1], [COUNTS["non_tumour"], COUNTS["tumour"]])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    np.testing.assert_allclose(facts["class_weights"], expected)
    assert np.take(facts["class_weights"], labels).mean() == pytest.approx(1)


def test_what_a_network_is_most_wrong_about_teaches_it_too() -> None:
    """At certainty as elsewhere, weights of 1 and gamma 0 pull exactly as the plain cross-entropy does."""
    pulled = []
    for config in ({"name": "cross_entropy"}, {"name": "cross_entropy", "class_weights": [1, 1]}, {"name": "focal"}):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.5), built(**config)[0])
        before = model.get_weights()[0]
        model.train_on_batch(np.array([[0.1, 2], [3, -1], [0, 0.5], [80, -80]], np.float32), TRUTH)
        pulled.append(model.get_weights()[0] - before)
    np.testing.assert_allclose(pulled[1], pulled[0], rtol=1e-5, atol=1e-6)
    # The last sample alone, wrong beyond 1e-7, moves the weights by 0.5 / 4 * 80.
    assert all(np.abs(p).max() > 9 for p in pulled)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "hinge"}, r"here\.loss\.name: .*found: 'hinge'.*one of cross_entropy, focal"),
        ({"name": "cross_entropy", "gamma": 2}, r"cross_entropy has no such option \(found: gamma\).*class_weights"),
        ({"name": "focal", "beta": 2}, r"here\.loss: unknown key \(found: beta\)\. .*alpha, class_weights, gamma"),
        ({"name": "focal", "gamma": -1}, r"here\.loss\.gamma: .*found: -1"),
        ({"name": "focal", "alpha": 1.5}, r"here\.loss\.alpha: .*found: 1\.5"),
        ({"name": "focal", "class_weights": "even"}, r"here\.loss\.class_weights: .*found: 'even'.*null, balanced"),
        ({"name": "focal", "class_weights": [1, 2, 3]}, r"class_weights: .*\[non-tumour, tumour\]"),
        (
            {"name": "focal", "class_weights": [0, 2]},
            r"class_weights\.0: .*found: 0.*more than 0",
        ),
    ],
)
def test_a_wrong_loss_ends_in_one_message(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        loss_of(**config)
    assert "\n" not in str(caught.value)


def test_the_loss_of_a_whole_batch_is_one_dice_of_all_its_pixels() -> None:
    truth, predicted = maps(6)
    together = dice_by_formula(truth.reshape(1, -1, 1, 2), predicted.reshape(1, -1, 1, 2))
    assert float(refinement_loss("dice_of_batch")(truth, predicted)) == pytest.approx(1 - together[0], abs=1e-6)
    assert float(refinement_loss("dice")(truth, predicted)) == float(DiceLoss()(truth, predicted))


def test_cross_entropy_is_added_to_dice() -> None:
    truth, predicted = maps(7)
    t, p = truth[..., 1].astype(float), predicted[..., 1].astype(float)
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    loss = refinement_loss("dice_cross_entropy")
    dice = float(refinement_loss("dice_of_batch")(truth, predicted))
    assert float(loss(truth, predicted)) == pytest.approx(dice + entropy, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(truth, predicted)) == float(loss(truth, predicted))
