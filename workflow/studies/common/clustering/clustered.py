"""Many-shot classifier over clusters of tissue: MobileNetV2 and a head that tells the clusters apart.

Source: DRU-Net, run IX. The paper does not describe the head: it is that of H2G-Net's classifier, which has the same
backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from drunet.models.backbones import Weights, check_classifier_options
from studies.common.clustering.class_sums import ClassSums, check_labels
from studies.common.clustering.prototypes import build_embedder

CLASSES = "classes"
_WHERE = "architecture clustered"


def build_clustered(
    size: int,
    *,
    labels: Sequence[int],
    weights: Weights = "random",
    dense_units: int = 100,
    dropout: float = 0.5,
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32.
    labels : sequence of int
        Per class 0 (non-tumour) or 1 (tumour); known once the tiles are clustered.
    weights : "random", "imagenet" or {"mobilenetv2": file}
        Of the backbone; "imagenet" fetches Keras' own file (published).
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate after the hidden layer, in [0, 1).
    freeze_fraction : float
        Share of the backbone's layers that is held fixed, counted from the input.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, 2), sums of those of the layer `classes`,
        (n, len(labels)), which is what is taught.

    Raises
    ------
    ModelError
        For an option out of range, or weights that cannot be had or do not fit.
    """
    check_labels(labels, _WHERE)
    check_classifier_options(
        _WHERE,
        size=size,
        dense_units=dense_units,
        dropout=dropout,
        classes=len(labels),
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
    )
    embedder = build_embedder(
        size,
        weights=weights,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        seed=seed,
        where=_WHERE,
    )
    x = layers.Dense(dense_units, activation="relu", name="hidden")(embedder.output)
    x = layers.Dropout(dropout, name="dropout")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(len(labels), activation="softmax", dtype="float32", name=CLASSES)(x)
    x = ClassSums(labels, dtype="float32", name="probabilities")(x)
    return keras.Model(embedder.input, x, name="clustered")
