"""Many-shot classifier over clusters of tissue: MobileNetV2 and a head that tells the clusters apart.

Source: DRU-Net, run IX. The paper does not describe the head: it is that of H2G-Net's classifier, which has the same
backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers

from drunet.models.options import Network, Shared, whole_check
from studies.common.clustering.class_sums import ClassSums, check_labels, two_check
from studies.common.clustering.prototypes import build_embedder

CLASSES = "classes"


def build_clustered(
    size: int,
    *,
    labels: Sequence[int],
    dense_units: int = 100,
    dropout: float = 0.5,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32.
    labels : sequence of int
        Per class 0 (non-tumour) or 1 (tumour); known once the tiles are clustered.
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate after the hidden layer, in [0, 1).
    **shared
        See `drunet.models.options.Network`.

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
    network = Network("clustered", size, dropout=dropout, **shared)
    check_labels(labels, network.where)
    network.check(classes=two_check(network.classes), dense_units=whole_check(dense_units))
    embedder = build_embedder(network)
    x = layers.Dense(dense_units, activation="relu", name="hidden")(embedder.output)
    x = layers.Dropout(dropout, name="dropout")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(len(labels), activation="softmax", dtype="float32", name=CLASSES)(x)
    x = ClassSums(labels, dtype="float32", name="probabilities")(x)
    return keras.Model(embedder.input, x, name=network.name)
