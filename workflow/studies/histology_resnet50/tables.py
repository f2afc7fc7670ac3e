"""The study `histology_resnet50`: ResNet-50 on lung patches, frozen, in part, or whole (arXiv 2510.16310)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.common.class_metrics import SCORES, classes_in
from studies.common.images.class_figures import confusion_matrices, loss_curves, protocol_dumbbell
from studies.common.images.examples import count_confused
from studies.common.images.tables import (
    HEADINGS,
    ImageArm,
    beside_published,
    dumbbell_points,
    matrices,
    protocols_in,
)

_ARCHITECTURE = "ResNet50V2"
CONFUSED = "malignant confused"


def fine_tuning_table(
    scores: pd.DataFrame, arms: Sequence[ImageArm], published: Mapping[str, str], malignant: Sequence[str]
) -> pd.DataFrame:
    """Every arm and protocol below the published network: scores, confused malignant images, epochs run.

    Parameters
    ----------
    scores : DataFrame
        From `summaries`.
    arms : list of ImageArm
    published : mapping of str to str
        From `published_facts`.
    malignant : list of str
        Classes that are cancer.
    """
    nothing = pd.DataFrame(columns=["architecture"])
    table = beside_published(scores, arms, nothing)
    by_label = {arm.label: arm for arm in arms}
    table[CONFUSED] = [
        _confused(by_label[arm], protocol, malignant)
        for arm, protocol in zip(table["arm"], table["split"], strict=True)
    ]
    table["epochs"] = [
        _epochs(by_label[arm], protocol) for arm, protocol in zip(table["arm"], table["split"], strict=True)
    ]
    first = {
        "arm": f"{_ARCHITECTURE}, published",
        "split": "random",
        "folds": "1",
        **{HEADINGS[metric]: "" for metric in SCORES},
        HEADINGS["accuracy"]: published["test accuracy"],
        CONFUSED: shown_confused(int(published["malignant pairs confused"]), int(published["test images"])),
        "epochs": published["epochs run (of 25)"],
    }
    return pd.concat([pd.DataFrame([first]), table], ignore_index=True)


def published_facts(table: pd.DataFrame) -> dict[str, str]:
    """The published figures by name, as printed (resnet50_lc25000.tsv: figure, value)."""
    return dict(zip(table["figure"].astype(str), table["value"].astype(str), strict=True))


def confused_metrics(arms: Sequence[ImageArm], malignant: Sequence[str]) -> pd.DataFrame:
    """Confused malignant images of every fold, as rows of metrics.tsv: their number and share of all test images."""
    rows = []
    for arm in arms:
        for (protocol, fold), part in arm.predictions.groupby(["protocol", "fold"], sort=False):
            number, total = count_confused(part, malignant)
            for metric, value in (("malignant_confused", number), ("malignant_confused_share", number / total)):
                rows.append({"arm": arm.key, "protocol": protocol, "repeat": fold, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def figures(scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[ImageArm]) -> dict[str, Figure]:
    """All drawings of the study but those of confused images, by file name without suffix."""
    classes = classes_in(arms[0].predictions)
    histories = {arm.label: arm.history for arm in arms if arm.history is not None}
    return {
        "protocols": protocol_dumbbell(dumbbell_points(scores, leak, arms[0].task)),
        "confusion": confusion_matrices(matrices(arms), classes),
        "losses": loss_curves(histories),
        "accuracies": loss_curves(histories, "accuracy"),
    }


def shown_confused(number: int, images: int) -> str:
    """`17 of 2,250 (0.8 %)`."""
    return f"{number:,} of {images:,} ({100 * number / images:.1f} %)"


def confused_of(arms: Sequence[ImageArm], malignant: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Confused malignant images and all test images, by the arm's label and protocol."""
    return {
        (arm.label, protocol): count_confused(arm.of(protocol), malignant)
        for arm in arms
        for protocol in protocols_in(arm.predictions)
    }


def _confused(arm: ImageArm, protocol: str, malignant: Sequence[str]) -> str:
    return shown_confused(*count_confused(arm.of(protocol), malignant))


def _epochs(arm: ImageArm, protocol: str) -> str:
    if arm.history is None:
        return ""
    run: Any = arm.history[arm.history["protocol"] == protocol].groupby("fold")["epoch"].max()
    return "" if run.empty else f"{run.min()}" if run.min() == run.max() else f"{run.min()}–{run.max()}"
