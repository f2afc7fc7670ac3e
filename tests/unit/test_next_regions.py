"""Which regions to annotate next: traits of squares by hand, the choice against a k-center, and the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from drunet.annotation.geojson import drawn_features, read_geojson
from drunet.annotation.region import Source
from drunet.grid import Grid
from drunet.slide import Slide
from drunet.uncertainty.regions import COLOURS, choose, squares, tile_colours, write_regions
from drunet_demo.pyramid import write_pyramid

GRID = Grid(500, 256, mpp=0.5, tile_mpp=1.0, size=32, step=32)


def table(grid: Grid, **values: float) -> pd.DataFrame:
    """Every tile of a grid."""
    row, column = (a.ravel() for a in np.indices(grid.shape))
    return pd.DataFrame({"column": column, "row": row, "label": -1, **dict.fromkeys(COLOURS, 0.0), **values})


def test_colours_are_those_of_the_tiles_pixels(tmp_path: Path) -> None:
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[:, :256], picture[:, 256:] = (250, 20, 30), (10, 20, 240)
    picture[128:, 256:384] = 100
    write_pyramid(tmp_path / "s.tif", picture, 0.5)
    grid = Grid(512, 256, mpp=0.5, tile_mpp=1.0, size=64, step=64)
    with Slide(tmp_path / "s.tif", "s", None) as slide:
        found = tile_colours(slide, table(grid)[["column", "row"]], grid).set_index(["row", "column"])
    assert found.loc[(0, 0), COLOURS].to_numpy() == pytest.approx([250, 20, 30, 0, 0, 0], abs=6)
    assert found.loc[(1, 2), COLOURS].to_numpy() == pytest.approx([100, 100, 100, 0, 0, 0], abs=8)


def test_a_square_says_how_much_of_it_is_labelled_and_how_unsure_it_is() -> None:
    tiles = table(GRID, mean=0.5)
    first = (tiles["row"] < 2) & (tiles["column"] < 2)
    tiles.loc[first, "mean"] = [0.0, 1.0, 0.5, 0.9]
    tiles.loc[first, "label"] = [0, 1, -1, 0]
    found = squares(tiles, GRID, side_um=64)
    assert len(found) == 8 and found["x1"].max() == 500
    assert found.loc[0, ["x0", "y0", "x1", "y1"]].tolist() == [0, 0, 128, 128]
    assert found.loc[0, "labelled"] == 0.75
    assert found.loc[0, "unsure"] == pytest.approx((0 + 0 + 1 + 0.36) / 4)
    few = squares(tiles[~first | (tiles["row"] + tiles["column"] == 0)], GRID, side_um=64)
    assert (0, 0) not in set(zip(few["column"], few["row"], strict=True)) and len(few) == 7


def candidates(seed: int, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(count, 6)), columns=COLOURS)
    return frame.assign(unsure=rng.random(count), slide=rng.integers(0, 4, count).astype(str))


@given(st.integers(0, 10_000), st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_without_uncertainty_the_choice_is_the_farthest_first_k_center(seed: int, known: int) -> None:
    frame = candidates(seed, 30)
    annotated = np.random.default_rng(seed + 1).normal(size=(known, 6))
    chosen = choose(frame, annotated, count=8, per_slide=30, weight=0.0)
    every = np.concatenate([frame[COLOURS], annotated])
    scaled = (every - every.mean(axis=0)) / every.std(axis=0)
    # The mean of all counts as known if nothing is.
    own, centres = scaled[:30], list(scaled[30:]) or [np.zeros(6)]
    expected: list[int] = []
    for _ in range(8):
        far = cdist(own, np.array(centres)).min(axis=1)
        far[expected] = -1
        expected.append(int(far.argmax()))
        centres.append(own[expected[-1]])
    assert chosen[COLOURS].to_numpy().tolist() == frame[COLOURS].iloc[expected].to_numpy().tolist()


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 5), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_no_square_is_chosen_twice_and_no_slide_too_often(seed: int, count: int, most: int, weight: float) -> None:
    frame = candidates(seed, 30)
    chosen = choose(frame, np.empty((0, 6)), count=count, per_slide=most, weight=weight)
    assert not chosen.duplicated(COLOURS).any() and chosen["rank"].tolist() == list(range(1, len(chosen) + 1))
    per_slide = frame["slide"].value_counts().clip(upper=most)
    assert chosen["slide"].value_counts().max() <= most and len(chosen) == min(count, per_slide.sum())


def test_by_uncertainty_alone_the_most_unsure_come_first() -> None:
    frame = candidates(3, 30)
    chosen = choose(frame, np.empty((0, 6)), count=5, per_slide=30, weight=1.0)
    assert chosen["unsure"].tolist() == sorted(frame["unsure"], reverse=True)[:5]
    assert chosen["why"].str.startswith("unsure").all()
    assert choose(frame.iloc[:0], np.empty((0, 6)), count=5, per_slide=5, weight=0.5).empty


def test_the_boxes_count_from_qupaths_corner_and_are_no_annotation(tmp_path: Path) -> None:
    square = {"rank": 1, "why": "unsure", "x0": 128.0, "y0": 64.0, "x1": 256.0, "y1": 192.0, "unsure": 0.5}
    write_regions(tmp_path / "s.geojson", [square], "m", (100, 50))
    data = (tmp_path / "s.geojson").read_bytes()
    (feature,) = json.loads(data)["features"]
    assert feature["geometry"]["coordinates"][0][:3] == [[28.0, 14.0], [156.0, 14.0], [156.0, 142.0]]
    assert feature["properties"]["name"] == "annotate 1: unsure" and feature["properties"]["isLocked"]
    source = Source("s", "s.geojson", 500, 300, {"tumour": ["tumor"], "non_tumour": [], "ignore": []}, (100, 50))
    assert not list(drawn_features(data, source)) and not read_geojson(data, source)
