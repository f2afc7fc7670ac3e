"""Figures of classifiers of images: confusion, ROC, the two ways of splitting, losses, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, WIDTH, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.class_metrics import Roc
from studies.common.cost_figures import name_points
from studies.common.images.protocols import PROTOCOLS

# Pale to dark blue: one hue, so that a share reads alike to all eyes.
_SHARES = "Blues"
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
PROTOCOL_NAMES = {protocol: f"{protocol} split" for protocol in PROTOCOLS}
PROTOCOL_COLOURS = {"random": PALETTE[1], "given": PALETTE[2], "grouped": PALETTE[0]}
PROTOCOL_MARKERS = {"random": "D", "given": "s", "grouped": "o"}
_WHERE_COMPARED = {"accuracy": "accuracy", "mcc": "multi-class MCC"}
_LEAK = "of the test images come from a source that was also learnt from"
# Area of the largest network's point, in square points.
_LARGEST = 900.0


def confusion_matrices(groups: Mapping[str, Mapping[str, NDArray]], classes: list[str]) -> Figure:
    """A panel per matrix: images and their share of the true class, all on one scale of colour.

    Parameters
    ----------
    groups : mapping of str to mapping of str to int (classes, classes)
        Matrices by title, rows true; each group begins a row of panels and is named over it, with the number of its
        images. A group alone needs no name: "".
    classes : list of str
    """
    wanted = {name: panels for name, panels in groups.items() if panels}
    most = 4 if len(classes) <= 3 else 3
    columns = min(max((len(p) for p in wanted.values()), default=1), most)
    rows = [
        (name if k == 0 else "", list(panels.items())[k : k + columns])
        for name, panels in wanted.items()
        for k in range(0, len(panels), columns)
    ]
    with matplotlib.rc_context(STYLE):
        if not rows:
            return nothing_drawn(*_one_panel(0.6), "no arm has been trained")
        width = max(WIDTH * columns / most, 0.6 * WIDTH)
        headed = sum(1 for name, _ in rows if name)
        side = 0.84 * (width - 1.4) / columns + 0.3
        height = len(rows) * side + 0.2 * headed + 0.85
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for y, (name, panels) in enumerate(rows):
            for x, axes in enumerate(grid[y]):
                if x >= len(panels):
                    axes.set_axis_off()
                    continue
                title, counts = panels[x]
                heading = f"{name}\n" if x == 0 and name else ""
                axes.set_title(heading + title, fontsize=8.5, pad=4)
                _matrix(axes, counts, classes, left=x == 0, below=_lowest(rows, y, x))
        figure.supxlabel("called", fontsize=9.5)
        figure.supylabel("true class", fontsize=9.5)
        scale = ScalarMappable(matplotlib.colors.Normalize(0, 100), _SHARES)
        bar = figure.colorbar(
            scale,
            ax=grid.ravel().tolist(),
            location="right",
            fraction=0.02,
            aspect=18,
            pad=0.01,
            shrink=min(1.0, 2.0 / height),
            anchor=(0, 1),
        )
        bar.set_label("share of the true class (%)", fontsize=8.5)
        bar.ax.tick_params(labelsize=8.5)
    return figure


def roc_panels(panels: Mapping[str, Mapping[str, Roc]], *, of: str = "the class") -> Figure:
    """Receiver operating characteristics: a panel per title, in each a curve per name with its area.

    Parameters
    ----------
    panels : mapping of str to mapping of str to Roc
        A panel per arm with a curve per class, or a panel per protocol with an average curve per arm.
    of : str
        What is found, for the axes.
    """
    with matplotlib.rc_context(STYLE):
        wanted = {title: curves for title, curves in panels.items() if curves}
        if not wanted:
            return nothing_drawn(*_one_panel(0.6), "no arm has both a class and its rest")
        columns = min(len(wanted), 2 if len(wanted) in (2, 4) else 3)
        # One panel is as large as one of two: a page shows every figure at its own width.
        rows, side = math.ceil(len(wanted) / columns), WIDTH / max(columns, 2)
        figure = Figure(figsize=(WIDTH, rows * (side + 0.25)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.ravel()[len(wanted) :]:
            axes.set_axis_off()
        for k, (axes, (title, curves)) in enumerate(zip(grid.ravel(), wanted.items(), strict=False)):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
            for i, (name, curve) in enumerate(curves.items()):
                colour, dashes = PALETTE[i % len(PALETTE)], _DASHES[i // len(PALETTE) % len(_DASHES)]
                label = f"{name}  {curve.auc:.3f}"
                axes.plot(curve.false_rate, curve.true_rate, color=colour, linestyle=dashes, linewidth=1.5, label=label)
            axes.set_title(title, fontsize=9.5)
            axes.set_box_aspect(1)
            axes.set_xlim(-0.015, 1.015)
            axes.set_ylim(-0.015, 1.015)
            axes.grid()
            axes.set_xlabel(f"share of the rest called {of}", fontsize=9)
            if k % columns == 0:
                axes.set_ylabel(f"share of {of} found", fontsize=9)
            # Good curves leave this corner free; over poor ones the names stay legible.
            axes.legend(
                loc="lower right",
                fontsize=8 if columns < 3 else 7,
                title="area under the curve",
                title_fontsize=8 if columns < 3 else 7,
                frameon=True,
                edgecolor="none",
                framealpha=0.85,
                labelspacing=0.25,
                handlelength=1.6,
            )
    return figure


def protocol_dumbbell(
    frame: pd.DataFrame,
    metrics: Mapping[str, str] = _WHERE_COMPARED,
    *,
    leak: str = _LEAK,
    of: str = "on test images",
) -> Figure:
    """What a split that leaks adds: scores of every arm under each protocol, joined by a line.

    Parameters
    ----------
    frame : DataFrame
        arm (shown name), metric, protocol, mean, leak (share of the protocol's test images whose source was also learnt
        from).
    metrics : mapping of str to str
        A panel per metric, by name, and what its axis calls it.
    leak, of : str
        How the legend calls what leaks, and the axes what was scored.
    """
    require_columns(frame, ("arm", "metric", "protocol", "mean", "leak"), "protocols")
    arms = list(dict.fromkeys(frame["arm"]))
    with matplotlib.rc_context(STYLE):
        if not arms:
            return nothing_drawn(*_one_panel(0.6), "no arm has been trained")
        figure, panels = new_figure(1.3 + 0.27 * len(arms), panels=len(metrics))
        for axes, (metric, name) in zip(panels, metrics.items(), strict=True):
            here = frame[frame["metric"] == metric].pivot_table(index="arm", columns="protocol", values="mean")
            here = here.reindex(arms)
            height = np.arange(len(arms))
            if here.shape[1] > 1:
                axes.hlines(height, here.min(axis=1), here.max(axis=1), color=MUTED, linewidth=1.6, alpha=0.6)
            for protocol, colour in PROTOCOL_COLOURS.items():
                if protocol in here.columns:
                    marker = PROTOCOL_MARKERS[protocol]
                    axes.scatter(here[protocol], height, s=36, color=colour, marker=marker, zorder=3)
            axes.set_ylim(len(arms) - 0.4, -0.6)
            axes.set_xlabel(f"{name} {of}")
            axes.grid()
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.margins(x=0.08)
        for axes in panels:
            axes.set_yticks(height, arms if axes is panels[0] else [""] * len(arms))
        handles = [
            _protocol_handle(frame, protocol, leak)
            for protocol in PROTOCOL_COLOURS
            if protocol in set(frame["protocol"])
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=1)
    return figure


def loss_curves(histories: Mapping[str, pd.DataFrame], value: str = "loss") -> Figure:
    """Small multiples of a training curve: a panel per arm, colours for protocols, dashes for what was learnt from.

    Parameters
    ----------
    histories : mapping of str to DataFrame
        By the arm's shown name: protocol, fold, epoch, `value`, and `val_` before it where there was a validation.
    value : str
        "loss" or "accuracy".

    Returns
    -------
    Figure
        Each line is the median over folds that were still training.
    """
    with matplotlib.rc_context(STYLE):
        if not histories:
            return nothing_drawn(*_one_panel(0.6), "no network has been trained")
        columns = min(len(histories), 4)
        rows = math.ceil(len(histories) / columns)
        width = max(WIDTH * columns / 4, 0.75 * WIDTH) if columns < 4 else WIDTH
        figure = Figure(figsize=(width, 0.65 + 1.65 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.ravel()[len(histories) :]:
            axes.set_axis_off()
        for axes, (name, history) in zip(grid.ravel(), histories.items(), strict=False):
            require_columns(history, ("protocol", "fold", "epoch", value), "history")
            for protocol, part in history.groupby("protocol", sort=False):
                colour = PROTOCOL_COLOURS.get(str(protocol), PALETTE[2])
                for column, dashes in ((value, (0, (3, 1.5))), (f"val_{value}", "-")):
                    if column in part.columns and part[column].notna().any():
                        middle = part.groupby("epoch")[column].median().dropna()
                        marker = "o" if len(middle) == 1 else None
                        axes.plot(middle.index, middle, color=colour, linestyle=dashes, linewidth=1.4, marker=marker)
            axes.set_title(name, fontsize=8.5, pad=4)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            axes.tick_params(labelbottom=True, labelsize=8.5)
        if value == "loss":
            grid[0, 0].set_ylim(bottom=0)
        figure.supxlabel(f"epoch  ({_folds(histories)})", fontsize=9.5)
        figure.supylabel(value, fontsize=9.5)
        figure.legend(handles=_curve_handles(histories), loc="outside upper left", ncols=4, fontsize=9)
    return figure


def cost_scatter(frame: pd.DataFrame, *, unit: str, score: str = "accuracy") -> Figure:
    """Accuracy against the time that an image takes; a point's area is its network's size.

    Parameters
    ----------
    frame : DataFrame
        label, mean, sd (of the score; NaN where one fold was run), ms_per_image, parameters.
    unit : str
        Of the horizontal axis, with how it was measured.
    score : str
        Of the upright axis.
    """
    require_columns(frame, ("label", "mean", "sd", "ms_per_image", "parameters"), "cost")
    known = frame[frame["mean"].notna() & frame["ms_per_image"].notna()]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(4.2)
        if known.empty:
            return nothing_drawn(figure, axes, "no network has been timed")
        # No share is more than all, whatever a standard deviation says.
        low, high = known["mean"] - known["sd"], (known["mean"] + known["sd"]).clip(upper=1)
        axes.set_xscale("log")
        axes.vlines(known["ms_per_image"], low, high, color=PALETTE[0], linewidth=1.4, alpha=0.5)
        area = _LARGEST * (known["parameters"] / known["parameters"].max()).to_numpy(float)
        axes.scatter(known["ms_per_image"], known["mean"], s=area, color=PALETTE[0], alpha=0.4, edgecolor="white")
        axes.scatter(known["ms_per_image"], known["mean"], s=9, color=INK, zorder=3)
        axes.grid()
        axes.set_xlabel(unit)
        axes.set_ylabel(f"{score} (mean ± sd over folds)" if known["sd"].notna().any() else score)
        least, most = float(low.fillna(known["mean"]).min()), float(high.fillna(known["mean"]).max())
        room = 0.3 * max(most - least, 0.04)
        axes.set_ylim(least - room, most + room)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1 and tick < most + room])
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        words = [f"{row['label']} ({row['parameters'] / 1e6:.1f} M)" for row in known.to_dict("records")]
        # A name keeps clear of its point's disc too.
        axes_height = 72 * 4.2 * 0.85
        reach = np.sqrt(area / np.pi) / axes_height * (most - least + 2 * room)
        points = pd.DataFrame({"x": known["ms_per_image"], "y": known["mean"]}).assign(
            low=np.fmin(low, known["mean"] - reach), high=np.fmax(high, known["mean"] + reach), words=words
        )
        name_points(figure, axes, points)
    return figure


def _matrix(axes: Axes, counts: NDArray, classes: list[str], *, left: bool, below: bool) -> None:
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, total, out=np.zeros(counts.shape), where=total > 0)
    axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=100)
    size = {2: 8.5, 3: 7.5, 4: 6.8}.get(len(classes), 6.2)
    for (y, x), share in np.ndenumerate(shares):
        colour = "white" if share > 55 else INK
        words = f"{int(counts[y, x])}\n{share:.0f} %" if counts[y, x] else "0"
        axes.text(x, y, words, ha="center", va="center", fontsize=size, color=colour, linespacing=1.05)
    places = np.arange(len(classes))
    axes.set_xticks(places, classes if below else [""] * len(classes), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, classes if left else [""] * len(classes))
    axes.tick_params(length=0, labelsize=7.5, pad=2)
    axes.spines[:].set_visible(False)


def _lowest(rows: list[tuple[str, list[tuple[str, NDArray]]]], y: int, x: int) -> bool:
    """Whether no panel stands under this one."""
    return all(len(panels) <= x for _, panels in rows[y + 1 :])


def _one_panel(height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = new_figure(height)
    return figure, axes


def _protocol_handle(frame: pd.DataFrame, protocol: str, words: str) -> Line2D:
    leak = frame.loc[frame["protocol"] == protocol, "leak"].astype(float)
    low, high = (f"{100 * v:.0f}" for v in (leak.min(), leak.max()))
    share = low if low == high else f"{low} to {high}"
    label = f"{PROTOCOL_NAMES[protocol]}: {share} % {words}"
    marker = PROTOCOL_MARKERS[protocol]
    return Line2D([], [], linestyle="", marker=marker, color=PROTOCOL_COLOURS[protocol], label=label)


def _folds(histories: Mapping[str, pd.DataFrame]) -> str:
    counts = {int(n) for h in histories.values() for n in h.groupby("protocol")["fold"].nunique()}
    low, high = min(counts), max(counts)
    return ("one fold" if high == 1 else f"{high} folds") if low == high else f"{low} to {high} folds"


def _curve_handles(histories: Mapping[str, pd.DataFrame]) -> list[Line2D]:
    there = {str(p) for history in histories.values() for p in history["protocol"]}
    handles = [
        Line2D([], [], color=colour, label=PROTOCOL_NAMES[protocol])
        for protocol, colour in PROTOCOL_COLOURS.items()
        if protocol in there
    ]
    return [
        *handles,
        Line2D([], [], color=MUTED, linestyle=(0, (3, 1.5)), label="learnt from"),
        Line2D([], [], color=MUTED, label="validation"),
    ]
