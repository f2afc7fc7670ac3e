"""The tile table: which tiles of a slide hold tissue, and what the annotation says of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from drunet.annotation import Annotation
from drunet.errors import DrunetError, SlideError
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid
from drunet.outcome import require_result
from drunet.slide import Slide

if TYPE_CHECKING:
    # Imported where there is a table: most jobs of a slide's chain only read masks.
    import pandas as pd

TUMOUR, NON_TUMOUR, UNLABELLED = 1, 0, -1
# Times that a slide may be coarser than the tiles: beyond, nothing that they should show is in it.
COARSEST = 4.0
# Polygons of more corners are cut before tiles meet them, by halves and at most so often.
FEW_CORNERS, DEEPEST_CUT = 5000, 24
# Areas are sums of rounded numbers: shares that differ by less are equal, so that none is none.
_SLACK = 1e-9
_SAMPLE, _MOST_PIXELS = 64, 1_000_000


@dataclass(frozen=True)
class TileRules:
    """Shares of a tile's area that decide whether it is looked at, and how it is labelled (DRU-Net, "Model training").

    Tiles with less tissue than `min_tissue` are not looked at (paper: 0.25); those with at least `min_tumour` of tumour
    are tumour (0.05), with at most `max_non_tumour` non-tumour (0), and what lies between is not learnt from. On
    partially annotated slides a tile is labelled only if `min_annotated` of it lies in marked regions of its class.
    """

    min_tissue: float = 0.25
    min_tumour: float = 0.05
    max_non_tumour: float = 0.0
    min_annotated: float = 0.5


def check_detail(grid: Grid, *, where: str) -> None:
    """Refuse a slide whose pixels are far coarser than the tiles'; raises SlideError (``resolution_missing``)."""
    if grid.mpp > COARSEST * grid.tile_mpp:
        what, found = "the slide is too coarse for its tiles", f"{grid.mpp:g} µm/px, tiles of {grid.tile_mpp:g} µm/px"
        mend = "Correct the column `mpp` of the sheet, or export the slide at its full resolution."
        raise SlideError(what, status="resolution_missing", where=where, found=found, mend=mend)


def tile_table(grid: Grid, tissue: np.ndarray, annotation: Annotation | None, rules: TileRules) -> pd.DataFrame:
    """List the tiles of a slide that hold tissue, in row-major order.

    `tissue`, bool (h, w), covers exactly the slide; without an annotation there are no tumour fractions (NaN) and no
    labels. Columns: column, row (int32), x, y (int32, level-0 px of the top left corner), tissue_fraction,
    tumour_fraction (float32), label (int8: 1 tumour, 0 non-tumour, -1 not learnt from).

    >>> grid = Grid(192, 64, mpp=1.0, tile_mpp=1.0, size=64, step=64)
    >>> tissue = np.array([[False, True, True, True, True, False]])
    >>> tile_table(grid, tissue, None, TileRules(min_tissue=0.75))[["column", "row", "x", "y", "tissue_fraction"]]
       column  row   x  y  tissue_fraction
    0       1    0  64  0              1.0
    """
    row, column = (a.ravel() for a in np.indices(grid.shape))
    boxes = grid.tile_boxes(column, row)
    whole = (grid.size * grid.downsample) ** 2
    tissue_fraction = _masked_area(tissue, boxes, (grid.width, grid.height)) / whole
    kept = tissue_fraction >= max(rules.min_tissue - _SLACK, _SLACK)
    row, column, boxes, tissue_fraction = row[kept], column[kept], boxes[kept], tissue_fraction[kept]
    x, y = grid.tile_origin(column, row)
    tumour_fraction = np.full(len(row), np.nan)
    label = np.full(len(row), UNLABELLED, np.int8)
    if annotation is not None:
        tumour_fraction = covered_area(annotation.tumour, boxes) / whole
        label = _labels(annotation, boxes, whole, tumour_fraction, rules)
    import pandas as pd

    return pd.DataFrame(
        {
            "column": column.astype(np.int32),
            "row": row.astype(np.int32),
            "x": x.astype(np.int32),
            "y": y.astype(np.int32),
            "tissue_fraction": np.minimum(tissue_fraction, 1).astype(np.float32),
            "tumour_fraction": np.minimum(tumour_fraction, 1).astype(np.float32),
            "label": label,
        }
    )


def covered_area(geometry: BaseGeometry, boxes: np.ndarray) -> np.ndarray:
    """Exact area of `geometry` inside each of the boxes (n, 4), in squared units of the boxes.

    >>> covered_area(shapely.box(0, 0, 10, 10), np.array([[5, 5, 15, 15], [20, 20, 30, 30]])).tolist()
    [25.0, 0.0]
    """
    area = np.zeros(len(boxes))
    if geometry.is_empty or len(boxes) == 0:
        return area
    squares = shapely.box(*boxes.T)
    shapely.prepare(geometry)
    inside = shapely.contains_properly(geometry, squares)
    area[inside] = shapely.area(squares[inside])
    # Only the tiles on an outline need an intersection, and each only with the parts that it meets.
    border = np.flatnonzero(~inside & shapely.intersects(geometry, squares))
    parts = np.concatenate([_cut(part) for part in shapely.get_parts(geometry)])
    tile, part = shapely.STRtree(parts).query(squares[border], predicate="intersects")
    pieces = shapely.area(shapely.intersection(squares[border][tile], parts[part]))
    np.add.at(area, border[tile], pieces)
    return area


