"""Compact box regressor with attention; not a published network.

Pravdyvets 2023 asks, under possible improvements, for attention and another complexity. Strided convolutions make a
coarse feature map, dilated ones add context. A softmax over its places is the attention: the centre of the box is the
mean place under it (soft-argmax; Levine et al. 2016, section 5.1), its sides come from the features averaged under it.
The number of weights does not depend on the size of the slice.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from drunet.models.options import refuse_unfit, size_check
from studies.common.models.plain_cnn import filters_check

_DILATIONS = (1, 2, 4)  # of the residual convolutions that add context
_HIDDEN = 32  # units before the two sides
_MOMENTUM = 0.9  # of batch normalisation: Keras' own lags in short runs
# Initial sides: a tumour's box takes about a fifth of a slice's side.
_SIDE_AT_FIRST = -1.4
_LOGITS_AT_FIRST = 0.001  # standard deviation of the weights


def build_compact_box_regressor(size: int, *, filters: Sequence[int] = (16, 32, 64), seed: int = 0) -> keras.Model:
    """Build the regressor for square slices of `size` px, at least 32.

    `filters` are the channels of each 3x3 convolution of stride 2: three end at 1/8 of the size, four at 1/16. The
    `seed` of the initial weights becomes Keras' global seed.

    Returns `input_image` (n, size, size, 1) float in [0, 1] to (n, 4): xmin, ymin, xmax, ymax in shares of the sides,
    ordered and inside the slice always. The layer `attention` gives (n, h, w, 1), which adds up to 1. Raises ModelError
    for an option out of range.
    """
    refuse_unfit(
        "architecture compact_box_regressor",
        {"size": size_check(size), "filters": filters_check(filters, size)},
    )
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((size, size, 1), name="input_image")
    for number, width in enumerate(filters, start=1):
        x = _convolution(x, width, f"stage{number}", strides=2)
    for number, dilation in enumerate(_DILATIONS, start=1):
        seen = _convolution(x, filters[-1], f"context{number}", dilation_rate=dilation)
        x = layers.Add(name=f"context{number}_add")([x, seen])
    height, width = x.shape[1:3]
    # float32 whatever the policy: means over thousands of places, and edges to a fraction of a pixel.
    exact: dict[str, Any] = {"dtype": "float32"}
    # Even attention at first: a box around a random place may be cut off at an edge, and then has no gradient there.
    even = keras.initializers.RandomNormal(stddev=_LOGITS_AT_FIRST, seed=seed)
    logits = layers.Conv2D(1, 1, kernel_initializer=even, name="logits", **exact)(x)
    places = layers.Reshape((height * width,), name="logits_flat", **exact)(logits)
    places = layers.Softmax(name="softmax", **exact)(places)
    attention = layers.Reshape((height, width, 1), name="attention", **exact)(places)
    # The features averaged under the attention.
    found = ops.sum(attention * ops.cast(x, "float32"), axis=(1, 2))
    found = layers.Dense(_HIDDEN, activation="relu", name="hidden", **exact)(found)
    first = keras.initializers.Constant(_SIDE_AT_FIRST)
    sides = layers.Dense(2, activation="sigmoid", bias_initializer=first, name="sides", **exact)(found)
    return keras.Model(image, box_around(mean_place(attention), sides), name="compact_box_regressor")


def mean_place(attention: Any) -> Any:
    """The mean place, (n, 2), x and y in shares of the sides, under a map (n, h, w, 1) that adds up to 1."""
    x, y = ((np.arange(side, dtype=np.float32) + 0.5) / side for side in (attention.shape[2], attention.shape[1]))
    by_column, by_row = ops.sum(attention, axis=(1, 3)), ops.sum(attention, axis=(2, 3))
    return ops.stack([ops.sum(by_column * x, axis=-1), ops.sum(by_row * y, axis=-1)], axis=-1)


def box_around(centre: Any, sides: Any) -> Any:
    """Boxes (n, 4), xmin, ymin, xmax, ymax, of centres and sides, (n, 2) in shares, cut off at 0 and 1."""
    return ops.clip(ops.concatenate([centre - sides / 2, centre + sides / 2], axis=-1), 0.0, 1.0)


def _convolution(x: Any, width: int, name: str, **options: Any) -> Any:
    """3x3 convolution, batch normalisation, ReLU."""
    x = layers.Conv2D(
        width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv", **options
    )(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
