"""Tables of distilled classifiers in front of the refiner, and what the page shows of them.

Tian et al. 2024 distil a classifier of single images. Here a student replaces the patch-wise classifier, and is judged
by the Dice of the segmentations against those with its teacher on the same slides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from drunet.evaluation import gather
from drunet.metrics import summarise
from drunet.report.words import interval
from studies.common import words
from studies.common.classifier_arms import wide, with_interval
from studies.common.statistics import require_slides

Arms = Mapping[str, Mapping[str, Any]]

# Stages of a slide, and what they are called; `unrefined` is the segmentation of the run without refiner.
STAGES = {
    "heatmap": "heatmap",
    "unrefined": "segmentation without refiner",
    "refined": "refined heatmap",
    "segmentation": "final segmentation",
}
# The runs of an arm, with and without refiner, and what the stages of each are called here: the heatmap is the same.
_STAGES_OF = {
    "run": {"heatmap": "heatmap", "refined": "refined", "segmentation": "segmentation"},
    "alone": {"heatmap": "heatmap", "segmentation": "unrefined"},
}
_COST = ("parameters", "gflops", "tiles_per_s", "ratio", "ratio_low", "ratio_high")


def dice_scores(
    arms: Arms, measured: Mapping[str, Sequence[Mapping[str, Any]]], slides: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Dice of every slide at every stage of every variant; `measured` are metrics.json by run, in slides' order."""
    require_slides(slides, "study_settings.slide_distillation.split")
    patients = {s["slide"]: s["patient"] for s in slides}
    frames = []
    for name, arm in arms.items():
        for way, stages in _STAGES_OF.items():
            if not arm[way]:
                continue
            table = gather(measured[arm[way]], slides)[0]
            own = table.assign(arm=name, stage=table["stage"].map(stages), patient=table["slide"].map(patients))
            frames.append(own.dropna(subset="stage"))
    joined = pd.concat(frames, ignore_index=True)[["arm", "stage", "slide", "patient", "dsc"]]
    return joined.drop_duplicates(["arm", "stage", "slide"], ignore_index=True)


def dice_table(scores: pd.DataFrame, reference: str, *, resamples: int, seed: int) -> pd.DataFrame:
    """Mean Dice of each arm and stage, and its difference from the reference's on the same slides, with intervals."""
    base = scores[scores["arm"] == reference].set_index(["stage", "slide"])["dsc"]
    rows = []
    for (arm, stage), own in scores.groupby(["arm", "stage"], sort=False):
        dsc, patients = own["dsc"].to_numpy(dtype=float), own["patient"].to_numpy()
        other = base.reindex(pd.MultiIndex.from_frame(own[["stage", "slide"]])).to_numpy(dtype=float)
        mean = summarise(dsc, patients, resamples=resamples, seed=seed)
        change = summarise(dsc - other, patients, resamples=resamples, seed=seed)
        row = {"arm": arm, "stage": stage, "slides": mean.n, "patients": mean.groups}
        row |= {"mean": mean.mean, "low": mean.low, "high": mean.high}
        row |= {"difference": change.mean, "difference_low": change.low, "difference_high": change.high}
        rows.append(row)
    return pd.DataFrame(rows)


def deciding_stage(dice: pd.DataFrame) -> str:
    """The last stage that every arm has: the one that decides whether a student is good enough."""
    arms = dice["arm"].nunique()
    shared = [s for s in STAGES if dice.loc[dice["stage"] == s, "arm"].nunique() == arms]
    return shared[-1] if shared else "heatmap"


def answered(cost: pd.DataFrame, dice: pd.DataFrame, asked: Mapping[str, float], reference: str) -> pd.DataFrame:
    """Which students reach both targets, at the stage that decides: arm, Dice and its change, ratio, fast, close, good.

    `asked` has speed, the least ratio of tiles per second, and dsc, the most that the mean Dice may be below the
    reference's.
    """
    at = dice["stage"] == deciding_stage(dice)
    own = dice[at & (dice["arm"] != reference)].drop(columns=["stage", "slides", "patients", "low", "high"])
    joined = own.merge(cost[["arm", "ratio"]], on="arm", validate="1:1")
    fast, close = joined["ratio"] >= asked["speed"], joined["difference"] >= -asked["dsc"]
    return joined.assign(fast=fast, close=close, good=fast & close)


