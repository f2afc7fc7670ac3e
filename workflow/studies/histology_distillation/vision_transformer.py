"""Vision Transformer: a picture as a sequence of patches.

Source: Dosovitskiy et al. 2020, section 3.1, equations 1 to 4, and Table 1. Weights begin as in the authors' code, but
for the classifier's, which start near zero (deviation 0.02) and not at it.
"""

import math
from typing import Any, Unpack

import keras
from keras import layers, ops

from drunet.models.image_normalisation import normalised
from drunet.models.options import Network, Shared, refuse_unfit, whole_check, within

_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="drunet")
class PatchSequence(keras.layers.Layer):
    """(n, h, w, width) to (n, 1 + h * w, width): a learnt class token, a map's places, and learnt positions on both."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the token and the positions."""
        height, across, self._width = (int(side or 0) for side in input_shape[1:])
        self._places = height * across
        near_zero = keras.initializers.RandomNormal(stddev=0.02)
        self.token = self.add_weight(shape=(1, 1, self._width), initializer="zeros", name="token")
        shape = (1, 1 + self._places, self._width)
        self.positions = self.add_weight(shape=shape, initializer=near_zero, name="positions")

    def call(self, inputs: Any) -> Any:
        """Return the sequence."""
        sequence = ops.reshape(inputs, (-1, self._places, self._width))
        # A sum with zeros repeats the token for every sample without asking how many there are.
        token = ops.zeros_like(sequence[:, :1]) + self.token
        return ops.concatenate([token, sequence], axis=1) + self.positions


@keras.saving.register_keras_serializable(package="drunet")
class ExactGelu(keras.layers.Layer):
    """x Phi(x), with the normal distribution's Phi by the error function (Hendrycks and Gimpel 2016).

    Keras' own takes the complementary error function on TensorFlow, for which ONNX has no operator.
    """

    def call(self, inputs: Any) -> Any:
        """Return the activated values, shaped as the input."""
        return 0.5 * inputs * (1.0 + ops.erf(inputs * math.sqrt(0.5)))


def build_vision_transformer(
    size: int,
    *,
    patch: int = 16,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    mlp_ratio: float = 4.0,
    normalise: str = "imagenet",
    dropout: float = 0.0,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    `size` is at least 32 px (published: 224), and a multiple of the side of a `patch`. `width` channels, `depth`
    encoder blocks and `heads`: 192, 12, 3 is ViT-Ti, 384, 12, 6 ViT-S and 768, 12, 12 the published ViT-B, with
    5,717,416, 22,050,664 and 86,567,656 parameters at 224 px with 1,000 classes and patches of 16 px. The paper on
    distillation does not say which it took; Ti is about a student's size. `mlp_ratio` is the hidden units of a block's
    perceptron per channel; `dropout` the rate after the positions are added and after every dense layer of the blocks
    but those to queries, keys and values. Further options: `drunet.models.options.Network`. Raises ModelError for an
    option out of range.

    The layer `transformer` gives the sequence (n, 1 + places, width); its map of patches is the layer `patches`.
    """
    network = Network("vision_transformer", size, dropout=dropout, normalise=normalise, **shared)
    network.check(
        on_backbone=False,
        patch=whole_check(patch),
        width=whole_check(width),
        depth=whole_check(depth),
        heads=whole_check(heads),
        mlp_ratio=(mlp_ratio, within(mlp_ratio, 0.1), "Use a number of at least 0.1."),
    )
    _check_divisible(network.where, size, patch, width, heads)
    image = network.image()
    trunk = _transformer(size, patch, width, depth, heads, round(mlp_ratio * width), dropout)
    network.prepare(trunk)
    x = trunk(normalised(image, normalise))
    # Only the token is read; its place is cut out as a sequence of one.
    x = layers.Cropping1D((0, x.shape[1] - 1), name="token")(x)
    x = layers.Flatten(name="features")(x)
    near_zero = keras.initializers.RandomNormal(stddev=0.02)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(
        network.classes, activation="softmax", kernel_initializer=near_zero, dtype="float32", name="probabilities"
    )(x)
    return keras.Model(image, x, name=network.name)


def _transformer(size: int, patch: int, width: int, depth: int, heads: int, hidden: int, dropout: float) -> keras.Model:
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(width, patch, strides=patch, name="patches")(image)
    x = _dropped(PatchSequence(name="sequence")(x), dropout, "sequence_dropout")
    for number in range(1, depth + 1):
        x = _encoder_block(x, heads, hidden, dropout, f"block{number}")
    return keras.Model(image, layers.LayerNormalization(epsilon=_EPSILON, name="norm")(x), name="transformer")


def _encoder_block(x: Any, heads: int, hidden: int, dropout: float, name: str) -> Any:
    """Attention, then a perceptron, each behind a normalisation and added to what it was given."""
    width = x.shape[-1]
    inner = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm1")(x)
    inner = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(inner, inner)
    x = layers.Add(name=f"{name}_sum1")([x, _dropped(inner, dropout, f"{name}_dropout1")])
    inner = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm2")(x)
    inner = layers.Dense(hidden, name=f"{name}_hidden")(inner)
    inner = _dropped(ExactGelu(name=f"{name}_gelu")(inner), dropout, f"{name}_dropout2")
    inner = _dropped(layers.Dense(width, name=f"{name}_dense")(inner), dropout, f"{name}_dropout3")
    return layers.Add(name=f"{name}_sum2")([x, inner])


def _dropped(x: Any, rate: float, name: str) -> Any:
    return layers.Dropout(rate, name=name)(x) if rate else x


def _check_divisible(where: str, size: int, patch: int, width: int, heads: int) -> None:
    refuse_unfit(
        where,
        {
            "patch": (patch, size % patch == 0, f"Use a patch that divides the tile's {size} px."),
            "heads": (heads, width % heads == 0, f"Use a number of heads that divides the width, {width}."),
        },
    )
