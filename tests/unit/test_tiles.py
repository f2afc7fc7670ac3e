"""The tile table: shares are exact areas, labels follow the paper's rules, and nothing is lost in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.affinity import rotate
from shapely.geometry import MultiPolygon, Point, Polygon

from drunet.annotation import Annotation, Kind, Label, Region
from drunet.errors import DrunetError, SlideError
from drunet.grid import Grid
from drunet.slide import Slide
from drunet.tiles import (
    NON_TUMOUR,
    TUMOUR,
    UNLABELLED,
    TileRules,
    check_detail,
    covered_area,
    read_mask,
    read_table,
    tile_table,
    write_labelled_images,
    write_table,
)

TYPES = {
    "column": "int32",
    "row": "int32",
    "x": "int32",
    "y": "int32",
    "tissue_fraction": "float32",
    "tumour_fraction": "float32",
    "label": "int8",
}
# Tiles of 100 level-0 pixels, so that a per cent is a row of pixels.
GRID = Grid(width=1000, height=800, mpp=0.5, tile_mpp=1.0, size=50, step=50)


def annotated(kind: Kind, **areas: Polygon | MultiPolygon) -> Annotation:
    labels: dict[str, Label] = {"tumour": "tumour", "non_tumour": "non_tumour", "ignore": "ignore"}
    return Annotation(kind, tuple(Region(area, name, labels[name]) for name, area in areas.items()))


def all_tissue(grid: Grid = GRID) -> NDArray[np.bool_]:
    return np.ones((max(1, grid.height // 8), max(1, grid.width // 8)), bool)


def label_at(table: pd.DataFrame, column: int, row: int) -> int:
    (label,) = table.loc[(table["column"] == column) & (table["row"] == row), "label"]
    return int(label)


def blots(rng: np.random.Generator, width: int, height: int, count: int) -> MultiPolygon:
    """Overlapping ellipses, some with a hole, in one geometry."""
    shapes = []
    for _ in range(count):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.02, 0.3) * min(width, height)
        ellipse = rotate(shapely.affinity.scale(Point(x, y).buffer(r), 1, rng.uniform(0.2, 1)), rng.uniform(0, 180))
        shapes.append(ellipse.difference(Point(x, y).buffer(r * 0.1)))
    union = shapely.union_all(shapes)
    return union if isinstance(union, MultiPolygon) else MultiPolygon([union])


# Shares


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(1000, 800), (333, 217), (64, 64), (40, 30)]),
    st.sampled_from([(32, 32), (32, 16), (50, 20)]),
    st.sampled_from([(1.0, 1.0), (0.25, 1.0), (0.2527, 1.0)]),
)
def test_tissue_shares_are_the_pixels_counted_under_each_tile(
    seed: int, size: tuple[int, int], tile: tuple[int, int], mpps: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(size[0], size[1], *mpps, *tile)
    shape = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    mask = rng.random(shape) < rng.choice([0.02, 0.5, 0.95])
    table = tile_table(grid, mask, None, TileRules(min_tissue=0))
    side = tile[0] * grid.downsample
    expected = {}
    for row in range(grid.rows):
        for column in range(grid.columns):
            x, y = (float(v) for v in grid.tile_origin(column, row))
            across, down = (
                np.clip(
                    np.minimum(min(start + side, length), (np.arange(n) + 1) * length / n)
                    - np.maximum(max(start, 0), np.arange(n) * length / n),
                    0,
                    None,
                )
                for start, length, n in ((x, size[0], shape[1]), (y, size[1], shape[0]))
            )
            expected[column, row] = float(down @ mask.astype(float) @ across) / side**2
    cells = zip(table["column"].tolist(), table["row"].tolist(), strict=True)
    found = dict(zip(cells, table["tissue_fraction"].tolist(), strict=True))
    # Without a least share every tile with any tissue is kept, and none without.
    assert set(found) >= {cell for cell, share in expected.items() if share > 1e-8}
    assert all(expected[cell] > 1e-12 for cell in found)
    for cell, share in found.items():
        assert share == pytest.approx(expected[cell], abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_tumour_shares_are_shapelys_areas_tile_by_tile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(1303, 911, 0.25, 1.0, 32, [32, 16][seed % 2])
    tumour = blots(rng, 1303, 911, 5).intersection(shapely.box(0, 0, 1303, 911))
    area = tumour if isinstance(tumour, MultiPolygon) else MultiPolygon([tumour])
    table = tile_table(grid, np.ones((9, 13), bool), annotated("wta", tumour=area), TileRules(min_tissue=0))
    assert len(table) == grid.rows * grid.columns
    for x, y, share in zip(table["x"], table["y"], table["tumour_fraction"], strict=True):
        box = shapely.box(x, y, x + 128, y + 128)
        assert share == pytest.approx(area.intersection(box).area / 128**2, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_covered_area_is_the_intersection_of_each_box_with_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    area = blots(rng, 500, 500, 8)
    start = rng.uniform(-100, 550, (200, 2))
    boxes = np.concatenate([start, start + rng.uniform(0.1, 120, (200, 2))], axis=1)
    expected = [area.intersection(shapely.box(*box)).area for box in boxes]
    np.testing.assert_allclose(covered_area(area, boxes), expected, atol=1e-6)


def test_covered_area_of_nothing_and_of_no_boxes_is_none() -> None:
    assert covered_area(MultiPolygon(), np.array([[0.0, 0, 1, 1]])).tolist() == [0]
    assert covered_area(Point(0, 0).buffer(1), np.zeros((0, 4))).shape == (0,)


def test_an_overhanging_tile_counts_the_part_outside_as_no_tissue() -> None:
    grid = Grid(width=250, height=100, mpp=1.0, tile_mpp=1.0, size=100, step=100)
    table = tile_table(grid, np.ones((10, 25), bool), None, TileRules(min_tissue=0))
    np.testing.assert_allclose(table["tissue_fraction"], [1, 1, 0.5], atol=1e-6)
    assert table["x"].tolist() == [0, 100, 200]
    assert len(tile_table(grid, np.ones((10, 25), bool), None, TileRules(min_tissue=0.51))) == 2


# Rules


@pytest.mark.parametrize(("rows_of_tissue", "kept"), [(0, False), (24, False), (25, True), (26, True), (100, True)])
@pytest.mark.parametrize("scale", [1, 10])
def test_a_quarter_of_tissue_is_enough_and_less_is_not(rows_of_tissue: int, kept: bool, scale: int) -> None:
    # One tile at (3, 2); with a scale of 10 the mask is at other pixels than the slide, and shares are rounded numbers.
    grid = Grid(1000 * scale, 800 * scale, 0.5, 1.0, 50 * scale, 50 * scale)
    mask = np.zeros((800, 1000), bool)
    mask[200 : 200 + rows_of_tissue, 300:400] = True
    table = tile_table(grid, mask, None, TileRules())
    assert table[["column", "row"]].to_numpy().tolist() == ([[3, 2]] if kept else [])


@pytest.mark.parametrize(
    ("tumour_rows", "label"),
    [(0, NON_TUMOUR), (0.001, UNLABELLED), (4.99, UNLABELLED), (5, TUMOUR), (5.01, TUMOUR), (100, TUMOUR)],
)
@pytest.mark.parametrize("cell", [(0, 0), (3, 2), (7, 6)])
def test_whole_outlines_make_tumour_from_five_per_cent_and_non_tumour_only_of_none(
    tumour_rows: float, label: int, cell: tuple[int, int]
) -> None:
    x, y = cell[0] * 100, cell[1] * 100
    # A region elsewhere, so that there is tumour on the slide in every case; it touches the tile's corner and no more.
    far = shapely.box(x + 100, y + 100, x + 200, y + 200)
    parts = [far] + ([shapely.box(x, y, x + 100, y + tumour_rows)] if tumour_rows else [])
    table = tile_table(GRID, all_tissue(), annotated("wta", tumour=MultiPolygon(parts)), TileRules())
    assert label_at(table, *cell) == label
    assert label_at(table, cell[0] + 1, cell[1] + 1) == TUMOUR


def test_thresholds_hold_on_grids_whose_numbers_are_rounded() -> None:
    # A third of a pixel everywhere: nothing is a whole number in binary.
    grid = Grid(width=9000, height=3000, mpp=0.3, tile_mpp=1.0, size=30, step=30)
    for column in range(1, 80, 7):
        x, y = (float(v) for v in grid.tile_origin(column, 4))
        side = grid.size * grid.downsample
        five = shapely.box(x, y, x + side, y + side * 0.05)
        quarter = shapely.box(x, y, x + side * 0.5, y + side)
        wta = tile_table(grid, all_tissue(grid), annotated("wta", tumour=five), TileRules())
        psa = tile_table(grid, all_tissue(grid), annotated("psa", tumour=quarter), TileRules())
        assert label_at(wta, column, 4) == TUMOUR
        assert label_at(psa, column, 4) == TUMOUR


@pytest.mark.parametrize(
    ("tumour", "non_tumour", "label"),
    [
        (0, 0, UNLABELLED),
        (49.9, 0, UNLABELLED),
        (50, 0, TUMOUR),
        (0, 49.9, UNLABELLED),
        (0, 50, NON_TUMOUR),
        (0, 100, NON_TUMOUR),
        (0.1, 99, UNLABELLED),
        (50, 50, TUMOUR),
    ],
)
def test_marked_parts_label_a_tile_from_half_of_it_and_none_elsewhere(
    tumour: float, non_tumour: float, label: int
) -> None:
    areas: dict[str, Polygon] = {"tumour": shapely.box(800, 700, 900, 800)}
    if non_tumour:
        areas["non_tumour"] = shapely.box(300, 200 + tumour, 400, 200 + tumour + non_tumour)
    marks = MultiPolygon([areas["tumour"], *([shapely.box(300, 200, 400, 200 + tumour)] if tumour else [])])
    table = tile_table(GRID, all_tissue(), annotated("psa", **{**areas, "tumour": marks}), TileRules())
    assert label_at(table, 3, 2) == label
    assert label_at(table, 8, 7) == TUMOUR
    assert label_at(table, 0, 0) == UNLABELLED


@pytest.mark.parametrize("kind", ["wta", "psa"])
def test_a_tile_with_something_to_ignore_is_not_learnt_from(kind: Kind) -> None:
    areas = {
        "tumour": shapely.box(0, 0, 300, 100),
        "non_tumour": shapely.box(0, 300, 1000, 800),
        "ignore": MultiPolygon([shapely.box(199, 10, 250, 20), shapely.box(410, 310, 411, 311)]),
    }
    table = tile_table(GRID, all_tissue(), annotated(kind, **areas), TileRules())
    assert [label_at(table, *c) for c in [(0, 0), (1, 0), (2, 0)]] == [TUMOUR, UNLABELLED, UNLABELLED]
    assert [label_at(table, *c) for c in [(3, 3), (4, 3), (5, 3)]] == [NON_TUMOUR, UNLABELLED, NON_TUMOUR]


def test_the_thresholds_are_those_of_the_rules() -> None:
    tumour = annotated("wta", tumour=shapely.box(300, 200, 400, 230))
    for rules, label in [
        (TileRules(min_tumour=0.3), TUMOUR),
        (TileRules(min_tumour=0.31), UNLABELLED),
        (TileRules(min_tumour=0.5, max_non_tumour=0.3), NON_TUMOUR),
    ]:
        assert label_at(tile_table(GRID, all_tissue(), tumour, rules), 3, 2) == label


def test_without_annotation_there_is_no_share_and_no_label() -> None:
    table = tile_table(GRID, all_tissue(), None, TileRules())
    assert len(table) == 80
    assert table["tumour_fraction"].isna().all()
    assert (table["label"] == UNLABELLED).all()


def test_a_slide_without_tumour_is_all_non_tumour() -> None:
    table = tile_table(GRID, all_tissue(), Annotation("wta", ()), TileRules())
    assert (table["label"] == NON_TUMOUR).all()
    assert (table["tumour_fraction"] == 0).all()


@pytest.mark.parametrize("annotation", [None, annotated("wta", tumour=shapely.box(0, 0, 9, 9))])
def test_no_tissue_gives_an_empty_table_of_the_right_types(annotation: Annotation | None) -> None:
    table = tile_table(GRID, np.zeros((80, 100), bool), annotation, TileRules(min_tissue=0))
    assert len(table) == 0
    assert {c: str(t) for c, t in table.dtypes.items()} == TYPES


def test_the_table_is_in_row_major_order_of_the_grid() -> None:
    table = tile_table(GRID, all_tissue(), None, TileRules())
    assert {c: str(t) for c, t in table.dtypes.items()} == TYPES
    order = table["row"].to_numpy() * GRID.columns + table["column"].to_numpy()
    assert order.tolist() == list(range(80))
    assert (table["x"] == table["column"] * 100).all()
    assert (table["y"] == table["row"] * 100).all()


# Files


@pytest.mark.parametrize("tissue", [True, False])
def test_a_table_comes_back_from_its_file_with_its_facts(tmp_path: Path, tissue: bool) -> None:
    mask = np.full((80, 100), tissue)
    table = tile_table(GRID, mask, annotated("wta", tumour=shapely.box(0, 0, 150, 160)), TileRules())
    facts: dict[str, Any] = {"slide": "case_7", "grid": GRID.to_dict(), "none": None, "µm": [1, 2.5]}
    write_table(tmp_path / "tiles.parquet", table, facts)
    read, read_facts = read_table(tmp_path / "tiles.parquet")
    pd.testing.assert_frame_equal(read, table)
    assert read_facts == facts
    assert Grid.from_dict(read_facts["grid"]) == GRID
    # Other readers of Parquet see the same.
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "tiles.parquet"), table)


def test_a_mask_comes_back_from_its_picture_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    cv2.imwrite(str(tmp_path / "m.png"), np.where(mask, 255, 0).astype(np.uint8))
    read = read_mask(tmp_path / "m.png")
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DrunetError, match="cannot be read"):
        read_mask(tmp_path / "broken.png")


def test_labelled_tiles_are_written_as_they_are_read(
    tmp_path: Path, colours: Callable[..., NDArray[np.uint8]], lossless_slide: Callable[..., Path]
) -> None:
    image = colours(256, 384)
    grid = Grid(width=384, height=256, mpp=0.25, tile_mpp=0.5, size=64, step=64)
    annotation = annotated("psa", tumour=shapely.box(0, 0, 128, 128), non_tumour=shapely.box(256, 128, 384, 256))
    table = tile_table(grid, all_tissue(grid), annotation, TileRules())
    with Slide(lossless_slide(image), "s") as slide:
        write_labelled_images(slide, table, grid, tmp_path / "images")
    written = sorted(str(p.relative_to(tmp_path / "images")) for p in (tmp_path / "images").rglob("*.png"))
    assert written == ["non_tumour/00002_00001.png", "tumour/00000_00000.png"]
    picture = cv2.imread(str(tmp_path / "images" / written[0]))
    assert picture is not None
    expected = image[128:256, 256:384].reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(picture[..., ::-1] - expected).max() <= 0.51


@pytest.mark.parametrize(("mpp", "fine"), [(0.25, True), (1.0, True), (4.0, True), (4.1, False), (18.0, False)])
def test_a_slide_far_coarser_than_its_tiles_is_refused(mpp: float, fine: bool) -> None:
    grid = Grid(width=1000, height=800, mpp=mpp, tile_mpp=1.0, size=50, step=50)
    if fine:
        check_detail(grid, where="case_7")
    else:
        with pytest.raises(SlideError, match=r"too coarse.*tiles of 1 µm/px.*`mpp`") as caught:
            check_detail(grid, where="case_7")
        assert caught.value.status == "resolution_missing"
