"""Dice as a loss and as a metric, for the refinement network. `keras.ops` only."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def _foreground(masks: Any, channel: int) -> Any:
    """Pick the foreground as (n, pixels); an array with one channel is the foreground already."""
    picked = masks[..., channel if masks.shape[-1] > 1 else 0]
    return ops.reshape(picked, (ops.shape(picked)[0], -1))


def _dice(truth: Any, predicted: Any, smooth: float) -> Any:
    """Dice per sample (n,), with squares in the denominator, so that soft predictions can reach 1."""
    overlap = ops.sum(truth * predicted, axis=-1)
    sizes = ops.sum(ops.square(truth), axis=-1) + ops.sum(ops.square(predicted), axis=-1)
    return (2.0 * overlap + smooth) / (sizes + smooth)


@keras.saving.register_keras_serializable(package="drunet")
class DiceLoss(keras.losses.Loss):
    """1 - Dice of the foreground, per sample, then the mean over the batch.

    Dice = (2 sum(t p) + smooth) / (sum(t^2) + sum(p^2) + smooth). The authors' code sums over the whole batch, which
    lets one slide with much tumour hide another; H2G-Net, whose design the network follows, takes samples one by one.

    Parameters
    ----------
    channel : int
        The foreground among the classes.
    smooth : float
        Keeps a sample without foreground defined, and its loss at 0 when nothing is predicted.

    Notes
    -----
    `y_pred` is float (n, h, w, classes); `y_true` the same one-hot, or (n, h, w, 1) holding the foreground only.
    """

    def __init__(self, channel: int = 1, smooth: float = 1.0, name: str = "dice_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.channel = channel
        self.smooth = smooth

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample (n,)."""
        return 1.0 - _dice(_foreground(y_true, self.channel), _foreground(y_pred, self.channel), self.smooth)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the loss anew."""
        return {**super().get_config(), "channel": self.channel, "smooth": self.smooth}


@keras.saving.register_keras_serializable(package="drunet")
class ThresholdedDice(keras.metrics.Mean):
    """Mean over samples of the Dice of the foreground where its probability exceeds a threshold.

    Parameters
    ----------
    threshold : float
        A pixel is foreground strictly above it.
    channel : int
        The foreground among the classes.
    smooth : float
        As in `DiceLoss`; a sample that is rightly left empty counts 1.
    """

    def __init__(
        self, threshold: float = 0.5, channel: int = 1, smooth: float = 1.0, name: str = "dice", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.channel = channel
        self.smooth = smooth

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch; shapes as for `DiceLoss`, `sample_weight` (n,)."""
        truth = _foreground(ops.cast(y_true, self.dtype), self.channel)
        predicted = _foreground(ops.cast(y_pred, self.dtype), self.channel)
        predicted = ops.cast(predicted > self.threshold, self.dtype)
        super().update_state(_dice(truth, predicted, self.smooth), sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the metric anew."""
        own = {"threshold": self.threshold, "channel": self.channel, "smooth": self.smooth}
        return {**super().get_config(), **own}
