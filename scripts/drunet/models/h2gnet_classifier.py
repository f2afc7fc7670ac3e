"""The patch-wise classifier of H2G-Net, which DRU-Net is compared with: MobileNetV2 and a small head.

Source: DRU-Net, "Model training" (the H2G-Net runs). The head, Dense 100 and dropout 0.5, is chosen here: neither paper
nor the public repositories show it. Published on tiles of 256 px.
"""

from __future__ import annotations

from typing import Unpack

import keras
from keras import layers

from drunet.models.backbones import features, weight_sources
from drunet.models.options import Network, Shared, whole_check

_BACKBONE = "mobilenetv2"


def build_h2gnet_classifier(
    size: int,
    *,
    dense_units: int = 100,
    dropout: float = 0.5,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 256).
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate after the hidden layer, in [0, 1).
    **shared
        See `drunet.models.options.Network`.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The backbone is the layer
        `mobilenetv2`. 2,386,286 parameters with the defaults, whatever the size.

    Raises
    ------
    ModelError
        For an option out of range, or weights that cannot be had or do not fit.
    """
    network = Network("h2gnet_classifier", size, dropout=dropout, **shared)
    network.check(dense_units=whole_check(dense_units))
    sources = weight_sources(network.weights, [_BACKBONE])
    image = network.image()
    x = features(network, _BACKBONE, image, sources=sources)
    x = layers.GlobalAveragePooling2D(name=f"{_BACKBONE}_pool")(x)
    x = layers.Dense(dense_units, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(network.classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name=network.name)