def long_table(metrics: pd.DataFrame, cost: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """What was measured as every study keeps it; protocols are those of the tiles, cost, and the stages."""
    long_cost = cost[["arm", *_COST]].melt("arm", var_name="metric", value_name="value")
    dsc = scores.rename(columns={"stage": "protocol", "slide": "repeat", "dsc": "value"}).assign(metric="dsc")
    parts = [metrics, long_cost.assign(protocol="cost", repeat=""), dsc.dropna(subset="value")]
    return pd.concat([part[metrics.columns] for part in parts], ignore_index=True)


def points(cost: pd.DataFrame, dice: pd.DataFrame, arms: Arms) -> pd.DataFrame:
    """What the figure draws at the stage that decides: label, parameters, ms, score (mean Dice), low, high."""
    known = dice.loc[dice["stage"] == deciding_stage(dice), ["arm", "mean", "low", "high"]]
    joined = known.merge(cost[["arm", "parameters", "ms_per_tile"]], on="arm", validate="1:1")
    labelled = joined.assign(label=[arms[arm]["label"] for arm in joined["arm"]])
    return labelled.rename(columns={"mean": "score", "ms_per_tile": "ms"})


def page_view(
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    dice: pd.DataFrame,
    *,
    arms: Arms,
    settings: Arms,
    reference: str,
    asked: Mapping[str, float],
    size: int,
) -> dict[str, Any]:
    """What `page.md.j2` names; `settings` are those of the classifiers, `reference` the variant of the teacher."""
    labels = {arm: given["label"] for arm, given in arms.items()}
    stage, found = deciding_stage(dice), answered(cost, dice, asked, reference).set_index("arm")
    of = dice[(dice["arm"] == reference) & (dice["stage"] == stage)].iloc[0]
    found["label"] = [labels[arm] for arm in found.index]
    lesson_of = {arm: given["distillation"] for arm, given in settings.items() if given.get("distillation")}
    taught, lessons = found[found.index.isin(list(lesson_of))], list(lesson_of.values())
    keys = ("temperature", "weight", "unlabelled_share")
    alike = len({tuple(lesson[key] for key in keys) for lesson in lessons}) == 1
    return {
        "teacher": labels[reference],
        "finished_teacher": "onnx" in settings[reference],
        "asked": asked,
        "stage": STAGES[stage],
        "slides": int(of["slides"]),
        "patients": int(of["patients"]),
        "size": size,
        "students": len(taught),
        "good": taught[taught["good"]].to_dict("records"),
        "lesson": lessons[0] if alike else None,
        "engine": cost.iloc[0].to_dict(),
        "cost": pd.DataFrame(
            {
                "classifier": cost["arm"].map(labels),
                "tiles per second": cost["tiles_per_s"],
                "times the teacher's (quartiles)": [with_interval(row, "ratio") for row in cost.to_dict("records")],
                "parameters (million)": cost["parameters"] / 1e6,
                "GMAC per tile": cost["gflops"] / 2,
            }
        ),
        "agreement": _agreement(metrics, dice, found, labels),
    }


def _agreement(
    metrics: pd.DataFrame, dice: pd.DataFrame, found: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Change of the Dice at the stage that decides, whether both targets are reached, F1, and Dice at every stage."""
    tiles = {row["arm"]: with_interval(row, "f1") for row in wide(metrics).to_dict("records")}
    shown = {
        (row["arm"], row["stage"]): words.with_interval(row["mean"], row["low"], row["high"], 3)
        for row in dice.to_dict("records")
    }
    rows = []
    for arm in dict.fromkeys(dice["arm"]):
        # What was asked for stands first: on a narrow page the stages are what is scrolled to.
        row = {"classifier": labels[arm], "change": "", "95 % interval": "", "targets reached": ""}
        if arm in found.index:
            own = found.loc[arm]
            row["change"] = words.signed(own["difference"], 3)
            row["95 % interval"] = interval(own["difference_low"], own["difference_high"], 3)
            row["targets reached"] = "yes" if own["good"] else "no"
        row["tile F1"] = tiles[arm]
        stages = [stage for stage in STAGES if stage in set(dice["stage"])]
        rows.append(row | {STAGES[stage]: shown.get((arm, stage), "") for stage in stages})
    return pd.DataFrame(rows)
