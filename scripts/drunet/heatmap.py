"""Stitching tile probabilities into a heatmap, and the file that keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from drunet.errors import DrunetError
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid
from drunet.outcome import require_result
from drunet.tiles import write_table

if TYPE_CHECKING:
    import pandas as pd

    from drunet.inference import Classified


def stitch(table: pd.DataFrame, grid: Grid) -> np.ndarray:
    """Put tile probabilities in their places: float32 (rows, columns).

    `table` has column, row, p_tumour (NaN where a tile could not be read). NaN is where no tile was looked at, or none
    could be read: distinct from 0, "looked at and not tumour".

    >>> import pandas as pd
    >>> grid = Grid(192, 128, mpp=1.0, tile_mpp=1.0, size=64, step=64)
    >>> stitch(pd.DataFrame({"column": [0, 2], "row": [0, 1], "p_tumour": [0.25, 1.0]}), grid)
    array([[0.25,  nan,  nan],
           [ nan,  nan, 1.  ]], dtype=float32)
    """
    heatmap = np.full(grid.shape, np.nan, np.float32)
    heatmap[table["row"].to_numpy(), table["column"].to_numpy()] = table["p_tumour"].to_numpy(np.float32)
    return heatmap


def write_field(path: AnyPath, field: np.ndarray, resolution: tuple[float, float], facts: Mapping[str, Any]) -> None:
    """Write a float32 field (h, w) as a TIFF that carries its resolution, µm per pixel in x and y, and facts.

    The facts are JSON values, kept in the ImageDescription; ``grid`` among them, from `Grid.to_dict`.
    """
    per_cm = (10_000 / resolution[0], 10_000 / resolution[1])
    with whole_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            field.astype(np.float32),
            photometric="minisblack",
            compression="deflate",
            predictor=3,
            resolution=per_cm,
            resolutionunit="CENTIMETER",
            description=json.dumps(dict(facts)),
            metadata=None,
        )


def read_field(path: AnyPath) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a field and its facts; raises FailedSlideError without one, DrunetError if the file is another."""
    require_result(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            facts = json.loads(tiff.pages.first.description)
            field = tiff.pages.first.asarray()
    except Exception as error:  # a file that is cut short fails in a different library at every length
        raise _foreign(path, str(error)) from error
    # Other programs, tifffile's own default among them, keep JSON in the description, too.
    if not isinstance(facts, dict) or "grid" not in facts or field.ndim != 2 or field.dtype != np.float32:
        raise _foreign(path, f"{field.dtype} {field.shape} without a grid")
    return field, facts


def write_heatmap(path: AnyPath, heatmap: np.ndarray, grid: Grid, facts: Mapping[str, Any]) -> None:
    """Write a heatmap with its grid: µm/px in the resolution tags, grid and offset (level-0 px) in the description."""
    side = grid.step * grid.tile_mpp
    write_field(path, heatmap, (side, side), {"grid": grid.to_dict(), "offset_px": [0, 0], **facts})


def write_classified(
    tiles: AnyPath,
    heatmap: AnyPath,
    table: pd.DataFrame,
    result: Classified,
    grid: Grid,
    facts: Mapping[str, Any],
    seen: pd.DataFrame | None = None,
    set_aside: Sequence[str] = (),
) -> None:
    """Write the probabilities of a slide's tiles (column, row), as a table and as a heatmap.

    Both keep `facts`, the number of tiles and of unreadable ones, and the seconds. `seen`
    (`drunet.quality.TileMeasures.table`) joins the table; tiles with a fault of `set_aside` become unknown, NaN.
    """
    classified = table[["column", "row"]].assign(p_tumour=result.p_tumour)
    if seen is not None:
        classified = classified.assign(**dict(seen))
        aside = classified["fault"].isin(set_aside)
        classified["p_tumour"] = classified["p_tumour"].mask(aside)
        facts = {**facts, "set_aside": int(aside.sum())}
    counts = {"tiles": len(table), "unreadable": result.unreadable, "seconds": round(result.seconds, 3)}
    facts = {**facts, **counts}
    write_table(tiles, classified, {"grid": grid.to_dict(), **facts})
    write_heatmap(heatmap, stitch(classified, grid), grid, facts)


def read_heatmap(path: AnyPath) -> tuple[np.ndarray, Grid]:
    """Read a heatmap and the grid it lies on; raises FailedSlideError without one, DrunetError if it is another."""
    heatmap, facts = read_field(path)
    grid = Grid.from_dict(facts["grid"])
    if heatmap.shape != grid.shape:
        raise _foreign(path, f"{heatmap.shape} cells where the grid has {grid.shape}")
    return heatmap, grid


def _foreign(path: AnyPath, found: str) -> DrunetError:
    what = "the file is not a heatmap of this workflow"
    mend = "Delete it and run the workflow again."
    return DrunetError(what, where=os.fspath(path), found=found.splitlines()[0] if found else None, mend=mend)
