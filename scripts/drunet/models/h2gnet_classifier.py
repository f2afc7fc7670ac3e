"""The patch-wise classifier of H2G-Net, which DRU-Net is compared with: MobileNetV2 and a small head.

Source: Pedersen et al. 2022 for the backbone and tiles of 256 px. Their repository holds no patch-wise classifier: of
the width of the head and its dropout no source was found.
"""

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
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    `size`, the side of the square tile, is at least 32 px (published: 256); `dense_units` is the width of the hidden
    layer, and `dropout` the rate after it, in [0, 1); for `shared` see `drunet.models.options.Network`. The backbone is
    the layer `mobilenetv2`. 2,386,286 parameters with the defaults, whatever the size. Raises ModelError for an option
    out of range, or weights that cannot be had or do not fit.
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
