"""Saliency figures of an image classifier, which is rebuilt from what its training left."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drunet.training.trained import rebuild
from studies.common.class_metrics import confused, surest, trial_of
from studies.common.images.folder import read_image
from studies.common.images.view import View
from studies.common.saliency.attention_figure import image_maps
from studies.common.saliency.maps import grad_cam, gradient_saliency, scaled, unit_range
from studies.common.series import weights_file

# Layers of MFStudentLNet by the titles of their columns: stages of the trunk, and levels of the pyramid.
STAGES = {f"C{k}": f"c{k}" for k in range(2, 6)}
LEVELS = {f"P{k}": f"p{k}" for k in range(2, 6)}


def attention_figure(
    predictions: pd.DataFrame, facts: Mapping[str, Any], weights: str | Path, root: str | Path, *, trial: str
) -> Figure:
    """Grad-CAM over stages and levels of an MFStudentLNet, on its most certain images and its most certain mistake."""
    # Without the pyramid the trunk gives its last stage alone, but the others are inside it all the same.
    columns = {**STAGES, **(LEVELS if facts["options"].get("pyramid", True) else {})}
    chosen = surest(trial_of(predictions, trial))
    images = _seen(root, chosen["file"], facts)
    model = rebuild(facts, weights_file(weights, trial))
    found = layer_attention(model, scaled(images), chosen["index"].to_numpy(np.int64), list(columns.values()))
    words = [f"{_lines(row)}\n{row['kind']}" for row in chosen.to_dict("records")]
    return image_maps(images, words, {title: found[name] for title, name in columns.items()})


def confused_figure(
    predictions: pd.DataFrame, facts: Mapping[str, Any], weights: str | Path, root: str | Path, trial: str, **how: Any
) -> Figure:
    """Images of some classes that were taken for another of them, with saliency maps for both; see `confused`."""
    chosen = confused(trial_of(predictions, trial), **how)
    if chosen.empty:
        nothing = f"no test image of {' and '.join(how['classes'])} was taken for the other class"
        return image_maps(np.zeros((0, 1, 1, 3), np.uint8), [], {}, nothing=nothing)
    images = _seen(root, chosen["file"], facts)
    model, pixels = rebuild(facts, weights_file(weights, trial)), scaled(images)
    predicted, true = (decision_maps(model, pixels, chosen[key].to_numpy(np.int64)) for key in ("index", "own"))
    maps = {
        "gradient,\npredicted class": predicted["gradient"],
        "Grad-CAM,\npredicted class": predicted["Grad-CAM"],
        "Grad-CAM,\ntrue class": true["Grad-CAM"],
    }
    return image_maps(images, [_lines(row) for row in chosen.to_dict("records")], maps)


def surest_figure(
    predictions: pd.DataFrame, facts: Mapping[str, Any], weights: str | Path, root: str | Path, trial: str
) -> Figure:
    """Saliency maps for the predicted class of the surest images of each class, and of the surest mistake."""
    chosen = surest(trial_of(predictions, trial))
    images = _seen(root, chosen["file"], facts)
    maps = decision_maps(
        rebuild(facts, weights_file(weights, trial)), scaled(images), chosen["index"].to_numpy(np.int64)
    )
    return image_maps(images, [f"{_lines(row)}\n{row['kind']}" for row in chosen.to_dict("records")], maps)


def _seen(root: str | Path, files: Sequence[str] | pd.Series, facts: Mapping[str, Any]) -> NDArray:
    """Images as the network was tested on them, uint8 (n, size, size, 3)."""
    view = View.of(facts["view"], "view")
    return np.stack([view.test(read_image(Path(root) / file)) for file in files])


def _lines(row: Mapping[Any, Any]) -> str:
    """True class, predicted class and its probability, a line each."""
    p = "p > 0.999" if row["p"] > 0.999 else f"p = {row['p']:.3f}"
    return f"true: {row['label']}\npredicted: {row['called']}\n{p}"


def layer_attention(
    model: Any, images: NDArray[np.float32], classes: NDArray[np.int64], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Grad-CAM of every image (n, h, w, 3) in [0, 1] for a class of its own, (n,), by layer, (n, h, w).

    Each is stretched to [0, 1] by itself: strengths cannot be compared between layers, whose channels differ in units.
    """
    found = _by_class(images, classes, lambda chosen, k: grad_cam(model, chosen, k, layers=layers).branches)
    return {name: unit_range(maps) for name, maps in found.items()}


def decision_maps(
    model: Any, images: NDArray[np.float32], classes: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Maps "gradient" and "Grad-CAM" of every image for a class of its own, float32 (n, h, w) in [0, 1].

    Gradients are stretched to their 99th percentile, since single pixels stand far above all others.
    """
    gradients = _by_class(images, classes, lambda chosen, k: {"": gradient_saliency(model, chosen, k)})[""]
    maps = _by_class(images, classes, lambda chosen, k: {"": grad_cam(model, chosen, k).combined})[""]
    return {"gradient": unit_range(gradients, 99.0), "Grad-CAM": unit_range(maps)}


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
