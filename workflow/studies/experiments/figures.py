"""Figures that set runs beside each other: boxes of a score, seconds per slide, and a grid of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from drunet.report.figures import (
    INK,
    MUTED,
    PALETTE,
    STYLE,
    WIDTH,
    draw_box,
    new_figure,
    nothing_drawn,
)
from drunet.report.overlay import TRUTH_LEGEND
from drunet.report.tables import VALUE_NAMES, require_columns
from drunet.report.words import duration

# Inches: a row of boxes or bars, and the widest and highest that a picture in the grid may be.
ROW, CELL_WIDTH, CELL_HEIGHT, LABEL_WIDTH = 0.44, 1.95, 1.5, 1.3
_LABEL_LETTERS = 15


def run_boxes(
    scores: pd.DataFrame, *, value: str = "dsc", published: Mapping[str, float] | None = None, slides: str = "slides"
) -> Figure:
    """Boxes of a score per run, every slide a point, with the mean measured and the one published.

    Parameters
    ----------
    scores : DataFrame
        Columns name (of the row in the figure, in the order in which they come) and `value`; a row per run and slide.
    value : str
        The score.
    published : dict of name to float
        Means to mark, on other slides.
    slides : str
        What the points are, for the axis: `6 test slides of 5 patients`.

    Returns
    -------
    Figure
        Boxes as in `drunet.report.figures.box_plot`; NaN values are left out, and a run without any says so.
    """
    require_columns(scores, ("name", value), "scores")
    names = list(dict.fromkeys(scores["name"]))
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.25 + ROW * max(1, len(names)))
        if not names:
            return nothing_drawn(figure, axes, "no run was measured")
        jitter = np.random.default_rng(0)
        for y, name in enumerate(names):
            points = scores.loc[scores["name"] == name, value].to_numpy(dtype=float)
            points = points[np.isfinite(points)]
            if points.size:
                draw_box(axes, points, y, PALETTE[0], jitter)
                axes.plot(points.mean(), y, marker="D", markersize=6.5, color=PALETTE[1], zorder=4, mec="white")
            else:
                axes.text(0.0, y, "not defined", color=MUTED, va="center", fontsize=8.5)
            mean = (published or {}).get(name, float("nan"))
            if np.isfinite(mean):
                axes.plot(mean, y, marker="D", markersize=8.5, mfc="none", mec=INK, mew=1.4, zorder=5)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(f"{VALUE_NAMES.get(value, value)}, {slides}")
        if value in ("dsc", "iou"):
            axes.set_xlim(-0.02, 1.02)
        elif axes.get_xlim()[1] > 0:
            axes.set_xlim(left=0)
        figure.legend(handles=_box_legend(bool(published)), loc="outside upper left", ncols=4, handlelength=1.2)
    return figure


def stacked_seconds(seconds: pd.DataFrame, stages: Mapping[str, str]) -> Figure:
    """Seconds per slide of each run, stacked by stage.

    Parameters
    ----------
    seconds : DataFrame
        Columns name (of the row), stage, slide, seconds; a row per run, slide and stage.
    stages : dict of str to str
        Stages in the order of the stack, and what they are called.

    Returns
    -------
    Figure
        Bars are means over the slides, with their sum beside them.
    """
    require_columns(seconds, ("name", "stage", "slide", "seconds"), "seconds")
    names = list(dict.fromkeys(seconds["name"]))
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.55 + 0.36 * max(1, len(names)))
        if not names:
            return nothing_drawn(figure, axes, "no times were recorded")
        means = seconds.groupby(["name", "stage"], sort=False)["seconds"].mean()
        left = np.zeros(len(names))
        for i, stage in enumerate(stages):
            widths = np.array([means.get((name, stage), 0.0) for name in names])
            axes.barh(range(len(names)), widths, left=left, height=0.62, color=PALETTE[i % len(PALETTE)], ec="white")
            left = left + widths
        for y, total in enumerate(left):
            axes.annotate(duration(total), (total, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, max(float(left.max()), 1e-9) * 1.15)
        axes.grid(axis="x")
        n = seconds["slide"].nunique()
        axes.set_xlabel(f"seconds per slide, mean of {n} slide{'s' if n != 1 else ''}")
        handles = [Patch(color=PALETTE[i % len(PALETTE)], label=words) for i, words in enumerate(stages.values())]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1.0, columnspacing=1.6)
    return figure


def picture_grid(
    rows: Sequence[tuple[str, str]],
    columns: Sequence[str],
    pictures: Mapping[tuple[str, str], np.ndarray],
    captions: Mapping[tuple[str, str], str] | None = None,
) -> Figure:
    """Pictures of slides (columns) in several runs (rows), as in the paper's Fig. 6.

    Parameters
    ----------
    rows : sequence of (key, further words)
        What stands left of each row: the key large, the words small.
    columns : sequence of str
        Slides.
    pictures : dict of (row key, column) to uint8 (h, w, 3)
        A place without a picture stays empty.
    captions : dict of (row key, column) to str
        A few letters in a picture's corner.

    Returns
    -------
    Figure
    """
    tallest = max((picture.shape[0] / picture.shape[1] for picture in pictures.values()), default=1.0)
    cell = min(CELL_WIDTH, (WIDTH - LABEL_WIDTH) / max(1, len(columns)))
    tall = min(CELL_HEIGHT, cell * tallest) + 0.06
    with matplotlib.rc_context(STYLE):
        size = (LABEL_WIDTH + cell * len(columns), 0.62 + tall * len(rows))
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0))
        FigureCanvasAgg(figure)
        ratios = [LABEL_WIDTH, *[cell] * len(columns)]
        grid = figure.subplots(len(rows), len(columns) + 1, squeeze=False, width_ratios=ratios)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (key, words) in zip(grid, rows, strict=True):
            _row_label(line[0], key, words)
            for axes, column in zip(line[1:], columns, strict=True):
                if (key, column) in pictures:
                    _picture(axes, pictures[key, column], (captions or {}).get((key, column), ""))
        for axes, column in zip(grid[0, 1:], columns, strict=True):
            axes.set_title(column, fontsize=9, loc="center", pad=4)
        handles = [Patch(facecolor=_unit(colour), edgecolor=MUTED, label=name) for name, colour in TRUTH_LEGEND]
        figure.legend(handles=handles, loc="outside lower right", ncols=3, handlelength=1.0, fontsize=9)
    return figure


def _row_label(axes: Axes, key: str, words: str) -> None:
    lines = textwrap.wrap(words.replace("_", " "), _LABEL_LETTERS)
    axes.annotate(key, (0, 0.5), (0, 4.5 * len(lines)), textcoords="offset points", va="center", fontweight="bold")
    axes.annotate("\n".join(lines), (0, 0.5), (0, -6), textcoords="offset points", va="center", fontsize=8, color=MUTED)


def _picture(axes: Axes, picture: np.ndarray, caption: str) -> None:
    axes.imshow(picture, interpolation="antialiased")
    if caption:
        box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
        axes.text(0.03, 0.04, caption, transform=axes.transAxes, fontsize=8, color=INK, bbox=box)


def _box_legend(published: bool) -> list[Line2D]:
    point: dict[str, Any] = {"linestyle": "none", "color": PALETTE[0]}
    handles = [
        Line2D([], [], marker="o", markersize=5, label="a slide", **point),
        Line2D([], [], marker="|", markersize=11, mew=2.4, label="median", **point),
        Line2D([], [], marker="D", markersize=6.5, linestyle="none", color=PALETTE[1], label="mean"),
    ]
    if published:
        mark: dict[str, Any] = {
            "marker": "D",
            "markersize": 8.5,
            "mfc": "none",
            "mec": INK,
            "mew": 1.4,
            "linestyle": "none",
        }
        handles.append(Line2D([], [], label="mean, published (on other slides)", **mark))
    return handles


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
