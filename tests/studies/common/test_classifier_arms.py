from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from drunet.errors import TrainingDataError
from drunet.metrics import summarise
from drunet.tiles import write_table
from studies.common.classifier_arms import (
    MEAN_OF_SLIDES,
    POOLED,
    arm_metrics,
    labelled_tiles,
    pooled_intervals,
    slide_scores,
    tuned_threshold,
    wide,
    with_interval,
)


def cohort(seed: int = 0, slides: int = 6, tiles: int = 80, skill: float = 1.0) -> pd.DataFrame:
    """Labelled tiles of some slides, two slides a patient."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(slides):
        label = (rng.random(tiles) < 0.4).astype(int)
        p = 1 / (1 + np.exp(-(skill * (2 * label - 1) + rng.normal(0, 1.2, tiles))))
        frames.append(pd.DataFrame({"slide": f"s{i}", "patient": str(i // 2), "p_tumour": p, "label": label}))
    return pd.concat(frames, ignore_index=True)


def value(metrics: pd.DataFrame, arm: str, protocol: str, metric: str) -> float:
    own = metrics[(metrics["arm"] == arm) & (metrics["protocol"] == protocol) & (metrics["metric"] == metric)]
    assert len(own) == 1
    return float(own["value"].iloc[0])


def test_labelled_tiles_are_joined_by_position_and_the_unlabelled_left_out(tmp_path: Path) -> None:
    place = {"column": np.int32([0, 1, 2]), "row": np.int32([0, 0, 5])}
    write_table(tmp_path / "tiles.parquet", pd.DataFrame({**place, "x": 0, "y": 0, "label": np.int8([1, -1, 0])}), {})
    answers = pd.DataFrame({**place, "p_tumour": np.float32([0.9, 0.5, np.nan])}).iloc[::-1]
    write_table(tmp_path / "answers.parquet", answers, {})
    slides = [{"slide": "a", "patient": 7}, {"slide": "b", "patient": 8}]
    tiles = labelled_tiles(slides, [tmp_path / "tiles.parquet"] * 2, [tmp_path / "answers.parquet"] * 2)
    assert tiles["slide"].tolist() == ["a", "a", "b", "b"] and tiles["patient"].tolist() == ["7", "7", "8", "8"]
    assert tiles["label"].tolist() == [1, 0] * 2
    np.testing.assert_array_equal(tiles["p_tumour"], np.float32([0.9, np.nan] * 2).astype(float))
    assert labelled_tiles([], [], []).columns.tolist() == tiles.columns.tolist()


def test_pooled_scores_are_those_of_scikit_learn() -> None:
    tiles = cohort()
    metrics = arm_metrics({"a": tiles}, {"a": 0.4}, resamples=50, seed=1)
    truth, p = tiles["label"], tiles["p_tumour"]
    for metric, expected in (
        ("f1", f1_score(truth, p >= 0.4)),
        ("precision", precision_score(truth, p >= 0.4)),
        ("recall", recall_score(truth, p >= 0.4)),
        ("auc", roc_auc_score(truth, p)),
        ("tiles", len(tiles)),
        ("slides", 6),
        ("patients", 3),
        ("threshold", 0.4),
    ):
        assert value(metrics, "a", POOLED, metric) == pytest.approx(expected), metric
    bounds = pooled_intervals(p, truth, tiles["patient"], 0.4, resamples=50, seed=1)
    for score, (low, high) in bounds.items():
        assert value(metrics, "a", POOLED, f"{score}_low") == pytest.approx(low), score
        assert value(metrics, "a", POOLED, f"{score}_high") == pytest.approx(high), score
    assert metrics.columns.tolist() == ["arm", "protocol", "repeat", "metric", "value"]


def test_the_mean_of_slides_and_its_interval_are_those_of_the_summary() -> None:
    tiles = cohort(tiles=30)
    metrics = arm_metrics({"a": tiles}, {"a": 0.5}, resamples=200, seed=3)
    own = slide_scores({"a": tiles}, {"a": 0.5})
    each = [f1_score(t["label"], t["p_tumour"] >= 0.5) for _, t in tiles.groupby("slide")]
    np.testing.assert_allclose(own["f1"], each)
    expected = summarise(each, list("001122"), resamples=200, seed=3)
    for metric, wanted in (("f1", expected.mean), ("f1_low", expected.low), ("f1_high", expected.high)):
        assert value(metrics, "a", MEAN_OF_SLIDES, metric) == pytest.approx(wanted)


def test_a_slide_without_tumour_counts_only_where_a_score_is_defined() -> None:
    tiles = cohort(tiles=30)
    tiles.loc[tiles["slide"] == "s0", ["label", "p_tumour"]] = [0, 0.1]
    metrics = arm_metrics({"a": tiles}, {"a": 0.5}, resamples=20, seed=3)
    assert value(metrics, "a", MEAN_OF_SLIDES, "f1_slides") == 5
    assert value(metrics, "a", POOLED, "slides") == 6


def test_pooled_intervals_are_those_of_drawing_patients_one_by_one() -> None:
    tiles = cohort(slides=8, tiles=25)
    p, label, owner = tiles["p_tumour"].to_numpy(), tiles["label"].to_numpy(), tiles["patient"].to_numpy()
    bounds = pooled_intervals(p, label, owner, 0.5, resamples=80, seed=5)
    weights = np.random.default_rng(5).multinomial(4, [0.25] * 4, size=80)
    slow: dict[str, list[float]] = {"f1": [], "precision": [], "recall": [], "auc": []}
    for draw in weights:
        rows = np.concatenate([np.tile(np.flatnonzero(owner == str(i)), n) for i, n in enumerate(draw)])
        truth, score = label[rows], p[rows]
        slow["f1"].append(f1_score(truth, score >= 0.5))
        slow["precision"].append(precision_score(truth, score >= 0.5))
        slow["recall"].append(recall_score(truth, score >= 0.5))
        slow["auc"].append(roc_auc_score(truth, score))
    for name, values in slow.items():
        np.testing.assert_allclose(bounds[name], np.quantile(values, [0.025, 0.975]), err_msg=name)


def test_one_patient_gives_no_interval_and_half_of_no_draw_is_lost() -> None:
    tiles = cohort(slides=2)
    bounds = pooled_intervals(tiles["p_tumour"], tiles["label"], tiles["patient"], 0.5, resamples=50, seed=1)
    assert all(math.isnan(b) for pair in bounds.values() for b in pair)
    # One patient of two has no tumour: draws of that patient alone have no recall, and the others still count.
    tiles = cohort(slides=4)
    tiles.loc[tiles["patient"] == "1", "label"] = 0
    bounds = pooled_intervals(tiles["p_tumour"], tiles["label"], tiles["patient"], 0.5, resamples=50, seed=1)
    own = tiles[tiles["patient"] == "0"]
    assert bounds["recall"] == pytest.approx([recall_score(own["label"], own["p_tumour"] >= 0.5)] * 2)


def test_tiles_without_a_label_leave_the_interval_as_it_is() -> None:
    tiles = cohort(slides=8, tiles=25)
    none = cohort(seed=9, slides=10, tiles=7).assign(label=-1)  # of these patients, and of one more
    both = pd.concat([none, tiles], ignore_index=True)
    with_none, without = (
        pooled_intervals(t["p_tumour"], t["label"], t["patient"], 0.5, resamples=50, seed=1) for t in (both, tiles)
    )
    assert with_none == without


def test_a_tile_at_the_threshold_counts_as_called_in_the_interval() -> None:
    # Of either patient one tile of tumour at the threshold and one without below: whoever is drawn, all is right.
    bounds = pooled_intervals(np.array([0.5, 0.4] * 2), np.array([1, 0] * 2), list("aabb"), 0.5, resamples=20, seed=0)
    assert bounds == dict.fromkeys(("precision", "recall", "f1", "auc"), (1, 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=2, max_size=25))
def test_the_tuned_threshold_is_the_best_of_all_and_nearest_to_a_half(drawn: list[tuple[int, bool]]) -> None:
    tiles = pd.DataFrame({"p_tumour": [p / 10 for p, _ in drawn], "label": [int(t) for _, t in drawn]})
    if tiles["label"].nunique() < 2:
        with pytest.raises(TrainingDataError, match=r"arm_x.*one class alone.*mark slides|Mark slides"):
            tuned_threshold(tiles, where="arm_x")
        return
    chosen = tuned_threshold(tiles, where="arm_x")
    # Tenths and all that lies between: as many thresholds as there are ways to part these tiles.
    f1 = {t: f1_by_hand(tiles, t - 1e-9) for t in (0.5, *np.arange(0, 1.0001, 0.05))}
    best = max(f1.values())
    assert f1_by_hand(tiles, chosen) == pytest.approx(best)
    if f1[0.5] == pytest.approx(best):
        assert chosen == 0.5


@pytest.mark.parametrize(
    ("p_tumour", "threshold"),
    [
        # F1 is 2/3 with the first tile alone, and with all four.
        ([0.9, 0.6, 0.3, 0.2], 0.75),
        ([0.9, 0.85, 0.6, 0.45], 0.45),
    ],
)
def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken(p_tumour: list[float], threshold: float) -> None:
    tiles = pd.DataFrame({"p_tumour": p_tumour, "label": [1, 0, 0, 1]})
    assert tuned_threshold(tiles, where="a") == pytest.approx(threshold)


def f1_by_hand(tiles: pd.DataFrame, threshold: float) -> float:
    called, tumour = (tiles["p_tumour"] >= threshold).to_numpy(), tiles["label"].to_numpy() == 1
    return 2 * (called & tumour).sum() / (called.sum() + tumour.sum())


def test_unreadable_tiles_do_not_tune_the_threshold() -> None:
    readable = pd.DataFrame({"p_tumour": [0.9, 0.8, 0.7, 0.6, 0.3], "label": [1, 0, 0, 0, 1]})
    unreadable = pd.DataFrame({"p_tumour": [np.nan] * 10, "label": [0] * 10})
    # Were they taken for tiles that are always called, calling everything would pay.
    assert tuned_threshold(pd.concat([readable, unreadable]), where="a") == pytest.approx(0.85)


def test_arms_are_laid_out_one_per_row_in_their_order() -> None:
    arms = {"z": cohort(skill=2.0), "a": cohort(skill=0.5)}
    metrics = arm_metrics(arms, {"z": 0.5, "a": 0.5}, resamples=50, seed=0)
    table = wide(metrics)
    assert table["arm"].tolist() == ["z", "a"]
    assert table["f1"].iloc[0] > table["f1"].iloc[1]
    row: dict[str, Any] = {"f1": 0.876, "f1_low": 0.8, "f1_high": 0.95}
    assert with_interval(row, "f1") == "0.88 (0.80 to 0.95)"
    assert with_interval({**row, "f1_low": math.nan}, "f1") == "0.88"
    assert with_interval({**row, "f1": math.nan}, "f1") == "–"
    low, high = (table[f"f1_{end}"].to_numpy() for end in ("low", "high"))
    assert (low < table["f1"]).all() and (table["f1"] < high).all()
