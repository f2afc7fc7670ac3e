"""The study `histology_distillation`: a small network that learns from a large one to tell lung patches apart.

Source: Tian et al. 2024, Tables 2 to 5 and Figs 4 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.common.class_metrics import classes_in
from studies.common.images.class_figures import (
    confusion_matrices,
    cost_scatter,
    loss_curves,
    protocol_dumbbell,
    roc_panels,
)
from studies.common.images.tables import (
    ImageArm,
    beside_published,
    cost_points,
    dumbbell_points,
    honest_protocol,
    macro_curves,
    matrices,
)


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper.

    Attributes
    ----------
    file : str
        Its published figures, a table of `published`.
    words : str
        What it compares, with its number in the paper.
    seconds : bool
        Whether it times epochs.
    """

    file: str
    words: str
    seconds: bool = False


TABLES = {
    "ablation": PublishedTable("ablation", "Ablation in steps (Table 2)"),
    "comparison": PublishedTable("comparison", "Against other networks (Table 3)", seconds=True),
    "generalisation": PublishedTable("generalisation", "Lung and colon (Table 4)"),
    "prior": PublishedTable("prior", "Against prior models (Table 5)"),
}
# The table of the second task, and what that is called in the settings that this study ships with.
_SECOND, _SECOND_TASK = "generalisation", "lung_and_colon"
# Tables of the paper that come with confusion matrices and ROC curves, and the figures' numbers there.
DRAWN = {"ablation": 4, "comparison": 5, "generalisation": 6}
# In the ablation the paper calls the student by its parts.
_LAST_STEP = {"ResNet18+FPN+SE+distillation": "MFStudentLNet"}


def main_task(arms: Sequence[ImageArm]) -> str:
    """The task of the ablation and the comparison; where that was left out, the one that there is."""
    return task_of("ablation", arms) or arms[0].task


def task_of(table: str, arms: Sequence[ImageArm]) -> str | None:
    """The task whose arms a table compares, or None: the second one in the generalisation, the first in all others.

    A task called `lung_and_colon` is the second one, wherever it stands.
    """
    tasks = list(dict.fromkeys(arm.task for arm in arms))
    second = _SECOND_TASK if _SECOND_TASK in tasks else next(iter(tasks[1:]), None)
    return second if table == _SECOND else next((task for task in tasks if task != second), None)


def arms_in(table: str, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[ImageArm]:
    """The arms of one of the paper's tables, in its order; those that were not trained are left out."""
    there = {arm.name: arm for arm in arms if arm.task == task_of(table, arms)}
    return [there[name] for name in settings["tables"].get(table) or [] if name in there]


def score_tables(
    scores: pd.DataFrame,
    arms: Sequence[ImageArm],
    published: Mapping[str, pd.DataFrame],
    settings: Mapping[str, Any],
) -> dict[str, pd.DataFrame]:
    """Tables 2 to 5 by name, each arm and protocol below what is published; a table without arms is left out.

    Parameters
    ----------
    scores : DataFrame
        From `summaries`.
    arms : list of ImageArm
    published : mapping of file name to DataFrame of text
    settings : mapping
        The study's.
    """
    found = {}
    for name, table in TABLES.items():
        own = arms_in(name, arms, settings)
        if own:
            printed = _as_compared(published[table.file])
            found[name] = beside_published(scores, own, printed, seconds=table.seconds)
    return found


def figures(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[ImageArm],
    cost: pd.DataFrame,
    settings: Mapping[str, Any],
    *,
    time_axis: str,
) -> dict[str, Figure]:
    """All drawings of the study, by file name without suffix; one of what was left out says so.

    Parameters
    ----------
    scores, leak : DataFrame
        From `summaries` and `leaks`.
    arms : list of ImageArm
    cost : DataFrame
        cost.tsv of the first task.
    settings : mapping
    time_axis : str
        Label of the axis of times.
    """
    main = main_task(arms)
    drawn: dict[str, Figure] = {"protocols": protocol_dumbbell(dumbbell_points(scores, leak, main))}
    for name in DRAWN:
        own = arms_in(name, arms, settings)
        classes = classes_in(own[0].predictions) if own else []
        drawn[f"confusion_{name}"] = confusion_matrices(matrices(own), classes)
        drawn[f"roc_{name}"] = roc_panels(macro_curves(own), of="a class")
    own = [arm for arm in arms if arm.task == main]
    drawn["losses"] = loss_curves({arm.label: arm.history for arm in own if arm.history is not None})
    timed = arms[0].task
    points = cost_points(scores, cost, timed, honest_protocol(scores, timed))
    drawn["cost"] = cost_scatter(points, unit=time_axis, score="accuracy on test images")
    return drawn


def _as_compared(published: pd.DataFrame) -> pd.DataFrame:
    """Published figures under the names of the arms, with accuracies as shares."""
    table = published.copy()
    first = next(c for c in table.columns if c != "step")
    table[first] = table[first].replace(_LAST_STEP)
    if "accuracy_percent" in table.columns:
        table["accuracy"] = [_share(text) for text in table.pop("accuracy_percent")]
    return table


def _share(percent: str) -> str:
    """A printed percentage as a share of as many figures: `98.85` becomes `0.9885`."""
    decimals = len(percent.partition(".")[2]) + 2
    return f"{float(percent) / 100:.{decimals}f}"
