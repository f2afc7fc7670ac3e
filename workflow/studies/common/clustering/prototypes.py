"""Prototypical network on MobileNetV2: a tile is of the class whose mean embedding is nearest.

Source: Snell, Swersky and Zemel (2017, "Prototypical networks for few-shot learning"); DRU-Net, run VIII, where the
classes are clusters of tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from drunet.models.backbones import Weights, features, weight_sources
from drunet.models.options import SMALLEST, momentum_check, refuse_unfit, within
from studies.common.clustering.class_sums import ClassSums, check_labels

BACKBONE, EMBEDDING, PROTOTYPES = "mobilenetv2", "embedding", "prototypes"
_WHERE = "architecture prototypes"


def squared_distances(points: Any, centres: Any) -> Any:
    """Squared Euclidean distances (n, k) of points (n, d) from centres (k, d); differences first, which loses least."""
    return ops.sum(ops.square(ops.expand_dims(points, 1) - ops.expand_dims(centres, 0)), axis=-1)


@keras.saving.register_keras_serializable(package="drunet")
class Prototypes(keras.layers.Layer):
    """Negative squared distances from prototypes, over a temperature: the logits of a prototypical network.

    Parameters
    ----------
    count : int
        Classes.
    temperature : float
        1 in the source; more makes the softmax less sure.

    Notes
    -----
    Embeddings (n, d) in, logits (n, count) out. The prototypes, float (count, d), are weights that no training changes:
    they are set to the mean embeddings of the classes when it is over.
    """

    def __init__(self, count: int, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.temperature = count, temperature

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make room for the prototypes."""
        shape = (self.count, input_shape[-1])
        self.prototypes = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="prototypes")

    def call(self, inputs: Any) -> Any:
        """Return the logits."""
        return -squared_distances(inputs, ops.convert_to_tensor(self.prototypes)) / self.temperature

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """One logit per class."""
        return (*input_shape[:-1], self.count)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer anew."""
        return {**super().get_config(), "count": self.count, "temperature": self.temperature}


def build_prototypes(
    size: int,
    *,
    labels: Sequence[int],
    weights: Weights = "random",
    temperature: float = 1.0,
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
    temperature : float
        By which squared distances are divided, above 0.
    freeze_fraction : float
        Share of the backbone's layers that is held fixed, counted from the input.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own.
    seed : int
        Of the initial weights. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, 2). The embedding, (n, 1280), is the
        output of the layer `embedding`; the prototypes are weights of the layer `prototypes`.

    Raises
    ------
    ModelError
        For an option out of range, or weights that cannot be had or do not fit.
    """
    check_labels(labels, _WHERE)
    refuse_unfit(_WHERE, {"temperature": (temperature, within(temperature, 1e-6), "Use a number above 0.")})
    embedder = build_embedder(
        size,
        weights=weights,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        seed=seed,
        where=_WHERE,
    )
    # Distances and a softmax in half precision lose what mixed precision must keep.
    x = Prototypes(len(labels), temperature, dtype="float32", name=PROTOTYPES)(embedder.output)
    x = layers.Softmax(dtype="float32", name="classes")(x)
    x = ClassSums(labels, dtype="float32", name="probabilities")(x)
    return keras.Model(embedder.input, x, name="prototypes")


def build_embedder(
    size: int,
    *,
    weights: Weights = "random",
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
    where: str = "MobileNetV2 features",
) -> keras.Model:
    """Build MobileNetV2 with global average pooling: images (n, size, size, 3) in [0, 1] to float32 (n, 1280).

    Parameters are those of `build_prototypes`; `where` is named in messages.

    Raises
    ------
    ModelError
        As `build_prototypes`.
    """
    share = freeze_fraction == 1 or within(freeze_fraction, 0, 1)
    refuse_unfit(
        where,
        {
            "size": (size, within(size, SMALLEST) and size == int(size), f"Use tiles of at least {SMALLEST} px."),
            "freeze_fraction": (freeze_fraction, share, "Use a share from 0 to 1."),
            "batch_norm_momentum": momentum_check(batch_norm_momentum),
        },
    )
    sources = weight_sources(weights, [BACKBONE])
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    x = features(
        BACKBONE,
        image,
        sources=sources,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        where=where,
    )
    x = layers.GlobalAveragePooling2D(dtype="float32", name=EMBEDDING)(x)
    return keras.Model(image, x, name="embedder")
