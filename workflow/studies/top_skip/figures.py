"""Figure of two refiners on the same slides."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, new_figure


def paired_dots(panels: Sequence[tuple[str, str, pd.DataFrame]]) -> Figure:
    """Two arms on the same slides: a line per slide, and the means.

    `panels`: sequence of (title, label of the y axis, DataFrame), a row per slide and two columns, one per arm, left
    and right.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes_row = new_figure(3.5, panels=len(panels))
        for axes, (title, label, table) in zip(axes_row, panels, strict=True):
            axes.set_title(title, fontsize=10)
            axes.set_ylabel(label)
            for left, right in table.to_numpy(dtype=float):
                colour = PALETTE[0] if right < left else PALETTE[1] if right > left else MUTED
                axes.plot([0, 1], [left, right], color=colour, linewidth=1.1, marker="o", markersize=4.5, alpha=0.85)
            if len(table):
                axes.plot(
                    [0, 1], table.mean().to_numpy(), color=INK, linewidth=2.6, marker="D", markersize=7, mec="white"
                )
            axes.set_xlim(-0.35, 1.35)
            axes.set_ylim(bottom=0)
            axes.set_xticks([0, 1], ["\n".join(textwrap.wrap(str(arm), 10)) for arm in table.columns])
            axes.set_xlabel(f"n = {len(table)} slides")
            axes.grid(axis="y")
        line: dict[str, Any] = {"marker": "o", "markersize": 4.5}
        handles = [
            Line2D([], [], color=PALETTE[0], label="a slide, lower without", **line),
            Line2D([], [], color=PALETTE[1], label="higher without", **line),
            Line2D([], [], color=INK, linewidth=2.6, marker="D", markersize=6, label="mean"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
