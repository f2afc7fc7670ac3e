"""Figure of the students' tiles per second against the Dice of the slides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.cost_figures import name_points, round_ticks

_TARGET, _UNTAUGHT = PALETTE[2], PALETTE[1]
# Lines by the pixels that a student sees; the colour of those without teacher is kept out.
_LINES = (PALETTE[0], PALETTE[2], PALETTE[3])


def speed_against_dice(points: pd.DataFrame, *, asked: Mapping[str, float], slides: int) -> Figure:
    """Tiles per second against mean Dice, a panel per stage.

    `points`: from `studies.slide_distillation.tables.points`. `asked`: speed and dsc, as in
    `studies.slide_distillation.tables.answered`. `slides`: how many, for the vertical axis. A line joins the distilled
    students that see as many pixels, by the width of their pyramids, which stands beside the points; the diamond is the
    teacher, a hollow point learnt from labels alone. The target is shaded.
    """
    require_columns(points, ("words", "kind", "seen", "width", "tiles_per_s", "stage", "dsc"), "points")
    known, stages = points[points["dsc"].notna()], list(dict.fromkeys(points["stage"]))
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(4.0, panels=max(1, len(stages)))
        if known.empty:
            return nothing_drawn(figure, panels[0], "no slide has a Dice to draw")
        seen = sorted(known.loc[known["kind"] == "taught", "seen"].dropna().unique(), reverse=True)
        colours = {px: _LINES[i % len(_LINES)] for i, px in enumerate(seen)}
        for axes, stage in zip(panels, stages, strict=True):
            _panel(axes, known[known["stage"] == stage], colours, asked)
            axes.set_title(stage)
        panels[0].set_ylabel(f"mean Dice of {slides} test slides")
        figure.supxlabel("tiles per second on ONNX Runtime (logarithmic)", fontsize=10, color=INK)
        figure.legend(handles=_legend(known, colours, asked), loc="outside upper left", ncols=3, handlelength=1.6)
        for axes, stage in zip(panels, stages, strict=True):
            here = known[known["stage"] == stage].rename(columns={"tiles_per_s": "x", "dsc": "y"})
            name_points(figure, axes, here[["x", "y", "words"]].assign(low=np.nan, high=np.nan))
    return figure


def _panel(axes: Axes, here: pd.DataFrame, colours: Mapping[float, str], asked: Mapping[str, float]) -> None:
    def dots(rows: pd.DataFrame, **style: Any) -> None:
        axes.scatter(rows["tiles_per_s"], rows["dsc"], **{"s": 50, "edgecolor": "white", "zorder": 4, **style})

    kinds = {kind: here[here["kind"] == kind] for kind in ("taught", "untaught", "reference")}
    for px, colour in colours.items():
        line = kinds["taught"][kinds["taught"]["seen"] == px].sort_values("width")
        axes.plot(line["tiles_per_s"], line["dsc"], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        dots(line, s=44, color=colour, zorder=3)
    dots(kinds["taught"][kinds["taught"]["seen"].isna()], facecolor=MUTED)
    dots(kinds["untaught"], facecolor="white", edgecolor=_UNTAUGHT, linewidth=1.6)
    dots(kinds["reference"], facecolor=INK, marker="D")
    fastest, low, high = here["tiles_per_s"].max(), here["dsc"].min(), here["dsc"].max()
    corner = None
    for teacher in kinds["reference"].to_dict("records"):
        corner = asked["speed"] * teacher["tiles_per_s"], teacher["dsc"] - asked["dsc"]
        fastest, low = max(fastest, corner[0]), min(low, corner[1])
    room = 0.3 * max(high - low, 0.04)
    right, top = fastest * 1.6, min(high + room, 1.02)
    axes.set_xscale("log")
    axes.set_xlim(here["tiles_per_s"].min() / 1.5, right)
    axes.set_ylim(low - room, top)
    if corner is not None:
        shade: dict[str, Any] = {"color": _TARGET, "alpha": 0.10, "linewidth": 0, "zorder": 0}
        axes.add_patch(Rectangle(corner, right - corner[0], top - corner[1], **shade))
    round_ticks(axes)
    axes.grid()


def _legend(known: pd.DataFrame, colours: Mapping[float, str], asked: Mapping[str, float]) -> list[Line2D | Patch]:
    def point(label: str, **style: Any) -> Line2D:
        return Line2D([], [], **{"marker": "o", "ls": "", "ms": 7, "label": label, **style})

    handles: list[Line2D | Patch] = [
        point(f"distilled, sees {px:g} px, by width", ls="-", color=colour, mec="white")
        for px, colour in colours.items()
    ]
    if (known["kind"] == "untaught").any():
        handles.append(point("labels alone", mfc="white", mec=_UNTAUGHT, mew=1.6))
    if (known["kind"] == "reference").any():
        handles.append(point("teacher", marker="D", color=INK, ms=6))
        label = f"target: ≥ {asked['speed']:g} × speed, − {asked['dsc']:g} Dice"
        handles.append(Patch(color=_TARGET, alpha=0.16, label=label))
    return handles
