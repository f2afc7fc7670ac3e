"""Figures of tumour boxes: slices with boxes, outlines and attention, losses, IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle
from numpy.typing import NDArray
from shapely.geometry import Polygon as Outline

from drunet.report.figures import MUTED, PALETTE, STYLE, WIDTH, new_figure, nothing_drawn
from studies.common.images.class_figures import PROTOCOL_COLOURS, PROTOCOL_NAMES, loss_curves, protocol_dumbbell
from studies.common.row_figures import box_rows
from studies.common.saliency.attention_figure import COLOURS
from studies.ct_boxes.tables import MEAN_BOX, BoxArm, Judged
from studies.ct_boxes.trials import SOURCE, TUNED, UNTOUCHED

ANNOTATED, PREDICTED = PALETTE[4], PALETTE[5]  # sky blue and orange: both stand out from grey, and from each other
_TITLES = ("slice", "annotated", "predicted", "zoom", "Sobel outline", "attention")
_NAMES, _TOP, _BOTTOM = 1.15, 0.3, 0.42  # inches left of the pictures, above and below them
_MARGIN = 0.2  # of the predicted box that the zoom shows round it
_DASHED: Any = (0, (3, 1.5))
_LEAK = "of the test slices are of a patient who is also in training"
_SHORT = {SOURCE: "training subtype", TUNED: "fine-tuned"}


@dataclass(frozen=True, eq=False)
class BoxPicture:
    """A slice with its boxes.

    `words`: written to its left. `image`: uint8 (h, w). `annotated`, `predicted`: float (4,), xmin, ymin, xmax, ymax in
    px of the image. `outline`: in the predicted box, px of the image. `attention`: float32 (h, w), in [0, 1].
    """

    words: str
    image: NDArray[np.uint8]
    annotated: NDArray[np.float64]
    predicted: NDArray[np.float64]
    outline: Outline | None
    attention: NDArray[np.float32]


def box_pictures(pictures: Sequence[BoxPicture]) -> Figure:
    """A row per picture: slice, annotated box, predicted box, zoom on the latter, its outline, attention."""
    with matplotlib.rc_context(STYLE):
        if not pictures:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "there is no test slice to show")
        side = (WIDTH - _NAMES) / len(_TITLES)
        layout = ConstrainedLayoutEngine(w_pad=0.012, h_pad=0.012, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH, _TOP + _BOTTOM + side * len(pictures)), layout=layout)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(pictures), len(_TITLES), squeeze=False)
        for axes in grid.ravel():
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], _TITLES, strict=True):
            axes.set_title(title, fontsize=8.5, loc="center", pad=3)
        for row, picture in zip(grid, pictures, strict=True):
            row[0].set_ylabel(picture.words, fontsize=7.5, rotation=0, ha="right", va="center", linespacing=1.25)
            _draw_row(row, picture)
        handles = [
            Line2D([], [], color=ANNOTATED, linewidth=1.6, label="annotated"),
            Line2D([], [], color=PREDICTED, linewidth=1.6, linestyle=_DASHED, label="predicted"),
            Line2D([], [], color=PREDICTED, linewidth=1.0, label="outline"),
            Patch(facecolor=matplotlib.colormaps[COLOURS](0.95), label="most attention"),
            Patch(facecolor=matplotlib.colormaps[COLOURS](0.05), label="least attention"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=1.6)
    return figure


def iou_boxes(frame: pd.DataFrame, good: float) -> Figure:
    """IoU of every slice (arm, row, protocol, iou): a panel per network, boxes by row and protocol, a line at good."""
    groups = {protocol: (PROTOCOL_COLOURS[protocol], name) for protocol, name in PROTOCOL_NAMES.items()}
    return box_rows(
        frame.rename(columns={"arm": "panel", "protocol": "group", "iou": "value"}),
        groups,
        unit="IoU (intersection over union) of annotated and predicted box",
        line=(good, f"{good:g}: good (Pravdyvets 2023)"),
    )


def study_figures(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[BoxArm],
    what: Sequence[Judged],
    settings: Mapping[str, Any],
) -> dict[str, Figure]:
    """All figures of the study except that of slices, by file name without suffix."""
    points = [
        one.rows(arm.predictions).assign(arm=arm.label, protocol=arm.protocol, row=f"{one.subtype}, {one.words}")
        for arm in arms
        for one in what
        if not one.whole
    ]
    histories: dict[str, list[pd.DataFrame]] = {}
    for arm in arms:
        for target, history in arm.history.groupby("target", sort=False) if arm.history is not None else ():
            of = f"{arm.label}:\nsubtype {target}"
            histories.setdefault(of, []).append(history.assign(protocol=arm.protocol, fold=0))
    found = {
        "iou": iou_boxes(pd.concat(points, ignore_index=True), settings["good"]),
        "losses": loss_curves({of: pd.concat(parts) for of, parts in histories.items()}, log=True),
    }
    if len(set(scores["protocol"])) > 1:
        found["protocols"] = protocol_dumbbell(
            _dumbbell_points(scores, leak), {"iou": "mean IoU"}, leak=_LEAK, of="on test slices"
        )
    return found


def _dumbbell_points(scores: pd.DataFrame, leak: pd.DataFrame) -> pd.DataFrame:
    """IoU of the networks on test parts, with the leak of each split."""
    tested = scores[(scores["stage"] != UNTOUCHED) & ~scores["whole"] & (scores["arm"] != MEAN_BOX)]
    joined = tested.merge(leak[["protocol", "subtype", "stage", "leak"]], on=["protocol", "subtype", "stage"])
    return joined.assign(
        metric="iou", arm=joined["label"] + ": " + joined["subtype"] + ", " + joined["stage"].map(_SHORT)
    )


def _draw_row(row: NDArray, picture: BoxPicture) -> None:
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255}
    height, width = picture.image.shape
    for axes in (row[0], row[1], row[2], row[5]):
        axes.imshow(picture.image, extent=(0, width, height, 0), **grey)
    row[1].add_patch(_rectangle(picture.annotated, ANNOTATED, "-"))
    row[2].add_patch(_rectangle(picture.annotated, ANNOTATED, "-", 0.8))
    row[2].add_patch(_rectangle(picture.predicted, PREDICTED, _DASHED))
    row[5].imshow(picture.attention, extent=(0, width, height, 0), cmap=COLOURS, vmin=0, vmax=1, alpha=0.5)
    for axes in (row[0], row[1], row[2], row[5]):
        axes.set(xlim=(0, width), ylim=(height, 0))
    frame = _zoom(picture.predicted, width, height)
    for axes in row[3:5]:
        if frame is None:
            axes.text(0.5, 0.5, "the box\nhas no area\nhere", ha="center", va="center", fontsize=7, color=MUTED)
            axes.set_box_aspect(1)
            continue
        axes.imshow(picture.image, extent=(0, width, height, 0), **grey)
        axes.set(xlim=(frame[0], frame[2]), ylim=(frame[3], frame[1]))
    if frame is not None:
        row[3].add_patch(_rectangle(picture.predicted, PREDICTED, _DASHED, 1.0))
        if picture.outline is None:
            words = {"ha": "center", "fontsize": 7, "color": "white", "transform": row[4].transAxes}
            row[4].text(0.5, 0.04, "no clear edge", **words)
        else:
            ring = np.asarray(picture.outline.exterior.coords)
            row[4].add_patch(Polygon(ring, closed=True, fill=False, edgecolor=PREDICTED, linewidth=1.0))


def _rectangle(box: NDArray[np.float64], colour: str, style: Any, width: float = 1.4) -> Rectangle:
    xmin, ymin, xmax, ymax = (float(edge) for edge in box)
    line = {"fill": False, "edgecolor": colour, "linestyle": style, "linewidth": width}
    return Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, **line)


def _zoom(box: NDArray[np.float64], width: int, height: int) -> tuple[float, float, float, float] | None:
    """A square round the part of a box that lies in the image, with a margin; None where there is none."""
    xmin, xmax = np.clip(box[[0, 2]].astype(float), 0, width)
    ymin, ymax = np.clip(box[[1, 3]].astype(float), 0, height)
    if xmax <= xmin or ymax <= ymin:
        return None
    half = (1 + 2 * _MARGIN) * max(xmax - xmin, ymax - ymin) / 2
    x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
    return x - half, y - half, x + half, y + half
