"""Saliency figures of an image classifier, which is rebuilt from what its training left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drunet.training.checkpoint import weights_file
from drunet.training.trained import rebuild
from studies.common.images.examples import confused, surest, trial_of
from studies.common.images.folder import read_image
from studies.common.images.view import View
from studies.common.saliency.attention import decision_maps, layer_attention
from studies.common.saliency.attention_figure import image_maps

# Layers of MFStudentLNet by the titles of their columns: stages of the trunk, and levels of the pyramid.
STAGES = {f"C{k}": f"c{k}" for k in range(2, 6)}
LEVELS = {f"P{k}": f"p{k}" for k in range(2, 6)}


def attention_figure(
    predictions: pd.DataFrame,
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
    *,
    trial: str,
    layers: Mapping[str, str] | None = None,
) -> Figure:
    """Grad-CAM over the layers of a network, on its most certain images and its most certain mistake.

    Parameters
    ----------
    predictions, facts, weights
        What the training left: predictions.parquet, training.json, the folder of weights.
    root : path
        Folder of the images.
    trial : str
        `protocol.fold`, of those whose weights are kept.
    layers : mapping of str to str, optional
        Layers by the title of their column; by default what an MFStudentLNet with the model's options has.

    Raises
    ------
    ModelError
        If the weights do not fit the facts, or there is no such layer.
    ImageSetError
        If an image cannot be read any more.
    """
    # Without the pyramid the trunk gives its last stage alone, but the others are inside it all the same.
    columns = layers or {**STAGES, **(LEVELS if facts["options"].get("pyramid", True) else {})}
    chosen = surest(trial_of(predictions, trial))
    images = _seen(root, chosen["file"], facts)
    model = rebuild(facts, weights_file(weights, trial))
    found = layer_attention(model, _scaled(images), chosen["index"].to_numpy(np.int64), list(columns.values()))
    words = [f"{_lines(row)}\n{row['kind']}" for row in chosen.to_dict("records")]
    return image_maps(images, words, {title: found[name] for title, name in columns.items()})


def confused_figure(
    predictions: pd.DataFrame,
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
    *,
    trial: str,
    classes: Sequence[str],
    pairs: int,
    at_most: int,
) -> Figure:
    """Images of some classes that were taken for another of them, with saliency maps for both classes.

    Parameters and errors as of `attention_figure` and `studies.common.images.examples.confused`.
    """
    chosen = confused(trial_of(predictions, trial), classes, pairs=pairs, at_most=at_most)
    if chosen.empty:
        nothing = f"no test image of {' and '.join(classes)} was taken for the other class"
        return image_maps(np.zeros((0, 1, 1, 3), np.uint8), [], {}, nothing=nothing)
    images = _seen(root, chosen["file"], facts)
    model, scaled = rebuild(facts, weights_file(weights, trial)), _scaled(images)
    predicted, true = (decision_maps(model, scaled, chosen[key].to_numpy(np.int64)) for key in ("index", "own"))
    maps = {
        "gradient,\npredicted class": predicted["gradient"],
        "Grad-CAM,\npredicted class": predicted["Grad-CAM"],
        "Grad-CAM,\ntrue class": true["Grad-CAM"],
    }
    return image_maps(images, [_lines(row) for row in chosen.to_dict("records")], maps)


def _seen(root: str | os.PathLike[str], files: Sequence[str] | pd.Series, facts: Mapping[str, Any]) -> NDArray:
    """Images as the network was tested on them, uint8 (n, size, size, 3)."""
    view = View.of(facts["view"], "view")
    return np.stack([view.test(read_image(Path(root) / file)) for file in files])


def _lines(row: Mapping[Any, Any]) -> str:
    """True class, predicted class and its probability, a line each."""
    p = "p > 0.999" if row["p"] > 0.999 else f"p = {row['p']:.3f}"
    return f"true: {row['label']}\npredicted: {row['called']}\n{p}"


def _scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)
