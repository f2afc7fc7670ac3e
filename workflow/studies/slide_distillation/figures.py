"""The curve of a student's tiles per second against the Dice of its slides, with the corner that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.cost_figures import name_points

_UNTAUGHT = PALETTE[1]
# Lines by the pixels that a student sees; the colour of those without teacher is kept out.
_LINES = (PALETTE[0], PALETTE[2], PALETTE[3])


def speed_against_dice(
    points: pd.DataFrame, *, asked: Mapping[str, float], stages: Mapping[str, str], unit: str, slides: str
) -> Figure:
    """Tiles per second against mean Dice, a panel per stage.

    Parameters
    ----------
    points : DataFrame
        From `studies.slide_distillation.tables.points`.
    asked : mapping
        speed and dsc, as there.
    stages : mapping of stage to its name
        The panels.
    unit : str
        What was timed, for the horizontal axis.
    slides : str
        How many, for the vertical axis: `6 test slides`.

    Returns
    -------
    Figure
        A line joins the taught students that see as many pixels, by the width of their pyramids, which stands beside
        the points; the diamond is the teacher, a hollow point learnt from labels alone. Shaded is what was asked for.
    """
    require_columns(points, ("words", "kind", "seen", "width", "tiles_per_s", "stage", "dsc"), "points")
    known = points[points["dsc"].notna()]
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(4.0, panels=max(1, len(stages)))
        if known.empty:
            return nothing_drawn(figure, panels[0], "no slide has a Dice to draw")
        seen = sorted(known.loc[known["kind"] == "taught", "seen"].dropna().unique(), reverse=True)
        colours = {px: _LINES[i % len(_LINES)] for i, px in enumerate(seen)}
        for axes, (stage, title) in zip(panels, stages.items(), strict=False):
            _panel(axes, known[known["stage"] == stage], colours, asked)
            axes.set_title(title)
        panels[0].set_ylabel(f"mean Dice of {slides}")
        figure.supxlabel(unit, fontsize=10, color=INK)
        figure.legend(handles=_legend(known, colours, asked), loc="outside upper left", ncols=3, handlelength=1.6)
        for axes, stage in zip(panels, stages, strict=False):
            here = known[known["stage"] == stage]
            shown = here.rename(columns={"tiles_per_s": "x", "dsc": "y"}).assign(low=np.nan, high=np.nan)
            short = shown["words"].where(shown["kind"] != "reference", "teacher")
            name_points(figure, axes, shown.assign(words=short)[["x", "y", "low", "high", "words"]])
    return figure


def _panel(axes: Axes, here: pd.DataFrame, colours: Mapping[float, str], asked: Mapping[str, float]) -> None:
    teacher = here[here["kind"] == "reference"]
    for px, colour in colours.items():
        line = here[(here["kind"] == "taught") & (here["seen"] == px)].sort_values("width")
        axes.plot(line["tiles_per_s"], line["dsc"], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        axes.scatter(line["tiles_per_s"], line["dsc"], s=44, color=colour, edgecolor="white", zorder=3)
    _dots(axes, here[(here["kind"] == "taught") & here["seen"].isna()], facecolor=MUTED, edgecolor="white")
    _dots(axes, here[here["kind"] == "untaught"], facecolor="white", edgecolor=_UNTAUGHT, linewidth=1.6)
    _dots(axes, teacher, facecolor=INK, edgecolor="white", marker="D")
    axes.set_xscale("log")
    least, most = here["tiles_per_s"].min(), here["tiles_per_s"].max()
    bounds = [here["dsc"].min(), here["dsc"].max()]
    corner = None
    if not teacher.empty:
        corner = asked["speed"] * teacher["tiles_per_s"].iloc[0], teacher["dsc"].iloc[0] - asked["dsc"]
        bounds, most = [min(bounds[0], corner[1]), bounds[1]], max(most, corner[0])
    room = 0.3 * max(bounds[1] - bounds[0], 0.04)
    axes.set_ylim(bounds[0] - room, min(bounds[1] + room, 1.02) if bounds[1] + room > 1 else bounds[1] + room)
    axes.set_xlim(least / 1.5, most * 1.6)
    if corner is not None:
        right, top = axes.get_xlim()[1], axes.get_ylim()[1]
        shade = Rectangle(
            corner, right - corner[0], top - corner[1], color=PALETTE[2], alpha=0.10, linewidth=0, zorder=0
        )
        axes.add_patch(shade)
    _round_ticks(axes)
    axes.grid()


def _dots(axes: Axes, frame: pd.DataFrame, **style: object) -> None:
    axes.scatter(frame["tiles_per_s"], frame["dsc"], s=50, zorder=4, **style)  # type: ignore[arg-type]


def _round_ticks(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(known: pd.DataFrame, colours: Mapping[float, str], asked: Mapping[str, float]) -> Sequence[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker="o", color=c, mec="white", ms=7, label=f"sees {px:g} px, by width of pyramid")
        for px, c in colours.items()
    ]
    if (known["kind"] == "untaught").any():
        handles.append(
            Line2D([], [], ls="", marker="o", mfc="white", mec=_UNTAUGHT, mew=1.6, ms=7, label="labels alone")
        )
    if (known["kind"] == "reference").any():
        handles.append(Line2D([], [], ls="", marker="D", color=INK, ms=6, label="teacher"))
        words = f"asked for: ≥ {asked['speed']:g} ×, − {asked['dsc']:g}"
        handles.append(Patch(color=PALETTE[2], alpha=0.16, label=words))
    return handles
