"""Choice of the slices that the page shows, with their boxes, outlines and attention."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from shapely.geometry import mapping

from drunet.training.trained import rebuild
from studies.common.images.folder import read_image
from studies.common.series import weights_file
from studies.ct_boxes.attention import box_attention
from studies.ct_boxes.batches import read_slice
from studies.ct_boxes.figures import BoxPicture
from studies.ct_boxes.geometry import COORDINATES
from studies.ct_boxes.outline import sobel_outline
from studies.ct_boxes.tasks import SUBTYPES
from studies.ct_boxes.training import tuned_key
from studies.ct_boxes.trials import PREDICTED, SOURCE, TUNED, UNTOUCHED

_STAGES = {SOURCE: "test part", UNTOUCHED: "before fine-tuning", TUNED: "fine-tuned"}


def choose_slices(
    predictions: pd.DataFrame, source: str, targets: Sequence[str], wanted: int
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Slices to show, a representative sample of each subtype.

    Of every patient of a test part the slice with the median IoU is taken, and of these, sorted by IoU, as many as are
    wanted at equal steps: a single one is the median. The IoU is that of the last stage.

    Returns list of (file, list of dict): a slice and its rows of the predictions, one per stage, in the order of the
    stages.
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

    `facts` is training.json, `weights` the folder of weights, `root` that of the collected slices.

    Raises ModelError if the weights do not fit the facts. Raises ImageSetError if a slice cannot be read.
    """
    attention = _attention(chosen, facts, weights, root)
    shown = []
    for file, rows in chosen:
        image = read_image(Path(root) / file)[..., 0]
        for row in rows:
            predicted = np.array([row[name] for name in PREDICTED], np.float64)
            coarse = attention[file, row["stage"]]
            picture = BoxPicture(
                file=file,
                row=row,
                words=_words(row),
                image=image,
                annotated=np.array([row[name] for name in COORDINATES], np.float64),
                predicted=predicted,
                outline=sobel_outline(image, predicted),
                attention=cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_LINEAR),
            )
            shown.append(picture)
    return shown


def outlines_geojson(shown: Sequence[BoxPicture]) -> dict[str, Any]:
    """The outlines as a GeoJSON FeatureCollection, in px of the collected slices, y downwards as in QuPath."""
    features = []
    for each in (each for each in shown if each.outline is not None):
        own = {"file": each.file, "subtype": str(each.row["subtype"]), "stage": str(each.row["stage"])}
        own["iou"] = round(float(each.row["iou"]), 4)
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
    chosen: Sequence[tuple[str, list[dict[str, Any]]]],
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Maps at the network's size by slice and stage: every network is built once."""
    wanted: dict[str, list[tuple[str, str]]] = {}
    for file, rows in chosen:
        for row in rows:
            key = tuned_key(str(row["subtype"])) if row["stage"] == TUNED else SOURCE
            wanted.setdefault(key, []).append((file, str(row["stage"])))
    maps: dict[tuple[str, str], NDArray[np.float32]] = {}
    for key, slices in wanted.items():
        model = rebuild(facts, weights_file(weights, key))
        seen = np.stack([read_slice(Path(root) / file, facts["size"]) for file, _ in slices])
        found = box_attention(model, seen[..., None].astype(np.float32) / np.float32(255))
        maps |= dict(zip(slices, found, strict=True))
    return maps


def _words(row: Mapping[str, Any]) -> str:
    subtype, stage = str(row["subtype"]), str(row["stage"])
    name = SUBTYPES.get(subtype, "").replace(" carcinoma", "")
    return f"{subtype}, {name}\n{_STAGES[stage]}\nIoU {row['iou']:.2f}"
