"""A conventional convolutional network, without shortcuts, that others are compared with.

The paper on distillation (Tian et al. 2024, Table 3) compares with a CNN of which it says nothing but that
convolutions are 3x3 with stride 1 (Table 1). This is a small network after VGG (Simonyan and Zisserman 2014): blocks of
3x3 convolutions with ReLU, halved by 2x2 max-pooling, then a hidden dense layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalised
from drunet.models.options import Check, Network, Shared, whole, whole_check
from drunet.models.trunk import prepare_trunk
from studies.common.models.switch import switch_check


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
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32. The weights of the hidden layer depend on it.
    filters : sequence of int
        Channels of each block; one place must be left after halving so often.
    convolutions : int
        Of each block.
    batch_norm : bool
        Normalise after each convolution, which VGG does not.
    dense_units : int
        Width of the hidden layer.
    normalise : str
        See `drunet.models.options.Network`.
    dropout : float
        Rate after the hidden layer, in [0, 1).
    **shared
        See `drunet.models.options.Network`.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The convolutions are the layer
        `convolutions`.

    Raises
    ------
    ModelError
        For an option out of range.
    """
    network = Network("plain_cnn", size, dropout=dropout, normalise=normalise, **shared)
    image, x = convolved(network, filters, convolutions, batch_norm, dense_units=whole_check(dense_units))
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(dense_units, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
    return keras.Model(image, head(x, 0, dropout, network.classes), name=network.name)


def convolved(
    network: Network, filters: Sequence[int], convolutions: int, batch_norm: bool, **more: Check
) -> tuple[Any, Any]:
    """The input of a network without a backbone of Keras', and its map behind `convolution_blocks`.

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
    trunk = convolution_blocks(network.size, filters, convolutions, batch_norm)
    prepare_trunk(trunk, network)
    return image, trunk(normalised(image, network.normalise))


def convolution_blocks(size: int, filters: Sequence[int], convolutions: int, batch_norm: bool) -> keras.Model:
    """Build blocks of 3x3 convolutions, each halved by max-pooling.

    Parameters
    ----------
    size : int
        Side of the input, px.
    filters : sequence of int
        Channels of each block.
    convolutions : int
        Of each block.
    batch_norm : bool
        Normalise after each convolution.

    Returns
    -------
    keras.Model
        `convolutions`, from (n, size, size, 3) to (n, h, w, channels) at size / 2^blocks, rounded down.
    """
    x: Any
    x = image = keras.Input((size, size, 3), name="image")
    for block, width in enumerate(filters, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_{number}"
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=not batch_norm,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
            )(x)
            if batch_norm:
                x = layers.BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return keras.Model(image, x, name="convolutions")


def filters_check(filters: object, size: int) -> tuple[object, bool, str]:
    """The check of the blocks' channels, which also says how many blocks a tile bears."""
    listed = isinstance(filters, list | tuple) and len(filters) > 0 and all(whole(width, 1) for width in filters)
    most = int(size).bit_length() - 1 if whole(size, 1) else 0
    fits = listed and len(filters) <= most  # type: ignore[arg-type]
    return filters, fits, f"List 1 to {most} whole numbers for tiles of {size} px."
