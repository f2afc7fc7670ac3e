"""Which regions to annotate next: where a classifier is unsure, and what is unlike all that is annotated.

Uncertainty alone asks for the same doubtful structure again and again. So the choice also keeps away from what is
annotated or chosen already: a k-center in colour and texture (Sener and Savarese 2018), joined with uncertainty.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drunet.annotation.geojson import PARENT
from drunet.files import AnyPath, write_json
from drunet.grid import Grid
from drunet.slide import Slide
from drunet.tiles import UNLABELLED

MPP = 4.0  # at which nuclei still show in the spread of a tile's colours
COLOURS = ["red", "green", "blue", "red_sd", "green_sd", "blue_sd"]
LEAST = 0.5  # share of a square's cells with tissue, or of its tiles with a label, from which it counts as such
NAMED = 0.75  # share of all candidates from which both traits are named


def tile_colours(slide: Slide, table: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """Column, row and `COLOURS` of tiles: mean and sd at `MPP`, float32, 0 to 255; raises SlideError if unreadable."""
    picture = slide.read_whole(slide.shape_at(MPP))
    scale = np.array([picture.shape[1] / grid.width, picture.shape[0] / grid.height] * 2)
    boxes = grid.tile_boxes(table["column"].to_numpy(), table["row"].to_numpy()) * scale
    start = np.minimum(boxes[:, :2].astype(int), np.array(picture.shape[1::-1]) - 1)
    end = np.maximum(np.rint(boxes[:, 2:]).astype(int), start + 1)
    colours = np.empty((len(table), len(COLOURS)), np.float32)
    for index, ((left, top), (right, bottom)) in enumerate(zip(start, end, strict=True)):
        pixels = picture[top:bottom, left:right].reshape(-1, 3)
        colours[index] = [*pixels.mean(axis=0), *pixels.std(axis=0)]
    return table[["column", "row"]].assign(**dict(zip(COLOURS, colours.T, strict=True)))


def squares(tiles: pd.DataFrame, grid: Grid, side_um: float) -> pd.DataFrame:
    """Squares of a slide side by side, with what their tiles say.

    `tiles` have column, row, label, `COLOURS` and, where a classifier was asked, the `mean` of its answers; the side in
    µm becomes a whole number of the grid's cells, at least one. Gives column, row (of squares, from 0), x0, y0, x1, y1
    (level-0 px, within the slide), labelled (share of the tiles), `COLOURS`, and unsure: the mean of 4 p (1 - p), 0
    where all answers are sure and 1 where all are one half. As p is the mean of several answers, p (1 - p) holds their
    spread too. Squares with tissue in less than half of their cells are left out.
    """
    cells = cells_across(grid, side_um)
    p = tiles["mean"] if "mean" in tiles else pd.Series(np.nan, tiles.index)
    each = tiles.assign(unsure=4 * p * (1 - p), labelled=tiles["label"] != UNLABELLED)
    by = each.groupby([tiles["column"] // cells, tiles["row"] // cells])
    found = by[["labelled", "unsure", *COLOURS]].mean()
    found = found[by.size() >= LEAST * cells**2].reset_index()
    side = grid.cell * cells
    for axis, name, end in (("x", "column", grid.width), ("y", "row", grid.height)):
        found[f"{axis}0"] = found[name] * side
        found[f"{axis}1"] = np.minimum(found[f"{axis}0"] + side, end)
    return found


def cells_across(grid: Grid, side_um: float) -> int:
    """How many of a grid's cells a square has on a side."""
    return max(1, round(side_um / (grid.step * grid.tile_mpp)))


def choose(
    candidates: pd.DataFrame, known: NDArray[np.floating], *, count: int, per_slide: int, weight: float
) -> pd.DataFrame:
    """Choose squares one by one, each the best beside those that are known or chosen already.

    A candidate's score is `weight` times its rank by uncertainty, and the rest times its rank by distance from the
    nearest known or chosen square, in colours of unit spread; ranks are shares of the candidates. Where nothing is
    known the mean of all counts as known. Of equals the first is taken. `candidates` are from `squares`, with the
    `slide` of each; `known`, float (n, 6), are the `COLOURS` of what is annotated; at most `per_slide` are of one
    slide. Returns the chosen rows, best first, with rank (from 1), unsure_rank, unlike_rank (0 to 1) and why, in words.
    """
    if candidates.empty:
        return candidates.assign(rank=[], unsure_rank=[], unlike_rank=[], why=[])
    colours = candidates[COLOURS].to_numpy(np.float64)
    everything = np.concatenate([colours, np.asarray(known, np.float64).reshape(-1, len(COLOURS))])
    centre, spread = everything.mean(axis=0), everything.std(axis=0)
    scaled = (everything - centre) / np.where(spread > 0, spread, 1)
    own, others = scaled[: len(colours)], scaled[len(colours) :]
    distance = np.linalg.norm(own, axis=1)
    if len(others):
        distance = cKDTree(others).query(own)[0]
    unsure = candidates["unsure"].fillna(0).rank(pct=True).to_numpy()
    left, taken = np.ones(len(own), bool), list[dict[str, Any]]()
    while left.any() and len(taken) < count:
        unlike = pd.Series(distance).rank(pct=True).to_numpy()
        best = int(np.argmax(np.where(left, weight * unsure + (1 - weight) * unlike, -1)))
        why = "unsure" if unsure[best] >= unlike[best] else "unlike"
        if min(unsure[best], unlike[best]) >= NAMED:
            why = "unsure and unlike"
        told = {"rank": len(taken) + 1, "unsure_rank": unsure[best], "unlike_rank": unlike[best], "why": why}
        taken.append({**candidates.iloc[best], **told})
        left[best] = False
        slide = candidates["slide"].iloc[best]
        if sum(t["slide"] == slide for t in taken) >= per_slide:
            left &= (candidates["slide"] != slide).to_numpy()
        distance = np.minimum(distance, np.linalg.norm(own - own[best], axis=1))
    return pd.DataFrame(taken)


def write_regions(
    path: AnyPath, chosen: Iterable[Mapping[str, Any]], model: str, counted_from: tuple[int, int]
) -> None:
    """Write chosen squares of a slide as locked boxes without a class, which no reader here takes for an annotation.

    `counted_from` is as for `drunet.export.outline.write_geojson`.
    """
    features = []
    for square in chosen:
        left, right = (round(float(square[k]) - counted_from[0], 1) for k in ("x0", "x1"))
        top, bottom = (round(float(square[k]) - counted_from[1], 1) for k in ("y0", "y1"))
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        properties = {
            "objectType": "annotation",
            "name": f"annotate {square['rank']}: {square['why']}",
            "isLocked": True,
            "measurements": {"Unsure": round(float(square["unsure"]), 4)},
            "metadata": {PARENT: model},
        }
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    write_json(path, {"type": "FeatureCollection", "features": features})
