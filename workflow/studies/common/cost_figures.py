"""Scatter plots of a score against a cost, with names beside the points."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from drunet.report.figures import INK, PALETTE, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns

# Where a name may stand, best first: above or below the interval, so many points away, and how it is aligned there.
_PLACES = [(side, away, across) for away in (4, 16, 28) for across in ("center", "left", "right") for side in (1, -1)]


def f1_against_time(frame: pd.DataFrame) -> Figure:
    """F1 against the time per tile.

    `frame`: label, f1, f1_low, f1_high (NaN where there is no interval), ms_per_tile, parameters. The horizontal axis
    is logarithmic; upright lines are the intervals; beside the names millions of parameters.
    """
    require_columns(frame, ("label", "f1", "f1_low", "f1_high", "ms_per_tile", "parameters"), "points")
    known = frame[frame["f1"].notna()]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(4.4)
        if known.empty:
            return nothing_drawn(figure, axes, "F1 is defined for none of the classifiers")
        axes.set_xscale("log")
        axes.vlines(
            known["ms_per_tile"], known["f1_low"], known["f1_high"], color=PALETTE[0], linewidth=1.4, alpha=0.45
        )
        axes.scatter(known["ms_per_tile"], known["f1"], s=46, color=PALETTE[0], edgecolor="white", zorder=3)
        axes.grid()
        axes.set_xlabel("time per tile on ONNX Runtime (ms, logarithmic)")
        axes.set_ylabel("F1 (95 % interval)")
        # Room for the names around the outermost intervals; below 0 only for a point's own half.
        low, high = known[["f1", "f1_low"]].min().min(), known[["f1", "f1_high"]].max().max()
        room = 0.28 * max(high - low, 0.1)
        bottom, top = max(low - room, -0.04), high + room
        axes.set_ylim(bottom, top)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1 and bottom < tick < top])
        axes.margins(x=0.15)
        round_ticks(axes)
        words = [f"{row['label']} ({row['parameters'] / 1e6:.0f} M)" for row in known.to_dict("records")]
        names = {"ms_per_tile": "x", "f1": "y", "f1_low": "low", "f1_high": "high"}
        name_points(figure, axes, known[list(names)].rename(columns=names).assign(words=words))
    return figure


def round_ticks(axes: Axes) -> None:
    """Ticks of a logarithmic horizontal axis at 1, 2, 5, 10, …"""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def name_points(figure: Figure, axes: Axes, points: pd.DataFrame) -> None:
    """Write each point's name where it covers neither another name nor a point.

    `figure`, `axes`: with their limits set. `points`: x, y, low and high (ends of its upright line; NaN where it has
    none), words.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    ends = points.assign(low=points["low"].fillna(points["y"]), high=points["high"].fillna(points["y"]))
    upright = [
        Bbox([[x - 5, bottom - 5], [x + 5, top + 5]])
        for (x, bottom), (_, top) in zip(
            axes.transData.transform(ends[["x", "low"]].to_numpy(float)),
            axes.transData.transform(ends[["x", "high"]].to_numpy(float)),
            strict=True,
        )
    ]
    names: list[Bbox] = []
    for index, row in enumerate(ends.to_dict("records")):
        taken = names + [box for i, box in enumerate(upright) if i != index]
        # Where nothing is free, the first place has to do.
        for side, away, across in (*_PLACES, _PLACES[0]):
            words = axes.annotate(
                row["words"],
                (row["x"], row["high"] if side > 0 else row["low"]),
                (0, side * away),
                textcoords="offset points",
                ha=across,
                va="bottom" if side > 0 else "top",
                fontsize=9,
                color=INK,
            )
            box = words.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken) and _inside(axes, box):
                break
            words.remove()
        else:
            axes.add_artist(words)
        names.append(box)


def _inside(axes: Axes, box: Bbox) -> bool:
    frame = axes.get_window_extent()
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
