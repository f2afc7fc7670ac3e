"""A distilled classifier of lung tissue beside its ablation and other models (Tian et al. 2024, Tables 2 to 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.common.class_metrics import classes_in
from studies.common.images import tables as shared
from studies.common.images.class_figures import confusion_matrices, loss_curves, protocol_dumbbell, roc_panels
from studies.common.images.tables import Arms, ImageArm
from studies.common.model_figures import cost_scatter

STUDENT = "mfstudentlnet"


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper: what it compares, its number there, that of its figure of matrices and ROC curves."""

    title: str
    number: int
    figure: int | None = None
    seconds: bool = False

    @property
    def words(self) -> str:
        """What it compares, with its number in the paper."""
        return f"{self.title} (Table {self.number})"


TABLES = {
    "ablation": PublishedTable("Ablation", 2, 4),
    "comparison": PublishedTable("Comparison with other networks", 3, 5, seconds=True),
    "generalisation": PublishedTable("Lung and colon", 4, 6),
    "prior": PublishedTable("Comparison with prior models", 5),
}
# The table of the second task, and what that is called in the settings that this study ships with.
_SECOND, _SECOND_TASK = "generalisation", "lung_and_colon"
# In the ablation the paper calls the student by its parts.
_LAST_STEP = {"ResNet18+FPN+SE+distillation": "MFStudentLNet"}


def main_task(arms: Arms) -> str:
    """The task of the ablation and the comparison; where that was left out, the one that there is."""
    return task_of("ablation", arms) or arms[0].task


def task_of(table: str, arms: Arms) -> str | None:
    """The task of a table, or None: the second one for the generalisation, the first for all others.

    A task called `lung_and_colon` is the second one, wherever it stands.
    """
    tasks = list(dict.fromkeys(arm.task for arm in arms))
    second = _SECOND_TASK if _SECOND_TASK in tasks else next(iter(tasks[1:]), None)
    return second if table == _SECOND else next((task for task in tasks if task != second), None)


def arms_in(table: str, arms: Arms, settings: Mapping[str, Any]) -> list[ImageArm]:
    """The models of one of the paper's tables, in its order; those that were not trained are left out."""
    there = {arm.name: arm for arm in arms if arm.task == task_of(table, arms)}
    return [there[name] for name in settings["tables"].get(table) or [] if name in there]


def _as_compared(published: pd.DataFrame) -> pd.DataFrame:
    """Published figures under the names of the models, with accuracies as shares of as many figures."""
    table = published.copy()
    first = next(c for c in table.columns if c != "step")
    table[first] = table[first].replace(_LAST_STEP)
    if "accuracy_percent" in table.columns:
        percent = table.pop("accuracy_percent")
        table["accuracy"] = [f"{float(p) / 100:.{len(p.partition('.')[2]) + 2}f}" for p in percent]
    return table


