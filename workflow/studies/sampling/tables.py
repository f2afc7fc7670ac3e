"""Tables of the sampling strategies, and what the page shows of them."""

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from drunet.report.figures import PALETTE
from drunet.report.words import number
from studies.common.classifier_arms import MEAN_OF_SLIDES, labelled_tiles, tuned_threshold, wide, with_interval
from studies.common.model_figures import interval_rows
from studies.common.statistics import SLIDES_AS_INDEPENDENT, shown_tests
from studies.sampling.settings import TUNED

Facts = Mapping[str, Mapping[str, Any]]

SCORES = {"f1": "F1", "precision": "precision", "recall": "recall", "auc": "AUC"}


def tiles_by_model(
    models: Sequence[str],
    slides: Mapping[str, Sequence[Mapping[str, Any]]],
    tables: Sequence[str | os.PathLike[str]],
    answers: Sequence[str | os.PathLike[str]],
) -> dict[str, pd.DataFrame]:
    """Labelled and classified tiles of each model.

    `slides`: mapping of model to its slides, each slide with slide and patient. `tables`, `answers`: tile tables and
    classified tiles, model after model, each in the order of its slides.
    """
    result, pairs = {}, zip(tables, answers, strict=True)
    for model in models:
        files = list(islice(pairs, len(slides[model])))
        result[model] = labelled_tiles(slides[model], [table for table, _ in files], [answer for _, answer in files])
    return result


def thresholds_of(arms: Facts, validation: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Threshold of each arm; `validation` holds the tiles of those classifiers whose threshold is tuned."""
    return {
        name: tuned_threshold(validation[arm["classifier"]], where=f"study_settings.sampling.arms.{name}")
        if arm["threshold"] == TUNED
        else float(arm["threshold"])
        for name, arm in arms.items()
    }


def marks_of(settings: Mapping[str, Any]) -> str:
    """Annotation that a classifier learns from, as the paper abbreviates it."""
    return " + ".join(kind.upper() for kind in settings["data"]["annotation_kinds"]) if "data" in settings else "ONNX"


def learnt_table(arms: Facts, facts: Facts, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """What each arm is trained on and how; tumour and non_tumour are samples in an epoch.

    `facts` holds the training.json of each classifier. A finished ONNX file has none: its cells stay empty.
    """
    columns = ["arm", "annotation", "sampling", "loss", "tumour", "non_tumour", "threshold"]
    rows = []
    for name, arm in arms.items():
        row: dict[str, Any] = {"arm": name, "threshold": thresholds[name]}
        if known := facts.get(arm["classifier"]):
            row["annotation"] = marks_of(known["settings"])
            sampling = known.get("sampling", {"strategy": "over clusters"})
            row["sampling"] = sampling["strategy"].replace("_", " ")
            if sampling.get("crops_per_area") == "one":
                row["sampling"] += ", one crop of each area"
            row["loss"] = ", ".join(_loss_parts(known["loss"])) if "loss" in known else ""
            row |= {kind: known["samples_per_epoch"][kind] for kind in ("tumour", "non_tumour")}
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def scores_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Pooled scores of each arm as text with intervals, and the mean of the slides' F1."""
    by_slide = {row["arm"]: row for row in wide(metrics, MEAN_OF_SLIDES).to_dict("records")}
    rows = [
        {"arm": row["arm"]}
        | {heading: with_interval(row, score) for score, heading in SCORES.items()}
        | {"F1, mean of slides": with_interval(by_slide[row["arm"]], "f1")}
        for row in wide(metrics).to_dict("records")
    ]
    return pd.DataFrame(rows)


def interval_points(metrics: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """Rows of the figure: pooled scores with their intervals, variants on one kind of annotation together."""
    table = wide(metrics).set_index("arm")
    rows = [
        {"row": str(arm).replace("_", " "), "group": group, "metric": score, "mean": known[score]}
        | {bound: known[f"{score}_{bound}"] for bound in ("low", "high")}
        for group in dict.fromkeys(groups.values())
        for arm, known in table.to_dict("index").items()
        if groups[str(arm)] == group
        for score in SCORES
    ]
    return pd.DataFrame(rows)


def figure(metrics: pd.DataFrame, groups: Mapping[str, str], reference: str) -> Figure:
    """Scores of all variants, coloured by what they learn from (`groups`), and a line at those of the reference."""
    known = wide(metrics).set_index("arm").to_dict("index")[reference]
    looks = {
        group: {"color": PALETTE[i % len(PALETTE)], "marker": "o", "label": f"{group}, 95 % interval"}
        for i, group in enumerate(dict.fromkeys(groups.values()))
    }
    # Its name stands over the first panel alone: beside one another the names would touch.
    name = reference.replace("_", " ")
    lines = {score: {name if score == "f1" else "": known[score]} for score in SCORES}
    return interval_rows(interval_points(metrics, groups), SCORES, looks, lines, unit="")


def page_view(metrics: pd.DataFrame, learnt: pd.DataFrame, tests: pd.DataFrame, *, reference: str) -> dict[str, Any]:
    """What `page.md.j2` names; `tests` compare the slides' F1 with the reference's."""
    scores = wide(metrics)
    scores["name"] = [str(arm).replace("_", " ") for arm in scores["arm"]]
    best = scores.iloc[int(scores["f1"].fillna(-1).argmax())].to_dict()
    return {
        "best": best,
        "reference": scores[scores["arm"] == reference].iloc[0].to_dict(),
        "scores": scores_table(metrics).rename(columns={"arm": "strategy"}),
        "learnt": learnt.rename(columns={"arm": "strategy"}),
        "tests": shown_tests(tests).rename(columns={"arm": "strategy"}),
        "slides_as_independent": SLIDES_AS_INDEPENDENT,
    }


def _loss_parts(loss: Mapping[str, Any]) -> list[str]:
    parts = [str(loss["name"]).replace("_", "-")]
    parts += [f"{sign} {loss[key]:g}" for key, sign in (("gamma", "γ"), ("alpha", "α")) if loss.get(key) is not None]
    if loss["class_weights"] is not None:
        parts.append(f"weights {' : '.join(number(weight) for weight in loss['class_weights'])}")
    return parts
