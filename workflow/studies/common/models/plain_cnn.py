"""A conventional convolutional network, without shortcuts, that others are compared with.

The paper on distillation (Tian et al. 2024, Table 3) compares with a CNN of which it says nothing but that
convolutions are 3x3 with stride 1 (Table 1). This is a small network after VGG (Simonyan and Zisserman 2014): blocks of
3x3 convolutions with ReLU, halved by 2x2 max-pooling, then a hidden dense layer.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalised
from drunet.models.options import Check, Network, Shared, whole, whole_check


def build_plain_cnn(
    size: int,
    *,
    filters: Sequence[int] = (32, 64, 128, 256),
    convolutions: int = 1,
    batch_norm: bool = False,
    dense_units: int = 128,
    normalise: str = "imagenet",
    dropout: float = 0.5,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier for square tiles of `size` px, on which the weights of the hidden layer depend.

    `filters` are the channels of each block, one place must be left after halving so often; `convolutions` those of a
    block; `batch_norm` normalises after each, which VGG does not; `dense_units` is the width of the hidden layer and
    `dropout` the rate after it. For the others see `drunet.models.options.Network`.

    Returns `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes); the convolutions are the
    layer `convolutions`. Raises ModelError for an option out of range.
    """
    network = Network("plain_cnn", size, dropout=dropout, normalise=normalise, **shared)
    image, x = convolved(network, filters, convolutions, batch_norm, dense_units=whole_check(dense_units))
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(dense_units, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
    return keras.Model(image, head(x, 0, dropout, network.classes), name=network.name)


def convolved(
    network: Network, filters: Sequence[int], convolutions: int, batch_norm: bool, **more: Check
) -> tuple[Any, Any]:
    """The input of a network without a backbone of Keras', and its map behind the blocks, sides / 2^blocks.

    Its options, and the checks in `more`, come first: raises ModelError for the first one out of range.
    """
    network.check(
        on_backbone=False,
        filters=filters_check(filters, network.size),
        convolutions=whole_check(convolutions),
        batch_norm=switch_check(batch_norm),
        **more,
    )
    image = network.image()
    x: Any
    x = pixels = keras.Input((network.size, network.size, 3), name="image")
    how: dict[str, Any] = {"padding": "same", "use_bias": not batch_norm, "kernel_initializer": "he_normal"}
    for block, width in enumerate(filters, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_{number}"
            x = layers.Conv2D(width, 3, name=f"{name}_conv", **how)(x)
            if batch_norm:
                x = layers.BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    trunk = keras.Model(pixels, x, name="convolutions")
    network.prepare(trunk)
    return image, trunk(normalised(image, network.normalise))


def filters_check(filters: object, size: int) -> Check:
    """The check of the blocks' channels, which also says how many blocks a tile bears."""
    listed = isinstance(filters, list | tuple) and len(filters) > 0 and all(whole(width, 1) for width in filters)
    most = int(size).bit_length() - 1 if whole(size, 1) else 0
    fits = listed and len(filters) <= most  # type: ignore[arg-type]
    return filters, fits, f"List 1 to {most} whole numbers for tiles of {size} px."


def switch_check(value: object) -> Check:
    """The check of what is done or left out."""
    return value, isinstance(value, bool), "Use true or false."
