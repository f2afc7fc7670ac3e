"""What is explained, a class's score, and its gradient: the one place that differentiates a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from drunet.errors import ModelError

ScoreKind = Literal["log_odds", "log_probability", "probability"]

# Smallest probability whose logarithm is taken: still a normal number in float32, whose inverse is finite.
_TINY = 1e-37


class ClassScore:
    """How much a classifier speaks for one class, as a function of the picture.

    `model`: one picture in, float (n, h, w, c); class probabilities out, (n, classes). `index`: the class. `kind`:
    {"log_odds", "log_probability", "probability"}, the paper differentiates the output class, which is the probability.
    Its gradient is p (1 - p) times that of the log odds, log p - log (1 - p): the same pattern, but where the model is
    sure it vanishes into rounding. The log odds do not, and they are 0 on the border between the class and the rest.
    """

    def __init__(self, model: keras.Model, index: int, kind: ScoreKind = "log_odds") -> None:
        self.model, self.index, self.kind = model, index, kind
        self._others = [k for k in range(model.output.shape[1]) if k != index]

    def __call__(self, images: Any) -> Any:
        """Scores (n,) of a batch, in inference mode, on tensors of Keras' backend."""
        probabilities = self.model(images, training=False)
        own = probabilities[:, self.index]
        if self.kind == "probability":
            return own
        if self.kind == "log_probability":
            return _log(own)
        # The others' sum and not 1 - p, which is 0 in float32 from p = 1 - 6e-8 on.
        return _log(own) - _log(ops.sum(ops.take(probabilities, self._others, axis=1), axis=1))

    def values(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Scores float32 (n,) of pictures (n, h, w, c), in batches."""
        found = [ops.convert_to_numpy(self(batch)) for batch in batches(images, batch_size)]
        return np.concatenate(found).astype(np.float32)


def gradients(score: Callable[[Any], Any], images: np.ndarray, of: Callable[[], list[Any]] | None = None) -> list[Any]:
    """Differentiate the scores of a batch.

    `score`: pictures (n, h, w, c) to scores (n,), each from its own picture alone. `images`: float32 (n, h, w, c).
    `of`: called after `score`: tensors that were made on the way, with respect to which to differentiate; by default
    the pictures themselves. Returns list of array or None: a gradient per tensor, float32, of its shape; None where the
    score does not depend on it. Raises ModelError if Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        what, found = "gradients with respect to pictures are taken with TensorFlow only", keras.backend.backend()
        raise ModelError(what, where="Keras", found=f"backend {found}", mend="Set KERAS_BACKEND=tensorflow.")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(images, tf.float32)
        tape.watch(inputs)
        value = score(inputs)
        wanted = of() if of else [inputs]
    slopes = tape.gradient(value, wanted)
    return [None if g is None else ops.convert_to_numpy(g).astype(np.float32) for g in slopes]


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut pictures (n, h, w, c) into batches of float32."""
    for first in range(0, len(images), size):
        yield np.asarray(images[first : first + size], np.float32)


def _log(probability: Any) -> Any:
    return ops.log(ops.maximum(probability, _TINY))
