"""Attention of a box regressor: its own attention map, or the gradients of its four outputs."""

from __future__ import annotations

from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from drunet.errors import ModelError
from studies.common.saliency.maps import unit_range
from studies.common.saliency.score import batches, gradients

# Name of the layer whose output, (n, h, w, channels), is a map of attention, in networks that have one.
LAYER = "attention"
# Standard deviation of the blur, as a share of the side: gradients of single pixels are noise to the eye.
_BLUR = 1 / 48


def box_attention(model: keras.Model, images: NDArray[np.float32], *, batch_size: int = 16) -> NDArray[np.float32]:
    """Maps of the places that the predicted box depends on, float32 (n, h, w) in [0, 1], of images float32 (n, h, w,
    1).

    With a layer `attention`, its output, enlarged by bilinear interpolation. Otherwise the sum of the absolute
    gradients of the four outputs with respect to each pixel, blurred. Grad-CAM is not suitable: a dense layer on the
    flattened map has weights for each place, so that a channel has no common weight. Raises ModelError if the model has
    not four outputs, or gradients cannot be taken.
    """
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or shapes[0][1:] != (4,):
        mend = "Use a box regressor: one image in, four numbers out."
        raise ModelError("the model gives no box", where=f"model {model.name}", found=f"outputs {shapes}", mend=mend)
    if any(layer.name == LAYER for layer in model.layers):
        part = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
        own = [ops.convert_to_numpy(part(batch, training=False)) for batch in batches(images, batch_size)]
        coarse, sides = np.maximum(np.concatenate(own).astype(np.float32).sum(axis=-1), 0), images.shape[2:0:-1]
        return unit_range(np.stack([cv2.resize(each, sides, interpolation=cv2.INTER_LINEAR) for each in coarse]))
    sigma = max(images.shape[1:3]) * _BLUR
    maps = [_slopes(model, batch) for batch in batches(images, batch_size)]
    blur = lambda slopes: cv2.GaussianBlur(slopes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)  # noqa: E731
    return unit_range(np.stack([blur(each) for each in np.concatenate(maps).astype(np.float32)]))


def _slopes(model: keras.Model, batch: NDArray[np.float32]) -> Any:
    """Sum of the absolute gradients of the four outputs, each the largest of the channels: (n, h, w)."""

    def number(index: int) -> Any:
        return lambda pictures: model(pictures, training=False)[:, index]

    found = [gradients(number(k), batch)[0] for k in range(4)]
    return sum(np.abs(slope).max(axis=-1) for slope in found if slope is not None)
