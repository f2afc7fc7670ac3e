"""Grad-CAM of the CT networks: which images are explained, the maps of one network, and the boxes that they cover.

Every network is asked about the same images, which are chosen from the answers of all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.console import say
from drunet.training.trained import rebuild
from studies.common.images.examples import trial_of, with_calls
from studies.common.images.folder import read_image
from studies.common.images.view import View
from studies.common.saliency.grad_cam import find_layer, grad_cam
from studies.common.saliency.maps import ScoreKind, unit_range
from studies.common.series import weights_file
from studies.ct_pneumonia.attention_maps import COVERAGE, ArmMaps, coverage, seen_box
from studies.ct_pneumonia.layer_groups import (
    GROUPS,
    convolutions,
    group_maps,
    grouped,
    last_convolution,
    spread_convolutions,
)

BOX = ["xmin", "ymin", "xmax", "ymax"]


def choose_images(
    predictions: Sequence[pd.DataFrame],
    boxes: pd.DataFrame,
    *,
    trial: str,
    positive: str,
    images: int,
    coverage_images: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the test images of a class that are shown, and those whose boxes are compared.

    Source: Chu et al., section 3.2: three patients on whose images all networks are correct. Where there are not
    so many, those on which most networks are correct follow. Images without a box are shown only where none has one.

    `predictions` are those of every network, `trial` the `protocol.fold` in which all were tested. At most `images` are
    shown, one per group (patient), the highest mean probability first; of at most `coverage_images`, evenly spread over
    their names, boxes are compared. Returns (DataFrame, DataFrame): shown: file, group, p (mean probability of the
    class over the networks), right (networks that are correct), networks; compared: file, group.
    """
    answers = []
    for frame in predictions:
        known = with_calls(trial_of(frame, trial))
        known = known[known["label"] == positive]
        answers.append(known[["file", "group", f"p_{positive}"]].assign(right=known["called"] == positive))
    by_file = pd.concat(answers, ignore_index=True).groupby(["file", "group"], sort=True)
    table = by_file.agg(p=(f"p_{positive}", "mean"), right=("right", "sum"), networks=("right", "size")).reset_index()
    annotated = table["file"].isin(set(boxes["file"]))
    order = (table[annotated] if annotated.any() else table).sort_values(
        ["right", "p", "file"], ascending=[False, False, True], kind="stable"
    )
    shown = order.drop_duplicates("group").head(images).reset_index(drop=True)
    whole = table.loc[annotated, ["file", "group"]].reset_index(drop=True)
    places = np.unique(np.linspace(0, len(whole) - 1, min(coverage_images, len(whole))).round().astype(int))
    return shown, whole.iloc[places].reset_index(drop=True)


def map_arm(
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
    boxes: pd.DataFrame,
    shown: pd.DataFrame,
    covered: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    trial: str,
    positive: str,
    options: Mapping[str, Any],
    layers: int | Sequence[str] | None,
) -> tuple[ArmMaps, pd.DataFrame]:
    """All maps of one network, and how they meet the boxes (file, xmin, ymin, xmax, ymax; px of the image).

    `facts`, `weights` and `predictions` are what its training left; `shown` and `covered` come from `choose_images`.
    The `positive` class is explained, whatever the network predicts; `options` are the study's `attention`; `layers`
    are convolutions to show over the depth: so many, evenly spaced, or these.

    Returns (ArmMaps, DataFrame): a row per box: file, group, box (its number in the image), right (whether the network
    is correct), and of the map of the last convolution what `coverage` returns. Raises ModelError if the weights do not
    fit the facts, or there is no such layer; ImageSetError if an image cannot be read any more.
    """
    model, view = rebuild(facts, weights_file(weights, trial)), View.of(facts["view"], "view")
    index, score = list(facts["classes"]).index(positive), options["score"]
    maps = _maps(model, _seen(shown["file"], root, view, boxes), index, score, layers)
    called = with_calls(trial_of(predictions, trial)).set_index("file")["called"]
    rows = []
    if len(covered):
        last, seen = last_convolution(model), _seen(covered["file"], root, view, boxes)
        say(f"comparing the boxes of {len(covered)} images with the map of {_last_part(last)}")
        found = grad_cam(model, seen.scaled, index, layers=[last], score=options["score"], batch_size=8).branches[last]
        for k, (file, group) in enumerate(covered[["file", "group"]].to_numpy()):
            for number, box in enumerate(seen.boxes[seen.owner == k]):
                met = coverage(found[k], box, threshold=options["threshold"], least=options["found"])
                rows.append({"file": file, "group": group, "box": number, "right": called[file] == positive, **met})
    return maps, pd.DataFrame(rows, columns=list(COVERAGE))


def _maps(model: keras.Model, seen: _Seen, index: int, score: ScoreKind, layers: int | Sequence[str] | None) -> ArmMaps:
    """All maps of the images that are shown."""
    last, images, scaled = last_convolution(model), seen.images, seen.scaled
    asked = [] if layers is None else spread_convolutions(model, layers) if isinstance(layers, int) else list(layers)
    for name in asked:
        find_layer(model, name)  # refused before anything is computed
    groups = np.full((len(GROUPS), *images.shape[1:3]), np.nan, np.float32)
    lasting = np.zeros(images.shape[:3], np.float32)
    deep = np.zeros((len(asked), *images.shape[:3]), np.float32)
    if len(images):
        found = grad_cam(model, scaled, index, layers=[*dict.fromkeys([*asked, last])], score=score, batch_size=4)
        lasting = unit_range(found.branches[last])
        for k, name in enumerate(asked):
            deep[k] = unit_range(found.branches[name])
        for name, averages in group_maps(model, scaled[:1], index, score=score).items():
            groups[GROUPS.index(name)] = averages[0]
    sizes = grouped(convolutions(model))
    return ArmMaps(
        images,
        seen.boxes,
        seen.owner,
        lasting,
        deep,
        np.array([_last_part(name) for name in asked], dtype=np.str_),
        groups,
        np.array(GROUPS),
        np.array([len(sizes.get(name, [])) for name in GROUPS], dtype=np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images as a network was tested on them, their boxes there, and which image each box is of."""

    images: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    owner: NDArray[np.int64]

    @property
    def scaled(self) -> NDArray[np.float32]:
        return self.images.astype(np.float32) / np.float32(255)


def _seen(files: pd.Series, root: str | os.PathLike[str], view: View, boxes: pd.DataFrame) -> _Seen:
    images, edges, owner = [], [np.zeros((0, 4))], [np.zeros(0, np.int64)]
    for k, file in enumerate(files):
        whole = read_image(Path(root) / file)
        own = boxes.loc[boxes["file"] == file, BOX].astype(np.float64).to_numpy()
        images.append(view.test(whole))
        edges.append(seen_box(view, own, whole.shape[:2]))
        owner.append(np.full(len(own), k, np.int64))
    stacked = np.stack(images) if images else np.zeros((0, view.size, view.size, 3), np.uint8)
    return _Seen(stacked, np.concatenate(edges), np.concatenate(owner))


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]
