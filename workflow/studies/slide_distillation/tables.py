"""Students in the place of the patch-wise classifier: what each gains in speed and loses in Dice (tables).

Tian et al. 2024 (000) distil a classifier of single images; here the student stands in front of a refiner, and is
judged by the segmentations that come out, against those with its teacher on the same slides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from drunet.evaluation import gather, require_slides
from drunet.metrics import summarise
from studies.slide_distillation.arms import STAGES_OF

# Stages of a slide, and what they are called; `unrefined` is the segmentation of the run without refiner.
STAGES = {
    "heatmap": "heatmap",
    "unrefined": "outlined without refiner",
    "refined": "refined heatmap",
    "segmentation": "final segmentation",
}
# What the builder of mfstudentlnet takes where a configuration says nothing; no Keras here, hence a copy, and a test.
_STUDENT = {"pyramid": True, "pyramid_width": 64, "shrink": 1}
_COST = ("parameters", "gflops", "tiles_per_s", "ratio", "ratio_low", "ratio_high")


def dealt(files: Sequence[str], names: Sequence[str], each: int) -> dict[str, list[str]]:
    """Files that come name by name, `each` of every name, by name."""
    return {name: list(files[i * each : (i + 1) * each]) for i, name in enumerate(names)}


def dice_scores(
    arms: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
    slides: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """Dice of every slide at every stage of every arm.

    Parameters
    ----------
    arms : mapping of arm to mapping
        `run` and `alone`, names of runs or None.
    measured : mapping of run to the slides' metrics.json
    slides : sequence of mapping
        slide, split and patient, in the order of `measured`.

    Returns
    -------
    DataFrame
        arm, stage (a key of `STAGES`), slide, patient, dsc.

    Raises
    ------
    ConfigError
        There is no slide to compare on.
    """
    require_slides(slides, "study_settings.slide_distillation.split")
    patients = {s["slide"]: s["patient"] for s in slides}
    frames = []
    for name, arm in arms.items():
        for way, stages in STAGES_OF.items():
            if not arm[way]:
                continue
            table = gather(measured[arm[way]], slides)[0]
            own = table.assign(arm=name, stage=table["stage"].map(stages), patient=table["slide"].map(patients))
            frames.append(own.dropna(subset="stage"))
    joined = pd.concat(frames, ignore_index=True)[["arm", "stage", "slide", "patient", "dsc"]]
    return joined.drop_duplicates(["arm", "stage", "slide"], ignore_index=True)


def dice_table(scores: pd.DataFrame, reference: str, *, resamples: int, seed: int) -> pd.DataFrame:
    """Mean Dice of each arm and stage, and how far it is from the reference's on the same slides.

    Parameters
    ----------
    scores : DataFrame
        From `dice_scores`.
    reference : str
        An arm.
    resamples, seed : int
        Of the bootstrap over patients (`drunet.metrics.summarise`).

    Returns
    -------
    DataFrame
        arm, stage, slides, patients, mean, low, high; difference (arm less reference, over the slides that have both),
        difference_low, difference_high. Intervals are at 95 %.
    """
    base = scores[scores["arm"] == reference].set_index(["stage", "slide"])["dsc"]
    rows = []
    for (arm, stage), own in scores.groupby(["arm", "stage"], sort=False):
        dsc, patients = own["dsc"].to_numpy(dtype=float), own["patient"].to_numpy()
        other = base.reindex(pd.MultiIndex.from_frame(own[["stage", "slide"]])).to_numpy(dtype=float)
        mean = summarise(dsc, patients, resamples=resamples, seed=seed)
        change = summarise(dsc - other, patients, resamples=resamples, seed=seed)
        rows.append(
            {
                "arm": arm,
                "stage": stage,
                "slides": mean.n,
                "patients": mean.groups,
                "mean": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "difference": change.mean,
                "difference_low": change.low,
                "difference_high": change.high,
            }
        )
    return pd.DataFrame(rows)


def deciding_stage(dice: pd.DataFrame) -> str:
    """The last stage that every arm has: the one that decides whether a student is good enough."""
    arms = dice["arm"].nunique()
    shared = [s for s in STAGES if dice.loc[dice["stage"] == s, "arm"].nunique() == arms]
    return shared[-1] if shared else "heatmap"


def answered(
    cost: pd.DataFrame, dice: pd.DataFrame, asked: Mapping[str, float], reference: str, stage: str
) -> pd.DataFrame:
    """Which students are as fast and as close to the reference as was asked.

    Parameters
    ----------
    cost : DataFrame
        arm, tiles_per_s, ratio.
    dice : DataFrame
        From `dice_table`.
    asked : mapping
        speed: least ratio of tiles per second; dsc: most that the mean Dice may be below the reference's.
    stage : str

    Returns
    -------
    DataFrame
        arm, ratio, difference, fast, close, good (bool); without the reference.
    """
    own = dice.loc[(dice["stage"] == stage) & (dice["arm"] != reference), ["arm", "difference"]]
    joined = own.merge(cost[["arm", "ratio"]], on="arm", validate="1:1")
    fast, close = joined["ratio"] >= asked["speed"], joined["difference"] >= -asked["dsc"]
    return joined.assign(fast=fast, close=close, good=fast & close)


def twin_of(arm: str, settings: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The taught arm that a student without teacher is the same as but for the teacher; None where there is none.

    Parameters
    ----------
    arm : str
    settings : mapping of arm to mapping
        The classifiers' entries in the configuration.
    """
    if is_taught(settings[arm]) or "onnx" in settings[arm]:
        return None

    def rest(name: str) -> dict[str, Any]:
        return {key: value for key, value in settings[name].items() if key != "distillation"}

    return next((other for other in settings if is_taught(settings[other]) and rest(other) == rest(arm)), None)


