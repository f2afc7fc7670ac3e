"""Faults of tiles, against measures of SciPy and faults of known extent made on drawn tissue."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from drunet import quality
from drunet.grid import Grid
from drunet.heatmap import read_heatmap, write_classified
from drunet.inference import Classified
from drunet.quality import MEASURES, TileMeasures, faults, focus, measures, summary
from drunet.tiles import read_table

SIDE = 112


def tissue(seed: int) -> np.ndarray:
    """Nuclei of 8 µm on pink, at 1 µm/px, with the grain of a camera."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), (228, 190, 214), np.uint8)
    for x, y in rng.integers(0, SIDE, (70, 2)).tolist():
        cv2.circle(image, (x, y), int(rng.integers(3, 6)), (96, 70, 140), -1, cv2.LINE_AA)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return np.stack([tissue(seed) for seed in range(40)])


def measured(tiles: np.ndarray, mpp: float = 1.0) -> pd.DataFrame:
    seen = TileMeasures(len(tiles), mpp)
    seen(np.arange(len(tiles)), tiles, np.ones(len(tiles), bool))
    return seen.table()


def test_edges_and_densities_are_those_of_scipy(tiles: np.ndarray) -> None:
    found = dict(zip(MEASURES, measures(tiles[0], 1.0), strict=True))
    grey = cv2.cvtColor(tiles[0], cv2.COLOR_RGB2GRAY).astype(float)
    edges = sum(ndimage.sobel(grey, axis, mode="reflect") ** 2 for axis in (0, 1)) / 64
    assert found["fine"] == pytest.approx(edges.mean(), rel=1e-4)
    # OpenCV mirrors about the outermost pixel here.
    assert found["grain"] == pytest.approx((ndimage.laplace(grey, mode="mirror") ** 2).mean(), rel=1e-4)
    plain = np.full((SIDE, SIDE, 3), (102, 51, 128), np.uint8)
    colours = dict(zip(MEASURES, measures(plain, 1.0), strict=True))
    np.testing.assert_allclose([colours[c] for c in ("red", "green", "blue")], -np.log10([0.4, 0.2, 128 / 255]), 1e-5)
    # Half of the density of a tile that is everywhere the same.
    assert colours["unbroken"] == pytest.approx(-np.log10(0.4 * 0.2 * 128 / 255) / 2, rel=1e-5)


def test_a_tile_is_measured_alike_at_twice_the_resolution(tiles: np.ndarray) -> None:
    """What the network is shown may be finer: edges are looked at on the same scales."""
    finer = cv2.resize(tiles[0], None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    own, other = (dict(zip(MEASURES, measures(t, mpp), strict=True)) for t, mpp in ((tiles[0], 1.0), (finer, 0.5)))
    for name in set(MEASURES) - {"grain"}:
        assert other[name] == pytest.approx(own[name], rel=0.02, abs=0.002), name


def test_faults_are_found_and_sound_tissue_has_none(tiles: np.ndarray) -> None:
    sound = measured(tiles)
    assert set(sound["fault"]) == {""} and summary(sound)["quality"] == "good"
    made = tiles.copy()
    for k in range(4):
        made[k] = cv2.GaussianBlur(made[k], (0, 0), 2.5)
        band = made[4 + k, :, 30:80].astype(float)
        made[4 + k, :, 30:80] = (band * band[:, ::-1] / 255).astype(np.uint8)
        made[8 + k, 20:, :] = (made[8 + k, 20:, :] * np.array([0.08, 0.25, 0.8])).astype(np.uint8)
    found = measured(made)
    assert list(found["fault"]) == ["blurred"] * 4 + ["folded"] * 4 + ["pen"] * 4 + [""] * 28
    told = summary(found)
    assert told["blurred"] == told["folded"] == told["pen"] == pytest.approx(0.1)
    assert told["quality"] == "10% out of focus, 10% folded, 10% under ink"


def test_a_slide_that_is_blurred_as_a_whole_is_told_by_the_floor(tiles: np.ndarray) -> None:
    found = measured(np.stack([cv2.GaussianBlur(tile, (0, 0), 3) for tile in tiles]))
    assert (found["fault"] == "blurred").mean() > 0.9


def test_what_cannot_be_measured_has_no_fault(tiles: np.ndarray) -> None:
    seen = TileMeasures(3, 1.0)
    seen(np.array([2, 0]), np.stack([np.full_like(tiles[0], 255), tiles[0]]), np.array([True, False]))
    table = seen.table()
    assert table.loc[0, list(MEASURES)].isna().all() and list(table["fault"]) == ["", "", ""]
    assert np.isnan(focus(table)).all()
    assert np.isnan(measures(tiles[0], quality.COARSEST + 1)[MEASURES.index("fine")])
    assert summary(pd.DataFrame({"p_tumour": [0.5]})) == dict.fromkeys(("blurred", "folded", "pen", "quality"))
    assert len(faults(table.iloc[:0])) == 0


def test_tiles_that_are_set_aside_are_unknown_in_table_and_heatmap(tmp_path: Path) -> None:
    grid = Grid(192, 64, mpp=1.0, tile_mpp=1.0, size=64, step=64)
    tiles = pd.DataFrame({"column": [0, 1, 2], "row": [0, 0, 0]})
    seen = pd.DataFrame({"fine": [1.0, 2.0, 3.0], "fault": ["", "blurred", "pen"]})
    files = tmp_path / "tiles.parquet", tmp_path / "heatmap.tif"
    write_classified(*files, tiles, Classified(np.float32([0.1, 0.2, 0.3]), 0, 1.0), grid, {}, seen, ["blurred"])
    table, facts = read_table(files[0])
    assert facts["set_aside"] == 1 and facts["unreadable"] == 0 and list(table["fault"]) == list(seen["fault"])
    np.testing.assert_array_equal(read_heatmap(files[1])[0], np.float32([[0.1, np.nan, 0.3]]))
    np.testing.assert_array_equal(table["p_tumour"], np.float32([0.1, np.nan, 0.3]))
