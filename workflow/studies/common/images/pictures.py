"""Figures of what an image classifier's decisions hang on: the network is built again from what its training left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drunet.training.kept import weights_file
from studies.common.images.examples import confused, surest
from studies.common.images.folder import read_image
from studies.common.images.training import rebuild_arm
from studies.common.images.view import View
from studies.common.saliency.attention import decision_maps, layer_attention
from studies.common.saliency.attention_figure import image_maps

# Stages of the student's trunk and levels of its pyramid, by what a reader calls them.
STAGES = {f"C{k}": f"c{k}" for k in range(2, 6)}
LEVELS = {f"P{k}": f"p{k}" for k in range(2, 6)}


def trial_of(predictions: pd.DataFrame, trial: str) -> pd.DataFrame:
    """The predictions of one trial, named `protocol.fold`."""
    protocol, _, fold = trial.rpartition(".")
    return predictions[(predictions["protocol"] == protocol) & (predictions["fold"] == int(fold))]


def attention_figure(
    predictions: pd.DataFrame,
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
    *,
    trial: str,
    layers: Mapping[str, str] | None = None,
) -> Figure:
    """Grad-CAM over the layers of a network, on the images that it is surest of and on its surest mistake.

    Parameters
    ----------
    predictions, facts, weights
        What the training of the arm left: predictions.parquet, training.json, the folder of weights.
    root : path
        Folder of the images.
    trial : str
        `protocol.fold`, of those whose weights are kept.
    layers : mapping of str to str, optional
        Layers by the title of their column; by default what an MFStudentLNet with the arm's options has.

    Raises
    ------
    ModelError
        If the weights do not fit the facts, or there is no such layer.
    ImageSetError
        If an image cannot be read any more.
    """
    columns = dict(layers or _student_layers(facts))
    chosen = surest(trial_of(predictions, trial))
    images = seen_images(root, chosen["file"], facts)
    words = [f"{_lines(row)}\n{row['kind']}" for row in chosen.to_dict("records")]
    model = rebuild_arm(facts, weights_file(weights, trial))
    found = layer_attention(model, _scaled(images), chosen["index"].to_numpy(np.int64), list(columns.values()))
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
    """Images of some classes that were taken for another of them, with what speaks for either class.

    Parameters
    ----------
    predictions, facts, weights, root, trial
        As in `attention_figure`.
    classes, pairs, at_most
        As in `studies.common.images.examples.confused`.

    Raises
    ------
    ModelError, ImageSetError
        As `attention_figure`.
    """
    chosen = confused(trial_of(predictions, trial), classes, pairs=pairs, at_most=at_most)
    nothing = f"none of the test images of {' and '.join(classes)} was taken for the other"
    if chosen.empty:
        return image_maps(np.zeros((0, 1, 1, 3), np.uint8), [], {}, nothing=nothing)
    images = seen_images(root, chosen["file"], facts)
    model, scaled = rebuild_arm(facts, weights_file(weights, trial)), _scaled(images)
    called = decision_maps(model, scaled, chosen["index"].to_numpy(np.int64))
    true = decision_maps(model, scaled, chosen["own"].to_numpy(np.int64))
    maps = {
        "gradient,\nclass called": called["gradient"],
        "Grad-CAM,\nclass called": called["Grad-CAM"],
        "Grad-CAM,\ntrue class": true["Grad-CAM"],
    }
    return image_maps(images, [_lines(row) for row in chosen.to_dict("records")], maps)


def seen_images(root: str | os.PathLike[str], files: Sequence[str] | pd.Series, facts: Mapping[str, Any]) -> NDArray:
    """Images as the network was tested on them, uint8 (n, size, size, 3)."""
    view = View.from_config(facts["view"])
    return np.stack([view.test(read_image(Path(root) / file)) for file in files])


def _student_layers(facts: Mapping[str, Any]) -> dict[str, str]:
    # Without the pyramid the trunk gives its last stage alone, and the others are inside it all the same.
    return {**STAGES, **(LEVELS if facts["options"].get("pyramid", True) else {})}


def _lines(row: Mapping[Any, Any]) -> str:
    """True class, called class and its probability, a line each."""
    p = "p > 0.999" if row["p"] > 0.999 else f"p = {row['p']:.3f}"
    return f"{row['label']}\ncalled {row['called']}\n{p}"


def _scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)
