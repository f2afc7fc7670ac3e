"""The study `ct_boxes`: boxes round lung tumours, learnt on one subtype and tried on others.

Source: D. Pravdyvets, "Object detection in Lung Cancer CT scans using deep learning and transfer learning", master's
thesis, Universitat Oberta de Catalunya, 2023, sections 3.2 to 3.4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drunet.files import read_json
from drunet.metrics import Summary, summarise
from studies.common.images.class_figures import protocol_dumbbell
from studies.common.images.protocols import PROTOCOLS
from studies.ct_boxes.figures import box_losses, iou_boxes
from studies.ct_boxes.geometry import iou

SOURCE, UNTOUCHED, TUNED = "source", "untouched", "fine-tuned"
TRUE = ["xmin", "ymin", "xmax", "ymax"]
PREDICTED = ["pxmin", "pymin", "pxmax", "pymax"]
# The answer of no network: see `with_mean_box`.
MEAN_BOX, MEAN_BOX_LABEL = "mean_box", "always the mean box"
_LOSSES = {"giou": "1 − GIoU", "giou_l1": "1 − GIoU + 5 × mean error"}
_LEAK = "of the test slices are of a patient who was learnt from"
_SHORT = {SOURCE: "learnt from", TUNED: "fine-tuned"}
_PUBLISHED_COLUMNS = {SOURCE: "iou_after_test", UNTOUCHED: "iou_before", TUNED: "iou_after_all"}


@dataclass(frozen=True)
class BoxArm:
    """An arm, trained under one protocol.

    Attributes
    ----------
    name, label : str
    protocol : str
    published : bool
        Whether it is the network of the published figures.
    predictions : DataFrame
        predictions.parquet of the training: a row per slice that was judged.
    history : DataFrame or None
        history.tsv; None for what is no network.
    facts : mapping
        training.json.
    """

    name: str
    label: str
    protocol: str
    published: bool
    predictions: pd.DataFrame
    history: pd.DataFrame | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """What a figure of IoU is of: slices of a subtype at a stage, all of them or the test part alone."""

    subtype: str
    stage: str
    whole: bool = False

    @property
    def words(self) -> str:
        """As a table calls it."""
        if self.stage == TUNED:
            return f"fine-tuned, {'whole set' if self.whole else 'test part'}"
        return "learnt from, test part" if self.stage == SOURCE else self.stage

    @property
    def metric(self) -> str:
        """As metrics.tsv calls it, e.g. `iou_A_fine_tuned_test`."""
        part = "" if self.stage == UNTOUCHED else "_whole" if self.whole else "_test"
        return f"iou_{self.subtype}_{self.stage.replace('-', '_')}{part}"

    def rows(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Those of an arm's predictions that it speaks of."""
        here = (predictions["stage"] == self.stage) & (predictions["subtype"] == self.subtype)
        return predictions[here if self.whole or self.stage == UNTOUCHED else here & (predictions["part"] == "test")]

    def published(self, table: pd.DataFrame, source: str) -> str:
        """The thesis' figure, as printed; empty where there is none, or where it did not learn from `source`."""
        known = table.set_index("subtype")
        # What the thesis learnt from is what it never tried untouched.
        comparable = known["iou_before"].get(source) == ""
        if not comparable or (self.stage == SOURCE) != (self.subtype == source):
            return ""
        column = "iou_after_test" if self.stage == TUNED and not self.whole else _PUBLISHED_COLUMNS[self.stage]
        return str(known[column].get(self.subtype, ""))


def judged(source: str, targets: Sequence[str]) -> list[Judged]:
    """All that the study judges, in the order of the thesis."""
    found = [Judged(source, SOURCE)]
    for target in targets:
        found += [Judged(target, UNTOUCHED), Judged(target, TUNED, whole=True), Judged(target, TUNED)]
    return found


def read_arms(
    arms: Mapping[str, Mapping[str, Any]],
    keys: Sequence[str],
    predictions: Sequence[str | os.PathLike[str]],
    histories: Sequence[str | os.PathLike[str]],
    facts: Sequence[str | os.PathLike[str]],
) -> list[BoxArm]:
    """Read what trainings left.

    Parameters
    ----------
    arms : mapping of arm to mapping
        The study's `arms`: label, published.
    keys : list of str
        `protocol/arm`; the files are in this order.
    predictions, histories, facts : list of paths
    """
    found = []
    for key, answers, curve, known in zip(keys, predictions, histories, facts, strict=True):
        protocol, _, name = key.partition("/")
        arm, history = arms[name], pd.read_csv(curve, sep="\t", dtype={"target": str, "stage": str})
        label, published = arm["label"], arm["published"]
        found.append(BoxArm(name, label, protocol, published, pd.read_parquet(answers), history, read_json(known)))
    return found


