"""Images and maps of what a decision hangs on: a row per image, a column per map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from drunet.report.figures import MUTED, STYLE, WIDTH, new_figure, nothing_drawn

# Blue, pale yellow, red: colour-blind readers see its order too.
COLOURS = "RdYlBu_r"
_NAMES, _TITLES, _BAR = 1.25, 0.4, 0.55  # inches left of the images, above and below them
_WIDEST = 1.35  # inches of an image: fewer columns are no reason for larger ones


def image_maps(
    images: NDArray[np.uint8],
    words: Sequence[str],
    maps: Mapping[str, NDArray[np.float32]],
    *,
    nothing: str = "there is no image to show",
) -> Figure:
    """Draw every image in a row, its maps beside it over its grey picture.

    Parameters
    ----------
    images : uint8 (n, h, w, 3)
    words : list of str
        What stands left of each image; lines are broken where the text has them.
    maps : mapping of str to float32 (n, h, w)
        In [0, 1], by the title of their column.
    nothing : str
        What the figure says where there are no images.

    Returns
    -------
    Figure
    """
    with matplotlib.rc_context(STYLE):
        if not len(images):
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, nothing)
        columns = 1 + len(maps)
        side = min(_WIDEST, (WIDTH - _NAMES) / columns)
        height = _TITLES + _BAR + len(images) * side * images.shape[1] / images.shape[2]
        layout = ConstrainedLayoutEngine(w_pad=0.012, h_pad=0.012, wspace=0, hspace=0)
        figure = Figure(figsize=(_NAMES + columns * side, height), layout=layout)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(images), columns, squeeze=False)
        for axes in grid.ravel():
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], ["image", *maps], strict=True):
            axes.set_title(title, fontsize=8.5, loc="center", pad=3)
        for row, image, label in zip(grid, images, words, strict=True):
            row[0].set_ylabel(label, fontsize=7.5, rotation=0, ha="right", va="center", linespacing=1.3)
            row[0].imshow(image)
        for k, found in enumerate(maps.values(), start=1):
            for axes, image, shown in zip(grid[:, k], images, found, strict=True):
                axes.imshow(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cmap="gray", vmin=0, vmax=255)
                axes.imshow(shown, cmap=COLOURS, vmin=0, vmax=1, alpha=0.55)
        bar = figure.colorbar(
            ScalarMappable(cmap=COLOURS),
            ax=grid.ravel().tolist(),
            location="bottom",
            fraction=0.03,
            aspect=50,
            pad=0.01,
            ticks=[0, 1],
        )
        least, most = bar.ax.set_xticklabels(["least", "most"], fontsize=8.5)
        least.set_horizontalalignment("left")
        most.set_horizontalalignment("right")
        bar.set_label("influence on the decision, each map by itself", fontsize=8.5, labelpad=-8, color=MUTED)
    return figure
