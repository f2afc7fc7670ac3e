"""Tables of tumour boxes: IoU by subtype and stage, leaks of the splits, and gains over the mean box.

Source: D. Pravdyvets, "Object detection in Lung Cancer CT scans using deep learning and transfer learning", master's
thesis, Universitat Oberta de Catalunya, 2023, sections 3.2 to 3.4.

The `task` of a trained model is here the protocol of its splits; the mean box has no history.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from drunet.metrics import summarise
from drunet.report.words import number, plural
from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import Arms, ImageArm
from studies.common.words import with_interval
from studies.ct_boxes import trials
from studies.ct_boxes.geometry import iou
from studies.ct_boxes.tasks import SUBTYPES, pictured_protocol, shown_protocol, source_of, subtypes_in
from studies.ct_boxes.trials import SOURCE, TUNED, UNTOUCHED

TRUE, PREDICTED = list(trials.TRUE), list(trials.PREDICTED)
# A constant prediction: see `with_mean_box`.
MEAN_BOX, MEAN_BOX_LABEL = "mean_box", "mean box (constant)"
_PUBLISHED_COLUMNS = {SOURCE: "iou_after_test", UNTOUCHED: "iou_before", TUNED: "iou_after_all"}


@dataclass(frozen=True)
class Judged:
    """The slices of a subtype, or several (`A+B`), at a stage whose IoU is measured: the whole set or the test part."""

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
        here = (predictions["stage"] == self.stage) & predictions["subtype"].isin(subtypes_in(self.subtype))
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


def judged(source: str | Sequence[str], targets: Sequence[str]) -> list[Judged]:
    """All that the study measures, in the order of the thesis; subtypes that are learnt together jointly, then each."""
    learnt = source_of(source)
    found = [Judged(name, SOURCE) for name in dict.fromkeys([learnt, *subtypes_in(learnt)])]
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
    return slices[slices["subtype"].isin(subtypes_in(source.subtype)) & ~slices["file"].isin(tested)]


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    what: Sequence[Judged],
    published: pd.DataFrame,
    matching: Mapping[str, Any],
    slices: pd.DataFrame,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What `page.md.j2` names.

    `scores`, `leak`, `arms`, `what`: from `studies.ct_boxes.tables`; arms with the mean box. `published`:
    published.tsv, as text. `matching`, `slices`: matching.json and slices.tsv. `settings`: the study's, as of
    `studies.common.study_settings.without_paths`.
    """
    source, targets, protocol = source_of(settings["source"]), list(settings["targets"]), shown_protocol(settings)
    learnt = subtypes_in(source)
    networks = [arm for arm in arms if arm.history is not None]
    once = list({arm.name: arm for arm in networks}.values())
    means = scores[(scores["protocol"] == protocol) & (scores["metric"] == what[0].metric)].set_index("arm")
    ious = means[["label", "mean", "low", "high"]].to_dict("index")
    of_source = leak[(leak["stage"] == SOURCE) & (leak["subtype"] == source)].set_index("protocol")
    counts = slices.groupby("subtype").agg(slices=("file", "size"), patients=("patient", "nunique")).reset_index()
    used = slices[slices["subtype"].isin([*learnt, *targets])]
    centre, width = (settings["slices"]["window"][key] for key in ("centre", "width"))
    shown = settings["arms"][settings["pictures"]["arm"]]
    skipped = {f"{arm.task}: {t}: {why}" for arm in networks for t, why in arm.facts.get("skipped", {}).items()}
    return {
        **{key: settings[key] for key in ("size", "protocols", "good", "embedded")},
        "keep": settings["training"].get("keep", "best_loss"),
        "source": source,
        "source_names": [SUBTYPES[subtype] for subtype in learnt],
        "targets": targets,
        "protocol": protocol,
        "pictured": pictured_protocol(settings),
        "used": {"slices": len(used), "patients": used["patient"].nunique()},
        "tested": of_source.loc[protocol].to_dict(),
        "ious": [ious[arm.name] for arm in once if arm.name in ious],
        "mean_box": ious[MEAN_BOX],
        "leak": None if "random" not in of_source.index else of_source.loc["random", "leak"],
        "shown_label": shown["label"],
        "own_attention": shown["architecture"] == "compact_box_regressor",
        "scores": scores_table(scores, what, published),
        "good_shares": _wide(scores, what, lambda row: number(100 * row["good"], 0)),
        "splits_table": leak_table(leak),
        "matching": matching,
        "subtypes": counts.to_dict("records"),
        "window": {"black": centre - width / 2, "white": centre + width / 2},
        "without_patient": int(matching.get("without_patient", 0)),
        "skipped": sorted(skipped),
    }


def scores_table(scores: pd.DataFrame, what: Sequence[Judged], published: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU and its interval: a row per subtype and stage, the published value, a column per arm and protocol."""
    # The thesis trained on one subtype: its results cannot be compared with training on another.
    comparable = what[0].published(published, what[0].subtype) != ""
    cell = lambda row: with_interval(row["mean"], row["low"], row["high"])  # noqa: E731
    return _wide(scores, what, cell, published if comparable else None)


def leak_table(leak: pd.DataFrame) -> pd.DataFrame:
    """Training and test slices and patients, and how many test slices are of a training patient."""

    def of_patients(kind: str) -> list[str]:
        pairs = zip(leak[kind], leak[f"{kind}_patients"], strict=True)
        return [f"{plural(n, 'slice')} of {plural(patients, 'patient')}" for n, patients in pairs]

    return pd.DataFrame(
        {
            "split": leak["protocol"].map(PROTOCOL_NAMES),
            "subtype": leak["subtype"],
            "stage": leak["stage"].map({SOURCE: "from random weights", TUNED: "fine-tuning"}),
            "training": of_patients("learnt"),
            "test": of_patients("judged"),
            "test slices of a training patient (%)": [number(100 * share, 0) for share in leak["leak"]],
        }
    )


def _wide(
    scores: pd.DataFrame, what: Sequence[Judged], cell: Callable[[Any], str], published: pd.DataFrame | None = None
) -> pd.DataFrame:
    both = len(set(scores["protocol"])) > 1
    # The split without a leak first; within a split the arms in their order.
    honesty = scores["protocol"].map({protocol: -k for k, protocol in enumerate(PROTOCOLS)})
    ordered = scores.assign(honesty=honesty).sort_values("honesty", kind="stable")
    ordered["column"] = ordered["label"] + (", " + ordered["protocol"] if both else "")
    ordered["cell"] = [cell(row) for row in ordered.to_dict("records")]
    cells = ordered.pivot_table(index="metric", columns="column", values="cell", aggfunc="first")
    cells = cells.reindex(index=[one.metric for one in what], columns=ordered["column"].unique()).fillna("")
    table = pd.DataFrame({"subtype": [one.subtype for one in what], "stage": [one.words for one in what]})
    if published is not None:
        table["published"] = [one.published(published, what[0].subtype) for one in what]
    return pd.concat([table, cells.reset_index(drop=True).rename_axis(columns=None)], axis=1)
