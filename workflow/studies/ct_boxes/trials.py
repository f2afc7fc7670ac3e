"""The slices of a subtype, their splits, and the rows of predictions."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.console import say
from studies.common.errors import ImageSetError
from studies.common.images.splits import PART_NAMES, split_of
from studies.ct_boxes import geometry
from studies.ct_boxes.tasks import subtypes_in

SOURCE, UNTOUCHED, TUNED = "source", "untouched", "fine-tuned"
TRUE = geometry.COORDINATES
PREDICTED = tuple(f"p{edge}" for edge in TRUE)
ROWS = ("file", "subtype", "patient", "part", "stage", "target", *TRUE, *PREDICTED, "iou")
SLICES = ("file", "subtype", "patient", "width", "height", *TRUE, "boxes")
HISTORY = ("stage", "target", "epoch", "loss", "iou", "val_loss", "val_iou", "seconds")


def read_slices(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read slices.tsv: file, subtype and patient as text, sides and edges (px), and how many boxes the slice had."""
    frame = pd.read_csv(path, sep="\t", dtype={"file": str, "subtype": str, "patient": str}, keep_default_na=False)
    return frame.astype(dict.fromkeys(TRUE, float))


def divide(
    slices: pd.DataFrame,
    subtype: str,
    protocol: str,
    parts: Mapping[str, float],
    *,
    validation_share: float,
    seed: int,
    where: str,
) -> pd.DataFrame:
    """The slices of a subtype, or of several (`A+B`), renumbered, with their part.

    There is no validation where there are too few patients (slices).

    `slices` has subtype and patient, a row per slice. The `protocol` is "random", by slice, as published, or "grouped",
    by patient. `parts` are counts or shares of training and test, and of validation if wanted; where they name none,
    `validation_share` of the training set is set aside. Raises ImageSetError if there are too few slices, or patients,
    for training and test.
    """
    learnt = subtypes_in(subtype)
    own = slices[slices["subtype"].isin(learnt)].reset_index(drop=True)
    images = own.assign(label=own["subtype"], group=own["patient"])
    count, subtype = min((_units(own[own["subtype"] == each], protocol), each) for each in learnt)
    if count < 2:
        unit = "patient" if protocol == "grouped" else "slice"
        found = f"{count or 'no'} {unit} of subtype {subtype}"
        mend = "Add slices of it" + (" of other patients." if protocol == "grouped" else ".")
        raise ImageSetError(f"too few {unit}s for training and test", where=where, found=found, mend=mend)
    wanted = {name: share for name, share in parts.items() if name != "validation" or (share and count > 2)}
    split = split_of(images, protocol, {"parts": wanted}, 0, 0.0, seed)
    if validation_share and not len(split.validation) and _units(own.iloc[split.training], protocol) > 1:
        split = split_of(images, protocol, {"parts": wanted}, 0, validation_share, seed)
    if (validation_share or parts.get("validation")) and not len(split.validation):
        what = f"too little of subtype {subtype} to set any aside"
        say(f"{where}: {what}: the training loss tells when training was best")
    part = np.full(len(own), "", dtype="<U10")
    for name in PART_NAMES:
        part[getattr(split, name)] = name
    return own.assign(part=part)


def true_boxes(slices: pd.DataFrame) -> geometry.Boxes:
    """The annotated boxes, float64 (n, 4), px of the stored picture."""
    return slices[list(TRUE)].to_numpy(dtype=np.float64)


def sides_of(slices: pd.DataFrame) -> NDArray[np.float64]:
    """Sides that turn shares of the four edges into px, and back: (n, 4)."""
    return slices[["width", "height", "width", "height"]].to_numpy(dtype=np.float64)


def prediction_rows(
    slices: pd.DataFrame, shares: NDArray[np.floating[Any]], *, part: Any, stage: str, target: str
) -> pd.DataFrame:
    """A row per slice (`ROWS`), with true and predicted edges (px) and IoU; `part` may be one for each slice.

    `shares` (n, 4) are the predicted boxes in shares of the sides, neither ordered nor clipped.
    """
    true = true_boxes(slices)
    predicted = shares * sides_of(slices)
    rows = slices[["file", "subtype", "patient", *TRUE]].reset_index(drop=True)
    rows = rows.assign(part=part, stage=stage, target=target, iou=geometry.iou(true, predicted))
    rows = rows.assign(**dict(zip(PREDICTED, predicted.T, strict=True)))
    return rows[list(ROWS)]


def _units(slices: pd.DataFrame, protocol: str) -> int:
    """How many there are of what is not divided: slices, or patients."""
    return int(slices["patient"].nunique()) if protocol == "grouped" else len(slices)
