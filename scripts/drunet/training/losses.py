"""What training lowers: cross-entropy and focal loss of classifiers, Dice of refiners (and Dice as a metric)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from drunet.settings.loss import LossSettings


def classification_loss(settings: LossSettings, counts: Mapping[str, int]) -> tuple[keras.losses.Loss, dict[str, Any]]:
    """Build the loss of a classifier with the classes [non-tumour, tumour], and what to remember of it.

    Focal loss (Lin et al. 2017) is (1 - p)^gamma times the cross-entropy; alpha is the weight of tumour and 1 - alpha
    that of non-tumour, null leaves both at 1. Class weights that are balanced are n / (2 n_c), by the `counts` of
    tumour and non_tumour in an epoch. It is the mean over the batch of each sample's loss times its class's weight; so
    is the validation loss, which decides which epoch is best.
    """
    weights = _class_weights(settings.class_weights, counts)
    facts: dict[str, Any] = {"name": settings.name, "class_weights": weights}
    gamma, by_class = 0.0, (1.0, 1.0)
    if settings.name == "focal":
        facts = {"name": settings.name, "gamma": settings.gamma, "alpha": settings.alpha, "class_weights": weights}
        gamma = settings.gamma
        by_class = (1.0, 1.0) if settings.alpha is None else (1.0 - settings.alpha, settings.alpha)
    elif weights is None:
        return keras.losses.CategoricalCrossentropy(), facts
    both = [a * w for a, w in zip(by_class, weights or (1.0, 1.0), strict=True)]
    return FocalLoss(gamma=gamma, class_weights=both), facts


@keras.saving.register_keras_serializable(package="drunet")
class FocalLoss(keras.losses.Loss):
    """Cross-entropy times (1 - p)^gamma times the weight of the sample's class (Lin et al. 2017, equation 5).

    Keras' own `CategoricalFocalCrossentropy` cuts probabilities off at 1e-7, beyond which a sample teaches nothing:
    the tiles that a network is most wrong about. Keras' cross-entropy goes back to the logits where the backend keeps
    them, so this one is built on it; with gamma 0 and weights 1 it is the same number. `y_true` is one-hot float
    (n, classes), `y_pred` the softmax of the same shape; there is one weight a class.
    """

    def __init__(
        self, gamma: float = 2.0, class_weights: Sequence[float] = (1.0, 1.0), name: str = "focal_loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.gamma = gamma
        self.class_weights = list(class_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample (n,)."""
        loss = keras.losses.categorical_crossentropy(y_true, y_pred)
        loss = loss * ops.sum(y_true * ops.convert_to_tensor(self.class_weights, y_true.dtype), axis=-1)
        if self.gamma == 0:
            return loss
        # Below gamma 1 the slope at 0 has no bound.
        missing = ops.maximum(1 - ops.sum(y_true * y_pred, axis=-1), keras.config.epsilon())
        return loss * ops.power(missing, self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the loss anew."""
        return {**super().get_config(), "gamma": self.gamma, "class_weights": self.class_weights}


def _class_weights(wanted: str | Sequence[float] | None, counts: Mapping[str, int]) -> list[float] | None:
    if wanted is None:
        return None
    if isinstance(wanted, str):
        number = [counts["non_tumour"], counts["tumour"]]
        return [sum(number) / (2 * n) for n in number]
    return [float(w) for w in wanted]


def _foreground(masks: Any) -> Any:
    """The last channel, the foreground, as (n, pixels)."""
    picked = masks[..., -1]
    return ops.reshape(picked, (ops.shape(picked)[0], -1))


def _dice(truth: Any, predicted: Any, smooth: float) -> Any:
    """Dice per sample (n,), with squares in the denominator, so that soft predictions can reach 1."""
    overlap = ops.sum(truth * predicted, axis=-1)
    sizes = ops.sum(ops.square(truth), axis=-1) + ops.sum(ops.square(predicted), axis=-1)
    return (2.0 * overlap + smooth) / (sizes + smooth)


def refinement_loss(name: str) -> keras.losses.Loss:
    """Build the loss of a refiner: dice, dice_of_batch or dice_cross_entropy, see `DiceLoss`."""
    return DiceLoss(whole_batch=name != "dice", cross_entropy=name == "dice_cross_entropy")


@keras.saving.register_keras_serializable(package="drunet")
class DiceLoss(keras.losses.Loss):
    """1 - Dice of the foreground, per sample, then the mean over the batch.

    Dice = (2 sum(t p) + smooth) / (sum(t^2) + sum(p^2) + smooth); `smooth` keeps a sample without foreground defined,
    and its loss at 0 when nothing is predicted. `whole_batch` takes all samples together (authors' code), which lets
    one slide with much tumour hide another; H2G-Net takes them one by one. `cross_entropy` adds the mean over the
    pixels: Dice alone hardly tells a probability of 0.6 from one of 0.9. `y_pred` is float (n, h, w, 2); `y_true` the
    same one-hot, or (n, h, w, 1) holding the foreground only.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        *,
        whole_batch: bool = False,
        cross_entropy: bool = False,
        name: str = "dice_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.smooth, self.whole_batch, self.cross_entropy = smooth, whole_batch, cross_entropy

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample (n,), or (1,) of the whole batch."""
        truth, predicted = _foreground(y_true), _foreground(y_pred)
        if self.whole_batch:
            truth, predicted = (ops.reshape(part, (1, -1)) for part in (truth, predicted))
        loss = 1.0 - _dice(truth, predicted, self.smooth)
        if self.cross_entropy:
            loss += ops.mean(ops.binary_crossentropy(truth, predicted), axis=-1)
        return loss

    def get_config(self) -> dict[str, Any]:
        """Return what builds the loss anew."""
        own = {"smooth": self.smooth, "whole_batch": self.whole_batch, "cross_entropy": self.cross_entropy}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="drunet")
class ThresholdedDice(keras.metrics.Mean):
    """Mean Dice of the samples' foreground above a threshold; `smooth` as in `DiceLoss`, rightly empty ones count 1."""

    def __init__(self, threshold: float = 0.5, smooth: float = 1.0, name: str = "dice", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.smooth = smooth

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch; shapes as for `DiceLoss`, `sample_weight` (n,)."""
        truth = _foreground(ops.cast(y_true, self.dtype))
        predicted = ops.cast(_foreground(ops.cast(y_pred, self.dtype)) > self.threshold, self.dtype)
        super().update_state(_dice(truth, predicted, self.smooth), sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the metric anew."""
        return {**super().get_config(), "threshold": self.threshold, "smooth": self.smooth}
