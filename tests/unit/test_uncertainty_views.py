"""Views and spread of answers against networks that are worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_onnx import SIZE, by_hand, colour_model

from drunet.errors import SlideError
from drunet.inference import EngineOptions, Layout, open_session
from drunet.uncertainty.views import spread, turned

TILES = np.random.default_rng(4).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
TABLE = pd.DataFrame({"column": [0, 1, 4], "row": [0, 0, 2], "x": [0, 8, 32], "y": [0, 0, 16]})


class Reader:
    """Tiles by the place that they were asked for; the `lost` one cannot be read."""

    def __init__(self, lost: int | None = None) -> None:
        self.lost, self.reads = lost, 0

    def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
        place = int(np.flatnonzero((TABLE["x"] == x) & (TABLE["y"] == y))[0])
        if place == self.lost:
            raise SlideError("lost", status="unreadable", where="s", mend="")
        self.reads += 1
        return TILES[place]

    def close(self) -> None: ...


def found(tmp_path: Path, biases: list[float], views: int, reader: Reader) -> pd.DataFrame:
    options = EngineOptions(batch_size=2, readers=1, max_unreadable=0.5)
    sessions = [open_session(colour_model(tmp_path / f"{b}.onnx", bias=b), options, where="m") for b in biases]
    settings: dict[str, Any] = {"size": SIZE, "mpp": 1.0, "options": options, "layout": Layout(), "where": "s"}
    return spread(sessions, lambda: reader, TABLE, views=views, **settings)  # type: ignore[arg-type, return-value]


def test_the_views_are_all_turns_and_mirror_images_once() -> None:
    tile = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(1, SIZE, SIZE, 3)
    seen = {turned(tile, view).tobytes() for view in range(8)}
    every = {np.ascontiguousarray(np.rot90(t, k)).tobytes() for t in (tile[0], tile[0][::-1]) for k in range(4)}
    assert len(seen) == 8 and seen == every
    assert np.array_equal(turned(tile, 0), tile) and np.array_equal(turned(tile, 1)[0], tile[0][::-1, ::-1])


@pytest.mark.parametrize("views", [1, 2, 8])
def test_mean_and_sd_are_those_of_all_views_and_networks_by_hand(tmp_path: Path, views: int) -> None:
    reader, biases = Reader(), [-1.5, 0.5]
    table = found(tmp_path, biases, views, reader)
    logit = [
        np.log(p / (1 - p)) + 1.5 + bias
        for bias in biases
        for p in map(by_hand, (turned(TILES, v) for v in range(views)))
    ]
    answers = 1 / (1 + np.exp(-np.array(logit)))
    np.testing.assert_allclose(table["mean"], answers.mean(0), atol=1e-6)
    np.testing.assert_allclose(table["sd"], answers.std(0), atol=1e-6)
    # Lower rows count more in this network, so that mirrored tiles differ; each was read once.
    assert reader.reads == 3 and (table["sd"] > 0.01).all() and table["sd"].max() <= 0.5


def test_one_network_that_sees_one_view_is_sure_and_a_lost_tile_is_not_known(tmp_path: Path) -> None:
    table = found(tmp_path, [-1.5], 1, Reader(lost=1))
    assert table["sd"].isna().tolist() == [False, True, False] and table["sd"].sum() == 0
    assert table[["column", "row"]].equals(TABLE[["column", "row"]])
