"""ResNet-50 on lung tissue, frozen, partly or fully trained (Adekunle et al. 2025, arXiv 2510.16310)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from drunet.report.words import number
from studies.common.class_metrics import SCORES, classes_in, count_confused
from studies.common.images import tables as shared
from studies.common.images.class_figures import confusion_matrices, loss_curves, protocol_dumbbell, roc_panels
from studies.common.images.tables import Arms, ImageArm
from studies.common.words import percent

CONFUSED = "malignant confused"


def fine_tuning_table(
    scores: pd.DataFrame, arms: Arms, published: Mapping[str, str], malignant: Sequence[str]
) -> pd.DataFrame:
    """Every model and protocol below the published network (published.tsv by name): scores, confusions, epochs."""
    table = shared.beside_published(scores, arms, pd.DataFrame(columns=["architecture"]))
    by_label = {arm.label: arm for arm in arms}
    rows = [(by_label[label], protocol) for label, protocol in zip(table["model"], table["split"], strict=True)]
    table[CONFUSED] = [_confused(*count_confused(arm.of(protocol), malignant)) for arm, protocol in rows]
    table["epochs"] = [_epochs(arm, protocol) for arm, protocol in rows]
    first = {
        "model": "ResNet50V2, published",
        "split": "random",
        "folds": "1",
        **{shared.HEADINGS[metric]: "" for metric in SCORES},
        shared.HEADINGS["accuracy"]: published["test accuracy"],
        CONFUSED: _confused(int(published["malignant pairs confused"]), int(published["test images"])),
        "epochs": published["epochs run (of 25)"],
    }
    return pd.concat([pd.DataFrame([first]), table], ignore_index=True)


def confused_metrics(arms: Arms, malignant: Sequence[str]) -> pd.DataFrame:
    """Confused malignant images of every fold, as rows of metrics.tsv: their number and share of all test images."""
    rows = []
    for arm in arms:
        for (protocol, fold), part in arm.predictions.groupby(["protocol", "fold"], sort=False):
            count, total = count_confused(part, malignant)
            for metric, value in (("malignant_confused", count), ("malignant_confused_share", count / total)):
                rows.append({"arm": arm.key, "protocol": protocol, "repeat": fold, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def figures(scores: pd.DataFrame, leak: pd.DataFrame, arms: Arms) -> dict[str, Figure]:
    """All figures of the study but those of saliency, by file name without suffix."""
    histories = {arm.label: arm.history for arm in arms if arm.history is not None}
    return {
        "protocols": protocol_dumbbell(shared.dumbbell_points(scores, leak, arms[0].task)),
        "roc": roc_panels(shared.class_curves(arms, shared.strictest_protocol(scores, arms[0].task))),
        "confusion": confusion_matrices(shared.matrices(arms), classes_in(arms[0].predictions)),
        "losses": loss_curves(histories),
        "accuracies": loss_curves(histories, "accuracy"),
    }


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    settings: Mapping[str, Any],
    published: Mapping[str, str],
    *,
    grouping: Mapping[str, Any],
    unreadable: int,
    external: Mapping[str, Any] | None = None,
    picture: bool,
) -> dict[str, Any]:
    """What `page.md.j2` names; `published` is as of `fine_tuning_table`, `picture` whether there are saliency maps."""
    task, confused = arms[0].task, settings["confused"]
    protocol, accuracy = shared.strictest_protocol(scores, task), scores[scores["metric"] == "accuracy"]
    by_key: dict[Any, Any] = {p: part.set_index("key").to_dict("index") for p, part in accuracy.groupby("protocol")}
    here, there = by_key[protocol], by_key.get("random", {}) if protocol != "random" else {}
    models: list[dict[str, Any]] = [
        {
            "key": arm.key,
            "label": arm.label,
            "accuracy": here[arm.key],
            "confused": _confused(*count_confused(arm.of(protocol), confused["classes"])),
        }
        for arm in arms
        if arm.key in here
    ]
    best = max(models, key=lambda model: float(model["accuracy"]["mean"]))
    other = there.get(best["key"])
    return {
        **shared.shared_view(scores, leak, arms, grouping),
        "classes": settings["tasks"][task]["classes"],
        "protocol": protocol,
        "models": models,
        "model_folds": shared.folds_of_scores(accuracy[accuracy["protocol"] == protocol]),
        "best": {
            "label": best["label"],
            "published_split": other,
            "gap": other["mean"] - best["accuracy"]["mean"] if other else None,
        },
        "leak": shared.leak_of(leak, task),
        "published": fine_tuning_table(scores, arms, published, confused["classes"]),
        "times": shared.training_times(scores, arms, protocol),
        "per_class": shared.per_class_table(arms),
        "picture": picture,
        "pictured": shared.label_of(arms, confused["arm"]),
        "drawn": settings["images"]["root"] is None,
        "unreadable": unreadable,
        "external": external,
    }


def _confused(count: int, images: int) -> str:
    return f"{number(count, 0)} of {number(images, 0)} ({percent(count / images, 1)})"


def _epochs(arm: ImageArm, protocol: str) -> str:
    if arm.history is None:
        return ""
    run = arm.history[arm.history["protocol"] == protocol].groupby("fold")["epoch"].max()
    return " to ".join(dict.fromkeys([str(run.min()), str(run.max())])) if len(run) else ""
