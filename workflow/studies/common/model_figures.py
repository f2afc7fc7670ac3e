"""Figures that compare models: rows of points with intervals, boxes of single values, a score against a cost."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, draw_box, new_figure, nothing_drawn
from studies.common.images.class_figures import name_rows

_APART = 0.2  # of a row, between the groups of one model
_DOTTED: Any = (0, (1, 2))
_MEAN: dict[str, Any] = {"marker": "D", "ls": "", "markersize": 5, "color": MUTED, "mec": "white", "mew": 0.7}
_MEANS: dict[str, Any] = {"color": INK, "linewidth": 2.6, "marker": "D"}
_STATED: dict[str, Any] = {"color": MUTED, "marker": "D", "ls": "--", "mfc": "white"}
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
            axes.set_title(textwrap.fill(panel, 54 // len(panels)), fontsize=8.5, pad=4)
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


# Area of the largest network's point, in square points; height of the figure, inches.
_LARGEST, _HEIGHT = 900.0, 4.2
# Where a name may stand, best first: above or below the interval, so many points away, and how it is aligned there.
_PLACES = [(side, away, across) for away in (4, 16, 28) for across in ("center", "left", "right") for side in (1, -1)]


def paired_lines(
    panels: Sequence[tuple[str, str, pd.DataFrame]], unit: str, published: Mapping[str, tuple[float, float]]
) -> Figure:
    """Two arms on the same subjects: a line per subject, and the means.

    `panels` are title, label of the y axis, and a row per subject with a column per arm, left and right; `unit` names a
    subject. Values `published` for both arms are hollow diamonds, by title.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes_row = new_figure(3.5, panels=len(panels))
        for axes, (title, label, table) in zip(axes_row, panels, strict=True):
            axes.set_title(title, fontsize=10)
            axes.set_ylabel(label)
            for left, right in table.to_numpy(dtype=float):
                colour = PALETTE[0] if right < left else PALETTE[1] if right > left else MUTED
                axes.plot([0, 1], [left, right], color=colour, linewidth=1.1, marker="o", markersize=4.5, alpha=0.85)
            if title in published:
                axes.plot([0, 1], published[title], linewidth=1.1, **_STATED)
            if len(table):
                axes.plot([0, 1], table.mean().to_numpy(), markersize=7, mec="white", **_MEANS)
            axes.set_xlim(-0.35, 1.35)
            axes.set_xticks([0, 1], ["\n".join(textwrap.wrap(str(arm), 10)) for arm in table.columns])
            axes.set_xlabel(f"n = {len(table)} {unit}s")
            axes.grid(axis="y")
        line: dict[str, Any] = {"marker": "o", "markersize": 4.5}
        handles = [
            Line2D([], [], color=PALETTE[0], label=f"a {unit}, lower on the right", **line),
            Line2D([], [], color=PALETTE[1], label="higher", **line),
            Line2D([], [], markersize=6, label="mean", **_MEANS),
        ]
        if published:
            handles.append(Line2D([], [], label="published", **_STATED))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def cost_scatter(frame: pd.DataFrame, *, unit: str, score: str) -> Figure:
    """A score against the time per tile or image (log scale); a point's area is its network's size.

    `frame`: label, score, low, high (NaN: no interval), ms, parameters; rows without score or time are left out.
    """
    known = frame[frame["score"].notna() & frame["ms"].notna()]
    with matplotlib.rc_context(STYLE):
        if known.empty:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "no network has both a score and a time")
        figure, (axes,) = new_figure(_HEIGHT)
        x, y = known["ms"], known["score"]
        axes.set_xscale("log")
        axes.vlines(x, known["low"], known["high"], color=PALETTE[0], linewidth=1.4, alpha=0.5)
        area = _LARGEST * (known["parameters"] / known["parameters"].max()).to_numpy(float)
        axes.scatter(x, y, s=area, color=PALETTE[0], alpha=0.4, edgecolor="white")
        axes.scatter(x, y, s=9, color=INK, zorder=3)
        axes.grid()
        axes.set_xlabel(unit)
        axes.set_ylabel(score)
        least, most = float(known["low"].fillna(y).min()), float(known["high"].fillna(y).max())
        room = 0.3 * max(most - least, 0.04)
        axes.set_ylim(least - room, most + room)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1 and least - room < tick < most + room])
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        words = [f"{row['label']} ({row['parameters'] / 1e6:.1f} M)" for row in known.to_dict("records")]
        # A name keeps clear of its point's disc too.
        reach = np.sqrt(area / np.pi) / (72 * _HEIGHT * 0.85) * (most - least + 2 * room)
        low, high = np.fmin(known["low"], y - reach), np.fmax(known["high"], y + reach)
        _name_points(figure, axes, pd.DataFrame({"x": x, "low": low, "high": high, "words": words}))
    return figure


def _name_points(figure: Figure, axes: Axes, points: pd.DataFrame) -> None:
    """Write each point's name where it covers neither another name nor a point, in axes that have their limits."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, frame = canvas.get_renderer(), axes.get_window_extent()
    bottoms, tops = (axes.transData.transform(points[["x", end]].to_numpy(float)) for end in ("low", "high"))
    upright = [Bbox([low - 5, high + 5]) for low, high in zip(bottoms, tops, strict=True)]
    names: list[Bbox] = []
    for index, row in enumerate(points.to_dict("records")):
        taken = names + [box for i, box in enumerate(upright) if i != index]
        # Where nothing is free, the first place has to do.
        for side, away, across in (*_PLACES, _PLACES[0]):
            end, below = ("high", "bottom") if side > 0 else ("low", "top")
            look: Any = {"textcoords": "offset points", "ha": across, "va": below, "fontsize": 9, "color": INK}
            words = axes.annotate(row["words"], (row["x"], row[end]), (0, side * away), **look)
            box = words.get_window_extent(renderer)
            outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
            if not outside and not any(box.overlaps(other) for other in taken):
                break
            words.remove()
        else:
            axes.add_artist(words)
        names.append(box)
