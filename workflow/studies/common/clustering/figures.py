"""Figures of clusters: the fitness curve of the search and a montage of tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from drunet.report.figures import INK, MUTED, PALETTE, STYLE, WIDTH
from drunet.report.words import percent, plural
from drunet.tiles import NON_TUMOUR, TUMOUR

MEASURES = {
    "variance_ratio": "variance within / between",
    "davies_bouldin": "Davies–Bouldin index",
    "silhouette": "1 – mean silhouette",
}
COLOURS = {NON_TUMOUR: PALETTE[0], TUMOUR: PALETTE[1]}
# White and then a frame around each tile of a montage, as shares of its side.
_GAP, _FRAME = 1 / 16, 1 / 24


def fitness_curve(curve: pd.DataFrame, measure: str, title: str) -> Figure:
    """Best and median fitness of the population by generation, and the number of clusters of the best individual.

    `curve`: fitness.tsv: generation, best, median, clusters. `measure`: a key of `MEASURES`.
    """
    generation = curve["generation"].to_numpy()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        above.plot(generation, curve["best"], color=PALETTE[0], label="best")
        above.plot(generation, curve["median"], color=PALETTE[1], linewidth=1.2, label="median of the population")
        above.set_ylabel(f"{MEASURES.get(measure, measure)}\n(lower is better)")
        # The first populations are far worse: in full, they would flatten the rest of the curve.
        values = curve[["best", "median"]].to_numpy(float)
        known = values[np.isfinite(values)]
        if known.size:
            low, high = float(known.min()), float(np.quantile(known, 0.97))
            above.set_ylim(low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1))
        above.grid(axis="y")
        above.legend(loc="upper right")
        below.step(generation, curve["clusters"], where="mid", color=INK, linewidth=1.4)
        below.set_ylim(0, float(curve["clusters"].max()) + 1.5)
        below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.grid(axis="y")
        below.set_ylabel("clusters\nof the best")
        below.set_xlabel("generation")
        figure.align_ylabels()
    return figure


def choose_examples(table: pd.DataFrame, per_cluster: int, *, seed: int) -> pd.DataFrame:
    """Draw training tiles for a montage, at most `per_cluster` of each cluster, its two labels in their proportion.

    `table`: split, label, cluster: clusters.parquet. Returns rows of `table`, by cluster, tumour first.
    """
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    training = table[table["split"] == "training"]
    for _, members in training.groupby("cluster", sort=True):
        tumour, other = (members.index[members["label"] == label].to_numpy() for label in (TUMOUR, NON_TUMOUR))
        shown = min(per_cluster, len(members))
        wanted = min(round(shown * len(tumour) / len(members)), len(tumour))
        # At least one tile of each label that the cluster has, however rare.
        wanted = min(max(wanted, int(len(tumour) > 0 and shown > 1)), shown - int(len(other) > 0 and shown > 1))
        for group, count in ((tumour, wanted), (other, shown - wanted)):
            chosen += sorted(rng.choice(group, count, replace=False).tolist())
    return table.loc[chosen]


def montage(
    examples: pd.DataFrame,
    read: Callable[[Mapping[str, Any]], np.ndarray],
    members: Sequence[Mapping[str, Any]],
    size_um: float,
) -> Figure:
    """A row of tiles per cluster, each framed in the colour of its label, with the cluster's size and share of tumour.

    `examples`: from `choose_examples`. `read`: a row of `examples` to its pixels, uint8 (h, w, 3). `members`: per
    cluster: cluster, tiles, tumour (share), as in clusters.json. `size_um`: side of a tile, µm.
    """
    facts = {member["cluster"]: member for member in members}
    rows = {int(str(k)): own for k, own in examples.groupby("cluster", sort=True)}
    most = max(len(own) for own in rows.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.55 + len(rows) * (WIDTH * 0.78 / most + 0.06)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, (cluster, own) in zip(panels, rows.items(), strict=True):
            records = [{str(k): v for k, v in record.items()} for record in own.to_dict("records")]
            framed = [_framed(read(record), COLOURS[int(record["label"])]) for record in records]
            strip = np.concatenate(framed, axis=1)
            blank = np.full((strip.shape[0], strip.shape[1] // len(own) * most, 3), 255, np.uint8)
            blank[:, : strip.shape[1]] = strip
            axes.imshow(blank, interpolation="lanczos")
            axes.set_axis_off()
            tiles, tumour = facts[cluster]["tiles"], facts[cluster]["tumour"]
            words = f"cluster {cluster}\n{plural(tiles, 'tile')}\n{percent(tumour)} tumour"
            axes.text(-0.012, 0.5, words, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=INK)
        handles = [Patch(color=COLOURS[TUMOUR], label="tumour"), Patch(color=COLOURS[NON_TUMOUR], label="non-tumour")]
        figure.legend(handles=handles, loc="outside upper left", ncols=2, handlelength=1.0)
        figure.text(0.995, 0.995, f"a tile is {size_um:g} µm wide", ha="right", va="top", fontsize=9, color=MUTED)
    return figure


def _framed(tile: np.ndarray, colour: str) -> np.ndarray:
    """A tile with a coloured frame, and white around it."""
    side = tile.shape[0]
    gap, frame = max(1, round(side * _GAP)), max(2, round(side * _FRAME))
    rgb = [round(255 * part) for part in matplotlib.colors.to_rgb(colour)]
    outer = np.full((side + 2 * (gap + frame), tile.shape[1] + 2 * (gap + frame), 3), 255, np.uint8)
    outer[gap:-gap, gap:-gap] = rgb
    outer[gap + frame : -gap - frame, gap + frame : -gap - frame] = tile
    return outer
