"""A source probe beside the networks that it is to judge: how well the classes are told apart without their subject."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drunet.report.figures import INK, MUTED, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.images.class_figures import PROTOCOL_COLOURS, PROTOCOL_MARKERS, PROTOCOL_NAMES

_APART = 0.2  # of a row, between the protocols of one arm


def probe_intervals(
    frame: pd.DataFrame, metrics: Mapping[str, str], lines: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Scores with their intervals, a row per arm, the networks above and the probes below.

    Parameters
    ----------
    frame : DataFrame
        arm (shown name), probe (bool), protocol, metric, mean, low, high (NaN where there is no interval).
    metrics : mapping of str to str
        A panel per metric, by name, and what its axis calls it.
    lines : mapping of metric to mapping of str to float
        Upright lines by their name, e.g. chance.

    Returns
    -------
    Figure
    """
    require_columns(frame, ("arm", "probe", "protocol", "metric", "mean", "low", "high"), "probe")
    arms = list(dict.fromkeys([*frame.loc[~frame["probe"], "arm"], *frame.loc[frame["probe"], "arm"]]))
    there = [protocol for protocol in PROTOCOL_COLOURS if protocol in set(frame["protocol"])]
    with matplotlib.rc_context(STYLE):
        if not arms:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "no arm has been trained")
        figure, panels = new_figure(1.25 + 0.38 * len(arms), panels=len(metrics))
        networks = frame.loc[~frame["probe"], "arm"].nunique()
        for axes, (metric, name) in zip(panels, metrics.items(), strict=True):
            for place, protocol in enumerate(there):
                here = frame[(frame["metric"] == metric) & (frame["protocol"] == protocol)].set_index("arm")
                here = here.reindex(arms)
                height = np.arange(len(arms)) + _APART * (place - (len(there) - 1) / 2)
                colour = PROTOCOL_COLOURS[protocol]
                axes.hlines(height, here["low"], here["high"], color=colour, linewidth=1.6, alpha=0.7)
                axes.scatter(here["mean"], height, s=30, color=colour, marker=PROTOCOL_MARKERS[protocol], zorder=3)
            for words, value in lines.get(metric, {}).items():
                axes.axvline(value, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0)
                axes.annotate(
                    words,
                    (value, 1),
                    (0, 2),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=8,
                    color=MUTED,
                )
            if 0 < networks < len(arms):
                axes.axhline(networks - 0.5, color=INK, linewidth=0.8)
            axes.set_ylim(len(arms) - 0.4, -0.6)
            axes.set_yticks(np.arange(len(arms)), arms if axes is panels[0] else [""] * len(arms))
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.set_xlabel(f"{name} on test images, with 95 % interval")
            axes.grid(axis="x")
            axes.margins(x=0.06)
        handles = [
            Line2D([], [], color=PROTOCOL_COLOURS[p], marker=PROTOCOL_MARKERS[p], label=PROTOCOL_NAMES[p])
            for p in there
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure
