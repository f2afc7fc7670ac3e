"""Multi-lens distortion of batches in `keras.ops`, for any Keras backend, inside a model or before it.

Lenses act in sequence (`drunet.augment.multi_lens`). Followed backwards from a pixel of the result, only places are
computed, each truncated to whole pixels as in the paper's listing, and one gather takes the values.
"""

from typing import Any

import keras
from keras import ops

from drunet.augment.multi_lens import centre_range
from drunet.augment.pipeline import MultiLens


def source_pixels(size: tuple[int, int], centres: Any, radii: Any, strengths: Any) -> Any:
    """Compose the lenses of every image into one map of source pixels, as `coordinate_map` does.

    `size` is (height, width), px; `centres`, int (n, k, 2), are row and column of the k lenses of each image, px;
    `radii`, int (n, k), px, at least 1; positive `strengths`, float (n, k), magnify, negative ones shrink. Returns
    int32 (n, h * w): for every pixel the flat (row-major) index of the pixel whose value it takes.

    The map equals `coordinate_map`'s bit for bit where each operation is rounded by itself in float64 (TensorFlow
    without XLA). In float32, which JAX takes unless `jax_enable_x64` is set, 6 pixels in 100,000 differ.
    """
    height, width = size
    flat = ops.arange(height * width, dtype="int32")
    row, column = (ops.cast(place, "float64")[None] for place in (flat // width, flat % width))
    centres, radii, strengths = (ops.cast(values, "float64") for values in (centres, radii, strengths))
    for lens in reversed(range(radii.shape[1])):
        centre_row, centre_column = centres[:, lens, :1], centres[:, lens, 1:]
        radius, strength = radii[:, lens, None], strengths[:, lens, None]
        down, along = row - centre_row, column - centre_column
        distance = ops.sqrt(down * down + along * along)
        # The same operations in the same order as the listing: the truncation forgives no rounding.
        scaling = ops.maximum(1 - distance / radius, 0)
        shrink = 1 - strength * scaling
        row = ops.floor(ops.clip(down * shrink + centre_row, 0, height - 1))
        column = ops.floor(ops.clip(along * shrink + centre_column, 0, width - 1))
    return ops.broadcast_to(ops.cast(row * width + column, "int32"), (ops.shape(radii)[0], height * width))


def distort_batch(images: Any, centres: Any, radii: Any, strengths: Any) -> Any:
    """Apply lenses, as in `source_pixels`, to a batch (n, h, w, c): `drunet.augment.multi_lens.distort` for every
    image.

    Height and width are known. The result has the shape and dtype of `images`, and in each no value that it had not.
    """
    height, width, channels = images.shape[1:]
    count = ops.shape(images)[0]
    within = source_pixels((height, width), centres, radii, strengths)
    # One index over the whole batch: the plainest gather there is.
    places = within + ops.arange(count, dtype="int32")[:, None] * (height * width)
    values = ops.take(ops.reshape(images, (-1, channels)), places, axis=0)
    return ops.reshape(values, (count, height, width, channels))


class MultiLensDistortion(keras.layers.Layer):
    """A layer that distorts each image in training through its own lenses, and otherwise returns it unchanged.

    Draws are as in `drunet.augment.multi_lens.draw_lenses`, but from Keras' generators: other numbers.
    """

    def __init__(self, lenses: MultiLens, seed: int | None = None, **kwargs: Any) -> None:
        # Values are moved and not computed with: they keep the dtype that they came with, half precision or not.
        super().__init__(**{"autocast": False, **kwargs})
        self.drawn, self.generator = lenses, keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Distort (n, h, w, c) of any dtype when `training`."""
        if not training or not self.drawn.lenses:
            return images
        return distort_batch(images, *self.draw(ops.shape(images)[0], images.shape[1:3]))

    def draw(self, count: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Draw centres (n, k, 2), radii (n, k) and strengths (n, k) for images of one size."""
        drawn, shape = self.drawn, (count, self.drawn.lenses)
        ranges = [centre_range(side, drawn.radius, drawn.centres) for side in size]
        axes = [keras.random.randint(shape, *ends, seed=self.generator) for ends in ranges]
        radii = keras.random.randint(shape, *drawn.radius, seed=self.generator)
        strengths = keras.random.uniform(shape, *drawn.strength, dtype="float32", seed=self.generator)
        chosen = keras.random.uniform((count, 1), dtype="float32", seed=self.generator) < drawn.probability
        # A strength of 0 leaves every pixel in its place.
        return ops.stack(axes, axis=-1), radii, ops.where(chosen, strengths, 0.0)
