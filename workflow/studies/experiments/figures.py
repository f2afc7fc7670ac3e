"""Figures of several runs: boxes of the Dice, seconds per slide, and a grid of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, draw_box, new_figure, nothing_drawn
from drunet.report.overlay import TRUTH_LEGEND
from drunet.report.tables import VALUE_NAMES, require_columns
from drunet.report.words import duration, plural
from studies.common.saliency.attention_figure import Panel, panel_grid

_ROW = 0.44  # inches of a row of boxes
_LABEL_LETTERS = 15
_MEAN: dict[str, Any] = {"marker": "D", "markersize": 6.5, "color": PALETTE[1]}
_PUBLISHED: dict[str, Any] = {"marker": "D", "markersize": 8.5, "mfc": "none", "mec": INK, "mew": 1.4}


def run_boxes(scores: pd.DataFrame, published: Mapping[str, float], slides: str) -> Figure:
    """Boxes of the Dice per run, every slide a point, with the mean measured and the one published.

    `scores` has the columns name (of the row in the figure) and dsc, a row per run and slide; `published` the means to
    mark, by name; `slides` says for the axis what the points are.
    """
    require_columns(scores, ("name", "dsc"), "scores")
    names = list(dict.fromkeys(scores["name"]))
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.25 + _ROW * max(1, len(names)))
        if not names:
            return nothing_drawn(figure, axes, "no run was measured")
        jitter = np.random.default_rng(0)
        for y, name in enumerate(names):
            points = scores.loc[scores["name"] == name, "dsc"].dropna().to_numpy(dtype=float)
            if points.size:
                draw_box(axes, points, y, PALETTE[0], jitter)
                axes.plot(points.mean(), y, zorder=4, mec="white", **_MEAN)
            else:
                axes.text(0.0, y, "not defined", color=MUTED, va="center", fontsize=8.5)
            if name in published:
                axes.plot(published[name], y, zorder=5, **_PUBLISHED)
        _name_rows(axes, names)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{VALUE_NAMES['dsc']}, {slides}")
        axes.set_xlim(-0.02, 1.02)
        handles = [
            Line2D([], [], ls="", color=PALETTE[0], marker="o", markersize=5, label="a slide"),
            Line2D([], [], ls="", color=PALETTE[0], marker="|", markersize=11, mew=2.4, label="median"),
            Line2D([], [], ls="", label="mean", **_MEAN),
        ]
        if published:
            handles.append(Line2D([], [], ls="", label="mean, published (on other slides)", **_PUBLISHED))
        figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.2)
    return figure


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
        _name_rows(axes, names)
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


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x")
