"""Choice of the slices that the page shows, with their boxes, outlines and attention."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pandas as pd
from keras import ops
from numpy.typing import NDArray
from shapely.geometry import mapping

from drunet.training.trained import rebuild
from studies.common.images.folder import read_image
from studies.common.saliency.maps import unit_range
from studies.common.saliency.score import batches, gradients
from studies.common.series import weights_file
from studies.ct_boxes.figures import BoxPicture
from studies.ct_boxes.outline import sobel_outline
from studies.ct_boxes.tasks import SUBTYPES
from studies.ct_boxes.training import read_slice, tuned_key
from studies.ct_boxes.trials import PREDICTED, SOURCE, TUNED, UNTOUCHED

# Name of the layer whose output, (n, h, w, channels), is a map of attention, in networks that have one.
LAYER = "attention"
# Standard deviation of the blur, as a share of the side: gradients of single pixels are noise to the eye.
_BLUR = 1 / 48
_STAGES = {SOURCE: "test part", UNTOUCHED: "before fine-tuning", TUNED: "fine-tuned"}


def choose_slices(
    predictions: pd.DataFrame, source: str, targets: Sequence[str], wanted: int
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Slices to show, a representative sample of each subtype.

    Of every patient of a test part the slice with the median IoU is taken, and of these, sorted by IoU, as many as are
    wanted at equal steps: a single one is the median. The IoU is that of the last stage. Returns slices by file, with
    their rows of the predictions, one per stage, in the order of the stages.
    """
    subtypes = [source, *targets]
    chosen: list[tuple[str, list[dict[str, Any]]]] = []
    for place, subtype in enumerate(subtypes):
        number = wanted // len(subtypes) + (place < wanted % len(subtypes))
        stages = [SOURCE] if subtype == source else [UNTOUCHED, TUNED]
        own = predictions[predictions["subtype"] == subtype]
        last = own[(own["stage"] == stages[-1]) & (own["part"] == "test")]
        if last.empty:
            # A target that was too small to be divided has only its first stage.
            stages, last = stages[:1], own[own["stage"] == stages[0]]
        for file in _fair(last, number):
            here = own[own["file"] == file].set_index("stage")
            rows = [{"stage": stage, **{str(k): v for k, v in here.loc[stage].items()}} for stage in stages]
            chosen.append((file, rows))
    return chosen


def show_slices(
    chosen: Sequence[tuple[str, list[dict[str, Any]]]],
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
) -> list[BoxPicture]:
    """Rows of the figure: each slice at each of its stages, with the weights of that stage.

    `facts` is training.json, `weights` the folder of weights, `root` that of the collected slices. Raises ModelError if
    the weights do not fit the facts, ImageSetError if a slice cannot be read.
    """
    rows = [row for _, own in chosen for row in own]
    shown = []
    for row, coarse in zip(rows, _attention(rows, facts, weights, Path(root)), strict=True):
        image = read_image(Path(root) / row["file"])[..., 0]
        outline = sobel_outline(image, [row[edge] for edge in PREDICTED])
        enlarged = np.asarray(cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        shown.append(BoxPicture(row, _words(row), image, outline, enlarged))
    return shown


def outlines_geojson(shown: Sequence[BoxPicture]) -> dict[str, Any]:
    """The outlines as a GeoJSON FeatureCollection, in px of the collected slices, y downwards as in QuPath."""
    features = []
    for each in (each for each in shown if each.outline is not None):
        own = {**{key: str(each.row[key]) for key in ("file", "subtype", "stage")}, "iou": round(each.row["iou"], 4)}
        features.append({"type": "Feature", "geometry": mapping(each.outline), "properties": own})
    return {"type": "FeatureCollection", "features": features}


def _fair(rows: pd.DataFrame, number: int) -> list[str]:
    """Files at equal steps, sorted by IoU; only the median one of each patient where there are enough patients."""
    ordered = rows.sort_values(["iou", "file"], kind="stable")
    if ordered["patient"].nunique() >= number:
        ordered = pd.concat([part.iloc[[(len(part) - 1) // 2]] for _, part in ordered.groupby("patient", sort=False)])
        ordered = ordered.sort_values(["iou", "file"], kind="stable")
    number = min(number, len(ordered))
    return [str(ordered["file"].iloc[int((k + 0.5) * len(ordered) / number)]) for k in range(number)]


def _attention(
    rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], weights: str | os.PathLike[str], root: Path
) -> list[NDArray[np.float32]]:
    """Maps at the network's size, one for each row: every network is built once."""
    keys = [tuned_key(str(row["subtype"])) if row["stage"] == TUNED else SOURCE for row in rows]
    maps: dict[int, NDArray[np.float32]] = {}
    for key in dict.fromkeys(keys):
        own = [place for place, each in enumerate(keys) if each == key]
        seen = np.stack([read_slice(root / rows[place]["file"], facts["size"]) for place in own])
        model = rebuild(facts, weights_file(weights, key))
        found = box_attention(model, seen[..., None].astype(np.float32) / np.float32(255))
        maps |= dict(zip(own, found, strict=True))
    return [maps[place] for place in range(len(rows))]


def _words(row: Mapping[str, Any]) -> str:
    subtype, stage = str(row["subtype"]), str(row["stage"])
    name = SUBTYPES.get(subtype, "").replace(" carcinoma", "")
    return f"{subtype}, {name}\n{_STAGES[stage]}\nIoU {row['iou']:.2f}"


def box_attention(model: keras.Model, images: NDArray[np.float32], *, batch_size: int = 16) -> NDArray[np.float32]:
    """Maps of the places that the predicted box depends on, float32 (n, h, w) in [0, 1], of images float32 (n, h, w,
    1).

    With a layer `attention`, its output, enlarged by bilinear interpolation. Otherwise the sum of the absolute
    gradients of the four outputs with respect to each pixel, blurred. Grad-CAM is not suitable: a dense layer on the
    flattened map has weights for each place, so that a channel has no common weight.
    """
    if any(layer.name == LAYER for layer in model.layers):
        part = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
        own = [ops.convert_to_numpy(part(batch, training=False)) for batch in batches(images, batch_size)]
        coarse, sides = np.maximum(np.concatenate(own).astype(np.float32).sum(axis=-1), 0), images.shape[2:0:-1]
        return unit_range(np.stack([cv2.resize(each, sides, interpolation=cv2.INTER_LINEAR) for each in coarse]))
    sigma = max(images.shape[1:3]) * _BLUR
    maps = [_slopes(model, batch) for batch in batches(images, batch_size)]
    blur = lambda slopes: cv2.GaussianBlur(slopes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)  # noqa: E731
    return unit_range(np.stack([blur(each) for each in np.concatenate(maps).astype(np.float32)]))


def _slopes(model: keras.Model, batch: NDArray[np.float32]) -> Any:
    """Sum of the absolute gradients of the four outputs, each the largest of the channels: (n, h, w)."""

    def number(index: int) -> Any:
        return lambda pictures: model(pictures, training=False)[:, index]

    found = [gradients(number(k), batch)[0] for k in range(4)]
    return sum(np.abs(slope).max(axis=-1) for slope in found if slope is not None)
