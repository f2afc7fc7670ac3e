"""Grad-CAM over the depth of a network: its convolutions in order, and means over the frozen and the trainable ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from drunet.errors import ModelError
from studies.common.saliency.grad_cam import grad_cam, walk
from studies.common.saliency.maps import ScoreKind, unit_range

FROZEN, TRAINABLE, ALL = "frozen", "trainable", "all"
GROUPS = (FROZEN, TRAINABLE, ALL)
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


@dataclass(frozen=True)
class Convolution:
    """A convolution of a network; its path is as `studies.common.saliency.grad_cam.find_layer` takes it."""

    path: str
    trainable: bool


def convolutions(model: keras.Model) -> list[Convolution]:
    """All convolutions of a network, also of models that are its layers, from the input to the output.

    Plain, depthwise and separable ones, in the order of Keras' `layers`: by their distance from the input, and of
    equals as they were made. Upstream counts its frozen layers in that order too.

    Raises
    ------
    ModelError
        If there is none.
    """
    found = [
        Convolution(path, bool(layer.trainable)) for path, layer in walk(model) if isinstance(layer, _CONVOLUTIONS)
    ]
    if not found:
        mend = "Explain a convolutional network."
        raise ModelError("there is no convolution", where=f"model {model.name}", mend=mend)
    return found


def last_convolution(model: keras.Model) -> str:
    """Path of the last of `convolutions`: where Grad-CAM is usually taken, found without a list of names.

    In a network that ends in several branches side by side (InceptionV3, InceptionResNetV2's blocks) it lies in one of
    them, and says nothing of the others; the model's own output holds all (`saliency.grad_cam.default_layers`).
    """
    return convolutions(model)[-1].path


def spread_convolutions(model: keras.Model, count: int) -> list[str]:
    """Paths of `count` convolutions (at least 1), evenly spaced over the depth; the last always, fewer if there are."""
    paths = [layer.path for layer in convolutions(model)]
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))) if count > 1 else np.array([len(paths) - 1])
    return [paths[int(place)] for place in np.unique(np.round(places).astype(int))]


def grouped(layers: Sequence[Convolution]) -> dict[str, list[str]]:
    """Paths of the frozen, the trainable and all convolutions; an empty group is left out."""
    wanted = {FROZEN: (False,), TRAINABLE: (True,), ALL: (False, True)}
    groups = {name: [layer.path for layer in layers if layer.trainable in kinds] for name, kinds in wanted.items()}
    return {name: paths for name, paths in groups.items() if paths}


def averaged(maps: Mapping[str, NDArray[np.float32]], paths: Sequence[str]) -> NDArray[np.float32]:
    """Mean (n, h, w) of the maps of the layers `paths`, each scaled to [0, 1] first.

    The maps of layers differ in units, by orders of magnitude, since so do their channels: added up as they are, the
    mean would be the map of a layer or two. A layer without any evidence counts as 0 all over.
    """
    whole = np.zeros_like(maps[paths[0]], dtype=np.float64)
    for path in paths:
        whole += unit_range(maps[path])
    return (whole / len(paths)).astype(np.float32)


def group_maps(
    model: Any, images: NDArray[np.float32], index: int, *, score: ScoreKind = "log_odds"
) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM averaged over the frozen, the trainable and all convolutions; float32 (n, h, w) in [0, 1] by group.

    Source: Chu et al., section 2.5 and figure S3, which speak of averaged gradients. Gradients of layers with
    other channels and places cannot be averaged; here it is their maps, see `averaged`. Parameters as of
    `saliency.grad_cam.grad_cam`. A group without a layer is left out.
    """
    layers = convolutions(model)
    paths = [layer.path for layer in layers]
    found: dict[str, list[NDArray[np.float32]]] = {}
    for k in range(len(images)):  # one at a time: every convolution's output is kept
        maps = grad_cam(model, images[k : k + 1], index, layers=paths, score=score, batch_size=1).branches
        for name, members in grouped(layers).items():
            found.setdefault(name, []).append(averaged(maps, members))
    return {name: np.concatenate(parts) for name, parts in found.items()}
