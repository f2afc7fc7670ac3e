"""The trials of an arm on a set of images, one per protocol and fold, and the table of its predictions.

Networks and prior models alike; nothing here knows how either learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.errors import closest
from studies.common.errors import ImageSetError
from studies.common.images.protocols import folds_of
from studies.common.images.splits import PART_NAMES, Split, leak, split_of

HISTORY = ("protocol", "fold", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")


@dataclass(frozen=True, eq=False)
class Trial:
    """One training and its test; `leak` is the share of the test images whose group is in the training or validation
    set.
    """

    protocol: str
    fold: int
    split: Split
    leak: float

    @property
    def key(self) -> str:
        """How its files are called."""
        return f"{self.protocol}.{self.fold}"

    def facts(self, images: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
        """Protocol, fold, leak, and the images of each class in each part; JSON values."""
        counts = {}
        for name in PART_NAMES:
            labels = images["label"].iloc[getattr(self.split, name)].value_counts()
            counts[name] = {label: int(labels.get(label, 0)) for label in classes}
        return {"protocol": self.protocol, "fold": self.fold, "leak": self.leak, "images": counts}


def images_of(task: Mapping[str, Any], images: pd.DataFrame, where: str) -> pd.DataFrame:
    """The images (file, label, group, ...) of a task's classes, numbered anew; ImageSetError for one class, or one
    without an image.
    """
    classes = list(task["classes"])
    if len(set(classes)) < 2:
        mend = "Name two classes or more."
        raise ImageSetError("one class only: there is nothing to classify", where=where, found=classes, mend=mend)
    there = set(images["label"])
    for label in classes:
        if label not in there:
            raise ImageSetError("there is no image of a class", where=where, found=label, mend=closest(label, there))
    return images[images["label"].isin(classes)].reset_index(drop=True)


def draw_trials(
    task: Mapping[str, Any], images: pd.DataFrame, *, validation_share: float, seed: int, where: str
) -> list[Trial]:
    """Draw all trials of a task (classes, protocols, split) on images from `images_of`; `where` is for messages.

    Raises ImageSetError if a class has too few images or groups, or none to learn from.
    """
    trials = []
    for protocol in task["protocols"]:
        for fold in folds_of(task["split"], protocol):
            split = split_of(images, protocol, task["split"], fold, validation_share, seed)
            learnt = set(images["label"].iloc[split.training])
            for label in task["classes"]:
                if label not in learnt:
                    mend = "Add images of it, or leave it out of the task."
                    found = f"{label}, protocol {protocol}, fold {fold}"
                    raise ImageSetError("a class has no image to learn from", where=where, found=found, mend=mend)
            seen = np.concatenate([split.training, split.validation])
            trials.append(Trial(protocol, fold, split, leak(images, seen, split.test)))
    return trials


def class_numbers(images: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """The number of each image's class, in the order of `classes`; int64 (n,)."""
    number = {label: k for k, label in enumerate(classes)}
    return np.array([number[label] for label in images["label"]], dtype=np.int64)


def prediction_rows(
    images: pd.DataFrame, trial: Trial, classes: Sequence[str], probability: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """The predictions of a trial: file, label, group, protocol, fold and `p_<class>` (float32) of each test image.

    `probability` is float (n, classes), in the order of the split.
    """
    rows = images.iloc[trial.split.test][["file", "label", "group"]].reset_index(drop=True)
    rows = rows.assign(protocol=trial.protocol, fold=trial.fold)
    return rows.assign(**{f"p_{label}": probability[:, k].astype(np.float32) for k, label in enumerate(classes)})
