"""Tables of tumour boxes: IoU by subtype and stage, leaks of the splits, and gains over the mean box.

Source: D. Pravdyvets, "Object detection in Lung Cancer CT scans using deep learning and transfer learning", master's
thesis, Universitat Oberta de Catalunya, 2023, sections 3.2 to 3.4.

The `task` of a trained model is here the protocol of its splits; the mean box has no history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from drunet.metrics import summarise
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import Arms, ImageArm
from studies.ct_boxes import trials
from studies.ct_boxes.geometry import iou
from studies.ct_boxes.trials import SOURCE, TUNED, UNTOUCHED

TRUE, PREDICTED = list(trials.TRUE), list(trials.PREDICTED)
# A constant prediction: see `with_mean_box`.
MEAN_BOX, MEAN_BOX_LABEL = "mean_box", "mean box (constant)"
_PUBLISHED_COLUMNS = {SOURCE: "iou_after_test", UNTOUCHED: "iou_before", TUNED: "iou_after_all"}


@dataclass(frozen=True)
class Judged:
    """The slices of a subtype at a stage that an IoU is measured on: the whole set or the test part."""

    subtype: str
    stage: str
    whole: bool = False

    @property
    def words(self) -> str:
        """Name in tables and figures."""
        if self.stage == TUNED:
            return f"fine-tuned, {'whole set' if self.whole else 'test part'}"
        return "training subtype, test part" if self.stage == SOURCE else "before fine-tuning"

    @property
    def metric(self) -> str:
        """Name in metrics.tsv, e.g. `iou_A_fine_tuned_test`."""
        part = "" if self.stage == UNTOUCHED else "_whole" if self.whole else "_test"
        return f"iou_{self.subtype}_{self.stage.replace('-', '_')}{part}"

    def rows(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Its rows of an arm's predictions."""
        here = (predictions["stage"] == self.stage) & (predictions["subtype"] == self.subtype)
        return predictions[here if self.whole or self.stage == UNTOUCHED else here & (predictions["part"] == "test")]

    def published(self, table: pd.DataFrame, source: str) -> str:
        """The published value, as printed; empty where there is none, or where the thesis did not train on `source`."""
        known = table.set_index("subtype")
        # The training subtype of the thesis has no value before fine-tuning.
        comparable = known["iou_before"].get(source) == ""
        if not comparable or (self.stage == SOURCE) != (self.subtype == source):
            return ""
        column = "iou_after_test" if self.stage == TUNED and not self.whole else _PUBLISHED_COLUMNS[self.stage]
        return str(known[column].get(self.subtype, ""))


def judged(source: str, targets: Sequence[str]) -> list[Judged]:
    """All that the study measures, in the order of the thesis."""
    found = [Judged(source, SOURCE)]
    for target in targets:
        found += [Judged(target, UNTOUCHED), Judged(target, TUNED, whole=True), Judged(target, TUNED)]
    return found


def with_mean_box(arms: Arms, slices: pd.DataFrame) -> list[ImageArm]:
    """The arms, and for each protocol the best constant prediction.

    That is the mean box, in shares of the sides, of the training slices: no constant has a smaller squared error on
    them. All arms of a protocol share its splits; `slices` is slices.tsv.
    """
    added = []
    for arm in _one_of_each_protocol(arms):
        sized = arm.predictions.merge(slices[["file", "width", "height"]], on="file", how="left", validate="m:1")
        parts = []
        for (stage, subtype), rows in sized.groupby(["stage", "subtype"], sort=False):
            learnt = _learnt(arm, str(stage), str(subtype), slices)
            predicted = (learnt[TRUE].to_numpy(float) / trials.sides_of(learnt)).mean(axis=0) * trials.sides_of(rows)
            found = dict(zip(PREDICTED, predicted.T, strict=True))
            parts.append(rows.assign(**found, iou=iou(rows[TRUE].to_numpy(float), predicted)))
        rows = pd.concat(parts, ignore_index=True)
        added.append(ImageArm(arm.task, MEAN_BOX, MEAN_BOX_LABEL, None, rows, None, {}))
    return [*arms, *added]


