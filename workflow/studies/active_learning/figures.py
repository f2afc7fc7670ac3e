"""The study's picture: Dice against the number of annotated regions."""

from __future__ import annotations

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from drunet.report.figures import MUTED, PALETTE, STYLE, new_figure


def curve_figure(curves: pd.DataFrame, whole: float) -> Figure:
    """Mean over draws, and beside it the standard deviation, a line per way; `whole` is the Dice from all regions."""
    with rc_context(STYLE):
        figure, (mean, spread) = new_figure(3.2, panels=2)
        for colour, (way, own) in zip((MUTED, *PALETTE), curves.groupby("way", sort=False), strict=False):
            for axes, column in ((mean, "dice"), (spread, "dice_sd")):
                axes.plot(own["regions"], own[column], color=colour, marker="o", markersize=3, label=way)
        mean.axhline(whole, color=MUTED, linestyle="--", linewidth=1, label="all annotated")
        mean.set_ylabel("Dice of tiles of other patients, mean")
        spread.set_ylabel("its standard deviation over draws")
        spread.set_ylim(bottom=0)
        for axes in (mean, spread):
            axes.set_xlabel("annotated regions")
        mean.legend(loc="lower right", frameon=False, fontsize=8)
    return figure
