"""Grad-CAM: which places of a layer's output speak for a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops

from drunet.errors import ModelError
from studies.common.saliency.layers import default_layers, find_layer
from studies.common.saliency.score import ClassScore, ScoreKind, batches, gradients


@dataclass(frozen=True)
class GradCam:
    """Maps of evidence for a class, at the size of the picture.

    `combined`: float32 (n, h, w), of all layers together, not negative. Where the layers have equally many places this
    is the Grad-CAM of their channels side by side: evidence against the class in one branch cancels evidence for it in
    the other. Where they have not, a layer's places count in inverse proportion to their area. `branches`: dict of str
    to float32 (n, h, w), of each layer by itself, by the name that was asked for; not negative. In the same units where
    the layers have equally many places.
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
    only up to a number that all classes share; see `ClassScore` for what takes its place.

    Parameters are as in `gradient_saliency`; `layers` as in `find_layer`, by default `default_layers`; one that is used
    more than once counts as last used. Maps are enlarged by bilinear interpolation. Raises ModelError as
    `find_layer`, or if a layer's output has no places or no part in the score.
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
