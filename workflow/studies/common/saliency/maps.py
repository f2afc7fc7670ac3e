"""A class's score and its gradient, and maps of it: gradient saliency and integrated gradients.

This is the one place that differentiates a trained model. The maps say where a change of the picture would change the
decision, not where the tumour is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from drunet.errors import ModelError

Baseline = Literal["black", "white", "mean"]
_BASELINES: dict[Baseline, Callable[[np.ndarray], Any]] = {
    "black": np.zeros_like,
    "white": np.ones_like,
    "mean": lambda images: np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape),
}
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

    `score`: pictures (n, h, w, c) to scores (n,), each from its own picture alone. `of`, called after it, gives tensors
    that were made on the way, with respect to which to differentiate; by default the pictures themselves. Returns a
    gradient per tensor, float32, of its shape; None where the score does not depend on it. Raises ModelError if Keras
    runs on another backend than TensorFlow.
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


def gradient_saliency(
    model: Any, images: np.ndarray, index: int, *, score: ScoreKind = "log_odds", batch_size: int = 16
) -> np.ndarray:
    """Largest absolute gradient of a class's score over the channels of each pixel.

    Source: Simonyan et al. 2013, section 3; DRU-Net, "Saliency maps". `images`: float (n, h, w, c), as the model takes
    them; `model`, `index` and `score` as of `ClassScore`. Returns float32 (n, h, w): not negative; score per unit of
    pixel value.
    """
    explained = ClassScore(model, index, score)
    slopes = [gradients(explained, batch)[0] for batch in batches(images, batch_size)]
    return np.abs(np.concatenate(slopes)).max(axis=-1)


@dataclass(frozen=True)
class IntegratedGradients:
    """What every pixel adds to a class's score, counted from a baseline.

    `attributions`: float32 (n, h, w, c), in units of the score; positive values speak for the class. `change`: float32
    (n,), score of the picture less that of its baseline, which the attributions should add up to.
    """

    attributions: np.ndarray
    change: np.ndarray

    @property
    def map(self) -> np.ndarray:
        """Influence of each pixel, for or against: float32 (n, h, w), the size of the sum over its channels."""
        return np.abs(self.attributions.sum(axis=-1))

    @property
    def gap(self) -> np.ndarray:
        """How far the attributions miss the change, float32 (n,): the error of integrating in so many steps."""
        return self.attributions.sum(axis=(1, 2, 3), dtype=np.float64).astype(np.float32) - self.change


def integrated_gradients(
    model: Any,
    images: np.ndarray,
    index: int,
    *,
    baseline: Baseline = "black",
    steps: int = 64,
    score: ScoreKind = "log_odds",
    batch_size: int = 16,
) -> IntegratedGradients:
    """Integrate the gradient on the straight way from a baseline to each picture, times the way.

    Source: Sundararajan et al. 2017, equation 1. The integral is taken by Gauss-Legendre's rule, exact for scores that
    are polynomials of degree up to 2 * steps along the way. A network of ReLUs has kinks instead; `gap` tells what is
    missing. Images are in [0, 1]. The `baseline` is the picture that says nothing: on slides white is glass, black is
    found nowhere; "mean" is each picture's own mean colour. What equals it gets no attribution, so black never marks
    black pixels, nor white glass.
    """
    explained = ClassScore(model, index, score)
    images = np.asarray(images, np.float32)
    starts = np.asarray(_BASELINES[baseline](images), np.float32)
    change = explained.values(images, batch_size) - explained.values(starts, batch_size)
    points, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], weights that add up to 2
    slope = np.zeros(images.shape, np.float64)
    # Steps and pictures in one row, so that few pictures still fill the batches.
    picture, step = (part.ravel() for part in np.indices((len(images), steps)))
    for first in range(0, len(picture), batch_size):
        which, at = picture[first : first + batch_size], step[first : first + batch_size]
        share = ((points[at] + 1) / 2).astype(np.float32)[:, None, None, None]
        found = gradients(explained, starts[which] + share * (images - starts)[which])[0]
        np.add.at(slope, which, found * (weights[at] / 2)[:, None, None, None])
    return IntegratedGradients(((images - starts) * slope).astype(np.float32), change)


def unit_range(maps: np.ndarray, percentile: float = 100.0, *, top: np.ndarray | None = None) -> np.ndarray:
    """Stretch every map for display.

    `maps`: float (n, h, w), not negative. What lies at or above a `percentile` of a map's own values becomes 1, or what
    lies at its `top`, float (n,). Returns float32 (n, h, w) in [0, 1]; a map without influence stays 0 all over.
    """
    tops = np.percentile(maps, percentile, axis=(1, 2)) if top is None else top
    tops = np.asarray(tops, np.float32)[:, None, None]
    return np.clip(np.divide(maps, tops, out=np.zeros(maps.shape, np.float32), where=tops > 0), 0, 1)
