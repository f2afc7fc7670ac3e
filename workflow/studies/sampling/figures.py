"""Figure of the scores of all strategies."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from drunet.report.figures import MUTED, PALETTE, STYLE, new_figure
from studies.common.classifier_arms import SCORES, wide

_TITLES = ("F1", "Precision", "Recall", "AUC")


def interval_dots(metrics: pd.DataFrame, groups: Mapping[str, str], reference: str) -> Figure:
    """Pooled scores of all arms with their intervals, a panel per score, arms coloured by what they learn from.

    `metrics`: from `studies.common.classifier_arms.arm_metrics`. `groups`: mapping of arm to group, arms of a group
    stand together, in the order in which they come. `reference`: the arm whose scores are drawn as lines through the
    panels.
    """
    table = wide(metrics).set_index("arm")
    names = list(dict.fromkeys(groups.values()))
    order = [arm for group in names for arm in table.index if groups[arm] == group]
    gaps = np.cumsum([0, *(groups[a] != groups[b] for a, b in pairwise(order))])
    position = np.arange(len(order)) + 0.6 * gaps
    colour_of = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    colours = [colour_of[groups[arm]] for arm in order]
    shown, first = table.loc[order], table.iloc[0]
    # From a tenth below everything that is drawn on: no point is cut off.
    ends = shown[[column for score in SCORES for column in (score, f"{score}_low")]]
    left = max(-0.02, np.floor(float(np.nanmin(ends.to_numpy(float), initial=1.0)) * 10 - 0.2) / 10)
    dashed: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (3, 3))}
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(1.5 + 0.34 * (position[-1] + 1), width=8.0, panels=len(SCORES))
        for axes, score, title in zip(panels, SCORES, _TITLES, strict=True):
            axes.axvline(table.to_dict("index")[reference][score], **dashed)
            axes.hlines(position, shown[f"{score}_low"], shown[f"{score}_high"], color=colours, linewidth=2.0)
            axes.scatter(shown[score], position, s=42, color=colours, edgecolor="white", linewidth=0.8, zorder=3)
            axes.set_title(title)
            axes.set_yticks(position, [arm.replace("_", " ") for arm in order] if axes is panels[0] else [])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(position[-1] + 0.6, -0.6)
            axes.set_xlim(left, 1.02)
            # Few ticks: numbers at the ends of neighbouring axes would else read as one.
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.grid(axis="x")
            axes.spines["left"].set_visible(False)
        counts = f"{first['tiles']:.0f} tiles of {first['slides']:.0f} slides, {first['patients']:.0f} patients"
        figure.supxlabel(f"score over {counts}", fontsize=10)
        handles = [Line2D([], [], color=c, marker="o", label=f"{name}, 95 % interval") for name, c in colour_of.items()]
        handles.append(Line2D([], [], label=reference.replace("_", " "), **dashed))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure
