"""Maps for images of different classes, each for the class that it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.common.saliency.grad_cam import grad_cam
from studies.common.saliency.maps import gradient_saliency, unit_range


def layer_attention(
    model: Any, images: NDArray[np.float32], classes: NDArray[np.int64], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM of every image at several layers.

    `model`: softmax probabilities from pictures in [0, 1]. `images`: float32 (n, h, w, 3). `classes`: int (n,), which
    class each image is explained for. `layers`: see `studies.common.saliency.layers.find_layer`. Returns dict of str to
    float32 (n, h, w): by layer, in [0, 1]: each map stretched by itself. Layers differ in how many places they have and
    in the units of their channels, so strengths cannot be compared between columns.
    """

    def maps(chosen: NDArray[np.float32], index: int) -> dict[str, NDArray[np.float32]]:
        return grad_cam(model, chosen, index, layers=layers).branches

    return {name: unit_range(found) for name, found in _by_class(images, classes, maps).items()}


def decision_maps(
    model: Any, images: NDArray[np.float32], classes: NDArray[np.int64], layers: Sequence[str] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Gradient saliency and Grad-CAM of every image for a class of its own.

    `model`, `images`, `classes`: as in `layer_attention`. `layers`: of Grad-CAM; by default the last that have places.
    Returns dict of str to float32 (n, h, w): "gradient" (stretched to its 99th percentile, since single pixels stand
    far above all others) and "Grad-CAM", each in [0, 1].
    """

    def maps(chosen: NDArray[np.float32], index: int) -> dict[str, NDArray[np.float32]]:
        return {
            "gradient": gradient_saliency(model, chosen, index),
            "Grad-CAM": grad_cam(model, chosen, index, layers=layers).combined,
        }

    found = _by_class(images, classes, maps)
    return {"gradient": unit_range(found["gradient"], 99.0), "Grad-CAM": unit_range(found["Grad-CAM"])}


def _by_class(
    images: NDArray[np.float32],
    classes: NDArray[np.int64],
    maps: Callable[[NDArray[np.float32], int], dict[str, NDArray[np.float32]]],
) -> dict[str, NDArray[np.float32]]:
    """Maps of images class by class, put back in the images' order."""
    whole: dict[str, NDArray[np.float32]] = {}
    for index in np.unique(classes):
        chosen = np.flatnonzero(classes == index)
        for name, found in maps(images[chosen], int(index)).items():
            whole.setdefault(name, np.zeros(images.shape[:3], np.float32))[chosen] = found
    return whole
