"""Choice of the slices that the page shows, with their boxes, outlines and attention.

An outline follows the strongest edges in a box. Source: D. Pravdyvets, master's thesis (UOC 2023), section 3.2, which
names Sobel's edge detector only: how edges become an outline, and which are too faint, is chosen here.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pandas as pd
from keras import ops
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Polygon, mapping

from drunet.annotation.outline import outline
from drunet.training.trained import rebuild
from studies.common.images.folder import read_image
from studies.common.saliency.maps import batches, scaled, unit_range
from studies.common.series import weights_file
from studies.ct_boxes import geometry
from studies.ct_boxes.figures import BoxPicture
from studies.ct_boxes.tasks import SUBTYPES, subtypes_in
from studies.ct_boxes.training import read_slice, tuned_key
from studies.ct_boxes.trials import PREDICTED, SOURCE, TUNED, UNTOUCHED

# Response of Sobel's 3x3 kernel to an edge of one grey level.
_PER_LEVEL = 4.0
_BLUR = 1.0  # px, standard deviation of the Gaussian against noise
_LEAST_STEP = 8.0  # grey levels of the strongest edge
_CLOSE = 3  # px, side of the square that closes gaps
_LEAST_SHARE = 0.02  # of the box; what is smaller is a vessel or noise, and the box is not about it
_LEAST_SIDE = 5  # px, below which a box holds no edge that its own sides are not
# Name of the layer whose output, (n, h, w, channels), is a map of attention, in networks that have one.
LAYER = "attention"
_STAGES = {SOURCE: "test part", UNTOUCHED: "before fine-tuning", TUNED: "fine-tuned"}


def choose_slices(
    predictions: pd.DataFrame, source: str, targets: Sequence[str], wanted: int
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Slices to show, a representative sample of each subtype.

    Of every patient of a test part the slice with the median IoU is taken, and of these, sorted by IoU, as many as are
    wanted at equal steps: a single one is the median. The IoU is that of the last stage. Returns slices by file, with
    their rows of the predictions, one per stage, in the order of the stages.
    """
    learnt = subtypes_in(source)
    subtypes = [*learnt, *targets]
    chosen: list[tuple[str, list[dict[str, Any]]]] = []
    for place, subtype in enumerate(subtypes):
        number = wanted // len(subtypes) + (place < wanted % len(subtypes))
        stages = [SOURCE] if subtype in learnt else [UNTOUCHED, TUNED]
        own = predictions[predictions["subtype"] == subtype]
        last = own[(own["stage"] == stages[-1]) & (own["part"] == "test")]
        if last.empty:
            # A target that was too small to be divided has only its first stage.
            stages, last = stages[:1], own[own["stage"] == stages[0]]
        for file in _fair(last, number):
            here = own[own["file"] == file].set_index("stage")
            rows = [{"stage": stage, **{str(k): v for k, v in here.loc[stage].items()}} for stage in stages]
            chosen.append((file, rows))
    return chosen


