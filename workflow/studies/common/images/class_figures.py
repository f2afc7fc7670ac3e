"""Figures of image classifiers: confusion matrices, ROC curves, scores by split, training curves."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

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

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, WIDTH, new_figure
from studies.common.class_metrics import Roc
from studies.common.images.protocols import PROTOCOLS

# Pale to dark blue: one hue, so that a share reads alike to all eyes.
_SHARES = "Blues"
_TRAINED, _DASHES = (0, (3, 1.5)), ("-", (0, (4, 1.5)), (0, (1, 1.2)))
PROTOCOL_NAMES = {protocol: f"{protocol} split" for protocol in PROTOCOLS}
PROTOCOL_COLOURS = {"random": PALETTE[1], "given": PALETTE[2], "grouped": PALETTE[0]}
PROTOCOL_MARKERS = {"random": "D", "given": "s", "grouped": "o"}
PROTOCOL_LOOKS: Mapping[str, Mapping[str, Any]] = {
    p: {"color": PROTOCOL_COLOURS[p], "marker": PROTOCOL_MARKERS[p], "label": PROTOCOL_NAMES[p]} for p in PROTOCOLS
}
_WHERE_COMPARED = {"accuracy": "accuracy", "mcc": "multi-class MCC"}
_LEAK = "of the test images come from a source that is also in the training set"


def confusion_matrices(groups: Mapping[str, Mapping[str, NDArray]], classes: list[str]) -> Figure:
    """A panel per matrix, rows true: images and their share of the true class, all on one scale of colour.

    Each group of `groups`, matrices by title, begins a row of panels and is named over it, unless its name is "".
    """
    most = 4 if len(classes) <= 3 else 3
    columns = min(max(len(panels) for panels in groups.values()), most)
    rows = [
        (name if k == 0 else "", list(panels.items())[k : k + columns])
        for name, panels in groups.items()
        for k in range(0, len(panels), columns)
    ]
    with matplotlib.rc_context(STYLE):
        width = max(WIDTH * columns / most, 0.6 * WIDTH)
        side = 0.84 * (width - 1.4) / columns + 0.3
        height = len(rows) * side + 0.2 * sum(bool(name) for name, _ in rows) + 0.85
        figure, grid = _grid(len(rows), columns, width, height)
        for y, (name, panels) in enumerate(rows):
            for x, axes in enumerate(grid[y]):
                if x >= len(panels):
                    axes.set_axis_off()
                    continue
                title, counts = panels[x]
                heading = f"{name}\n" if x == 0 and name else ""
                axes.set_title(heading + title, fontsize=8.5, pad=4)
                lowest = all(len(others) <= x for _, others in rows[y + 1 :])
                _matrix(axes, counts, classes, left=x == 0, below=lowest)
        figure.supxlabel("predicted class", fontsize=9.5)
        figure.supylabel("true class", fontsize=9.5)
        shades = ScalarMappable(matplotlib.colors.Normalize(0, 100), _SHARES)
        place: Any = {"fraction": 0.02, "aspect": 18, "pad": 0.025, "shrink": min(1.0, 2.0 / height), "anchor": (0, 1)}
        bar = figure.colorbar(shades, ax=grid.ravel().tolist(), **place)
        bar.set_label("share of the true class (%)", fontsize=8.5)
        bar.ax.tick_params(labelsize=8.5)
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


def roc_panels(panels: Mapping[str, Mapping[str, Roc]], *, of: str = "") -> Figure:
    """ROC curves: a panel per title, in each a curve per name with its area; `of` is what they are of, for the axes."""
    wanted = {title: curves for title, curves in panels.items() if curves}
    with matplotlib.rc_context(STYLE):
        columns = min(len(wanted), 2 if len(wanted) in (2, 4) else 3)
        # One panel is as large as one of two: a page shows every figure at its own width.
        rows, side = math.ceil(len(wanted) / columns), WIDTH / max(columns, 2)
        # Each further line of a title needs its room, or it is drawn over the panel above.
        tall = side + 0.3 + 0.2 * max(title.count("\n") for title in wanted)
        figure, grid = _grid(rows, columns, WIDTH, rows * tall + 0.1, used=len(wanted), sharey=True)
        letters, named = 8 if columns < 3 else 7, f" ({of})" if of else ""
        for k, (axes, (title, curves)) in enumerate(zip(grid.ravel(), wanted.items(), strict=False)):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
            for i, (name, curve) in enumerate(curves.items()):
                colour, dashes = PALETTE[i % len(PALETTE)], _DASHES[i // len(PALETTE) % len(_DASHES)]
                label = f"{name}  {curve.auc:.3f}"
                axes.plot(curve.false_rate, curve.true_rate, color=colour, linestyle=dashes, linewidth=1.5, label=label)
            axes.set_title(title, fontsize=9.5)
            axes.set_box_aspect(1)
            axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015))
            axes.grid()
            axes.set_xlabel("false positive rate", fontsize=9)
            if k % columns == 0:
                axes.set_ylabel(f"sensitivity{named}", fontsize=9)
            # Good curves leave this corner free; over poor ones the names stay legible.
            look: Any = {"frameon": True, "edgecolor": "none", "framealpha": 0.85, "title_fontsize": letters}
            axes.legend(loc="lower right", fontsize=letters, title="AUC", labelspacing=0.25, handlelength=1.6, **look)
    return figure


def protocol_dumbbell(
    frame: pd.DataFrame, metrics: Mapping[str, str] = _WHERE_COMPARED, *, leak: str = _LEAK, of: str = "on test images"
) -> Figure:
    """Scores of every model under each protocol, joined by a line.

    `frame` has arm (shown name), metric, protocol, mean and leak (share of test images); `metrics` names a panel each;
    `leak` and `of` are how the legend calls what leaks, and the axes what was scored.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    there = [protocol for protocol in PROTOCOL_COLOURS if protocol in set(frame["protocol"])]
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(1.3 + 0.27 * len(arms), panels=len(metrics))
        for axes, (metric, name) in zip(panels, metrics.items(), strict=True):
            here = frame[frame["metric"] == metric].pivot_table(index="arm", columns="protocol", values="mean")
            here = here.reindex(arms)
            height = np.arange(len(arms))
            if here.shape[1] > 1:
                axes.hlines(height, here.min(axis=1), here.max(axis=1), color=MUTED, linewidth=1.6, alpha=0.6)
            for protocol in (p for p in there if p in here.columns):
                axes.scatter(here[protocol], height, s=36, zorder=3, **PROTOCOL_LOOKS[protocol])
            name_rows(axes, arms if axes is panels[0] else [""] * len(arms))
            axes.set_xlabel(f"{name} {of}")
            axes.grid()
            axes.margins(x=0.08)
        handles = []
        for protocol in there:
            shares = 100 * frame.loc[frame["protocol"] == protocol, "leak"].astype(float)
            share = " to ".join(dict.fromkeys([f"{shares.min():.0f}", f"{shares.max():.0f}"]))
            look = {**PROTOCOL_LOOKS[protocol], "label": f"{PROTOCOL_NAMES[protocol]}: {share} % {leak}"}
            handles.append(Line2D([], [], linestyle="", **look))
        figure.legend(handles=handles, loc="outside upper left", ncols=1)
    return figure


