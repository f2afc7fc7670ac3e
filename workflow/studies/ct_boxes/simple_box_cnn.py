"""The published box regressor: two convolutions and two dense layers.

Source: D. Pravdyvets, master's thesis (UOC 2023), section 3.2. Nearly all weights are in one dense layer on the whole
flattened map (at 512 px 134,217,984 of 134,223,812), so that nothing learnt in one place applies to another.
"""

from collections.abc import Sequence

import keras
from keras import layers

from drunet.models.options import refuse_unfit, size_check, whole_check
from studies.common.models.plain_cnn import filters_check

# As PyTorch begins convolutions and dense layers, in which the published network was written: +-1/sqrt(fan in).
_START = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}


def build_simple_box_cnn(
    size: int, *, filters: Sequence[int] = (16, 32), dense_units: int = 256, seed: int = 0
) -> keras.Model:
    """Build the regressor for square slices of `size` px, at least 32 (published: 512).

    `filters` are the channels of each 3x3 convolution, whose map is halved by 2x2 max-pooling, `dense_units` the width
    of the hidden layer. Biases begin at 0; the `seed` of the initial weights becomes Keras' global seed.

    Returns `input_image` (n, size, size, 1) float in [0, 1] to (n, 4): xmin, ymin, xmax, ymax, in the unit of training,
    not necessarily ordered or inside. Raises ModelError for an option out of range.
    """
    refuse_unfit(
        "architecture simple_box_cnn",
        {"size": size_check(size), "filters": filters_check(filters, size), "dense_units": whole_check(dense_units)},
    )
    keras.utils.set_random_seed(seed)
    start = keras.initializers.VarianceScaling
    x = image = keras.Input((size, size, 1), name="input_image")
    for number, width in enumerate(filters, start=1):
        name = f"conv{number}"
        x = layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer=start(**_START), name=name)(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(dense_units, activation="relu", kernel_initializer=start(**_START), name="hidden")(x)
    # float32 whatever the policy: half precision cannot tell neighbouring pixels apart beyond 256 (bfloat16) or 2048.
    box = layers.Dense(4, kernel_initializer=start(**_START), dtype="float32", name="box")(x)
    return keras.Model(image, box, name="simple_box_cnn")
