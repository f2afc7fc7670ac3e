"""Figures of the report, in one calm style; by Matplotlib's objects: none is registered or shown by accident."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from sklearn import metrics as sklearn_metrics

from drunet.files import AnyPath, whole_file
from drunet.metrics import area_under_roc
from drunet.report.tables import STAGES, VALUE_NAMES, ordered, require_columns, stage_name
from drunet.report.words import duration
from drunet.settings.training import WATCHED

# Okabe and Ito's palette, which colour-blind readers can tell apart; its yellow is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK = "#1c2026"
MUTED = "#6b727c"
HAIRLINE = "#e3e6ea"

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Same bytes for the same figure, whatever the machine.
    "svg.hashsalt": "drunet",
    "svg.fonttype": "path",
}

WIDTH = 7.2  # inches; 700 px on a page leave 10-point letters legible
DPI = 150


def box_plot(metrics_frame: pd.DataFrame, value: str = "dsc") -> Figure:
    """Boxes of a score (a column of metrics.tsv, of one split) per run and stage, with every slide as a point.

    Boxes span the quartiles with the median as a line; whiskers reach the farthest point within 1.5 times the
    quartiles' distance. NaN values are left out.
    """
    require_columns(metrics_frame, ("run", "stage", value), "metrics")
    frame = metrics_frame[np.isfinite(metrics_frame[value].astype(float))]
    runs, stages = list(dict.fromkeys(frame["run"])), ordered(frame["stage"], STAGES)
    with matplotlib.rc_context(STYLE):
        height = 1.5 + max(1, len(runs)) * (0.35 + 0.36 * max(1, len(stages)))
        figure, (axes,) = new_figure(height)
        if frame.empty:
            return nothing_drawn(figure, axes, "no slide has a value to draw")
        jitter = np.random.default_rng(0)
        ticks = []
        for i, run in enumerate(runs):
            base = i * (len(stages) + 1.0)
            ticks.append(base + (len(stages) - 1) / 2)
            for j, stage in enumerate(stages):
                points = frame.loc[(frame["run"] == run) & (frame["stage"] == stage), value].to_numpy(dtype=float)
                if points.size:
                    draw_box(axes, points, base + j, PALETTE[j % len(PALETTE)], jitter)
        axes.set_yticks(ticks, [str(run) for run in runs])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(VALUE_NAMES.get(value, value))
        if value in ("dsc", "iou", "precision", "recall"):
            axes.set_xlim(-0.02, 1.02)
        else:
            axes.set_xlim(left=0)
        handles = [Patch(color=PALETTE[j % len(PALETTE)], label=stage_name(s)) for j, s in enumerate(stages)]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.0, columnspacing=1.6
        )
    return figure


def kept_epoch(history: pd.DataFrame, keep: str = "best_loss") -> tuple[int, str]:
    """Position of the epoch whose weights were kept, and the column of history.tsv that decided, "" for the last."""
    column = WATCHED[keep] if f"val_{WATCHED[keep]}" not in history else f"val_{WATCHED[keep]}"
    watched = history[column].astype(float)
    if keep == "last" or not watched.notna().any():
        return len(history) - 1, ""
    return int(watched.argmin() if keep == "best_loss" else watched.argmax()), column


def training_curves(history_frame: pd.DataFrame, title: str, keep: str = "best_loss") -> Figure:
    """Loss and one further metric by epoch, training beside validation, from history.tsv; dotted: `kept_epoch`."""
    require_columns(history_frame, ("epoch", "loss"), "history")
    curves = [c for c in history_frame.columns if not str(c).startswith("val_")]
    curves = [c for c in curves if c not in ("epoch", "seconds", "waited")]
    curves = [c for c in curves if pd.api.types.is_numeric_dtype(history_frame[c])][:2]
    epoch = history_frame["epoch"].to_numpy()
    with matplotlib.rc_context(STYLE):
        if history_frame.empty:
            figure, (axes,) = new_figure(1.0)
            return nothing_drawn(figure, axes, f"{title}: nothing was trained")
        figure, panels = new_figure(2.9, panels=len(curves))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        for axes, curve in zip(panels, curves, strict=True):
            _curve(axes, epoch, history_frame[curve].to_numpy(dtype=float), "training", PALETTE[0])
            if f"val_{curve}" in history_frame.columns:
                values = history_frame[f"val_{curve}"].to_numpy(dtype=float)
                _curve(axes, epoch, values, "validation", PALETTE[1])
            axes.axvline(epoch[kept_epoch(history_frame, keep)[0]], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
            axes.grid(axis="y")
            axes.set_xlabel("epoch")
            axes.set_ylabel(str(curve).replace("_", " "))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
        panels[0].legend(loc="best")
    return figure


def runtime_bars(frame: pd.DataFrame) -> Figure:
    """Time per stage, summed over its jobs, longest first; `frame` has the columns stage and seconds, a row per job."""
    require_columns(frame, ("stage", "seconds"), "runtimes")
    per_stage = frame.groupby("stage")["seconds"].agg(["sum", "median", "count"]).sort_values("sum", ascending=False)
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.0 + 0.36 * max(1, len(per_stage)))
        if per_stage.empty:
            return nothing_drawn(figure, axes, "no times were recorded")
        totals = per_stage["sum"].to_numpy(dtype=float)
        longest = float(totals.max())
        unit, divisor = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 120 else ("seconds", 1)
        position = np.arange(len(per_stage))
        axes.barh(position, totals / divisor, height=0.62, color=PALETTE[0])
        for y, (_, row) in zip(position, per_stage.iterrows(), strict=True):
            jobs = "" if row["count"] == 1 else f"  ({int(row['count'])} jobs, median {duration(row['median'])})"
            label = f"{duration(row['sum'])}{jobs}"
            axes.annotate(
                label, (row["sum"] / divisor, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5
            )
        axes.set_yticks(position, [str(stage).replace("_", " ") for stage in per_stage.index])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, longest / divisor * 1.75)
        axes.grid(axis="x")
        axes.set_xlabel(f"time over all jobs ({unit})")
    return figure


def roc_curve(tiles: Mapping[str, pd.DataFrame]) -> Figure:
    """Receiver operating characteristic of tile classifiers.

    Each has the columns p_tumour and label (1 tumour, 0 non-tumour; others, and NaN, do not count).
    """
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(4.2, width=5.2)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        for i, (name, frame) in enumerate(tiles.items()):
            require_columns(frame, ("p_tumour", "label"), f"tiles of {name}")
            counts = frame[frame["label"].isin((0, 1)) & frame["p_tumour"].notna()]
            if counts["label"].nunique() < 2:
                continue
            positive, score = counts["label"].to_numpy() == 1, counts["p_tumour"].to_numpy(dtype=float)
            false_rate, true_rate, _ = sklearn_metrics.roc_curve(positive, score)
            label = f"{name}  (AUC {area_under_roc(score, positive):.3f}, {len(counts)} tiles)"
            axes.plot(false_rate, true_rate, color=PALETTE[i % len(PALETTE)], label=label)
        axes.set_aspect("equal")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.grid()
        axes.set_xlabel("share of non-tumour tiles called tumour")
        axes.set_ylabel("share of tumour tiles found")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", fontsize=9)
    return figure


def reliability_curves(calibrations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Reliability of classifiers before and after temperature scaling, by their test tiles or else validation tiles."""
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(4.8, width=8.0, panels=2)
        for axes, when in zip(panels, ("before", "after"), strict=True):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
            for i, (name, facts) in enumerate(calibrations.items()):
                split = next((s for s in ("test", "val") if s in facts["splits"]), None)
                if split and (judged := facts["splits"][split][when]):
                    bins, colour = pd.DataFrame(judged["reliability"]), PALETTE[i % len(PALETTE)]
                    label = f"{name}, {split}: error {judged['ece']:.3f}"
                    axes.plot(bins["predicted"], bins["observed"], "o-", color=colour, markersize=4, label=label)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=when, aspect="equal")
            axes.set(xlabel="mean probability of tumour", ylabel="share of tiles with tumour")
            axes.grid()
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="upper left", fontsize=8)
    return figure


