"""What a regressor of boxes lowers (squared error, generalised IoU), and the IoU that it is watched by.

`keras.ops` only. Boxes are float (n, 4): xmin, ymin, xmax, ymax, in any unit; a true box is ordered, and without an
area it stands for none (padding of a batch).
"""

from typing import Any

import keras
from keras import ops

# Errors of a few tenths of the side stand beside a GIoU of up to 2: at 1 they hardly count.
L1_WEIGHT = 5.0


def box_loss(name: str, *, side: float) -> keras.losses.Loss:
    """Build a loss; `side` is the length of an image's side in the units of the coordinates.

    "mse" is the mean squared error of the four numbers, as published; "giou" the generalised IoU, which the thesis does
    not have; "giou_l1" adds `L1_WEIGHT` times the mean absolute error of the numbers, in shares of the side.
    """
    if name == "mse":
        return keras.losses.MeanSquaredError()
    return GIoULoss(l1=L1_WEIGHT if name == "giou_l1" else 0.0, side=side)


class GIoULoss(keras.losses.Loss):
    """1 - GIoU, with GIoU = IoU - (C - U) / C, C the smallest box around both, U their union; from 0 to 2.

    Source: Rezatofighi et al. 2019, algorithm 2. As there, the edges of a predicted box are put in order first. Unlike
    IoU it has a gradient where boxes do not meet. A true box without an area needs a weight of 0.

    `l1` is the weight of the mean absolute error of the coordinates, in shares of the `side` (its length in their
    units). It gives a gradient where GIoU has none: for a box shrunk to a point inside the true one.
    """

    def __init__(self, l1: float = 0.0, side: float = 1.0) -> None:
        super().__init__(name="giou_loss")
        self.l1, self.side = l1, side

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each box (n,)."""
        # In shares of the side, what counts as no area is the same whatever the units.
        true, predicted = ops.cast(y_true, y_pred.dtype) / self.side, y_pred / self.side
        low = ops.minimum(predicted[:, :2], predicted[:, 2:])
        high = ops.maximum(predicted[:, :2], predicted[:, 2:])
        common = _area(ops.maximum(low, true[:, :2]), ops.minimum(high, true[:, 2:]))
        union = _area(low, high) + _area(true[:, :2], true[:, 2:]) - common
        whole = _area(ops.minimum(low, true[:, :2]), ops.maximum(high, true[:, 2:]))
        tiny = keras.config.epsilon()
        giou = common / ops.maximum(union, tiny) - (whole - union) / ops.maximum(whole, tiny)
        return 1.0 - giou + self.l1 * ops.mean(ops.abs(predicted - true), axis=-1)


class MeanBoxIou(keras.metrics.Mean):
    """Mean IoU (see `ct_boxes.geometry.iou`), without the rows whose true box has no area."""

    def __init__(self) -> None:
        super().__init__(name="iou")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch: both (n, 4), `sample_weight` (n,)."""
        true, predicted = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        low, high = ops.maximum(predicted[:, :2], true[:, :2]), ops.minimum(predicted[:, 2:], true[:, 2:])
        own, wanted = _area(predicted[:, :2], predicted[:, 2:]), _area(true[:, :2], true[:, 2:])
        common = ops.where(own > 0, _area(low, high), 0.0)
        there = wanted > 0
        overlap = common / ops.where(there, own + wanted - common, 1.0)
        counted = ops.cast(there, self.dtype)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
        super().update_state(overlap, sample_weight=counted)


def _area(low: Any, high: Any) -> Any:
    """Area (n,) between two corners (n, 2); 0 where they are swapped."""
    sides = ops.maximum(high - low, 0.0)
    return sides[:, 0] * sides[:, 1]
