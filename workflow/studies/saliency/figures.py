"""Figure of tiles and their saliency maps, after Oskouei et al. 2025, Fig. 7."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from drunet.report.figures import MUTED, STYLE, WIDTH
from studies.saliency.tile_choice import KINDS

# Blue, pale yellow, red: as in the paper, in an order that colour-blind readers can see.
COLOURS = "RdYlBu_r"
_COLUMNS = 6  # as in the paper; fewer tiles leave room, more are drawn smaller
_NAMES, _TITLES, _BAR = 0.85, 0.45, 0.55  # inches left of the tiles, above and below them
_ID_LETTERS = 14


def saliency_figure(
    images: np.ndarray,
    chosen: pd.DataFrame,
    rows: Mapping[str, np.ndarray],
    *,
    wanted: Mapping[str, int],
    side_um: float,
) -> Figure:
    """Draw every tile in a column, with a map per row over its grey picture.

    `images`: uint8 (n, h, w, 3). `chosen`: of the same n tiles: slide, p_tumour, kind. `rows`: mapping of name to
    float32 (n, h, w), maps in [0, 1]. `wanted`: mapping of kind to int, the figure says which are missing. `side_um`:
    side of a tile in µm.
    """
    columns, count = max(len(images), _COLUMNS), 1 + len(rows)
    lacking = _lacking(chosen, wanted)
    height = 0.2 * len(lacking)
    with matplotlib.rc_context(STYLE):
        if len(images):
            height += _TITLES + _BAR + count * (WIDTH - _NAMES) / columns
        layout = ConstrainedLayoutEngine(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH, max(height, 0.6)), layout=layout)
        FigureCanvasAgg(figure)
        if len(images):
            grid = figure.subplots(count, columns, squeeze=False)
            _draw(grid, images, chosen, rows, f"tile, {side_um:g} µm")
            _colour_bar(figure, grid[1:].ravel().tolist())
        if lacking:
            figure.supxlabel("\n".join(lacking), fontsize=8.5, color=MUTED)
    return figure


def _draw(
    grid: np.ndarray, images: np.ndarray, chosen: pd.DataFrame, rows: Mapping[str, np.ndarray], tile_name: str
) -> None:
    for axes in grid.ravel():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for axes, name in zip(grid[:, 0], [tile_name, *rows], strict=True):
        axes.set_ylabel("\n".join(name.split(" ", 1)), fontsize=8.5, rotation=0, ha="right", va="center")
    slides, kinds = chosen["slide"].tolist(), chosen["kind"].tolist()
    for i, (image, probability) in enumerate(zip(images, chosen["p_tumour"], strict=True)):
        words = f"{string.ascii_lowercase[i % 26]}  {kinds[i]}\n{_broken(slides[i])}\n{_probability(probability)}"
        grid[0, i].set_title(words, fontsize=7.5, fontweight="normal", pad=3)
        grid[0, i].imshow(image)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for axes, maps in zip(grid[1:, i], rows.values(), strict=True):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
            axes.imshow(maps[i], cmap=COLOURS, vmin=0, vmax=1, alpha=0.6)


def _colour_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOURS), ax=list(axes), location="bottom", fraction=0.03, aspect=50, pad=0.01, ticks=[0, 1]
    )
    least, most = bar.ax.set_xticklabels(["lowest", "highest"], fontsize=8.5)
    least.set_horizontalalignment("left")
    most.set_horizontalalignment("right")
    bar.set_label("influence on the decision, not a sign of malignancy", fontsize=8.5, labelpad=-8)


def _lacking(chosen: pd.DataFrame, wanted: Mapping[str, int]) -> list[str]:
    found = {kind: int((chosen["kind"] == kind).sum()) for kind in KINDS}
    short = [(kind, n) for kind, n in wanted.items() if found[kind] < n]
    return [
        f"{kind} tiles: {f'only {found[kind]}' if found[kind] else 'none'} found of {n} wanted" for kind, n in short
    ]


def _broken(slide: str) -> str:
    """An ID on lines that fit over a tile."""
    return "\n".join(slide[k : k + _ID_LETTERS] for k in range(0, len(slide), _ID_LETTERS))


def _probability(p: float) -> str:
    return "p > 0.999" if p > 0.999 else f"p = {p:.3f}"
