"""Attention of a box regressor: its own attention map, or the gradients of its four outputs."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from drunet.errors import ModelError
from studies.common.saliency.maps import unit_range
from studies.common.saliency.score import batches, gradients

AttentionKind = Literal["attention", "gradient"]
# Name of the layer whose output is a map of attention, in networks that have one.
LAYER = "attention"
# Standard deviation of the blur, as a share of the side: gradients of single pixels are noise to the eye.
_BLUR = 1 / 48


def attention_kind(model: keras.Model) -> AttentionKind:
    """Which map `box_attention` takes: "attention" where the network has a layer of that name, else "gradient"."""
    return "attention" if any(layer.name == LAYER for layer in model.layers) else "gradient"


def box_attention(model: keras.Model, images: NDArray[np.float32], *, batch_size: int = 16) -> NDArray[np.float32]:
    """Maps of the places that the predicted box depends on, float32 (n, h, w) in [0, 1], of images float32 (n, h, w,
    1).

    With a layer `attention`, its output, enlarged by bilinear interpolation. Otherwise the sum of the absolute
    gradients of the four outputs with respect to each pixel, blurred. Grad-CAM is not suitable: a dense layer on the
    flattened map has weights for each place, so that a channel has no common weight. Raises ModelError if the model has
    not four outputs, its attention has no places, or gradients cannot be taken.
    """
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or shapes[0][1:] != (4,):
        mend = "Use a box regressor: one image in, four numbers out."
        raise ModelError("the model gives no box", where=f"model {model.name}", found=f"outputs {shapes}", mend=mend)
    if attention_kind(model) == "attention":
        return unit_range(_enlarged(_own(model, images, batch_size), images.shape[1:3]))
    return unit_range(np.stack([_blurred(slopes) for slopes in _slopes(model, images, batch_size)]))


def _own(model: keras.Model, images: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Output of the attention layer, summed over channels: (n, i, j)."""
    part = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
    found = np.concatenate([ops.convert_to_numpy(part(b, training=False)) for b in batches(images, batch_size)])
    if found.ndim == 3:
        found = found[..., None]
    if found.ndim != 4 or found.shape[1:3] == (1, 1):
        mend = "Its output is (n, h, w) or (n, h, w, channels)."
        raise ModelError("the attention has no places", where=f"model {model.name}", found=found.shape, mend=mend)
    return found.astype(np.float32).sum(axis=-1)


def _slopes(model: keras.Model, images: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Sum of the absolute gradients of the four outputs: (n, h, w)."""

    def number(index: int) -> Any:
        return lambda pictures: model(pictures, training=False)[:, index]

    parts = []
    for batch in batches(images, batch_size):
        found = [gradients(number(k), batch)[0] for k in range(4)]
        parts.append(sum(np.abs(slope).max(axis=-1) for slope in found if slope is not None))
    return np.concatenate(parts).astype(np.float32)


def _enlarged(maps: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = size
    return np.stack([cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in np.maximum(maps, 0)])


def _blurred(slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    sigma = max(slopes.shape) * _BLUR
    return np.asarray(cv2.GaussianBlur(slopes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)
