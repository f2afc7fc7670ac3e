"""The audit's picture: how well each trait tells two kinds of slides apart."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from drunet.report.figures import new_figure, nothing_drawn

_TOLD, _NOT = "#b5442e", "#7a8794"


def trait_figure(answers: pd.DataFrame) -> Figure:
    """A bar per trait from AUC 0.5 (tells nothing) to 1 (tells all); traits beyond chance are red, and say so."""
    figure, (axes,) = new_figure(0.8 + 0.32 * max(3, len(answers)))
    if answers.empty:
        return nothing_drawn(figure, axes, "no question could be asked")
    shown = answers.iloc[::-1].reset_index(drop=True)
    colours = [_TOLD if told else _NOT for told in shown["told"]]
    axes.barh(shown.index, shown["auc"] - 0.5, left=0.5, color=colours, height=0.62)
    axes.set_yticks(
        shown.index, [f"{q}\n{t}" for q, t in zip(shown["question"], shown["trait"], strict=True)], fontsize=7
    )
    for place, (auc, p, told) in enumerate(zip(shown["auc"], shown["p"], shown["told"], strict=True)):
        axes.text(auc + 0.005, place, f"p = {p:.2g}" + (", beyond chance" if told else ""), va="center", fontsize=7)
    axes.set_xlim(0.5, 1.18)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    axes.set_xlabel("AUC of the trait alone (0.5: says nothing, 1: says all)")
    return figure
