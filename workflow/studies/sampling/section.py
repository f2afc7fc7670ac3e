"""What the study `sampling` measures and shows: its tables, its figure and its section of the report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from drunet.errors import SheetError
from drunet.report.figures import MUTED, PALETTE, STYLE, new_figure
from drunet.report.section import SLIDES_AS_INDEPENDENT, Section, shown_tests
from studies.common.classifier_arms import MEAN_OF_SLIDES, labelled_tiles, tuned_threshold, wide, with_interval
from studies.sampling.arms import TUNED

PANELS = {"f1": "F1", "precision": "Precision", "recall": "Recall", "auc": "AUC"}

# What the paper says of each way, in our words; it gives no figures by which to rank them.
PAPER = {
    "psa": "Learnt more from marked parts than from whole outlines, balanced or not.",
    "psa_induced_imbalance": "Better than every other way here, and kept; may favour a class, so it wants watching.",
    "wta": "Classes very unequal in number, and precision low.",
    "wta_oversample": "Tried against the low precision; less good than the induced imbalance.",
    "wta_undersample": "Tried against the low precision; less good than the induced imbalance.",
    "wta_class_weights": "Did not help to generalise enough.",
    "wta_focal": "Did not help to generalise enough.",
    "wta_threshold": "Did not help to generalise enough.",
    "wta_strata": "Used for whole outlines against a bias towards some tissues; selective marks worked better.",
}


def tiles_by_model(
    models: Sequence[str],
    slides: Mapping[str, Sequence[Mapping[str, Any]]],
    tables: Sequence[str | os.PathLike[str]],
    answers: Sequence[str | os.PathLike[str]],
) -> dict[str, pd.DataFrame]:
    """Labelled and classified tiles of each model.

    Parameters
    ----------
    models : list of str
    slides : mapping of model to its slides
        Each slide with slide and patient.
    tables, answers : list of paths
        Tile tables and classified tiles, model after model, each in the order of its slides.

    Raises
    ------
    SheetError
        If there are no slides.
    """
    result, first = {}, 0
    for model in models:
        last = first + len(slides[model])
        if first == last:
            raise SheetError(
                "there is no slide to judge classifiers by",
                where="study_settings.sampling",
                found=f"no usable annotated slide for {model}",
                mend="Mark annotated slides `test` and `val`; slides.tsv in the results lists what is left out.",
            )
        result[model] = labelled_tiles(slides[model], tables[first:last], answers[first:last])
        first = last
    return result


def thresholds_of(arms: Mapping[str, Mapping[str, Any]], validation: Mapping[str, pd.DataFrame]) -> dict[str, float]:
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


def learnt_table(
    arms: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """What each arm learnt from and how.

    Parameters
    ----------
    facts : mapping of classifier to its training.json
        A finished ONNX file has none: its cells stay empty.

    Returns
    -------
    DataFrame
        arm, annotation, sampling, loss, tumour and non_tumour (samples in an epoch), threshold, paper.
    """
    rows = []
    for name, arm in arms.items():
        known = facts.get(arm["classifier"])
        row: dict[str, Any] = {"arm": name}
        if known:
            counts = known["samples_per_epoch"]
            row |= {"annotation": marks_of(known["settings"])}
            row |= {
                "sampling": known.get("sampling", {"strategy": "over clusters"})["strategy"].replace("_", " "),
                "loss": _loss_name(known["loss"]) if "loss" in known else "",
            }
            row |= {"tumour": counts["tumour"], "non_tumour": counts["non_tumour"]}
        rows.append({**row, "threshold": thresholds[name], "paper": PAPER.get(name, "")})
    columns = ["arm", "annotation", "sampling", "loss", "tumour", "non_tumour", "threshold", "paper"]
    return pd.DataFrame(rows, columns=columns)


def interval_dots(metrics: pd.DataFrame, groups: Mapping[str, str], reference: str) -> Figure:
    """Scores of all arms with their intervals, a panel per score, arms coloured by what they learn from.

    Parameters
    ----------
    metrics : DataFrame
        From `studies.common.classifier_arms.arm_metrics`; the pooled view is drawn.
    groups : mapping of arm to group
        Arms of a group stand together, in the order in which they come.
    reference : str
        The arm whose scores are drawn as lines through the panels.
    """
    table = wide(metrics).set_index("arm")
    names = list(dict.fromkeys(groups.values()))
    order = [arm for group in names for arm in table.index if groups[arm] == group]
    gaps = np.cumsum([0, *(groups[a] != groups[b] for a, b in pairwise(order))])
    position = np.arange(len(order)) + 0.6 * gaps
    colours = [PALETTE[names.index(groups[arm]) % len(PALETTE)] for arm in order]
    shown, compared = table.loc[order], table.to_dict("index")[reference]
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(1.5 + 0.34 * (position[-1] + 1), width=8.0, panels=len(PANELS))
        for axes, (score, title) in zip(panels, PANELS.items(), strict=True):
            value, low, high = (shown[c].to_numpy(float) for c in (score, f"{score}_low", f"{score}_high"))
            axes.axvline(compared[score], color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)))
            axes.hlines(position, low, high, color=colours, linewidth=2.0)
            axes.scatter(value, position, s=42, color=colours, edgecolor="white", linewidth=0.8, zorder=3)
            axes.set_title(title)
            axes.set_yticks(position, [arm.replace("_", " ") for arm in order] if axes is panels[0] else [])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(position[-1] + 0.6, -0.6)
            axes.set_xlim(_left(shown), 1.02)
            # Few ticks: numbers at the ends of neighbouring axes would else read as one.
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.grid(axis="x")
            axes.spines["left"].set_visible(False)
        first = shown.iloc[0]
        figure.supxlabel(
            f"score over {first['tiles']:.0f} tiles of {first['slides']:.0f} slides, {first['patients']:.0f} patients",
            fontsize=10,
        )
        dots = [
            Line2D([], [], color=PALETTE[i % len(PALETTE)], marker="o", label=f"{name}, 95 % interval")
            for i, name in enumerate(names)
        ]
        line = Line2D([], [], color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)), label=reference.replace("_", " "))
        figure.legend(handles=[*dots, line], loc="outside upper left", ncols=len(dots) + 1)
    return figure


def scores_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Pooled scores of each arm as text with intervals, and the mean of the slides' F1."""
    by_slide = {row["arm"]: row for row in wide(metrics, MEAN_OF_SLIDES).to_dict("records")}
    rows = [
        {
            "arm": row["arm"],
            **{score: with_interval(row, score) for score in PANELS},
            "F1, mean of slides": with_interval(by_slide[row["arm"]], "f1"),
        }
        for row in wide(metrics).to_dict("records")
    ]
    return pd.DataFrame(rows)


