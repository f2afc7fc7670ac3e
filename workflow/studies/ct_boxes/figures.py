"""Figures of tumour boxes: slices with boxes, outlines and attention, losses, IoU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from shapely.geometry import Polygon as Outline

from drunet.report.figures import PALETTE
from studies.common.images.class_figures import PROTOCOL_COLOURS, PROTOCOL_NAMES, loss_curves, protocol_dumbbell
from studies.common.images.tables import Arms
from studies.common.model_figures import box_rows
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.ct_boxes import trials
from studies.ct_boxes.tables import MEAN_BOX, Judged
from studies.ct_boxes.trials import SOURCE, TUNED, UNTOUCHED

ANNOTATED, PREDICTED = PALETTE[4], PALETTE[5]  # sky blue and orange: both stand out from grey, and from each other
_TITLES = ("slice", "annotated", "predicted", "zoom", "Sobel outline", "attention")
_MARGIN = 0.2  # of the predicted box that the zoom shows round it
_DASHED: Any = (0, (3, 1.5))
_LEAK = "of the test slices are of a patient who is also in training"
_SHORT = {SOURCE: "training subtype", TUNED: "fine-tuned"}


@dataclass(frozen=True, eq=False)
class BoxPicture:
    """A slice, uint8 (h, w), the `row` of the predictions that is shown, and what is written to its left.

    The outline in the predicted box is in px of the image; the attention is float32 (h, w), in [0, 1], or None of a
    network that has none.
    """

    row: Mapping[str, Any]
    words: str
    image: NDArray[np.uint8]
    outline: Outline | None
    attention: NDArray[np.float32] | None

    def box(self, edges: Sequence[str]) -> NDArray[np.float64]:
        """A box, float (4,), xmin, ymin, xmax, ymax in px of the image, from columns of the row."""
        return np.array([self.row[edge] for edge in edges], np.float64)


def box_pictures(pictures: Sequence[BoxPicture]) -> Figure:
    """A row per picture: slice, annotated box, predicted box, zoom on the latter, its outline, attention if any."""
    attentive = any(picture.attention is not None for picture in pictures)
    rows: list[list[Panel | None]] = []
    for picture in pictures:
        image = np.repeat(picture.image[..., None], 3, axis=2)
        box = picture.box(trials.PREDICTED)
        annotated, found = _ring(picture.box(trials.TRUE)), (_ring(box), PREDICTED, _DASHED)
        view = _zoom(box, *picture.image.shape[::-1])
        outline = [] if picture.outline is None else [np.asarray(picture.outline.exterior.coords)]
        titles = iter(_TITLES if not rows else [""] * len(_TITLES))
        whole = [Panel(image, title=next(titles))]
        whole.append(Panel(image, title=next(titles), rings=[(annotated, ANNOTATED, "-")]))
        whole.append(Panel(image, title=next(titles), rings=[(annotated, ANNOTATED, "-"), found]))
        near = [Panel(image, title=next(titles), rings=[found], view=view)]
        near.append(Panel(image, title=next(titles), rings=[(ring, PREDICTED, "-") for ring in outline], view=view))
        # A box without an area in the slice has nothing to be enlarged.
        rows.append([*whole, *(near if view else [None, None])])
        if attentive:
            rows[-1].append(Panel(image, picture.attention, title=next(titles)))
    words = [picture.words for picture in pictures]
    return panel_grid(rows, words, nothing="there is no test slice to show", bar=attentive)


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
    arms: Arms,
    what: Sequence[Judged],
    settings: Mapping[str, Any],
) -> dict[str, Figure]:
    """All figures of the study except that of slices, by file name without suffix."""
    shown = [(arm, one) for arm in arms for one in what if not one.whole]
    ious = [
        one.rows(arm.predictions).assign(arm=arm.label, protocol=arm.task, row=f"{one.subtype}, {one.words}")
        for arm, one in shown
    ]
    histories: dict[str, list[pd.DataFrame]] = {}
    for arm in arms:
        for target, history in arm.history.groupby("target", sort=False) if arm.history is not None else ():
            of = f"{arm.label}:\nsubtype {target}"
            histories.setdefault(of, []).append(history.assign(protocol=arm.task, fold=0))
    found = {
        "iou": iou_boxes(pd.concat(ious, ignore_index=True), settings["good"]),
        "losses": loss_curves({of: pd.concat(parts) for of, parts in histories.items()}, log=True),
    }
    if len(set(scores["protocol"])) > 1:
        points = _dumbbell_points(scores, leak)
        found["protocols"] = protocol_dumbbell(points, {"iou": "mean IoU"}, leak=_LEAK, of="on test slices")
    return found


def _dumbbell_points(scores: pd.DataFrame, leak: pd.DataFrame) -> pd.DataFrame:
    """IoU of the networks on test parts, with the leak of each split."""
    tested = scores[(scores["stage"] != UNTOUCHED) & ~scores["whole"] & (scores["arm"] != MEAN_BOX)]
    joined = tested.merge(leak[["protocol", "subtype", "stage", "leak"]], on=["protocol", "subtype", "stage"])
    names = joined["label"] + ": " + joined["subtype"] + ", " + joined["stage"].map(_SHORT)
    return joined.assign(metric="iou", arm=names)


def _ring(box: NDArray[np.float64]) -> NDArray[np.float64]:
    return box[[[0, 1], [2, 1], [2, 3], [0, 3]]]


def _zoom(box: NDArray[np.float64], width: int, height: int) -> tuple[float, float, float, float] | None:
    """A square round the part of a box that lies in the image, with a margin; None where there is none."""
    xmin, xmax = np.clip(box[[0, 2]], 0, width)
    ymin, ymax = np.clip(box[[1, 3]], 0, height)
    if xmax <= xmin or ymax <= ymin:
        return None
    half = (1 + 2 * _MARGIN) * max(xmax - xmin, ymax - ymin) / 2
    x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
    return x - half, y - half, x + half, y + half
