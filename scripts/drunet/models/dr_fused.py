"""DR-fused, the patch-wise classifier of DRU-Net: truncated DenseNet201 and ResNet101V2 side by side.

Source: DRU-Net, "Patch-wise classifier"; cuts, head and scaling from the authors' repository. Both branches take RGB
scaled to [0, 1], not the preprocessing of Keras' own applications.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from drunet.models.backbones import Weights, check_classifier_options, features, weight_sources

_WHERE = "architecture dr_fused"


def build_dr_fused(
    size: int,
    *,
    weights: Weights = "random",
    densenet_cut: str = "conv4_block6_1_conv",
    resnet_cut: str = "conv4_block9_1_bn",
    dense_units: int = 512,
    dropout: float = 0.4,
    classes: int = 2,
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224).
    weights : "random", "imagenet" or {"densenet201": file, "resnet101v2": file}
        "imagenet" fetches Keras' own files; where there is no network, name the same files (without top).
    densenet_cut, resnet_cut : str
        Layers at which the backbones end; the defaults give 128 and 256 channels at 1/16 of the size.
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate before the hidden layer, in [0, 1).
    classes : int
        Outputs of the softmax.
    freeze_fraction : float
        Share of each truncated backbone's layers that is held fixed, counted from the input. A frozen
        batch normalisation also uses its moving averages, in training too.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' 0.99.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The backbones are the layers
        `densenet201` and `resnet101v2`. 13,179,330 parameters with the defaults, whatever the size.

    Raises
    ------
    ModelError
        For an option out of range, a cut that names no layer, or weights that cannot be had or do not fit.
    """
    check_classifier_options(
        _WHERE,
        size=size,
        dense_units=dense_units,
        dropout=dropout,
        classes=classes,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
    )
    cuts = {"densenet201": densenet_cut, "resnet101v2": resnet_cut}
    sources = weight_sources(weights, cuts)
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    pooled = []
    for name, cut in cuts.items():
        x = features(
            name,
            image,
            sources=sources,
            cut=cut,
            freeze_fraction=freeze_fraction,
            batch_norm_momentum=batch_norm_momentum,
            where=_WHERE,
        )
        pooled.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(x))
    x = layers.Concatenate(name="fused")(pooled)
    x = head(x, dense_units, dropout, classes)
    return keras.Model(image, x, name="dr_fused")


def head(x: Any, dense_units: int, dropout: float, classes: int) -> Any:
    """From pooled features (n, channels) to probabilities (n, classes); no units: no hidden layer."""
    x = layers.Dropout(dropout, name="dropout")(x)
    if dense_units:
        x = layers.Dense(dense_units, activation="relu", name="hidden")(x)
    # A softmax in half precision loses what mixed precision must keep.
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