def sampling_section(
    metrics: pd.DataFrame,
    learnt: pd.DataFrame,
    tests: pd.DataFrame,
    figure: Path,
    *,
    reference: str,
    facts: Mapping[str, Mapping[str, Any]],
) -> Section:
    """The section of the study.

    Parameters
    ----------
    metrics, learnt : DataFrame
        From `arm_metrics` and `learnt_table`.
    tests : DataFrame
        From `drunet.statistics.paired_tests` on the slides' F1, against the reference.
    figure : Path
        From `interval_dots`.
    facts : mapping of classifier to its training.json
    """
    rows = {str(row["arm"]): row for row in wide(metrics).to_dict("records")}
    best = max(rows, key=lambda arm: np.nan_to_num(rows[arm]["f1"], nan=-1))
    said, first = with_interval(rows[best], "f1"), rows[best]
    lead = (
        f"{len(rows)} ways to deal with classes of unequal number, on {first['tiles']:.0f} labelled tiles of "
        f"{first['slides']:.0f} test slides. The highest F1 is that of {best.replace('_', ' ')}: {said}"
    )
    if best != reference:
        lead += f"; {reference.replace('_', ' ')} has {with_interval(rows[reference], 'f1')}"
    lead += ". The paper reports the induced imbalance as the best of them, on other slides and without figures."
    return Section(
        title="Sampling and training strategies",
        lead=lead,
        tables=[
            ("Scores over all tiles, with 95 % intervals", scores_table(metrics)),
            ("What each arm learns from (samples in an epoch), and what the paper says of it", learnt),
            (
                f"F1 of the slides against {reference.replace('_', ' ')}, Wilcoxon's signed-rank test",
                shown_tests(tests),
            ),
        ],
        figures=[
            ("Scores over all tiles by strategy; the dashed line is the arm that the others are tested against", figure)
        ],
        notes=[*_imbalance_notes(facts), *_NOTES],
    )


_NOTES = (
    SLIDES_AS_INDEPENDENT,
    "Intervals come from resampling patients. One training per arm: part of any difference is the chance of training.",
    "A tuned threshold changes precision, recall and F1 and leaves the AUC as it is: the classifier is the same.",
    "Arms on PSA and WTA learn from different slides: between the two groups more differs than the strategy.",
)


def _imbalance_notes(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    notes = []
    for model, known in facts.items():
        sampling = known.get("sampling", {})
        if sampling.get("strategy") == "induced_imbalance":
            used = ", ".join(f"{count} {kind}" for kind, count in sampling["used"].items())
            why = f" ({sampling['note']})" if sampling["note"] else ""
            notes.append(f"{model} learnt from {used} areas{why}; its training.json names them with their scores.")
    return notes


def _loss_name(loss: Mapping[str, Any]) -> str:
    weights = loss["class_weights"]
    name = str(loss["name"]).replace("_", "-")
    if "gamma" in loss:
        name += f", γ {loss['gamma']:g}" + ("" if loss["alpha"] is None else f", α {loss['alpha']:g}")
    return name if weights is None else f"{name}, weights {weights[0]:.2f} : {weights[1]:.2f}"


def _left(shown: pd.DataFrame) -> float:
    """Where the axes begin: at a tenth below everything that is drawn, never cutting a point off."""
    columns = [c for score in PANELS for c in (score, f"{score}_low")]
    least = float(np.nanmin(shown[columns].to_numpy(float), initial=1.0))
    return max(-0.02, np.floor(least * 10 - 0.2) / 10)