def show_slices(
    chosen: Sequence[tuple[str, list[dict[str, Any]]]],
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    root: str | os.PathLike[str],
) -> list[BoxPicture]:
    """Rows of the figure: each slice at each of its stages, with the weights of that stage.

    `facts` is training.json, `weights` the folder of weights, `root` that of the collected slices. Raises ModelError if
    the weights do not fit the facts, ImageSetError if a slice cannot be read.
    """
    rows = [row for _, own in chosen for row in own]
    shown = []
    for row, coarse in zip(rows, _attention(rows, facts, weights, Path(root)), strict=True):
        image = read_image(Path(root) / row["file"])[..., 0]
        outline = sobel_outline(image, [row[edge] for edge in PREDICTED])
        enlarged = None
        if coarse is not None:
            enlarged = np.asarray(cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        name = SUBTYPES.get(row["subtype"], "").replace(" carcinoma", "")
        words = f"{row['subtype']}, {name}\n{_STAGES[row['stage']]}\nIoU {row['iou']:.2f}"
        shown.append(BoxPicture(row, words, image, outline, enlarged))
    return shown


def outlines_geojson(shown: Sequence[BoxPicture]) -> dict[str, Any]:
    """The outlines as a GeoJSON FeatureCollection, in px of the collected slices, y downwards as in QuPath."""
    features = []
    for each in (each for each in shown if each.outline is not None):
        own = {**{key: str(each.row[key]) for key in ("file", "subtype", "stage")}, "iou": round(each.row["iou"], 4)}
        features.append({"type": "Feature", "geometry": mapping(each.outline), "properties": own})
    return {"type": "FeatureCollection", "features": features}


def _fair(rows: pd.DataFrame, number: int) -> list[str]:
    """Files at equal steps, sorted by IoU; only the median one of each patient where there are enough patients."""
    ordered = rows.sort_values(["iou", "file"], kind="stable")
    if ordered["patient"].nunique() >= number:
        ordered = pd.concat([part.iloc[[(len(part) - 1) // 2]] for _, part in ordered.groupby("patient", sort=False)])
        ordered = ordered.sort_values(["iou", "file"], kind="stable")
    number = min(number, len(ordered))
    return [str(ordered["file"].iloc[int((k + 0.5) * len(ordered) / number)]) for k in range(number)]


def _attention(
    rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], weights: str | os.PathLike[str], root: Path
) -> list[NDArray[np.float32] | None]:
    """Maps at the network's size, one for each row: every network is built once. None where it has no attention."""
    keys = [tuned_key(str(row["subtype"])) if row["stage"] == TUNED else SOURCE for row in rows]
    maps: dict[int, NDArray[np.float32] | None] = dict.fromkeys(range(len(rows)))
    for key in dict.fromkeys(keys):
        own = [place for place, each in enumerate(keys) if each == key]
        seen = np.stack([read_slice(root / rows[place]["file"], facts["size"]) for place in own])
        model = rebuild(facts, weights_file(weights, key))
        found = box_attention(model, scaled(seen[..., None]))
        if found is not None:
            maps |= dict(zip(own, found, strict=True))
    return [maps[place] for place in range(len(rows))]


def box_attention(
    model: keras.Model, images: NDArray[np.float32], *, batch_size: int = 16
) -> NDArray[np.float32] | None:
    """A network's own attention on images float32 (n, h, w, 1), enlarged: float32 (n, h, w) in [0, 1].

    That is the output of its layer `attention`. None of a network without one: Grad-CAM is not suitable for a
    dense layer on the flattened map, which has weights for each place, so that a channel has no common weight.
    """
    if all(layer.name != LAYER for layer in model.layers):
        return None
    part = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
    own = [ops.convert_to_numpy(part(batch, training=False)) for batch in batches(images, batch_size)]
    coarse, sides = np.maximum(np.concatenate(own).astype(np.float32).sum(axis=-1), 0), images.shape[2:0:-1]
    return unit_range(np.stack([cv2.resize(each, sides, interpolation=cv2.INTER_LINEAR) for each in coarse]))


def sobel_magnitude(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient of an image, float32 (h, w), in grey levels of a sharp, straight edge."""
    across, down = (
        cv2.Sobel(grey, cv2.CV_32F, *way, ksize=3, borderType=cv2.BORDER_REPLICATE) for way in ((1, 0), (0, 1))
    )
    return np.asarray(np.hypot(across, down) / _PER_LEVEL, dtype=np.float32)


def sobel_outline(image: NDArray[np.uint8], box: ArrayLike) -> Polygon | None:
    """Outline of the area that the strongest edges in a box enclose.

    Pixels whose gradient is above Otsu's threshold are edges; gaps are closed; the largest enclosed piece counts, up to
    the middle of its edges, which are several pixels wide. Where edges enclose almost nothing, the object extends
    beyond the box: then the box's sides are edges too, and the piece in the middle counts.

    `image`: uint8 (h, w). `box`: (4,), px. Returns a polygon in px of the image, its edges at whole numbers, without
    holes; None where the box has less than 5 px a side in the image, edges fainter than 8 grey levels, or less than a
    fiftieth of its area enclosed.
    """
    height, width = image.shape
    x0, y0, x1, y1 = geometry.clip(box, width, height)[0]
    if not np.isfinite([x0, y0, x1, y1]).all():
        return None
    left, top, right, bottom = (int(v) for v in (np.floor(x0), np.floor(y0), np.ceil(x1), np.ceil(y1)))
    if right - left < _LEAST_SIDE or bottom - top < _LEAST_SIDE:
        return None
    # Of the whole picture, cut afterwards: the box's own sides are no edges.
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    gradient = sobel_magnitude(np.asarray(blurred, dtype=np.float32))[top:bottom, left:right]
    strongest = float(gradient.max())
    if strongest < _LEAST_STEP:
        return None
    levels = np.rint(gradient * (255 / strongest)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    inside = _surrounded(levels > threshold)
    if inside.mean() < _LEAST_SHARE:
        inside = _surrounded(levels > threshold, sides=True)
    if inside.mean() < _LEAST_SHARE:
        return None
    largest = max(outline(inside).geoms, key=lambda piece: piece.area)
    # Less than a pixel takes out the stairs.
    smooth = Polygon(largest.exterior).simplify(0.75)
    return Polygon(np.asarray(smooth.exterior.coords) + (left, top))


def _surrounded(edges: NDArray[np.bool_], sides: bool = False) -> NDArray[np.bool_]:
    """Area that edges enclose, up to their middle; with `sides`, the box's sides count too, and the middle piece."""
    # A margin: what is outside must be one piece, and closing must not stop at the border.
    margin = _CLOSE + 1
    if sides:
        edges = np.pad(edges[1:-1, 1:-1], 1, constant_values=True)
    padded = np.pad(edges, margin).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros_like(edges)
    whole = cv2.drawContours(np.zeros_like(closed), [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    holes = (whole > 0) & (closed == 0)
    hole, outside = holes, whole == 0
    if sides:
        _, pieces = cv2.connectedComponents(holes.astype(np.uint8), connectivity=4)
        hole = holes & (pieces == pieces[pieces.shape[0] // 2, pieces.shape[1] // 2])
        outside = outside | (holes & ~hole)
    if not hole.any():
        return np.zeros_like(edges)
    inside = (whole > 0) & (_distance(~hole) <= _distance(~outside))
    return np.asarray(inside[margin:-margin, margin:-margin], dtype=bool)


def _distance(away: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest that is not `away`, px."""
    return np.asarray(
        cv2.distanceTransform(away.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32
    )