def save(figure: Figure, path: AnyPath, *, dpi: int = DPI) -> None:
    """Write a figure as its suffix says (.png, .svg, .pdf), whole or not at all, without a date inside."""
    date = {".svg": "Date", ".pdf": "CreationDate"}.get(Path(path).suffix.lower())
    with matplotlib.rc_context(STYLE), whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={date: None} if date else None)


def new_figure(height: float, *, width: float = WIDTH, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` × `height` inches with panels side by side; make and fill it under `rc_context(STYLE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def draw_box(
    axes: Axes, points: np.ndarray, position: float, colour: str, jitter: np.random.Generator, *, size: float = 24.0
) -> None:
    """A horizontal box at a height of the y axis, with every point over it; `size` is a point's area (pt²)."""
    line = {"color": colour, "linewidth": 1.2}
    axes.boxplot(
        points,
        positions=[position],
        widths=0.62,
        orientation="horizontal",
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": f"{colour}2e", "edgecolor": colour, "linewidth": 1.2},
        whiskerprops=line,
        capprops=line,
        medianprops={"color": colour, "linewidth": 2.4},
        manage_ticks=False,
    )
    offset = jitter.uniform(-0.16, 0.16, points.size) if points.size > 1 else np.zeros(1)
    axes.scatter(points, position + offset, s=size, color=colour, edgecolor="white", linewidth=0.6, zorder=3)


def _curve(axes: Axes, epoch: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    # One epoch makes no line: a marker keeps it visible.
    axes.plot(epoch, values, label=label, color=colour, marker="o" if len(epoch) == 1 else None)


def nothing_drawn(figure: Figure, axes: Axes, words: str) -> Figure:
    """The figure without axes, saying why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0, 0.5, words, color=MUTED, transform=axes.transAxes)
    return figure
