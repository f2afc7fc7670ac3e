"""Figures of several runs: boxes of the Dice, seconds per slide, and a grid of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from drunet.report.figures import MUTED, PALETTE, STYLE, new_figure, nothing_drawn
from drunet.report.overlay import TRUTH_LEGEND
from drunet.report.tables import VALUE_NAMES, require_columns
from drunet.report.words import duration, plural
from studies.common.images.class_figures import name_rows
from studies.common.row_figures import box_rows
from studies.common.saliency.attention_figure import Panel, panel_grid

_LABEL_LETTERS = 15


def run_boxes(scores: pd.DataFrame, published: Mapping[str, float], slides: str) -> Figure:
    """Boxes of the Dice (dsc) per run (name), every slide a point, with the means measured and `published`, by name."""
    frame = scores.rename(columns={"name": "row", "dsc": "value"}).assign(panel="", group="dsc")
    groups = {"dsc": (PALETTE[0], "a slide, and the median")}
    return box_rows(frame, groups, unit=f"{VALUE_NAMES['dsc']}, {slides}", published=published)


def stacked_seconds(seconds: pd.DataFrame, stages: Mapping[str, str]) -> Figure:
    """Mean seconds per slide of each run, stacked by stage, with their sum.

    `seconds` has the columns name (of the row), stage, slide and seconds; `stages` gives the order of the stack and the
    names; those that were not recorded are left out.
    """
    require_columns(seconds, ("name", "stage", "slide", "seconds"), "seconds")
    names = list(dict.fromkeys(seconds["name"]))
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.55 + 0.36 * max(1, len(names)))
        if not names:
            return nothing_drawn(figure, axes, "no times were recorded")
        means = seconds.pivot_table(index="name", columns="stage", values="seconds", sort=False).fillna(0.0)
        left, handles = np.zeros(len(names)), []
        for i, stage in enumerate(stage for stage in stages if stage in means):
            colour = PALETTE[i % len(PALETTE)]
            widths = means.loc[names, stage].to_numpy()
            axes.barh(range(len(names)), widths, left=left, height=0.62, color=colour, ec="white")
            left = left + widths
            handles.append(Patch(color=colour, label=stages[stage]))
        for y, total in enumerate(left):
            axes.annotate(duration(total), (total, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
        name_rows(axes, names)
        axes.grid(axis="x")
        axes.set_xlim(0, max(float(left.max()), 1e-9) * 1.15)
        axes.set_xlabel(f"seconds per slide, mean of {plural(seconds['slide'].nunique(), 'slide')}")
        figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1.0, columnspacing=1.6)
    return figure


def picture_grid(
    rows: Sequence[tuple[str, str]],
    columns: Sequence[str],
    pictures: Mapping[tuple[str, str], np.ndarray],
    captions: Mapping[tuple[str, str], str],
) -> Figure:
    """Pictures of slides (columns) in several runs (rows: key and further words), as in Oskouei et al. 2025, Fig. 6.

    `pictures`, uint8 (h, w, 3), and their `captions` are by row key and column; a place without a picture stays empty.
    """
    panels: list[list[Panel | None]] = []
    for key, _ in rows:
        titles = columns if not panels else [captions.get((key, column), "") for column in columns]
        there = [(pictures.get((key, column)), title) for column, title in zip(columns, titles, strict=True)]
        panels.append([None if picture is None else Panel(picture, title=title) for picture, title in there])
    names = ["\n".join([key, *textwrap.wrap(words.replace("_", " "), _LABEL_LETTERS)]) for key, words in rows]
    figure = panel_grid(panels if columns else [], names, nothing="there is no slide to show", bar=False)
    colours = {name: (red / 255, green / 255, blue / 255) for name, (red, green, blue) in TRUTH_LEGEND}
    handles = [Patch(facecolor=colour, edgecolor=MUTED, label=name) for name, colour in colours.items()]
    with matplotlib.rc_context(STYLE):
        figure.legend(handles=handles, loc="outside lower right", ncols=3, handlelength=1.0, fontsize=9)
    return figure
