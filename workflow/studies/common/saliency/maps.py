"""A class's score and its gradient, and maps of it: gradient saliency, integrated gradients and Grad-CAM.

This is the one place that differentiates a trained model. The maps say where a change of the picture would change the
decision, not where the tumour is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import cv2
import keras
import numpy as np
from keras import ops

from drunet.errors import ModelError, spelt_alike

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


def scaled(images: np.ndarray) -> np.ndarray:
    """Pictures, uint8, as networks take them: float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


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


@dataclass(frozen=True)
class GradCam:
    """Maps of evidence for a class, at the size of the picture.

    `combined`, float32 (n, h, w), not negative, is of all layers together: evidence against the class in one branch
    cancels evidence for it in another, and the places of layers that have not equally many count in inverse proportion
    to their area. `branches` are such maps of each layer by itself, by the name that was asked for.
    """

    combined: np.ndarray
    branches: dict[str, np.ndarray]


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    index: int,
    *,
    layers: Sequence[str] | None = None,
    score: ScoreKind = "log_odds",
    batch_size: int = 16,
) -> GradCam:
    """Weigh a layer's channels by the mean gradient of a class's score, add them up, keep what is positive.

    Source: Selvaraju et al. 2017, equations 1 and 2. They differentiate the score before the softmax, which is fixed
    only up to a number that all classes share; see `ClassScore` for what takes its place. `layers` are as in
    `find_layer`, by default `default_layers`; one that is used more than once counts as last used. Maps are enlarged by
    bilinear interpolation. Raises ModelError as `find_layer`, or for a layer without places or part in the score.
    """
    explained = ClassScore(model, index, score)
    names = list(layers) if layers else default_layers(model)
    found = [find_layer(model, name) for name in names]
    size = images.shape[2], images.shape[1]
    evidence: dict[str, list[np.ndarray]] = {name: [] for name in names}
    places: dict[str, int] = {}
    for batch in batches(images, batch_size):
        with _recorded(found) as outputs:
            slopes = gradients(explained, batch, of=lambda: [outputs[id(layer)] for layer in found])
        for name, layer, slope in zip(names, found, slopes, strict=True):
            output = ops.convert_to_numpy(outputs[id(layer)]).astype(np.float32)
            coarse = _evidence(output, slope, f"model {model.name}", name)
            places[name] = coarse[0].size
            evidence[name].append(np.stack([cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in coarse]))
    whole = {name: np.concatenate(parts) for name, parts in evidence.items()}
    average = float(np.mean(list(places.values())))
    combined = sum(places[name] / average * maps for name, maps in whole.items())
    return GradCam(np.maximum(combined, 0), {name: np.maximum(maps, 0) for name, maps in whole.items()})


def _evidence(output: np.ndarray, slope: np.ndarray | None, where: str, name: str) -> np.ndarray:
    """Channels of (n, i, j, k) added up by their mean gradients, before the negative part is cut: (n, i, j)."""
    if output.ndim != 4:
        mend = "Name a layer whose output is (n, h, w, channels)."
        raise ModelError(f"the output of layer {name} has no places", where=where, found=output.shape, mend=mend)
    if slope is None:
        raise ModelError(f"layer {name} has no part in the score", where=where, mend="Name another layer.")
    return np.einsum("nijk,nk->nij", output, slope.mean(axis=(1, 2)))


@contextmanager
def _recorded(layers: Sequence[keras.layers.Layer]) -> Iterator[dict[int, Any]]:
    """Keep what the layers give while the block runs, by their ids.

    Keras has no hooks, and a model of the wanted outputs cannot be cut out of a model that holds others as layers
    without touching its graph. So the layers' `call` is shadowed for as long as the block runs.
    """
    outputs: dict[int, Any] = {}

    def recorded(layer: keras.layers.Layer, call: Any, *args: Any, **kwargs: Any) -> Any:
        outputs[id(layer)] = call(*args, **kwargs)
        return outputs[id(layer)]

    try:
        for layer in layers:
            if "call" not in vars(layer):
                vars(layer)["call"] = partial(recorded, layer, layer.call)
        yield outputs
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of a name or a path.

    `name`: `densenet201/conv4_block6_1_conv` for a layer of a model that is a layer itself; the last part is enough
    where only one layer is called so. Raises ModelError if there is no such layer, or several; with the nearest names.
    """
    paths = dict(walk(model))
    fitting = [path for path in paths if path == name or path.endswith(f"/{name}")]
    if name in paths or len(fitting) == 1:
        return paths[name if name in paths else fitting[0]]
    where = f"model {model.name}"
    if fitting:
        raise ModelError("several layers are called so", where=where, found=name, mend=f"Use {' or '.join(fitting)}.")
    # A path is also known by its last part, the first of several.
    known = {path.rpartition("/")[2]: path for path in reversed(paths)} | {path: path for path in paths}
    near = dict.fromkeys(known[found] for found in spelt_alike(name, known, at_most=3)) or default_layers(model)
    raise ModelError("there is no such layer", where=where, found=name, mend=f"Did you mean {', '.join(near)}?")


def default_layers(model: keras.Model) -> list[str]:
    """Names of the last layers that still have places: those that no other such layer of the model takes up.

    One for a plain network, one per branch where branches are fused after pooling: `densenet201` and `resnet101v2` in
    DR-fused. A model that is a layer counts as one layer, by its output. Raises ModelError if there is none.
    """
    spatial = [layer for layer in model.layers if _has_places(layer)]
    # Keras says publicly what a layer feeds only for layers that are no models: `output` of those is their own graph's.
    fed = {id(layer): [node.operation for node in layer._outbound_nodes] for layer in spatial}
    last = [layer.name for layer in spatial if not any(other in spatial for other in fed[id(layer)])]
    if not last:
        mend = "Explain a convolutional network, or name the layers."
        raise ModelError("no layer's output has places", where=f"model {model.name}", mend=mend)
    return last


def walk(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Path and layer of all layers, also of models that are layers, each of those before its own; in Keras' order."""
    for layer in model.layers:
        yield prefix + layer.name, layer
        if isinstance(layer, keras.Model):
            yield from walk(layer, f"{prefix}{layer.name}/")


def _has_places(layer: keras.layers.Layer) -> bool:
    """Whether the output is (n, h, w, c) with more than one place; the input itself does not count."""
    if isinstance(layer, keras.layers.InputLayer):
        return False
    try:
        shape: Any = layer.output.shape
    except (AttributeError, ValueError):  # never called in a graph, or several outputs
        return False
    return len(shape) == 4 and tuple(shape[1:3]) != (1, 1)
