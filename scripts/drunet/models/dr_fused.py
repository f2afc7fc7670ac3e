"""DR-fused, the patch-wise classifier of DRU-Net: truncated DenseNet201 and ResNet101V2 side by side.

Source: DRU-Net, "Patch-wise classifier"; cuts, head and scaling from the authors' repository. Both branches take RGB
scaled to [0, 1], not the preprocessing of Keras' own applications, unless `normalise` says so.
"""

from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.backbones import features, weight_sources
from drunet.models.image_normalisation import normalised
from drunet.models.options import Network, Shared, whole_check


def build_dr_fused(
    size: int,
    *,
    densenet_cut: str = "conv4_block6_1_conv",
    resnet_cut: str = "conv4_block9_1_bn",
    dense_units: int = 512,
    dropout: float = 0.4,
    normalise: str = "none",
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    The backbones are the layers `densenet201` and `resnet101v2`. 13,179,330 parameters with the defaults, whatever the
    size. Raises ModelError for an option out of range, a cut that names no layer, or weights that cannot be had or do
    not fit.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224).
    densenet_cut, resnet_cut : str
        Layers at which the backbones end; the defaults give 128 and 256 channels at 1/16 of the size.
    dense_units, dropout : int, float
        Width of the hidden layer, and the rate before it, in [0, 1).
    normalise : str
        "none" as the authors do; "own": each branch as in the training of Keras' ImageNet weights; or one for both.
    **shared
        See `drunet.models.options.Network`.
    """
    network = Network("dr_fused", size, dropout=dropout, normalise=normalise, **shared)
    network.check(dense_units=whole_check(dense_units))
    cuts = {"densenet201": densenet_cut, "resnet101v2": resnet_cut}
    sources = weight_sources(network.weights, cuts)
    image = network.image()
    pooled = []
    for name, cut in cuts.items():
        seen = normalised(image, normalise, name, f"{name}_normalised")
        x = features(network, name, seen, sources=sources, cut=cut)
        pooled.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(x))
    x = layers.Concatenate(name="fused")(pooled)
    x = head(x, dense_units, dropout, network.classes)
    return keras.Model(image, x, name=network.name)


def head(x: Any, dense_units: int, dropout: float, classes: int) -> Any:
    """From pooled features (n, channels) to probabilities (n, classes); no units: no hidden layer."""
    x = layers.Dropout(dropout, name="dropout")(x)
    if dense_units:
        x = layers.Dense(dense_units, activation="relu", name="hidden")(x)
    # A softmax in half precision loses what mixed precision must keep.
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