def is_taught(settings: Mapping[str, Any]) -> bool:
    """Whether a classifier learnt from a teacher, by its entry in the configuration."""
    return settings.get("distillation") is not None


def long_table(metrics: pd.DataFrame, cost: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """What was measured as every study keeps it: arm, protocol, repeat, metric, value.

    Protocols are those of the tiles (`studies.common.classifier_arms.arm_metrics`), `cost`, and the stages, where the
    repeat is the slide.
    """
    long_cost = cost[["arm", *_COST]].melt("arm", var_name="metric", value_name="value")
    dsc = scores.rename(columns={"stage": "protocol", "slide": "repeat", "dsc": "value"}).assign(metric="dsc")
    parts = [metrics, long_cost.assign(protocol="cost", repeat=""), dsc.dropna(subset="value")]
    return pd.concat([part[metrics.columns] for part in parts], ignore_index=True)


def points(
    cost: pd.DataFrame,
    dice: pd.DataFrame,
    arms: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Mapping[str, Any]],
    *,
    reference: str,
    size: int,
    stages: Sequence[str],
) -> pd.DataFrame:
    """What the figure draws.

    Parameters
    ----------
    arms : mapping of arm to mapping
        `label`.
    settings : mapping of arm to mapping
        The classifiers' entries in the configuration.
    size : int
        Side of a tile, px.
    stages : list of str
        One a panel.

    Returns
    -------
    DataFrame
        arm, words (beside the point), kind ("reference", "taught", "untaught"), seen (px of the tile that the network
        sees, NaN where unknown), width (of the pyramid, NaN where there is none), tiles_per_s, stage, dsc; a row per
        arm and stage.
    """
    rows = []
    for arm, given in settings.items():
        student = given.get("architecture") == "mfstudentlnet"
        options = {**_STUDENT, **given.get("options", {})} if student else {}
        width = options["pyramid_width"] if options.get("pyramid") else np.nan
        kind = "reference" if arm == reference else "taught" if is_taught(given) else "untaught"
        seen = size / options["shrink"] if student else np.nan
        words = arms[arm]["label"] if np.isnan(width) else f"{width:g}"
        rows.append({"arm": arm, "words": words, "kind": kind, "seen": seen, "width": width})
    frame = pd.DataFrame(rows).merge(cost[["arm", "tiles_per_s"]], on="arm", validate="1:1")
    shown = dice.loc[dice["stage"].isin(stages), ["arm", "stage", "mean"]].rename(columns={"mean": "dsc"})
    return frame.merge(shown, on="arm")
