"""What the page of several runs shows: boxes of the Dice, a grid of pictures, and tables."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from drunet.report.figures import MUTED, PALETTE, STYLE
from drunet.report.overlay import TRUTH_LEGEND
from drunet.report.tables import VALUE_NAMES
from drunet.report.words import interval, number
from studies.common.row_figures import box_rows
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.common.statistics import SLIDES_AS_INDEPENDENT, shown_tests
from studies.experiments.tables import AFTER, BEFORE, SLIDE_STAGES, Runs, named_after, named_before

_LABEL_LETTERS = 15
_PUBLISHED = {
    "dsc_mean_without_refiner": "Dice, heatmap (paper)",
    "dsc_mean": "Dice (paper)",
    "dsc_median": "median (paper)",
    "iou_mean": "IoU (paper)",
}


def draw_figures(
    scores: pd.DataFrame,
    pictures: Mapping[tuple[str, str], np.ndarray],
    labels: Mapping[str, str],
    runs: Runs,
    published: pd.DataFrame,
) -> dict[str, Figure]:
    """The figures with_refiner, without_refiner and pictures.

    `labels` maps experiments to runs; `pictures` holds uint8 (h, w, 3) by run and slide, and the slide itself under the
    empty run; `published` is drunet_experiments.tsv, as text.
    """
    counted = f"{scores['slide'].nunique()} slides of {scores['patient_id'].nunique()} patients"
    boxes = {"with_refiner": ("dsc_mean", named_after(scores))}
    boxes["without_refiner"] = "dsc_mean_without_refiner", named_before(scores, labels, runs)
    figures = {
        name: run_boxes(rows, published_of(rows, published, column), counted) for name, (column, rows) in boxes.items()
    }
    return figures | {"pictures": picture_grid(scores, pictures, labels)}


def run_boxes(scores: pd.DataFrame, published: Mapping[str, float], slides: str) -> Figure:
    """Boxes of the Dice (dsc) per run (name), every slide a point, with the means measured and `published`, by name."""
    frame = scores.rename(columns={"name": "row", "dsc": "value"}).assign(panel="", group="dsc")
    groups = {"dsc": (PALETTE[0], "a slide, and the median")}
    return box_rows(frame, groups, unit=f"{VALUE_NAMES['dsc']}, {slides}", published=published)


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


def published_of(rows: pd.DataFrame, published: pd.DataFrame, column: str) -> dict[str, float]:
    """Published numbers by the names in a figure, where the paper states one; a row may be several experiments."""
    means = published[published[column] != ""].set_index("experiment")[column].astype(float).to_dict()
    stated = {
        name: [means[e] for e in own.split(", ") if e in means]
        for name, own in zip(rows["name"], rows["experiment"], strict=True)
    }
    return {str(name): values[0] for name, values in stated.items() if values}


def picture_grid(
    scores: pd.DataFrame, pictures: Mapping[tuple[str, str], np.ndarray], labels: Mapping[str, str]
) -> Figure:
    """A row for the slides themselves and one per experiment, titled by the Dice (Oskouei et al. 2025, Fig. 6).

    Columns are the slides that have a picture under the empty run; a place without a picture stays empty.
    """
    slides = [slide for run, slide in pictures if run == ""]
    after = scores[scores["stage"] == AFTER].set_index(["experiment", "slide"])["dsc"].to_dict()
    rows: list[list[Panel | None]] = [[Panel(pictures["", slide], title=slide) for slide in slides]]
    names = ["slide"]
    for experiment, run in labels.items():
        there = {s: number(after[experiment, s]) for s in slides if (run, s) in pictures and (experiment, s) in after}
        if there:
            rows.append([Panel(pictures[run, s], title=there[s]) if s in there else None for s in slides])
            names.append("\n".join([experiment, *textwrap.wrap(run.replace("_", " "), _LABEL_LETTERS)]))
    figure = panel_grid(rows if slides else [], names, nothing="there is no slide to show", bar=False)
    colours = {name: (red / 255, green / 255, blue / 255) for name, (red, green, blue) in TRUTH_LEGEND}
    handles = [Patch(facecolor=colour, edgecolor=MUTED, label=name) for name, colour in colours.items()]
    with matplotlib.rc_context(STYLE):
        figure.legend(handles=handles, loc="outside lower right", ncols=3, handlelength=1.0, fontsize=9)
    return figure


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
