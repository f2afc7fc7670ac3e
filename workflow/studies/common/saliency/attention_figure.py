"""Figures of saliency maps: a row per image, a column per map."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from drunet.report.figures import MUTED, STYLE, WIDTH, new_figure, nothing_drawn

# Blue, pale yellow, red: colour-blind readers see its order too.
COLOURS = "RdYlBu_r"
# Bright on a dark casing, so that it is seen over any map by any eye.
BOX, _CASING = "#39ff5a", "#101010"
_NAMES, _TITLES, _BAR = 1.25, 0.4, 0.55  # inches left of the images, above each block and below them
_SUBTITLES = 0.2  # inches above further rows that have titles
_WIDEST = 1.35  # inches of an image: fewer columns are no reason for larger ones


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture of a grid.

    `image` is uint8 (h, w, 3), of one ratio of sides in a grid; `influence`, float32 (h, w) in [0, 1], is drawn over
    the grey image. `boxes` are float (k, 4), xmin, ymin, xmax, ymax; `rings` closed lines, float (k, 2), with colour
    and style; `view` is the part that is shown, xmin, ymin, xmax, ymax: all in px of the image, as edges.
    """

    image: NDArray[np.uint8]
    influence: NDArray[np.float32] | None = None
    boxes: NDArray[np.float64] | None = None
    title: str = ""
    rings: Sequence[tuple[NDArray[np.float64], str, Any]] = ()
    view: tuple[float, float, float, float] | None = None


def image_maps(
    images: NDArray[np.uint8], words: Sequence[str], maps: Mapping[str, NDArray[np.float32]], **options: Any
) -> Figure:
    """Draw every image in a row, its maps beside it over its grey picture; `words` and `options` as of `panel_grid`.

    `images`: uint8 (n, h, w, 3). `maps`: float32 (n, h, w), in [0, 1], by the title of their column.
    """
    shown = [("image", images, None), *((name, images, found) for name, found in maps.items())]
    rows = [
        [Panel(own[k], None if found is None else found[k], title="" if k else name) for name, own, found in shown]
        for k in range(len(images))
    ]
    return panel_grid(rows, words, **options)


def panel_grid(
    rows: Sequence[Sequence[Panel | None]],
    words: Sequence[str],
    *,
    most: int | None = None,
    letters: float = 8.5,
    nothing: str = "there is no image to show",
    bar: bool = True,
) -> Figure:
    """Draw pictures with maps over them, in as many blocks of columns as a page's width needs.

    None leaves a place empty, as does the end of a shorter row. `words` stand left of each row, in every block. More
    than `most` columns are cut into blocks of about the same width, one below the other. `letters` is the size of
    titles in points, `nothing` what the figure says without rows, `bar` whether there is a colour bar of maps.
    """
    with matplotlib.rc_context(STYLE):
        if not rows:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, nothing)
        width = max(map(len, rows))
        rows = [[*row, *[None] * (width - len(row))] for row in rows]
        blocks = math.ceil(width / (most or width))
        columns = math.ceil(width / blocks)
        first = next(panel for row in rows for panel in row if panel is not None)
        side = min(_WIDEST, (WIDTH - _NAMES) / columns)
        tall = side * first.image.shape[0] / first.image.shape[1]
        titled = sum(any(panel is not None and panel.title for panel in row) for row in rows[1:])
        height = _BAR + blocks * (_TITLES + titled * _SUBTITLES + len(rows) * tall)
        layout = ConstrainedLayoutEngine(w_pad=0.012, h_pad=0.012, wspace=0, hspace=0)
        figure = Figure(figsize=(_NAMES + columns * side, height), layout=layout)
        FigureCanvasAgg(figure)
        parts = [range(block * columns, (block + 1) * columns) for block in range(blocks)]
        lines = [(row[own.start : own.stop], label) for own in parts for row, label in zip(rows, words, strict=True)]
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for axes in grid.ravel():
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for line, (row, label) in zip(grid, lines, strict=True):
            line[0].set_ylabel(label, fontsize=7.5, rotation=0, ha="right", va="center", linespacing=1.3)
            for axes, panel in zip(line, row, strict=False):
                if panel is not None:
                    _draw(axes, panel, letters)
        if bar:
            _influence_bar(figure, grid.ravel().tolist(), 0.03 * 4 / max(4, len(lines)))
    return figure


def _draw(axes: Axes, panel: Panel, letters: float) -> None:
    height, width = panel.image.shape[:2]
    axes.set_title(panel.title, fontsize=letters, loc="center", pad=3)
    if panel.influence is None:
        axes.imshow(panel.image)
    else:
        axes.imshow(cv2.cvtColor(panel.image, cv2.COLOR_RGB2GRAY), cmap="gray", vmin=0, vmax=255)
        axes.imshow(panel.influence, cmap=COLOURS, vmin=0, vmax=1, alpha=0.55)
    for left, top, right, bottom in panel.boxes if panel.boxes is not None else ():
        # Pixel edges lie half a pixel before Matplotlib's places, which are the pixels' centres.
        edge = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=BOX, linewidth=1.1)
        edge.set_path_effects([withStroke(linewidth=2.4, foreground=_CASING)])
        axes.add_patch(edge)
    for ring, colour, style in panel.rings:
        axes.add_patch(Polygon(ring - 0.5, closed=True, fill=False, edgecolor=colour, linestyle=style, linewidth=1.2))
    left, top, right, bottom = panel.view or (0, 0, width, height)
    axes.set_xlim(left - 0.5, right - 0.5)
    axes.set_ylim(bottom - 0.5, top - 0.5)


def _influence_bar(figure: Figure, grid: list[Axes], fraction: float) -> None:
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOURS), ax=grid, location="bottom", fraction=fraction, aspect=50, pad=0.01, ticks=[0, 1]
    )
    least, most = bar.ax.set_xticklabels(["least", "most"], fontsize=8.5)
    least.set_horizontalalignment("left")
    most.set_horizontalalignment("right")
    bar.set_label("influence on the decision", fontsize=8.5, labelpad=-8, color=MUTED)