def _cut(part: BaseGeometry) -> np.ndarray:
    """A polygon in pieces of few corners, so that a tile meets only what is near it; small ones stay as they are."""
    waiting, pieces = [(part, 0)], []
    while waiting:
        piece, depth = waiting.pop()
        if shapely.get_num_coordinates(piece) <= FEW_CORNERS or depth == DEEPEST_CUT:
            pieces.append(piece)
            continue
        left, top, right, bottom = piece.bounds
        x, y = (left + right) / 2, (top + bottom) / 2
        if right - left > bottom - top:
            halves = shapely.box([left, x], top, [x, right], bottom)
        else:
            halves = shapely.box(left, [top, y], right, [y, bottom])
        for half in shapely.get_parts(shapely.intersection(piece, halves)):
            waiting += [(p, depth + 1) for p in shapely.get_parts(half) if p.area > 0]
    return np.array(pieces, object)


def write_table(path: AnyPath, table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write a Parquet table with facts (JSON values) in its schema metadata under the key ``drunet``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), b"drunet": json.dumps(dict(facts)).encode()}
    with whole_file(path) as temporary:
        pq.write_table(arrow.replace_schema_metadata(metadata), temporary)


def read_table(path: AnyPath) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table and the facts stored with it; raises FailedSlideError if the slide has none."""
    import pyarrow.parquet as pq

    require_result(path)
    arrow = pq.read_table(path)
    return arrow.to_pandas(), json.loads((arrow.schema.metadata or {}).get(b"drunet", b"{}"))


def _labels(
    annotation: Annotation, boxes: np.ndarray, whole: float, tumour_fraction: np.ndarray, rules: TileRules
) -> np.ndarray:
    if annotation.kind == "psa":
        tumour = tumour_fraction >= rules.min_annotated - _SLACK
        marked = covered_area(annotation.non_tumour, boxes) / whole
        non_tumour = (marked >= rules.min_annotated - _SLACK) & (tumour_fraction <= rules.max_non_tumour + _SLACK)
    else:
        tumour = tumour_fraction >= rules.min_tumour - _SLACK
        non_tumour = tumour_fraction <= rules.max_non_tumour + _SLACK
    label = np.full(len(boxes), UNLABELLED, np.int8)
    label[non_tumour] = NON_TUMOUR
    label[tumour] = TUMOUR
    label[covered_area(annotation.ignore, boxes) > _SLACK * whole] = UNLABELLED
    return label


def _masked_area(mask: np.ndarray, boxes: np.ndarray, slide_size: tuple[int, int]) -> np.ndarray:
    """Exact area of a pixel mask inside boxes, in level-0 px², by a bilinearly read integral image."""
    height, width = mask.shape
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = mask.cumsum(0, dtype=np.float64).cumsum(1)
    scale_x, scale_y = width / slide_size[0], height / slide_size[1]

    def at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u, v = np.clip(x * scale_x, 0, width), np.clip(y * scale_y, 0, height)
        i, j = np.minimum(u.astype(int), width - 1), np.minimum(v.astype(int), height - 1)
        a, b = u - i, v - j
        top = integral[j, i] * (1 - a) + integral[j, i + 1] * a
        bottom = integral[j + 1, i] * (1 - a) + integral[j + 1, i + 1] * a
        return top * (1 - b) + bottom * b

    x0, y0, x1, y1 = boxes.T
    return (at(x1, y1) - at(x0, y1) - at(x1, y0) + at(x0, y0)) / (scale_x * scale_y)


def write_mask(path: AnyPath, mask: np.ndarray) -> None:
    """Write a bool (h, w) mask as an 8-bit picture, white on black; the suffix says in which format."""
    with whole_file(path) as temporary:
        _write_picture(temporary, mask.astype(np.uint8) * 255)


def read_mask(path: AnyPath) -> np.ndarray:
    """Read a mask of `write_mask`, bool (h, w); raises FailedSlideError without one, DrunetError if no picture."""
    require_result(path)
    picture = cv2.imread(os.fspath(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        mend = "Delete it and run the workflow again."
        raise DrunetError("the mask cannot be read", where=os.fspath(path), mend=mend)
    return np.asarray(picture > 127)


def tissue_pixels(open_slide: Callable[[], Slide], table: pd.DataFrame, grid: Grid, seed: int) -> np.ndarray:
    """Pixels, uint8 (n, 3), of at most 64 tiles drawn from a slide's table; those that cannot be read are passed over.

    Of the pixels at most a million, evenly spread, come back.
    """
    chosen = np.sort(np.random.default_rng(seed).choice(len(table), min(_SAMPLE, len(table)), replace=False))
    parts, slide = [np.zeros((0, 3), np.uint8)], open_slide()
    for x, y in table[["x", "y"]].to_numpy(np.int64)[chosen].tolist():
        try:
            parts.append(slide.read(x, y, (grid.size, grid.size), grid.tile_mpp).reshape(-1, 3))
        except SlideError:
            slide.close()
            slide = open_slide()
    slide.close()
    pixels = np.concatenate(parts)
    return pixels[:: -(-len(pixels) // _MOST_PIXELS) or 1]


def write_labelled_images(slide: Slide, table: pd.DataFrame, grid: Grid, folder: AnyPath) -> None:
    """Write every labelled tile as PNG into `folder`/tumour and `folder`/non_tumour, named by column and row."""
    names = {TUMOUR: "tumour", NON_TUMOUR: "non_tumour"}
    for name in names.values():
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
    labelled = table.loc[table["label"] != UNLABELLED, ["column", "row", "x", "y", "label"]]
    for column, row, x, y, label in labelled.to_numpy(np.int64).tolist():
        rgb = slide.read(x, y, (grid.size, grid.size), grid.tile_mpp)
        target = Path(folder) / names[label] / f"{column:05d}_{row:05d}.png"
        _write_picture(target, rgb[..., ::-1])


def _write_picture(path: Path, pixels: np.ndarray) -> None:
    # `cv2.imwrite` says nothing of a full disk, and leaves a picture that is cut.
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
