"""Figures with a row per model: points with intervals, and boxes of single values."""

import itertools
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from drunet.report.figures import INK, MUTED, STYLE, draw_box, new_figure, nothing_drawn
from studies.common.images.class_figures import name_rows

_APART = 0.2  # of a row, between the groups of one model
_DOTTED: Any = (0, (1, 2))
_MEAN: dict[str, Any] = {"marker": "D", "ls": "", "markersize": 5, "color": MUTED, "mec": "white", "mew": 0.7}
_PUBLISHED: dict[str, Any] = {"marker": "D", "ls": "", "markersize": 8.5, "mfc": "none", "mec": INK, "mew": 1.4}


def interval_rows(
    frame: pd.DataFrame,
    metrics: Mapping[str, str],
    groups: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Mapping[str, float]],
    *,
    unit: str,
    above: int = 0,
) -> Figure:
    """Draw points with intervals, the models from the top down as they come.

    `frame` has row (shown name), group, metric, mean, low and high (NaN where there is no interval); `metrics` names a
    panel each, `groups` the color, marker and label of each group, `lines` upright lines of a panel by their words.
    `unit` follows the name of each axis; a line below the first `above` rows separates them from the others.
    """
    rows = list(dict.fromkeys(frame["row"]))
    there = [group for group in groups if group in set(frame["group"])]
    apart = _APART if frame.groupby("row")["group"].nunique().max() > 1 else 0.0
    with matplotlib.rc_context(STYLE):
        if not rows:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "no model has been trained")
        figure, panels = new_figure(1.25 + 0.38 * len(rows), panels=len(metrics))
        for axes, (metric, name) in zip(panels, metrics.items(), strict=True):
            for place, group in enumerate(there):
                here = frame[(frame["metric"] == metric) & (frame["group"] == group)].set_index("row").reindex(rows)
                height = np.arange(len(rows)) + apart * (place - (len(there) - 1) / 2)
                colour, marker = groups[group]["color"], groups[group]["marker"]
                axes.hlines(height, here["low"], here["high"], color=colour, linewidth=1.6, alpha=0.7)
                axes.scatter(here["mean"], height, s=30, color=colour, marker=marker, zorder=3)
            for words, value in lines.get(metric, {}).items():
                axes.axvline(value, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0)
                place_of: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
                axes.annotate(words, (value, 1), (0, 2), ha="center", va="bottom", fontsize=8, color=MUTED, **place_of)
            if 0 < above < len(rows):
                axes.axhline(above - 0.5, color=INK, linewidth=0.8)
            name_rows(axes, rows if axes is panels[0] else [""] * len(rows))
            axes.set_xlabel(f"{name}{unit}")
            axes.grid(axis="x")
            axes.margins(x=0.06)
        handles = [Line2D([], [], **groups[group]) for group in there]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def box_rows(
    frame: pd.DataFrame,
    groups: Mapping[str, tuple[str, str]],
    *,
    unit: str,
    published: Mapping[str, float] | None = None,
    line: tuple[float, str] | None = None,
) -> Figure:
    """Draw boxes of values in [0, 1] with every value, their mean and number.

    `frame` has panel, row, group and value; `groups` are the colour and the name of each group. `published` means are
    marked by row, `line` is an upright line and its words, `unit` names the axis.
    """
    panels, rows = (list(dict.fromkeys(frame[column])) for column in ("panel", "row"))
    there = [group for group in groups if group in set(frame["group"])]
    step = len(there) + 0.6 * (len(there) > 1)
    with matplotlib.rc_context(STYLE):
        if not panels:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "nothing was measured")
        figure, drawn = new_figure(1.25 + (0.21 if len(there) > 1 else 0.44) * step * len(rows), panels=len(panels))
        jitter = np.random.default_rng(0)
        for axes, panel in zip(drawn, panels, strict=True):
            own = frame[frame["panel"] == panel]
            for (i, row), (j, group) in itertools.product(enumerate(rows), enumerate(there)):
                values = own.loc[(own["row"] == row) & (own["group"] == group), "value"].dropna().to_numpy(float)
                place = i * step + j
                if values.size:
                    draw_box(axes, values, place, groups[group][0], jitter, size=24 if len(there) == 1 else 9)
                    axes.plot(values.mean(), place, zorder=5, **_MEAN)
                words = f"n {values.size}" if values.size else "not defined"
                axes.text(1.03, place, words, fontsize=6.5, color=MUTED, va="center")
                if row in (published or {}):
                    axes.plot((published or {})[row], place, zorder=5, **_PUBLISHED)
            if line:
                axes.axvline(line[0], color=INK, linewidth=1.0, linestyle=_DOTTED)
            axes.set_title(panel, fontsize=8.5, pad=4)
            axes.set_xlim(-0.02, 1.18)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"], fontsize=8)
            names = rows if axes is drawn[0] else [""] * len(rows)
            name_rows(axes, names)
            axes.set_yticks(np.arange(len(rows)) * step + (len(there) - 1) / 2, names)
            axes.set_ylim(step * len(rows) - 0.4, -0.8)
            axes.grid(axis="x")
        figure.supxlabel(unit, fontsize=9)
        handles: list[Any] = [Patch(color=groups[group][0], label=groups[group][1]) for group in there]
        handles.append(Line2D([], [], label="mean", **_MEAN))
        if published:
            handles.append(Line2D([], [], label="mean, published (of other slides)", **_PUBLISHED))
        if line:
            handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=_DOTTED, label=line[1]))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), fontsize=8.5, handlelength=1.2)
    return figure