def with_mean_box(arms: Sequence[BoxArm], slices: pd.DataFrame) -> list[BoxArm]:
    """The arms, and for each protocol the best that can be said without looking at a slice.

    That is the mean box, in shares of the sides, of the slices that were learnt from: no constant answer has a smaller
    squared error on them. A network that is not above it has found out where tumours mostly lie and nothing else.

    Parameters
    ----------
    arms : list of BoxArm
        All arms of a protocol share its splits.
    slices : DataFrame
        slices.tsv.
    """
    first = {arm.protocol: arm for arm in reversed(arms)}
    added = []
    for arm in (first[protocol] for protocol in dict.fromkeys(arm.protocol for arm in arms)):
        parts = [_constant(rows, _learnt(arm, rows, slices)) for _, rows in _stages(arm, slices)]
        rows = pd.concat(parts, ignore_index=True)
        added.append(BoxArm(MEAN_BOX, MEAN_BOX_LABEL, arm.protocol, False, rows, None, {}))
    return [*arms, *added]


def scores(arms: Sequence[BoxArm], what: Sequence[Judged], *, good: float, resamples: int, seed: int) -> pd.DataFrame:
    """Mean IoU of every arm and protocol, with its 95 % interval over patients.

    Returns
    -------
    DataFrame
        arm, label, protocol, subtype, stage, whole, words, metric, n (slices), patients, mean, low, high (NaN with one
        patient), good (share of slices whose IoU is at least `good`). What nothing was judged of is left out.
    """
    rows = []
    for arm in arms:
        for one in what:
            part = one.rows(arm.predictions)
            if part.empty:
                continue
            found = _summary(part["iou"].to_numpy(float), part["patient"].to_numpy(), resamples, seed)
            rows.append(
                {
                    "arm": arm.name,
                    "label": arm.label,
                    "protocol": arm.protocol,
                    "subtype": one.subtype,
                    "stage": one.stage,
                    "whole": one.whole,
                    "words": one.words,
                    "metric": one.metric,
                    "n": found.n,
                    "patients": found.groups,
                    "mean": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "good": float((part["iou"] >= good).mean()),
                }
            )
    return pd.DataFrame(rows)


def gains(
    arms: Sequence[BoxArm], what: Sequence[Judged], protocol: str, *, resamples: int, seed: int
) -> dict[tuple[str, str], Summary]:
    """How far the IoU of each network lies above that of the mean box on test slices, slice by slice.

    Parameters
    ----------
    arms : list of BoxArm
        From `with_mean_box`.

    Returns
    -------
    dict of (arm, metric) to Summary
        Of one protocol, for what was learnt from and is judged on a test part; metric as `Judged.metric`.
    """
    known = {arm.name: arm.predictions for arm in arms if arm.protocol == protocol}
    found = {}
    for one in (one for one in what if one.stage != UNTOUCHED and not one.whole):
        constant = one.rows(known[MEAN_BOX])[["file", "iou"]]
        for name in (name for name in known if name != MEAN_BOX):
            both = one.rows(known[name]).merge(constant, on="file", suffixes=("", "_mean_box"))
            difference = (both["iou"] - both["iou_mean_box"]).to_numpy(float)
            found[name, one.metric] = _summary(difference, both["patient"].to_numpy(), resamples, seed)
    return found


def figures(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[BoxArm],
    what: Sequence[Judged],
    settings: Mapping[str, Any],
) -> dict[str, Figure]:
    """All drawings of the study but that of slices, by file name without suffix."""
    points = [
        one.rows(arm.predictions)[["iou"]].assign(
            arm=arm.label, protocol=arm.protocol, row=f"{one.subtype}, {one.words}"
        )
        for arm in arms
        for one in what
        if not one.whole
    ]
    histories: dict[str, list[pd.DataFrame]] = {}
    for arm in arms:
        if arm.history is not None:
            histories.setdefault(arm.label, []).append(arm.history.assign(protocol=arm.protocol))
    units = {arm["label"]: loss_name(arm) for arm in settings["arms"].values() if arm}
    found = {
        "iou": iou_boxes(pd.concat(points, ignore_index=True), settings["good"]),
        "losses": box_losses({label: pd.concat(parts) for label, parts in histories.items()}, units),
    }
    if len(set(scores["protocol"])) > 1:
        found["protocols"] = protocol_dumbbell(
            _dumbbell_points(scores, leak), {"iou": "mean IoU"}, leak=_LEAK, of="on test slices"
        )
    return found


def loss_name(arm: Mapping[str, Any]) -> str:
    """What an arm makes small, with its unit, for an axis."""
    if arm["loss"] == "mse":
        return "squared error (px²)" if arm["coordinates"] == "pixels" else "squared error"
    return _LOSSES.get(arm["loss"], str(arm["loss"]))


