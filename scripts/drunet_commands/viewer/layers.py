"""What lies over a slide: heatmap, segmentation, annotation, and where the two differ."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from drunet.annotation.outline import polygons_of, united
from drunet.annotation.parsed import read_parsed
from drunet.export.outline import polygons
from drunet.grid import Grid
from drunet.heatmap import read_heatmap
from drunet.quality import FAULTS
from drunet.tiles import read_mask, read_table
from drunet_commands.viewer.opened import Opened, status_of

_ONE = threading.Lock()
Rings = list[list[list[list[float]]]]


def heatmap_bytes(path: Path, most: float = 1.0) -> tuple[dict[str, Any], bytes]:
    """Grid and a byte per cell: 0 is "not looked at", 1 a value of 0, 255 of `most`; raises as `read_heatmap`."""
    return _bytes(*read_heatmap(path), most)


def quality_bytes(path: Path) -> tuple[dict[str, Any], bytes]:
    """As `heatmap_bytes`, of a table of classified tiles: thirds by `drunet.quality.FAULTS`, 0 where there is none.

    Raises KeyError if the tiles were not measured.
    """
    table, facts = read_table(path)
    grid, shown = Grid.from_dict(facts["grid"]), table[table["fault"] != ""]
    field = np.full(grid.shape, np.nan, np.float32)
    field[shown["row"], shown["column"]] = (shown["fault"].map(FAULTS.index).to_numpy(np.float32) + 1) / len(FAULTS)
    return _bytes(field, grid, 1.0)


def _bytes(heatmap: np.ndarray, grid: Grid, most: float) -> tuple[dict[str, Any], bytes]:
    shares = np.clip(np.nan_to_num(heatmap) / most, 0, 1)
    values = np.where(np.isfinite(heatmap), 1 + np.rint(shares * 254), 0).astype(np.uint8)
    return {"rows": grid.rows, "columns": grid.columns, "cell": grid.cell}, values.tobytes()


def outlines(opened: Opened, run: str | None, slide: str, origin: tuple[int, int]) -> dict[str, Rings]:
    """`segmentation` and `truth` as far as they are there, in level-0 px that count from `origin`.

    With both also `found` (true positive), `false` (positive), `missed` (false negative) and `unjudged`: found where
    the annotation says nothing.
    """
    facts = status_of(opened.results, slide)
    mask = opened.results / "runs" / (run or "") / slide / "segmentation.png"
    files = (mask, opened.results / "slides" / slide / "annotation.parquet")
    dated = [(path, path.stat().st_mtime_ns) if path.is_file() else None for path in files]
    size = (facts.get("width", 0), facts.get("height", 0))
    if not all(size):
        return {}
    # What several browsers ask for at once is computed once.
    with _ONE:
        shapes = _shapes(slide, size, *dated)
    return {name: rings(shape, origin) for name, shape in shapes.items()}


def rings(shape: shapely.Geometry, origin: tuple[int, int]) -> Rings:
    """Polygon, ring, position, x and y, to a tenth of a pixel."""
    placed = polygons_of(shapely.transform(shape, lambda xy: xy - origin))
    closed = [[shapely.get_coordinates(ring) for ring in (p.exterior, *p.interiors)] for p in placed.geoms]
    return [[np.round(ring, 1).tolist() for ring in polygon] for polygon in closed]


@lru_cache(maxsize=32)
def _shapes(
    slide: str, size: tuple[int, int], mask: tuple[Path, int] | None, annotation: tuple[Path, int] | None
) -> dict[str, shapely.Geometry]:
    found = united(polygons(read_mask(mask[0]), size)) if mask else None
    drawn = read_parsed(annotation[0], slide_id=slide, size=size) if annotation else None
    shapes = {} if found is None else {"segmentation": found}
    if drawn is None:
        return shapes
    truth = drawn.tumour
    if found is None:
        return {"truth": truth}
    judged = truth | drawn.non_tumour if drawn.kind == "psa" else shapely.box(0, 0, *size) - drawn.ignore
    errors = {"found": found & truth & judged, "false": (found - truth) & judged, "missed": (truth - found) & judged}
    return shapes | errors | {"truth": truth, "unjudged": found - judged}