def scores(arms: Arms, what: Sequence[Judged], *, good: float, resamples: int, seed: int) -> pd.DataFrame:
    """Mean IoU of every arm and protocol, with its 95 % interval over patients.

    Returns columns arm, label, protocol, subtype, stage, whole, words, metric, n (slices), patients, mean, low, high
    (NaN with one patient), good (share of slices whose IoU is at least `good`). What has no slice is left out.
    """
    rows = []
    for arm in arms:
        for one in what:
            part = one.rows(arm.predictions)
            if part.empty:
                continue
            found = summarise(part["iou"].to_numpy(float), part["patient"].to_numpy(), resamples=resamples, seed=seed)
            names = {"arm": arm.name, "label": arm.label, "protocol": arm.task}
            part_of = {"subtype": one.subtype, "stage": one.stage, "whole": one.whole, "words": one.words}
            sizes = {"metric": one.metric, "n": found.n, "patients": found.groups}
            good_share = float((part["iou"] >= good).mean())
            measured = {"mean": found.mean, "low": found.low, "high": found.high, "good": good_share}
            rows.append({**names, **part_of, **sizes, **measured})
    return pd.DataFrame(rows)


def leaks(arms: Arms, what: Sequence[Judged], slices: pd.DataFrame) -> pd.DataFrame:
    """Training and test slices of each split, and the share of test slices of a patient who is also in training.

    Counted from the predictions, once a protocol: all arms share its splits. Validation slices count as training.

    Returns columns protocol, subtype, stage, learnt (slices), learnt_patients, judged (slices), judged_patients, leak.
    """
    rows = []
    for arm in _one_of_each_protocol([arm for arm in arms if arm.history is not None]):
        for one in (one for one in what if one.stage != UNTOUCHED and not one.whole):
            tested = one.rows(arm.predictions)
            if tested.empty:
                continue
            judged = slices[slices["file"].isin(set(tested["file"]))]
            learnt = _learnt(arm, one.stage, one.subtype, slices)
            sizes = {"learnt": len(learnt), "learnt_patients": learnt["patient"].nunique()}
            sizes |= {"judged": len(judged), "judged_patients": judged["patient"].nunique()}
            leak = float(judged["patient"].isin(set(learnt["patient"])).mean())
            rows.append({"protocol": arm.task, "subtype": one.subtype, "stage": one.stage, **sizes, "leak": leak})
    table = pd.DataFrame(rows)
    order = {protocol: k for k, protocol in enumerate(PROTOCOLS)}
    return table.sort_values("protocol", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def long_metrics(scores: pd.DataFrame, leak: pd.DataFrame, arms: Arms) -> pd.DataFrame:
    """Columns arm, protocol, repeat, metric and value, as every study has them."""
    rows = []
    for row in scores.to_dict("records"):
        key = {"arm": row["arm"], "protocol": row["protocol"], "repeat": 0}
        good = row["metric"].replace("iou_", "good_", 1)
        rows += [{**key, "metric": row["metric"], "value": row["mean"]}, {**key, "metric": good, "value": row["good"]}]
    for arm in (arm for arm in arms if arm.history is not None):
        key = {"arm": arm.name, "protocol": arm.task, "repeat": 0}
        rows.append({**key, "metric": "parameters", "value": arm.facts["parameters"]})
        for row in leak[leak["protocol"] == arm.task].to_dict("records"):
            metric = f"leak_{row['subtype']}_{row['stage'].replace('-', '_')}"
            rows.append({**key, "metric": metric, "value": row["leak"]})
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def _one_of_each_protocol(arms: Arms) -> list[ImageArm]:
    """The first arm of each: all of a protocol share its splits."""
    return list({arm.task: arm for arm in reversed(arms)}.values())[::-1]


def _learnt(arm: ImageArm, stage: str, subtype: str, slices: pd.DataFrame) -> pd.DataFrame:
    """Training slices of the network that predicted a subtype at a stage."""
    if stage == TUNED:
        own = arm.predictions[(arm.predictions["stage"] == stage) & (arm.predictions["subtype"] == subtype)]
        return slices[slices["file"].isin(set(own.loc[own["part"] != "test", "file"]))]
    source = Judged(str(arm.facts["source"]), SOURCE)
    tested = set(source.rows(arm.predictions)["file"])
    return slices[(slices["subtype"] == source.subtype) & ~slices["file"].isin(tested)]
