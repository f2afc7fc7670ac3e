"""Grad-CAM: which places of a layer's output speak for a class; and finding layers, also in models that are layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops

from drunet.errors import ModelError, spelt_alike
from studies.common.saliency.maps import ClassScore, ScoreKind, batches, gradients


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
    last = [layer.name for layer in spatial if not any(_feeds(layer, other) for other in spatial)]
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


def _feeds(layer: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    # Keras says so publicly only for layers that are no models: `output` of those is a tensor of their own graph.
    return any(node.operation is other for node in layer._outbound_nodes)
