"""Figures of multi-lens distortion: a grid seen through lenses, F1 without and with lenses, F1 by strength."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from drunet.augment.multi_lens import distort, draw_lenses
from drunet.augment.pipeline import MultiLens
from drunet.report.figures import MUTED, PALETTE, STYLE, WIDTH, new_figure, nothing_drawn
from studies.multi_lens.arms import WITHOUT, arm_name
from studies.multi_lens.tables import swept_sets

_CELLS = 11  # squares of the grid along the height of the patch


def sample_tile(tiles: pd.DataFrame) -> tuple[int, int]:
    """Level-0 corner (x, y) of the tile with the most tumour, or else the most tissue."""
    by = ["tumour_fraction", "tissue_fraction"]
    row = tiles.sort_values(by, ascending=False, kind="stable", na_position="last").iloc[0]
    return int(row["x"]), int(row["y"])


def grid_picture(patch: NDArray[np.uint8], strong: MultiLens, medium: MultiLens, *, seed: int) -> Figure:
    """A patch with a grid on it, and the same through lenses that are too strong and through medium ones (Fig. 2).

    Both use the same random numbers, so that lenses of the same number and radii are in the same places. `patch` is
    uint8 (h, w, 3).
    """
    height, width = patch.shape[:2]
    lined = patch.copy()
    cell, thick = height / _CELLS, max(1, height // 112)
    # No line on the edge: a lens that reaches beyond the edge repeats it.
    for at in np.arange(cell / 2, max(height, width), cell).round().astype(int):
        lined[at : at + thick] = lined[:, at : at + thick] = (20, 24, 32)
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(WIDTH / 3 + 0.36, panels=3)
        shown = {"a) original": None, "b) too strong": strong, "c) medium": medium}
        for axes, (title, lens) in zip(panels, shown.items(), strict=True):
            seen = lined
            if lens is not None:
                rng, draws = np.random.default_rng(seed), (lens.lenses, lens.radius, lens.strength)
                seen = distort(lined, draw_lenses(rng, (height, width), *draws, centres=lens.centres))
                title += f": {lens.lenses} lenses, ±{max(map(abs, lens.strength)):g}"
            axes.imshow(seen, interpolation="nearest")
            axes.set_title(title, fontsize=9.5)
            axes.set_axis_off()
    return figure


def paired_dots(outcomes: pd.DataFrame, published: dict[str, tuple[float, float]], strength: float) -> Figure:
    """Macro F1 without and with lenses, a line per seed; published values, by dataset, as hollow diamonds."""
    datasets = [str(name) for name in dict.fromkeys(outcomes["dataset"])]
    with matplotlib.rc_context(STYLE):
        width = WIDTH * min(1.0, max(0.6, len(datasets) / 4))
        figure, panels = new_figure(3.1, width=width, panels=len(datasets))
        for axes, dataset in zip(panels, datasets, strict=True):
            here = outcomes[outcomes["dataset"] == dataset]
            wide = here.pivot_table(index="seed", columns="arm", values="f1_macro")
            for _, row in wide.iterrows():
                axes.plot([0, 1], [row[WITHOUT], row[arm_name(strength)]], marker="o", color=PALETTE[0], linewidth=1.2)
            if dataset in published:
                axes.plot([0, 1], published[dataset], "D--", color=PALETTE[1], mfc="white", linewidth=1.2)
            axes.set_title(f"{dataset}\n{len(wide)} pairs", fontsize=9)
            axes.set_xticks([0, 1], ["without", f"±{strength:g}"])
            axes.set_xlim(-0.35, 1.35)
            axes.margins(y=0.15)
            axes.grid(axis="y")
        panels[0].set_ylabel("macro F1 (test set)")
        handles = [Line2D([], [], marker="o", color=PALETTE[0], label="measured, one seed")]
        if published:
            handles.append(Line2D([], [], marker="D", ls="--", color=PALETTE[1], mfc="white", label="published"))
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def strength_sweep(outcomes: pd.DataFrame) -> Figure:
    """Macro F1 by maximum strength (Fig. 5): mean over seeds, and a band of one standard deviation on either side."""
    swept = swept_sets(outcomes)
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(3.3)
        if not swept:
            return nothing_drawn(figure, axes, "no set was trained with several strengths")
        for i, dataset in enumerate(swept):
            here = outcomes[outcomes["dataset"] == dataset]
            by = here.groupby("strength")["f1_macro"].agg(["mean", "std", "count"])
            at, mean, spread = by.index.to_numpy(), by["mean"].to_numpy(), by["std"].fillna(0).to_numpy()
            colour = PALETTE[i % len(PALETTE)]
            axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.16, linewidth=0)
            axes.plot(at, mean, marker="o", color=colour, label=f"{dataset} (n = {int(by['count'].min())} seeds)")
            axes.plot(here["strength"], here["f1_macro"], ".", color=colour, markersize=4, alpha=0.6)
        axes.axvspan(0.2, 0.4, color=MUTED, alpha=0.10, linewidth=0, zorder=0, label="best in Oskouei et al. 2025")
        axes.xaxis.set_major_locator(MultipleLocator(0.2))
        axes.xaxis.set_major_formatter(lambda value, _: "none" if abs(value) < 1e-9 else f"±{value:g}")
        axes.grid(axis="y")
        axes.set_xlabel("maximum strength of the lenses")
        axes.set_ylabel("macro F1 (test set)")
        figure.legend(loc="outside upper left", ncols=3)
    return figure