def _dumbbell_points(scores: pd.DataFrame, leak: pd.DataFrame) -> pd.DataFrame:
    """Test parts of the networks: what was trained on slices that may leak."""
    tested = scores[(scores["stage"] != UNTOUCHED) & ~scores["whole"] & (scores["arm"] != MEAN_BOX)]
    joined = tested.merge(leak[["protocol", "subtype", "stage", "leak"]], on=["protocol", "subtype", "stage"])
    return joined.assign(
        metric="iou", arm=joined["label"] + ": " + joined["subtype"] + ", " + joined["stage"].map(_SHORT)
    )


def leaks(arms: Sequence[BoxArm], what: Sequence[Judged], slices: pd.DataFrame) -> pd.DataFrame:
    """What was learnt from and judged on, and the share of judged slices whose patient was learnt from.

    Counted from what was judged, once a protocol: all arms share its splits. Slices that decided when to stop count as
    learnt from.

    Returns
    -------
    DataFrame
        protocol, subtype, stage, learnt (slices), learnt_patients, judged (slices), judged_patients, leak.
    """
    rows = []
    for arm in {arm.protocol: arm for arm in reversed([a for a in arms if a.history is not None])}.values():
        for one in (one for one in what if one.stage != UNTOUCHED and not one.whole):
            tested = one.rows(arm.predictions)
            if tested.empty:
                continue
            judged = slices[slices["file"].isin(set(tested["file"]))]
            learnt = _learnt(arm, arm.predictions[arm.predictions["stage"] == one.stage], slices, one.subtype)
            rows.append(
                {
                    "protocol": arm.protocol,
                    "subtype": one.subtype,
                    "stage": one.stage,
                    "learnt": len(learnt),
                    "learnt_patients": learnt["patient"].nunique(),
                    "judged": len(judged),
                    "judged_patients": judged["patient"].nunique(),
                    "leak": float(judged["patient"].isin(set(learnt["patient"])).mean()),
                }
            )
    table = pd.DataFrame(rows)
    order = {protocol: k for k, protocol in enumerate(PROTOCOLS)}
    return table.sort_values("protocol", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def long_metrics(scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[BoxArm]) -> pd.DataFrame:
    """Columns arm, protocol, repeat, metric and value, as every study has them."""
    rows = []
    for row in scores.to_dict("records"):
        key = {"arm": row["arm"], "protocol": row["protocol"], "repeat": 0}
        good = row["metric"].replace("iou_", "good_", 1)
        rows += [{**key, "metric": row["metric"], "value": row["mean"]}, {**key, "metric": good, "value": row["good"]}]
    for arm in (arm for arm in arms if arm.history is not None):
        key = {"arm": arm.name, "protocol": arm.protocol, "repeat": 0}
        rows.append({**key, "metric": "parameters", "value": arm.facts["parameters"]})
        for row in leak[leak["protocol"] == arm.protocol].to_dict("records"):
            metric = f"leak_{row['subtype']}_{row['stage'].replace('-', '_')}"
            rows.append({**key, "metric": metric, "value": row["leak"]})
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def _stages(arm: BoxArm, slices: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """The arm's predictions by stage and subtype, with the sizes of the slices."""
    sized = arm.predictions.merge(slices[["file", "width", "height"]], on="file", how="left", validate="many_to_one")
    return list(sized.groupby(["stage", "subtype"], sort=False))


def _learnt(arm: BoxArm, rows: pd.DataFrame, slices: pd.DataFrame, subtype: str | None = None) -> pd.DataFrame:
    """Slices that the network which gave these rows, all of one stage, last learnt from."""
    stage = rows["stage"].iloc[0]
    if stage == TUNED:
        own = rows["subtype"] == (subtype or rows["subtype"].iloc[0])
        files = rows.loc[own & (rows["part"] != "test"), "file"]
        return slices[slices["file"].isin(set(files))]
    source = Judged(str(arm.facts["source"]), SOURCE)
    tested = set(source.rows(arm.predictions)["file"])
    return slices[(slices["subtype"] == source.subtype) & ~slices["file"].isin(tested)]


def _constant(rows: pd.DataFrame, learnt: pd.DataFrame) -> pd.DataFrame:
    """The rows with the mean box of `learnt` in place of what was predicted."""
    mean = (learnt[TRUE].to_numpy(float) / _sides(learnt)).mean(axis=0)
    predicted = mean * _sides(rows)
    return rows.assign(**dict(zip(PREDICTED, predicted.T, strict=True)), iou=iou(rows[TRUE].to_numpy(float), predicted))


def _sides(rows: pd.DataFrame) -> NDArray[np.float64]:
    """What shares become px by, for the four edges: (n, 4)."""
    return rows[["width", "height", "width", "height"]].to_numpy(float)


def _summary(values: NDArray[np.float64], patients: NDArray[Any], resamples: int, seed: int) -> Summary:
    return summarise(values, patients, resamples=resamples, seed=seed)
