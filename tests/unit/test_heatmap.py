from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from drunet.errors import DrunetError
from drunet.grid import Grid
from drunet.heatmap import read_field, read_heatmap, stitch, write_field, write_heatmap

# 4 columns and 3 rows of 128 level-0 px; the last of each reaches past the slide.
GRID = Grid(width=500, height=300, mpp=0.25, tile_mpp=1.0, size=32, step=32)


def heatmap_with_gaps() -> np.ndarray:
    field = np.random.default_rng(1).random(GRID.shape, np.float32)
    field[0, 1], field[2, 3], field[1, 1] = np.nan, 0.0, 1.0
    return field


def write(path: Path, field: np.ndarray) -> Path:
    write_heatmap(path, field, GRID, {"model": "m1"})
    return path


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 3))), st.randoms())
def test_stitching_puts_every_tile_in_its_place_and_nothing_elsewhere(places: set[tuple[int, int]], rnd: Any) -> None:
    order = list(places)
    rnd.shuffle(order)
    p = {place: np.float32(rnd.random()) for place in order}
    table = pd.DataFrame(
        {
            "column": np.array([c for _, c in order], np.int32),
            "row": np.array([r for r, _ in order], np.int32),
            "p_tumour": np.array([p[place] for place in order], np.float32),
        }
    )
    heatmap = stitch(table, GRID)
    assert heatmap.shape == (3, 4) and heatmap.dtype == np.float32
    for row in range(3):
        for column in range(4):
            value = heatmap[row, column]
            assert value == p[row, column] if (row, column) in p else np.isnan(value)


def test_not_tumour_and_not_looked_at_and_unreadable_are_told_apart() -> None:
    table = pd.DataFrame({"column": [0, 1], "row": [2, 2], "p_tumour": np.array([0.0, np.nan], np.float32)})
    heatmap = stitch(table, GRID)
    assert heatmap[2, 0] == 0 and np.isnan(heatmap[2, 1]) and np.isnan(heatmap[0, 0])


def test_a_heatmap_comes_back_bit_for_bit_with_its_grid(tmp_path: Path) -> None:
    field = heatmap_with_gaps()
    again, grid = read_heatmap(write(tmp_path / "h.tif", field))
    assert again.dtype == np.float32 and grid == GRID
    np.testing.assert_array_equal(again.view(np.uint32), field.view(np.uint32))


def test_other_programs_read_the_resolution_and_the_facts(tmp_path: Path) -> None:
    path = write(tmp_path / "h.tif", heatmap_with_gaps())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        across, down = (page.tags[f"{axis}Resolution"].value for axis in "XY")
        assert page.tags["ResolutionUnit"].value == 3  # per centimetre
        facts = json.loads(page.description)
    # 32 px of 1 µm a cell.
    assert [10_000 * b / a for a, b in (across, down)] == pytest.approx([32, 32], rel=1e-6)
    assert facts["offset_px"] == [0, 0] and facts["model"] == "m1"


def test_the_resolution_is_that_of_a_cell_and_not_of_a_tile(tmp_path: Path) -> None:
    # Tiles of 64 px overlap by half: a cell has 32 px of 0.5 µm.
    grid = Grid(width=500, height=300, mpp=0.25, tile_mpp=0.5, size=64, step=32)
    write_heatmap(tmp_path / "h.tif", np.zeros(grid.shape, np.float32), grid, {})
    with tifffile.TiffFile(tmp_path / "h.tif") as tiff:
        per_cm = [np.divide(*tiff.pages.first.tags[f"{axis}Resolution"].value) for axis in "XY"]
    assert per_cm == pytest.approx([10_000 / 16] * 2, rel=1e-6)


def test_a_field_has_a_resolution_for_each_axis(tmp_path: Path) -> None:
    write_field(tmp_path / "f.tif", np.ones((5, 9)), (2.5, 4.0), {"slide": "s1", "grid": GRID.to_dict()})
    with tifffile.TiffFile(tmp_path / "f.tif") as tiff:
        per_cm = [np.divide(*tiff.pages.first.tags[f"{axis}Resolution"].value) for axis in "XY"]
    assert per_cm == pytest.approx([4000, 2500], rel=1e-6)
    field, facts = read_field(tmp_path / "f.tif")
    assert field.dtype == np.float32 and (field == 1).all() and facts["slide"] == "s1"


@pytest.mark.parametrize("description", [None, "a slide", "[1, 2]", '{"shape": [3, 4]}'])
def test_a_foreign_tiff_is_refused(tmp_path: Path, description: str | None) -> None:
    path = tmp_path / "foreign.tif"
    tifffile.imwrite(path, np.zeros((3, 4), np.float32), description=description)
    for read in (read_field, read_heatmap):
        with pytest.raises(DrunetError, match=r"foreign\.tif: the file is not a heatmap of this workflow"):
            read(path)


def test_a_file_cut_short_at_any_length_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "h.tif", heatmap_with_gaps()).read_bytes()
    cut = tmp_path / "cut.tif"
    for length in range(0, len(whole) - 1, 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(DrunetError, match="not a heatmap"):
            read_heatmap(cut)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DrunetError, match="not a heatmap"):
        read_heatmap(tmp_path / "none.tif")


def test_a_field_of_another_size_than_its_grid_is_no_heatmap(tmp_path: Path) -> None:
    write(tmp_path / "h.tif", np.zeros((6, 6), np.float32))
    with pytest.raises(DrunetError, match=r"\(6, 6\) cells where the grid has \(3, 4\)"):
        read_heatmap(tmp_path / "h.tif")
