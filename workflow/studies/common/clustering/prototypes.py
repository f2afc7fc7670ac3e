"""Prototypical network on MobileNetV2: a tile is of the class whose mean embedding is nearest.

Source: Snell, Swersky and Zemel (2017, "Prototypical networks for few-shot learning"); DRU-Net, run VIII, where the
classes are clusters of tissue.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import layers, ops

from drunet.errors import ModelError
from drunet.models.backbones import features, weight_sources
from drunet.models.options import Check, Network, Shared, within

BACKBONE, EMBEDDING, PROTOTYPES = "mobilenetv2", "embedding", "prototypes"
# Snell et al. square the distances; the authors' code of DRU-Net does not.
DISTANCES = ("squared", "euclidean")
# Below this the root has no gradient.
_LEAST = 1e-12


def squared_distances(points: Any, centres: Any) -> Any:
    """Squared Euclidean distances (n, k) of points (n, d) from centres (k, d); differences first, which loses least."""
    return ops.sum(ops.square(ops.expand_dims(points, 1) - ops.expand_dims(centres, 0)), axis=-1)


def logits(points: Any, centres: Any, temperature: float, distance: str) -> Any:
    """Logits (n, k) of a prototypical network: negative distances, one of `DISTANCES`, over the temperature."""
    apart = squared_distances(points, centres)
    return -(apart if distance == "squared" else ops.sqrt(ops.maximum(apart, _LEAST))) / temperature


class Prototypes(keras.layers.Layer):
    """Negative distances from prototypes, over a temperature: the logits of a prototypical network.

    Embeddings (n, d) in, logits (n, `count`) out. A `temperature` above the source's 1 makes the softmax less sure. The
    prototypes, float (count, d), are weights that no training changes: they are set to the mean embeddings of the
    classes when it is over.
    """

    def __init__(self, count: int, temperature: float = 1.0, distance: str = "squared", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.temperature, self.distance = count, temperature, distance

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make room for the prototypes."""
        shape = (self.count, input_shape[-1])
        self.prototypes = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="prototypes")

    def call(self, inputs: Any) -> Any:
        """Return the logits."""
        return logits(inputs, ops.convert_to_tensor(self.prototypes), self.temperature, self.distance)


def build_prototypes(
    size: int,
    *,
    labels: Sequence[int],
    temperature: float = 1.0,
    distance: str = "squared",
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier for square tiles of `size` px.

    `labels` are 0 (non-tumour) or 1 (tumour) per class, known once the tiles are clustered; distances, `squared` or
    `euclidean`, are divided by the `temperature`, above 0; for the others see `drunet.models.options.Network`.

    Returns `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, 2). The embedding, (n, 1280), is the
    output of the layer `embedding`; the prototypes are weights of the layer `prototypes`. Raises ModelError for an
    option out of range, or weights that cannot be had or do not fit.
    """
    network = Network("prototypes", size, **shared)
    check_over_classes(
        network,
        labels,
        temperature=(temperature, within(temperature, 1e-6), "Use a number above 0."),
        distance=(distance, distance in DISTANCES, f"Use one of {', '.join(DISTANCES)}."),
    )
    embedder = build_embedder(network)
    # Distances and a softmax in half precision lose what mixed precision must keep.
    x = Prototypes(len(labels), temperature, distance, dtype="float32", name=PROTOTYPES)(embedder.output)
    x = layers.Softmax(dtype="float32", name="classes")(x)
    return keras.Model(embedder.input, label_sums(x, labels), name=network.name)


def build_embedder(network: Network) -> keras.Model:
    """Build MobileNetV2 with global average pooling: images (n, size, size, 3) in [0, 1] to float32 (n, 1280).

    Raises ModelError if the weights cannot be had or do not fit.
    """
    sources = weight_sources(network.weights, [BACKBONE])
    image = network.image()
    x = features(network, BACKBONE, image, sources=sources)
    x = layers.GlobalAveragePooling2D(dtype="float32", name=EMBEDDING)(x)
    return keras.Model(image, x, name="embedder")


def check_over_classes(network: Network, labels: Sequence[int], **more: Check) -> None:
    """Refuse classes that are not of both labels, and options out of range (raises ModelError)."""
    if set(labels) != {0, 1}:
        mend = "Name 0 (non-tumour) or 1 (tumour) for each class, both at least once."
        raise ModelError("the classes' labels do not fit", where=network.where, found=list(labels), mend=mend)
    two = "Use 2: clusters add up to non-tumour and tumour."
    network.check(on_backbone=True, classes=(network.classes, network.classes == 2, two), **more)


def label_sums(probabilities: Any, labels: Sequence[int]) -> Any:
    """Probabilities (n, 2) of non-tumour and tumour: sums of those of the classes, (n, k), of each label."""
    return ops.matmul(probabilities, np.eye(2, dtype=np.float32)[list(labels)])
