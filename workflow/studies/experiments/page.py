"""What the page of the experiments shows: figures and a view of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.report.words import interval, number
from studies.common.statistics import SLIDES_AS_INDEPENDENT, shown_tests
from studies.experiments.figures import picture_grid, run_boxes, stacked_seconds
from studies.experiments.tables import AFTER, BEFORE, SLIDE_STAGES, Runs, named_after, named_before, published_of

_PUBLISHED = {
    "dsc_mean_without_refiner": "Dice, heatmap (paper)",
    "dsc_mean": "Dice (paper)",
    "dsc_median": "median (paper)",
    "iou_mean": "IoU (paper)",
}


def draw_figures(
    scores: pd.DataFrame,
    seconds: pd.DataFrame,
    pictures: Mapping[tuple[str, str], np.ndarray],
    labels: Mapping[str, str],
    runs: Runs,
    published: pd.DataFrame,
) -> dict[str, Figure]:
    """The figures with_refiner, without_refiner, seconds_figure and pictures.

    `labels` maps experiments to runs; `pictures` holds uint8 (h, w, 3) by run and slide, and the slide itself under the
    empty run; `published` is drunet_experiments.tsv, as text.
    """
    counted = f"{scores['slide'].nunique()} slides of {scores['patient_id'].nunique()} patients"
    boxes = {"with_refiner": ("dsc_mean", named_after(scores))}
    boxes["without_refiner"] = "dsc_mean_without_refiner", named_before(scores, labels, runs)
    figures = {
        name: run_boxes(rows, _by_name(rows, published_of(published, labels, column)), counted)
        for name, (column, rows) in boxes.items()
    }
    named = seconds.assign(name=seconds["experiment"] + "  " + seconds["run"])
    return figures | {
        "seconds_figure": stacked_seconds(named, SLIDE_STAGES),
        "pictures": _pictures(scores, pictures, labels),
    }


def page_view(
    runs: pd.DataFrame, tests: pd.DataFrame, seconds: pd.DataFrame, published: pd.DataFrame, *, band_um: float
) -> dict[str, Any]:
    """What `page.md.j2` names; `band_um` is the width of the margin in which false positives are counted."""
    judged = runs[runs["dsc_mean"].notna()]
    makings = runs[["experiment", "run", "classifier", "classifier_data", "refiner", "refiner_data"]]
    return {
        "slides": int(runs["slides"].max()),
        "patients": int(runs["patients"].max()),
        "best": None if judged.empty else judged.iloc[int(judged["dsc_mean"].argmax())].to_dict(),
        "before": BEFORE,
        "after": AFTER,
        "band_um": band_um if "margin_mean" in runs else None,
        "slides_as_independent": SLIDES_AS_INDEPENDENT,
        "runs": makings.rename(columns={"classifier_data": "trained on", "refiner_data": "refiner trained on"}),
        "scores": _scores(runs, published),
        "seconds": _seconds(seconds, published),
        "families": {
            family: shown_tests(rows).rename(columns={"arm": "run"})
            for family, rows in tests.groupby("family", sort=False)
        },
    }


def _by_name(rows: pd.DataFrame, means: Mapping[str, float]) -> dict[str, float]:
    """Published means by the names in a figure; one row may stand for several experiments."""
    names = rows.drop_duplicates("name").set_index("name")["experiment"]
    stated = {name: [means[e] for e in experiments.split(", ") if e in means] for name, experiments in names.items()}
    return {str(name): values[0] for name, values in stated.items() if values}


def _pictures(
    scores: pd.DataFrame, pictures: Mapping[tuple[str, str], np.ndarray], labels: Mapping[str, str]
) -> Figure:
    """A row for the slides themselves and one per experiment, with the Dice in the corner."""
    shown = {("slide", slide): picture for (run, slide), picture in pictures.items() if run == ""}
    columns, captions, rows = [slide for _, slide in shown], {}, [("slide", "")]
    after = scores[scores["stage"] == AFTER]
    for experiment, slide, run, dice in after[["experiment", "slide", "run", "dsc"]].itertuples(index=False):
        if (run, slide) in pictures:
            shown[experiment, slide], captions[experiment, slide] = pictures[run, slide], number(dice)
    rows += [(e, run) for e, run in labels.items() if any(key == e for key, _ in captions)]
    return picture_grid(rows, columns, shown, captions)


def _scores(runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    stated = published.set_index("experiment")
    columns = {"before_dsc_mean": "Dice, heatmap", "dsc_mean": "Dice, final", "dsc_sd": "sd", "dsc_median": "median"}
    columns |= {"iou_mean": "IoU", "hd95_um_mean": "HD95 (µm)", "margin_mean": "margin called tumour"}
    table = runs[["experiment", *(c for c in columns if c in runs)]].rename(columns=columns)
    intervals = [interval(low, high) for low, high in zip(runs["dsc_low"], runs["dsc_high"], strict=True)]
    table.insert(3, "95\u00a0% interval", intervals)
    return table.assign(**{h: [stated[c].get(e, "") for e in table["experiment"]] for c, h in _PUBLISHED.items()})


def _seconds(seconds: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    means = seconds.pivot_table(index="experiment", columns="stage", values="seconds", sort=False)
    table = means[[stage for stage in SLIDE_STAGES if stage in means]]
    table = table.assign(total=table.sum(axis=1)).rename(columns=SLIDE_STAGES)
    stated = published.set_index("experiment")["seconds_per_slide"]
    table["paper"] = [stated.get(e, "") for e in table.index]
    return table.rename_axis(None, axis=1).reset_index()
