"""The patch-wise classifier of H2G-Net, which DRU-Net is compared with: MobileNetV2 and a small head.

Source: DRU-Net, "Model training" (the H2G-Net runs); layers from the authors' repository of H2G-Net. Published on tiles
of 256 px.
"""

from __future__ import annotations

import keras
from keras import layers

from drunet.models.backbones import Weights, check_classifier_options, features, weight_sources

_WHERE = "architecture h2gnet_classifier"
_BACKBONE = "mobilenetv2"


def build_h2gnet_classifier(
    size: int,
    *,
    weights: Weights = "random",
    dense_units: int = 100,
    dropout: float = 0.5,
    classes: int = 2,
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 256).
    weights : "random", "imagenet" or {"mobilenetv2": file}
        "imagenet" fetches Keras' own file; where there is no network, name the same file (without top).
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate after the hidden layer, in [0, 1).
    classes : int
        Outputs of the softmax.
    freeze_fraction : float
        Share of the backbone's layers that is held fixed, counted from the input.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

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
    check_classifier_options(
        _WHERE,
        size=size,
        dense_units=dense_units,
        dropout=dropout,
        classes=classes,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
    )
    sources = weight_sources(weights, [_BACKBONE])
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    x = features(
        _BACKBONE,
        image,
        sources=sources,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        where=_WHERE,
    )
    x = layers.GlobalAveragePooling2D(name=f"{_BACKBONE}_pool")(x)
    x = layers.Dense(dense_units, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name="h2gnet_classifier")
