"""Scatter plots of a score against a cost, with names beside the points."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from drunet.report.figures import INK, PALETTE, STYLE, new_figure, nothing_drawn

# Area of the largest network's point, in square points; height of the figure, inches.
_LARGEST, _HEIGHT = 900.0, 4.2
# Where a name may stand, best first: above or below the interval, so many points away, and how it is aligned there.
_PLACES = [(side, away, across) for away in (4, 16, 28) for across in ("center", "left", "right") for side in (1, -1)]


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