def figures(
    scores: pd.DataFrame, leak: pd.DataFrame, arms: Arms, cost: pd.DataFrame, settings: Mapping[str, Any]
) -> dict[str, Figure]:
    """All figures of the study but that of attention, by file name without suffix; see `page_view`."""
    main, timed = main_task(arms), arms[0].task
    histories = {arm.label: arm.history for arm in arms if arm.task == main and arm.history is not None}
    points = shared.cost_points(scores, cost, timed, shared.strictest_protocol(scores, timed))
    drawn = {
        "protocols": protocol_dumbbell(shared.dumbbell_points(scores, leak, main)),
        "losses": loss_curves(histories),
        "cost": cost_scatter(
            points, unit="ms per image (log scale)", score="accuracy on test images (± sd over folds)"
        ),
    }
    for name in TABLES:
        if own := arms_in(name, arms, settings):
            drawn[f"confusion_{name}"] = confusion_matrices(shared.matrices(own), classes_in(own[0].predictions))
            drawn[f"roc_{name}"] = roc_panels(shared.macro_curves(own), of="mean over classes")
            protocol = _strictest(scores, own)
            drawn[f"roc_classes_{name}"] = roc_panels(shared.class_curves(own, protocol))
    return drawn


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    cost: pd.DataFrame,
    settings: Mapping[str, Any],
    published: Mapping[str, pd.DataFrame],
    *,
    grouping: Mapping[str, Any],
    unreadable: int,
    external: Mapping[str, Any] | None = None,
    picture: bool = True,
) -> dict[str, Any]:
    """What `page.md.j2` names; `cost` is cost.tsv of the first task, `picture` whether there is attention.png."""
    main, timed = main_task(arms), arms[0].task
    there = [arm for arm in arms if arm.task == main]
    accuracy = scores[scores["metric"] == "accuracy"]
    by_key = {p: part.set_index("key").to_dict("index") for p, part in accuracy.groupby("protocol")}
    strictest = by_key[shared.strictest_protocol(scores, main)]
    hero = next((arm for arm in there if arm.name == STUDENT), None) or next(a for a in there if a.key in strictest)
    found: dict[str, Any] = {protocol: by_key.get(protocol, {}).get(hero.key) for protocol in ("random", "grouped")}
    both = all(found.values())
    ablated = arms_in("ablation", arms, settings)
    steps_protocol = shared.strictest_protocol(scores, ablated[0].task) if ablated else ""
    steps = [(arm, by_key[steps_protocol].get(arm.key)) for arm in ablated]
    run = shared.protocols_in(hero.predictions)
    return {
        **shared.shared_view(scores, leak, arms, grouping),
        "distilled": any(arm.facts.get("distillation") for arm in arms),
        "models": len(there),
        "classes": len(classes_in(hero.predictions)),
        "size": settings["view"]["size"],
        "hero": {
            "label": hero.label,
            **found,
            "gap": found["random"]["mean"] - found["grouped"]["mean"] if both else None,
            "folds": shared.folds_of_scores(accuracy[accuracy["key"] == hero.key]),
            "leak": {protocol: share for protocol, share in shared.leak_of(leak, main).items() if protocol in run},
        },
        "steps": [{"label": arm.label, "accuracy": row} for arm, row in steps if row],
        "steps_protocol": steps_protocol,
        "comparisons": [
            {
                "name": name,
                "title": table.title,
                "words": table.words,
                "figure": table.figure,
                "protocol": _strictest(scores, own),
                "table": shared.beside_published(scores, own, _as_compared(published[name]), seconds=table.seconds),
                "folds": shared.folds_of_scores(scores[scores["key"].isin([arm.key for arm in own])]),
            }
            for name, table in TABLES.items()
            if (own := arms_in(name, arms, settings))
        ],
        "times": shared.training_times(scores, there, shared.strictest_protocol(scores, main)),
        "times_protocol": shared.strictest_protocol(scores, main),
        "cost": shared.cost_of([arm for arm in arms if arm.task == timed], cost),
        "timing": cost.iloc[0].to_dict(),
        "timed": timed.replace("_", " "),
        "timed_protocol": shared.strictest_protocol(scores, timed),
        "picture": picture,
        "pictured": shared.label_of(arms, settings["attention"]["arm"]),
        "drawn": settings["images"]["root"] is None,
        "unreadable": unreadable,
        "external": external,
        "starts": shared.starts_of(arms),
        "prior": any(arm.history is None for arm in arms),
        "lacking": _left_out(arms, settings),
    }


def _strictest(scores: pd.DataFrame, arms: Arms) -> str:
    """The protocol with the least leak that any of these models of one task was run under."""
    return shared.strictest_protocol(scores[scores["key"].isin([arm.key for arm in arms])], arms[0].task)


def _left_out(arms: Arms, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Models of the paper's tables that this run has not trained, by table."""
    found = []
    for name, table in TABLES.items():
        there = {arm.name for arm in arms_in(name, arms, settings)}
        lacking = [arm for arm in settings["tables"].get(name) or [] if arm not in there]
        models = [(settings["arms"].get(arm) or {}).get("label", arm) for arm in lacking]
        found.append({"words": table.words, "models": models})
    return [table for table in found if table["models"]]
