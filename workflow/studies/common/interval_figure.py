"""Scores with their intervals: a row per model, a panel per score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drunet.report.figures import INK, MUTED, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.images.class_figures import name_rows

_APART = 0.2  # of a row, between the groups of one model


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
    `unit` follows the name of each axis; a line below the first `above` rows parts them from the others.
    """
    require_columns(frame, ("row", "group", "metric", "mean", "low", "high"), "intervals")
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
