"""Tables and the shared part of the pages of studies on folders of images.

A model is named `task/arm`. Every number comes from the predictions and histories that its training left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from drunet.files import read_json
from studies.common import class_metrics
from studies.common.class_metrics import SCORES
from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.common.images.protocols import PROTOCOLS
from studies.common.words import score, signed

HEADINGS = {name: name for name in ("accuracy", "precision", "recall", "specificity")}
HEADINGS |= {"mcc": "MCC", "f1": "F1", "auc": "AUC"}
# The protocol that never divides what stems from one source: others are compared with it.
GROUPED = "grouped"
_STARTS = {"random": "random", "imagenet": "ImageNet"}
# What the cost of a network is called in cost.tsv and in metrics.tsv.
_COST_COLUMNS = {"parameters": "parameters", "gflops": "gflops", "ms_per_tile": "ms_per_image"}


@dataclass(frozen=True)
class ImageArm:
    """A trained model of a task: `published` is its row in the published tables; what is no network has no history."""

    task: str
    name: str
    label: str
    published: str | None
    predictions: pd.DataFrame
    history: pd.DataFrame | None
    facts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """`task/arm`, as in metrics.tsv."""
        return f"{self.task}/{self.name}"

    def of(self, protocol: str) -> pd.DataFrame:
        """The predictions of one protocol."""
        return self.predictions[self.predictions["protocol"] == protocol]


Arms: TypeAlias = Sequence[ImageArm]


def read_arms(
    arms: Mapping[str, Mapping[str, Any]],
    keys: Sequence[str],
    predictions: Sequence[str | Path],
    facts: Sequence[str | Path],
    networks: Sequence[str],
    histories: Sequence[str | Path],
) -> list[ImageArm]:
    """Read what trainings left: `predictions` and `facts` in the order of `keys`, `histories` in that of `networks`."""
    curves = {key: pd.read_csv(path, sep="\t") for key, path in zip(networks, histories, strict=True)}
    found = []
    for key, answers, known in zip(keys, predictions, facts, strict=True):
        task, _, name = key.partition("/")
        arm, frame = arms[name], pd.read_parquet(answers)
        found.append(ImageArm(task, name, arm["label"], arm.get("published"), frame, curves.get(key), read_json(known)))
    return found


def summaries(arms: Arms, *, resamples: int, seed: int, positive: str | None = None) -> pd.DataFrame:
    """Scores of every model: protocol, metric, folds, mean, sd, low, high, key, task, arm, label."""
    frames = []
    for arm in arms:
        found = class_metrics.summary(arm.predictions, resamples=resamples, seed=seed, positive=positive)
        frames.append(found.assign(key=arm.key, task=arm.task, arm=arm.name, label=arm.label))
    return pd.concat(frames, ignore_index=True)


def long_metrics(arms: Arms, costs: Mapping[str, pd.DataFrame], *, positive: str | None = None) -> pd.DataFrame:
    """metrics.tsv: arm (`task/arm`), protocol (`cost`: cost.tsv of a task), repeat (the fold), metric and value."""
    frames = []
    for arm in arms:
        found = [class_metrics.fold_scores(arm.predictions, positive)]
        if arm.history is not None:
            by = arm.history.groupby(["protocol", "fold"], sort=False)
            spent = by.agg(seconds_per_epoch=("seconds", "median"), epochs=("epoch", "count")).reset_index()
            found.append(spent.melt(["protocol", "fold"], var_name="metric"))
        frames += [frame.rename(columns={"fold": "repeat"}).assign(arm=arm.key) for frame in found]
    for task, cost in costs.items():
        long = cost.rename(columns=_COST_COLUMNS).melt("arm", list(_COST_COLUMNS.values()), var_name="metric")
        frames.append(long.assign(arm=task + "/" + long["arm"], protocol="cost", repeat=""))
    columns = ["arm", "protocol", "repeat", "metric", "value"]
    return pd.concat([frame[columns].astype({"repeat": object}) for frame in frames], ignore_index=True)


def leaks(arms: Arms, images: pd.DataFrame) -> pd.DataFrame:
    """Share of a protocol's test images with another image of their group outside that fold's test set.

    All models of a task share its splits; each protocol and fold is counted in the first model that took part in it.
    `images` is images.tsv. Returns columns task, protocol, leak and images (of a fold; both means over folds).
    """
    rows = []
    for task in dict.fromkeys(arm.task for arm in arms):
        own = [arm.predictions for arm in arms if arm.task == task]
        tested = pd.concat(own).drop_duplicates(["protocol", "fold", "file"])
        whole = images[images["label"].isin(class_metrics.classes_in(own[0]))]
        for protocol in protocols_in(tested):
            tests = [test for _, test in tested[tested["protocol"] == protocol].groupby("fold")]
            others = [whole.loc[~whole["file"].isin(test["file"]), "group"] for test in tests]
            shares = [test["group"].isin(other).mean() for test, other in zip(tests, others, strict=True)]
            rows.append([task, protocol, np.mean(shares), round(float(np.mean([len(test) for test in tests])))])
    return pd.DataFrame(rows, columns=["task", "protocol", "leak", "images"])


def split_table(
    scores: pd.DataFrame, leak: pd.DataFrame, *, metrics: Sequence[str] = ("accuracy", "mcc")
) -> pd.DataFrame:
    """A row per model: its scores under each protocol, their difference from the grouped one, and the leak."""
    rows, shown = [], protocols_in(scores)
    # A difference is shown where any model was run under two protocols.
    compared = len(scores[["key", "protocol"]].drop_duplicates()) > scores["key"].nunique()
    others = [p for p in shown if p != GROUPED] if compared and GROUPED in shown else []
    share = leak.set_index(["task", "protocol"])["leak"]
    for _, here in scores.groupby("key", sort=False):
        task, label = here[["task", "label"]].iloc[0]
        row: dict[str, Any] = {"task": task.replace("_", " "), "model": label}
        known: Any = here.set_index(["metric", "protocol"]).to_dict("index")
        own = protocols_in(here)
        for metric in metrics:
            for protocol in shown:
                row[f"{HEADINGS[metric]}, {protocol}"] = score(known[metric, protocol]) if protocol in own else ""
            for other in others:
                both = {other, GROUPED} <= set(own)
                gap = known[metric, other]["mean"] - known[metric, GROUPED]["mean"] if both else None
                row[f"{HEADINGS[metric]}, {other} − {GROUPED}"] = signed(gap, 3)
        for protocol in shown:
            row[f"leak, {protocol} split (%)"] = round(100 * share[task, protocol], 1) if protocol in own else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    return table if len(set(table["task"])) > 1 else table.drop(columns="task")


def beside_published(
    scores: pd.DataFrame, arms: Arms, published: pd.DataFrame, *, metrics: Sequence[str] = SCORES, seconds: bool = False
) -> pd.DataFrame:
    """A row per model and protocol, and above them the published figures of the same network, as printed.

    The first column of `published` but `step` names the architecture; others are called as the metrics, or
    `seconds_per_epoch`, which is shown if `seconds` (median over a protocol's epochs).
    """
    name = next(c for c in published.columns if c != "step")
    printed = published.set_index(name).to_dict("index")
    rows = []
    for arm in arms:
        own = scores[scores["key"] == arm.key]
        if (known := printed.get(arm.published or "")) is not None:
            cells = {HEADINGS[m]: str(known.get(m, "")) for m in metrics}
            cells |= {"s per epoch": str(known.get("seconds_per_epoch", ""))} if seconds else {}
            rows.append({"model": arm.label, "split": "random, published", "folds": "", **cells})
        spent = None if arm.history is None else arm.history.groupby("protocol")["seconds"].median()
        for protocol in protocols_in(own):
            here: Any = own[own["protocol"] == protocol].set_index("metric")
            cells = {HEADINGS[m]: score(here.loc[m]) for m in metrics}
            cells |= {"s per epoch": "" if spent is None else f"{spent[protocol]:.1f}"} if seconds else {}
            rows.append({"model": arm.label, "split": protocol, "folds": str(here["folds"].iloc[0]), **cells})
    return pd.DataFrame(rows)


def per_class_table(arms: Arms) -> pd.DataFrame:
    """Precision, recall, F1 and AUC of each class against the rest, the predictions of all folds pooled."""
    frames = []
    for arm in arms:
        for protocol in protocols_in(arm.predictions):
            table = class_metrics.class_scores(arm.of(protocol)).drop(columns="specificity").round(3)
            table = table.rename(columns={**HEADINGS, "n": "images"})
            frames.append(pd.DataFrame({"model": arm.label, "split": protocol, **table}))
    return pd.concat(frames, ignore_index=True)


def starts_of(arms: Arms) -> dict[str, list[str]]:
    """Networks by the weights that they start from: "random", "ImageNet" or "from a file"."""
    found: dict[str, list[str]] = {}
    for arm in {arm.name: arm for arm in arms if arm.history is not None}.values():
        found.setdefault(_STARTS.get(str(arm.facts["weights"]), "from a file"), []).append(arm.label)
    return found


def training_table(arms: Arms) -> pd.DataFrame:
    """How each network was trained: its size and start, the usual settings, and those in which the networks differ."""
    networks = list({arm.name: arm for arm in arms if arm.history is not None}.values())
    lessons = [arm.facts.get("distillation") or {} for arm in networks]
    told = [{**arm.facts["training"], **lesson} for arm, lesson in zip(networks, lessons, strict=True)]
    plans = pd.DataFrame([{k: _plain(v) for k, v in plan.items()} for plan in told]).fillna("")
    usual = ("optimiser", "learning_rate", "epsilon", "batch_size", "epochs")
    shown = [str(key) for key in plans if key in usual or len(set(plans[key])) > 1]
    facts = [arm.facts for arm in networks]
    return pd.DataFrame(
        {
            "network": [arm.label for arm in networks],
            "million parameters": [round(known["parameters"] / 1e6, 1) for known in facts],
            "trainable (million)": [round(known["trainable_parameters"] / 1e6, 1) for known in facts],
            "starting weights": [_STARTS.get(str(known["weights"]), "from a file") for known in facts],
            "input (px)": [int(known["size"]) for known in facts],
            **{key.replace("_", " "): plans[key] for key in shown},
        }
    ).rename(columns={"epochs": "epochs, at most"})


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def cost_of(arms: Arms, cost: pd.DataFrame) -> pd.DataFrame:
    """What an image costs in each network, from cost.tsv, in the order of `arms`."""
    known = cost.set_index("arm")
    own = [arm for arm in arms if arm.name in known.index]
    known = known.loc[[arm.name for arm in own]].reset_index(drop=True)
    return pd.DataFrame(
        {
            "network": [arm.label for arm in own],
            "million parameters": (known["parameters"] / 1e6).round(2),
            "GFLOPs per image": known["gflops"].round(3),
            "ms per image (median)": known["ms_per_tile"].round(2),
            "fastest": known["fastest"].round(2),
            "slowest": known["slowest"].round(2),
        }
    )


def matrices(arms: Arms) -> dict[str, dict[str, np.ndarray]]:
    """Confusion matrices by protocol, in words, and model, summed over folds; for `confusion_matrices`."""
    found = {}
    for protocol in PROTOCOLS:
        if own := {arm.label: class_metrics.confusion(arm.of(protocol)) for arm in arms if len(arm.of(protocol))}:
            sizes = [int(matrix.sum()) for matrix in own.values()]
            images = " to ".join(dict.fromkeys([f"{min(sizes):,}", f"{max(sizes):,}"]))
            found[f"{PROTOCOL_NAMES[protocol]}, {images} test images"] = own
    return found


def macro_curves(arms: Arms) -> dict[str, dict[str, class_metrics.Roc]]:
    """ROC curves averaged over classes and folds, by protocol, in words, and model; for `roc_panels`."""
    panels: dict[str, dict[str, class_metrics.Roc]] = {}
    for protocol in PROTOCOLS:
        curves = {arm.label: class_metrics.roc_curves(arm.of(protocol)) for arm in arms if len(arm.of(protocol))}
        panels[PROTOCOL_NAMES[protocol]] = {k: class_metrics.mean_roc([*own.values()]) for k, own in curves.items()}
    return panels


def class_curves(arms: Arms, protocol: str) -> dict[str, dict[str, class_metrics.Roc]]:
    """ROC curves of each class against the rest, mean over folds, by model; for `roc_panels`."""
    return {arm.label: class_metrics.roc_curves(arm.of(protocol)) for arm in arms if len(arm.of(protocol))}


def training_times(scores: pd.DataFrame, arms: Arms, protocol: str) -> pd.DataFrame:
    """What the trainings of a network took under one protocol (medians over folds), beside its accuracy there."""
    accuracy: Any = scores[(scores["protocol"] == protocol) & (scores["metric"] == "accuracy")].set_index("key")
    rows = []
    for arm in arms:
        if arm.history is None or arm.key not in accuracy.index:
            continue
        by = arm.history[arm.history["protocol"] == protocol].groupby("fold")["seconds"]
        row = {"network": arm.label, "trainable (million)": round(arm.facts["trainable_parameters"] / 1e6, 2)}
        row |= {"epochs": by.size().median(), "s per epoch": by.median().median(), "minutes": by.sum().median() / 60}
        rows.append({**row, "accuracy": score(accuracy.loc[arm.key])})
    return pd.DataFrame(rows)


def dumbbell_points(scores: pd.DataFrame, leak: pd.DataFrame, task: str) -> pd.DataFrame:
    """What `protocol_dumbbell` draws of one task."""
    here = scores[scores["task"] == task].assign(arm=lambda own: own["label"])
    return here.merge(leak[["task", "protocol", "leak"]], on=["task", "protocol"], how="left")


def cost_points(scores: pd.DataFrame, cost: pd.DataFrame, task: str, protocol: str) -> pd.DataFrame:
    """What `cost_scatter` draws of one task: its accuracy, with one standard deviation over folds on either side."""
    wanted = (scores["task"] == task) & (scores["metric"] == "accuracy") & (scores["protocol"] == protocol)
    joined = scores[wanted].merge(cost[["arm", "ms_per_tile", "parameters"]], on="arm", validate="1:1")
    # No share is more than all, whatever a standard deviation says.
    low, high = joined["mean"] - joined["sd"], (joined["mean"] + joined["sd"]).clip(upper=1)
    return joined.assign(low=low, high=high).rename(columns={"ms_per_tile": "ms", "mean": "score"})


def label_of(arms: Arms, name: str) -> str:
    """What a model is called on the page."""
    return next((arm.label for arm in arms if arm.name == name), name)


def protocols_in(frame: pd.DataFrame) -> list[str]:
    """Protocols that a table has, the published one first."""
    return [p for p in PROTOCOLS if p in set(frame["protocol"])]


def strictest_protocol(scores: pd.DataFrame, task: str) -> str:
    """The protocol with the least leak that a task was run under."""
    return protocols_in(scores[scores["task"] == task])[-1]


def folds_of_scores(scores: pd.DataFrame) -> dict[str, int]:
    """The fewest and the most folds behind some scores, which decide how their spread is called."""
    return {"least": int(scores["folds"].min()), "most": int(scores["folds"].max())}


def leak_of(leak: pd.DataFrame, task: str) -> dict[str, float]:
    """Leak (a share) of a task by protocol."""
    own = leak[leak["task"] == task]
    return dict(zip(own["protocol"], own["leak"].astype(float), strict=True))


def shared_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    grouping: Mapping[str, Any],
    *,
    metrics: Sequence[str] = ("accuracy", "mcc"),
) -> dict[str, Any]:
    """What the shared templates of `common/images` name; `grouping` is groups.json."""
    return {
        "protocols": protocols_in(scores),
        "folds": folds_of_scores(scores),
        "splits": split_table(scores, leak, metrics=metrics),
        "training": training_table(arms),
        # That of the study; where arms differ, the table of trainings says so.
        "keep": next(a.facts["training"].get("keep", "best_loss") for a in arms if a.history is not None),
        "grouping": {"search": None, **grouping},
    }
