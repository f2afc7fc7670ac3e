"""What the pages of studies on folders of images share: reading arms, averaging over folds, published figures beside.

An arm is named `task/arm`. Every number comes from the predictions and histories that its training left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from drunet.files import read_json
from studies.common.class_metrics import (
    SCORES,
    Roc,
    class_scores,
    classes_in,
    confusion,
    fold_scores,
    mean_roc,
    roc_curves,
    summary,
)
from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.common.images.protocols import PROTOCOLS

COST = "cost"
HEADINGS = {
    "accuracy": "accuracy",
    "mcc": "MCC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc": "AUC",
    "specificity": "specificity",
}
# The protocol that never divides what stems from one source: others are compared with it.
HONEST = "grouped"
_LONG = ["arm", "protocol", "repeat", "metric", "value"]
_PUBLISHED = "published, random"
# What the cost of a network is called in cost.tsv and in metrics.tsv.
_COST_COLUMNS = {"parameters": "parameters", "gflops": "gflops", "ms_per_tile": "ms_per_image"}


@dataclass(frozen=True)
class ImageArm:
    """A trained arm of a task.

    Attributes
    ----------
    task, name : str
    label : str
        How the page calls it.
    published : str or None
        Its row in the published tables.
    predictions : DataFrame
        As `studies.common.class_metrics` takes them.
    history : DataFrame or None
        None for what is no network.
    facts : mapping
        training.json.
    """

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


def read_arms(
    arms: Mapping[str, Mapping[str, Any]],
    keys: Sequence[str],
    predictions: Sequence[str | os.PathLike[str]],
    facts: Sequence[str | os.PathLike[str]],
    networks: Sequence[str],
    histories: Sequence[str | os.PathLike[str]],
) -> list[ImageArm]:
    """Read what trainings left.

    Parameters
    ----------
    arms : mapping of arm to mapping
        The study's `arms`: label and, where there is one, published.
    keys : list of str
        `task/arm`; predictions and facts are in this order.
    predictions, facts : list of paths
    networks : list of str
        Those of `keys` that have a history; histories are in this order.
    histories : list of paths
    """
    curves = {key: pd.read_csv(path, sep="\t") for key, path in zip(networks, histories, strict=True)}
    found = []
    for key, answers, known in zip(keys, predictions, facts, strict=True):
        task, _, name = key.partition("/")
        arm = arms[name]
        frame = pd.read_parquet(answers)
        found.append(ImageArm(task, name, arm["label"], arm.get("published"), frame, curves.get(key), read_json(known)))
    return found


def summaries(arms: Sequence[ImageArm], *, resamples: int, seed: int, positive: str | None = None) -> pd.DataFrame:
    """Scores of every arm: key, task, arm, label, protocol, metric, folds, mean, sd, low, high.

    `positive` is the class that is looked for, where scores are to be its own; see `class_metrics.scores`.
    """
    frames = []
    for arm in arms:
        table = summary(arm.predictions, resamples=resamples, seed=seed, positive=positive)
        for place, (column, value) in enumerate(
            (("key", arm.key), ("task", arm.task), ("arm", arm.name), ("label", arm.label))
        ):
            table.insert(place, column, value)
        frames.append(table)
    return pd.concat(frames, ignore_index=True)


def long_metrics(
    arms: Sequence[ImageArm], costs: Mapping[str, pd.DataFrame], *, positive: str | None = None
) -> pd.DataFrame:
    """Columns arm (`task/arm`), protocol, repeat (the fold), metric and value, as every study has them.

    Parameters
    ----------
    arms : list of ImageArm
    costs : mapping of task to DataFrame
        cost.tsv: arm, parameters, gflops, ms_per_tile; they become the protocol `cost`, without a repeat.
    positive : str, optional
        As in `summaries`.
    """
    frames = []
    for arm in arms:
        scores = fold_scores(arm.predictions, positive).rename(columns={"fold": "repeat"})
        frames.append(scores.assign(arm=arm.key))
        if arm.history is not None:
            by = arm.history.groupby(["protocol", "fold"], sort=False)
            spent = by.agg(seconds_per_epoch=("seconds", "median"), epochs=("epoch", "count")).reset_index()
            spent = spent.melt(["protocol", "fold"], var_name="metric").rename(columns={"fold": "repeat"})
            frames.append(spent.assign(arm=arm.key))
    for task, cost in costs.items():
        long = cost.rename(columns=_COST_COLUMNS).melt("arm", list(_COST_COLUMNS.values()), var_name="metric")
        frames.append(long.assign(arm=task + "/" + long["arm"], protocol=COST, repeat=""))
    return pd.concat([frame[_LONG].astype({"repeat": object}) for frame in frames], ignore_index=True)


def leaks(arms: Sequence[ImageArm], images: pd.DataFrame) -> pd.DataFrame:
    """Share of a protocol's test images whose source was also learnt from.

    Counted from what was tested: in each fold a test image leaks if another image of its group is not in that fold's
    test part, whether the network learnt from it or was stopped by it. All arms of a task share its splits; each
    protocol and fold is counted in the first arm that took part in it.

    Parameters
    ----------
    arms : list of ImageArm
    images : DataFrame
        images.tsv: file, label, group.

    Returns
    -------
    DataFrame
        task, protocol, leak (mean over folds), images (test images of a fold, mean over folds).
    """
    rows = []
    for task in dict.fromkeys(arm.task for arm in arms):
        own = [arm.predictions for arm in arms if arm.task == task]
        whole = images[images["label"].isin(classes_in(own[0]))]
        for protocol in protocols_in(pd.concat([frame[["protocol"]] for frame in own])):
            shares, sizes = [], []
            for test in _folds_of(own, protocol).values():
                others = whole.loc[~whole["file"].isin(test["file"]), "group"].astype(str)
                shares.append(float(test["group"].astype(str).isin(set(others)).mean()))
                sizes.append(len(test))
            rows.append(
                {"task": task, "protocol": protocol, "leak": np.mean(shares), "images": round(float(np.mean(sizes)))}
            )
    return pd.DataFrame(rows, columns=["task", "protocol", "leak", "images"])


def honest_table(
    scores: pd.DataFrame, leak: pd.DataFrame, *, metrics: Sequence[str] = ("accuracy", "mcc")
) -> pd.DataFrame:
    """Random or given against grouped, a row per arm: scores under each, what a split that leaks adds, and its leak.

    A protocol that no arm was run under has no columns; what an arm was not run under stays empty.
    """
    rows, shown, both = [], protocols_in(scores), compared(scores)
    for key in dict.fromkeys(scores["key"]):
        here = scores[scores["key"] == key]
        first = here.iloc[0]
        shares = leak[leak["task"] == first["task"]].set_index("protocol")["leak"]
        row: dict[str, Any] = {"task": first["task"].replace("_", " "), "arm": first["label"]}
        for metric in metrics:
            means = {}
            for protocol in shown:
                found = here[(here["metric"] == metric) & (here["protocol"] == protocol)]
                row[f"{HEADINGS[metric]}, {protocol}"] = with_spread(found.iloc[0]) if len(found) else ""
                means[protocol] = float(found["mean"].iloc[0]) if len(found) else float("nan")
            for other in [p for p in shown if both and HONEST in means and p != HONEST]:
                row[f"{HEADINGS[metric]}, {other} less {HONEST}"] = signed(means[other] - means[HONEST])
        own = set(here["protocol"])
        for protocol in shown:
            share = float(shares.get(protocol, float("nan"))) if protocol in own else float("nan")
            row[f"leak of the {protocol} split (%)"] = round(100 * share, 1)
        rows.append(row)
    return pd.DataFrame(rows)


def beside_published(
    scores: pd.DataFrame,
    arms: Sequence[ImageArm],
    published: pd.DataFrame,
    *,
    metrics: Sequence[str] = SCORES,
    seconds: bool = False,
) -> pd.DataFrame:
    """A row per arm and protocol, and above them the published figures of the same network, as printed.

    Parameters
    ----------
    scores : DataFrame
        From `summaries`.
    arms : list of ImageArm
    published : DataFrame of text
        Its first column but `step` names the architecture; others are called as the metrics, or `seconds_per_epoch`.
    metrics : list of str
    seconds : bool
        Whether to show the seconds per epoch, median over a protocol's epochs.
    """
    name = next(c for c in published.columns if c != "step")
    printed = {str(row[name]): {str(k): str(v) for k, v in row.items()} for row in published.to_dict("records")}
    rows = []
    for arm in arms:
        known = printed.get(arm.published or "")
        if known is not None:
            cells = {HEADINGS[m]: known.get(m, "") for m in metrics}
            cells |= {"s per epoch": known.get("seconds_per_epoch", "")} if seconds else {}
            rows.append({"arm": arm.label, "split": _PUBLISHED, "folds": "", **cells})
        for protocol in protocols_in(scores[scores["key"] == arm.key]):
            here = scores[(scores["key"] == arm.key) & (scores["protocol"] == protocol)].set_index("metric")
            cells = {HEADINGS[m]: with_spread(here.loc[m]) for m in metrics}
            cells |= {"s per epoch": _seconds(arm, protocol)} if seconds else {}
            rows.append({"arm": arm.label, "split": protocol, "folds": str(int(here["folds"].iloc[0])), **cells})
    return pd.DataFrame(rows)


def per_class_table(arms: Sequence[ImageArm]) -> pd.DataFrame:
    """Precision, recall, F1 and area under the curve of each class against the rest, folds thrown together."""
    frames = []
    for arm in arms:
        for protocol in protocols_in(arm.predictions):
            table = class_scores(arm.of(protocol)).drop(columns="specificity")
            table = table.rename(columns={"f1": "F1", "auc": "AUC", "n": "images"}).round(3)
            table.insert(0, "split", protocol)
            table.insert(0, "arm", arm.label)
            frames.append(table)
    return pd.concat(frames, ignore_index=True)


def cost_of(arms: Sequence[ImageArm], cost: pd.DataFrame) -> pd.DataFrame:
    """What an image costs in each network: arm, million parameters, GFLOPs, ms (median, fastest, slowest)."""
    names = {arm.name: arm.label for arm in arms}
    known = cost[cost["arm"].isin(list(names))]
    order = known["arm"].map({name: place for place, name in enumerate(names)}).sort_values().index
    known = known.loc[order]
    return pd.DataFrame(
        {
            "arm": known["arm"].map(names),
            "million parameters": (known["parameters"] / 1e6).round(2),
            "GFLOPs per image": known["gflops"].round(3),
            "ms per image (median)": known["ms_per_tile"].round(2),
            "fastest": known["fastest"].round(2),
            "slowest": known["slowest"].round(2),
        }
    ).reset_index(drop=True)


def matrices(arms: Sequence[ImageArm]) -> dict[str, dict[str, np.ndarray]]:
    """Confusion matrices by protocol, in words, and arm, summed over folds; for `confusion_matrices`."""
    found = {}
    for protocol in PROTOCOLS:
        own = {arm.label: confusion(arm.of(protocol)) for arm in arms if len(arm.of(protocol))}
        if own:
            sizes = sorted(int(matrix.sum()) for matrix in own.values())
            images = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
            found[f"{PROTOCOL_NAMES[protocol]}, {images} test images"] = own
    return found


def macro_curves(arms: Sequence[ImageArm]) -> dict[str, dict[str, Roc]]:
    """ROC averaged over classes and folds, by protocol, in words, and arm; for `roc_panels`."""
    panels: dict[str, dict[str, Roc]] = {}
    for protocol in PROTOCOLS:
        found = {arm.label: list(roc_curves(arm.of(protocol)).values()) for arm in arms if len(arm.of(protocol))}
        panels[PROTOCOL_NAMES[protocol]] = {name: mean_roc(curves) for name, curves in found.items() if curves}
    return panels


def dumbbell_points(scores: pd.DataFrame, leak: pd.DataFrame, task: str) -> pd.DataFrame:
    """What `protocol_dumbbell` draws of one task."""
    here = scores[scores["task"] == task]
    joined = here.merge(leak[["task", "protocol", "leak"]], on=["task", "protocol"], how="left")
    return joined.assign(arm=joined["label"])[["arm", "metric", "protocol", "mean", "leak"]]


def cost_points(scores: pd.DataFrame, cost: pd.DataFrame, task: str, protocol: str) -> pd.DataFrame:
    """What `cost_scatter` draws of one task: label, mean and sd of the accuracy, ms_per_image, parameters."""
    wanted = (scores["task"] == task) & (scores["metric"] == "accuracy") & (scores["protocol"] == protocol)
    joined = scores[wanted].merge(cost[["arm", "ms_per_tile", "parameters"]], on="arm", validate="1:1")
    return joined.rename(columns={"ms_per_tile": "ms_per_image"})


def protocols_in(frame: pd.DataFrame) -> list[str]:
    """Protocols that a table has, the published one first."""
    return [p for p in PROTOCOLS if p in set(frame["protocol"])]


def honest_protocol(scores: pd.DataFrame, task: str) -> str:
    """The most honest protocol that a task was run under."""
    return protocols_in(scores[scores["task"] == task])[-1]


def compared(scores: pd.DataFrame) -> bool:
    """Whether any arm was run under both protocols: without one there is no difference to speak of."""
    return len(scores[["key", "protocol"]].drop_duplicates()) > scores["key"].nunique()


def with_spread(row: Any, digits: int = 3) -> str:
    """A row of `summaries` as text: `0.952 ± 0.011` over folds, `0.952 (0.921–0.978)` where one fold was run."""
    mean, sd, low, high = (float(row[k]) for k in ("mean", "sd", "low", "high"))
    if np.isnan(mean):
        return ""
    shown = f"{mean:.{digits}f}".replace("-", "−")
    if not np.isnan(sd):
        return f"{shown} ± {sd:.{digits}f}"
    return shown + ("" if np.isnan(low) else f" ({low:.{digits}f}–{high:.{digits}f})".replace("(-", "(−"))


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, empty where there is none."""
    return "" if np.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def _folds_of(predictions: Sequence[pd.DataFrame], protocol: str) -> dict[Any, pd.DataFrame]:
    """The test images of every fold of a protocol, from the first arm that took part in it."""
    found: dict[Any, pd.DataFrame] = {}
    for frame in predictions:
        for fold, test in frame[frame["protocol"] == protocol].groupby("fold"):
            found.setdefault(fold, test)
    return found


def _seconds(arm: ImageArm, protocol: str) -> str:
    if arm.history is None:
        return ""
    spent = arm.history.loc[arm.history["protocol"] == protocol, "seconds"]
    return f"{float(spent.median()):.1f}" if len(spent) else ""
