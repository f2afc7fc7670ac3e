"""Many-shot classifier over clusters of tissue: MobileNetV2 and a head that tells the clusters apart.

Source: DRU-Net, run IX. The paper does not describe the head: it is that of H2G-Net's classifier, which has the same
backbone.
"""

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers

from drunet.models.options import Network, Shared, whole_check
from studies.common.clustering.prototypes import build_embedder, check_over_classes, label_sums

CLASSES = "classes"


def build_clustered(
    size: int, *, labels: Sequence[int], dense_units: int = 100, dropout: float = 0.5, **shared: Unpack[Shared]
) -> keras.Model:
    """Build the classifier for square tiles of `size` px.

    `labels` are 0 (non-tumour) or 1 (tumour) per class, known once the tiles are clustered; `dense_units` is the width
    of the hidden layer, `dropout` the rate after it; for the others see `drunet.models.options.Network`.

    Returns `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, 2), sums of those of the layer
    `classes`, (n, len(labels)), which is what is taught. Raises ModelError for an option out of range, or weights that
    cannot be had or do not fit.
    """
    network = Network("clustered", size, dropout=dropout, **shared)
    check_over_classes(network, labels, dense_units=whole_check(dense_units))
    embedder = build_embedder(network)
    x = layers.Dense(dense_units, activation="relu", name="hidden")(embedder.output)
    x = layers.Dropout(dropout, name="dropout")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(len(labels), activation="softmax", dtype="float32", name=CLASSES)(x)
    return keras.Model(embedder.input, label_sums(x, labels), name=network.name)