def name_rows(axes: Axes, names: list[str]) -> None:
    """Rows from the top down, each with its name and without a tick."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(np.arange(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def loss_curves(histories: Mapping[str, pd.DataFrame], value: str = "loss", *, log: bool = False) -> Figure:
    """Training curves: a panel per model, colours for protocols, dashes for the training set.

    `histories`: by the model's shown name: protocol, fold, epoch, `value` ("loss" or "accuracy"), and `val_` before it
    where there was a validation. Each line is the median over folds that were still training.
    """
    with matplotlib.rc_context(STYLE):
        columns = min(len(histories), 4)
        rows = math.ceil(len(histories) / columns)
        width = WIDTH if columns == 4 else 0.75 * WIDTH
        figure, grid = _grid(
            rows, columns, width, 0.65 + 1.65 * rows, used=len(histories), sharex=not log, sharey=not log
        )
        for axes, (name, history) in zip(grid.ravel(), histories.items(), strict=False):
            for protocol, part in history.groupby("protocol", sort=False):
                colour = PROTOCOL_COLOURS[str(protocol)]
                for column, dashes in ((value, _TRAINED), (f"val_{value}", "-")):
                    if column in part.columns and part[column].notna().any():
                        middle = part.groupby("epoch")[column].median().dropna()
                        marker = "o" if len(middle) == 1 else None
                        axes.plot(middle.index, middle, color=colour, linestyle=dashes, linewidth=1.4, marker=marker)
            axes.set_title("\n".join(textwrap.fill(line, 18) for line in name.splitlines()), fontsize=8.5, pad=4)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            axes.tick_params(labelbottom=True, labelsize=8.5)
            if log:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter(NullFormatter())
        if value == "loss" and not log:
            grid[0, 0].set_ylim(bottom=0)
        counts = sorted({int(n) for h in histories.values() for n in h.groupby("protocol")["fold"].nunique()})
        folds = " to ".join(str(n) for n in dict.fromkeys([counts[0], counts[-1]]))
        figure.supxlabel(f"epoch  ({folds} {'fold' if counts[-1] == 1 else 'folds'})", fontsize=9.5)
        figure.supylabel(value, fontsize=9.5)
        there = {str(p) for history in histories.values() for p in history["protocol"]}
        handles = [Line2D([], [], color=PROTOCOL_COLOURS[p], label=PROTOCOL_NAMES[p]) for p in PROTOCOLS if p in there]
        handles.append(Line2D([], [], color=MUTED, linestyle=_TRAINED, label="training"))
        if any(f"val_{value}" in history.dropna(axis="columns", how="all") for history in histories.values()):
            handles.append(Line2D([], [], color=MUTED, label="validation"))
        figure.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=9)
    return figure


def _grid(
    rows: int, columns: int, width: float, height: float, *, used: int | None = None, **shared: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure, in inches, and its axes (rows, columns); those beyond the first `used` are switched off."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in grid.ravel()[used:] if used else ():
        axes.set_axis_off()
    return figure, grid
