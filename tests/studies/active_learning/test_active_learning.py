"""The simulation: what is chosen beats chance where it must, and the head is scikit-learn's own on the same tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from drunet.errors import DrunetError
from drunet.uncertainty.regions import COLOURS
from studies.active_learning import simulation as study

SETTINGS: dict[str, Any] = {"rounds": 3, "per_round": 2, "draws": 4}


def cohort(seed: int, rare: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Squares of four tiles: most of one plain kind, and a `rare` kind of tumour that few squares show."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["plain"] * 60 + ["common"] * 20 + ["rare"] * rare)
    shade = {"plain": (200.0, 190.0), "common": (120.0, 190.0), "rare": (200.0, 60.0)}
    rows = []
    for number, kind in enumerate(kinds):
        for _ in range(4):
            colours = np.concatenate([shade[kind], np.full(4, 50.0)]) + rng.normal(0, 8, 6)
            rows.append(["s", number, 0, int(kind != "plain"), *colours])
    tiles = pd.DataFrame(rows, columns=["slide", "square_column", "square_row", "label", *COLOURS])
    squares = tiles.groupby(["slide", "square_column", "square_row"])[COLOURS].mean().reset_index()
    return tiles, squares.rename(columns={"square_column": "column", "square_row": "row"})


def test_what_is_unlike_finds_a_rare_kind_sooner_than_chance() -> None:
    tiles, squares = cohort(0, rare=3)
    judged = cohort(1, rare=20)[0]
    rounds = study.simulate(tiles, squares, judged, SETTINGS, seed=3)
    assert set(rounds["way"]) == set(study.WAYS) and sorted(set(rounds["regions"])) == [2, 4, 6, 8]
    first = rounds[rounds["regions"] == 2].pivot_table(index="draw", columns="way", values="dice")
    assert np.ptp(first.to_numpy(), axis=1).max() == 0, "all ways begin with the same two regions"
    gains = study.gains(rounds).set_index("way")
    assert gains.loc["unlike", "gain"] > 0.1 and gains.loc["unlike", "low"] < gains.loc["unlike", "gain"]
    again = study.simulate(tiles, squares, judged, {**SETTINGS, "draws": 2}, seed=3)
    pd.testing.assert_frame_equal(rounds[rounds["draw"] < 2], again)


def test_dice_is_the_f1_score_of_labelled_tiles() -> None:
    tiles = cohort(2, rare=5)[0]
    tiles.loc[::7, "label"] = -1
    head = study.fit(tiles)
    known = tiles[tiles["label"] >= 0]
    expected = f1_score(known["label"], head.predict(known[COLOURS].to_numpy()))
    assert study.dice(head, tiles) == pytest.approx(expected)


def test_a_cohort_without_tumour_is_refused() -> None:
    tiles, squares = cohort(0, rare=3)
    with pytest.raises(DrunetError, match="all hold tumour, or none does"):
        study.simulate(tiles.assign(label=0), squares, tiles, SETTINGS, seed=0)
