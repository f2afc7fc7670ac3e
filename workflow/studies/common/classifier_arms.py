"""Scores of several classifiers on the labelled tiles of the same slides.

An arm is a classifier with a threshold. Its scores are `pooled` over all tiles, as in published tables of patch-wise
classifiers, and `mean_of_slides`, where a slide with many tiles weighs no more than one with few.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import TrainingDataError
from drunet.metrics import NAN, interval, summarise, tile_scores
from drunet.tiles import read_table
from studies.common import words
from studies.common.statistics import resample

SCORES = ("f1", "precision", "recall", "auc")
POOLED, MEAN_OF_SLIDES = "pooled", "mean_of_slides"
DEFAULT_THRESHOLD = 0.5


def labelled_tiles(
    slides: Sequence[Mapping[str, Any]],
    tables: Sequence[str | os.PathLike[str]],
    classified: Sequence[str | os.PathLike[str]],
) -> pd.DataFrame:
    """What one classifier said of labelled tiles of some slides: slide, patient, p_tumour (NaN: unreadable), label.

    `tables` and `classified` are `tiles.parquet` and the classified tiles of each. A label is 1 (tumour) or 0.
    """
    tiles = classified_tiles([str(slide["slide"]) for slide in slides], tables, classified)
    tiles = tiles[tiles["label"] >= 0].astype({"p_tumour": float, "label": int}).reset_index(drop=True)
    tiles["patient"] = tiles["slide"].map({str(slide["slide"]): str(slide["patient"]) for slide in slides})
    return tiles[["slide", "patient", "p_tumour", "label"]]


def classified_tiles(
    slides: Iterable[str], tables: Iterable[str | os.PathLike[str]], heatmaps: Iterable[str | os.PathLike[str]]
) -> pd.DataFrame:
    """The tile tables of slides, with slide and p_tumour, one below the other; a file of each kind per slide."""
    parts = []
    for slide, table, heatmap in zip(slides, tables, heatmaps, strict=True):
        labelled, seen = read_table(table)[0], read_table(heatmap)[0]
        parts.append(labelled.merge(seen, on=["column", "row"], validate="1:1").assign(slide=slide))
    columns = ["column", "row", "x", "y", "label", "p_tumour", "slide"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def tuned_threshold(tiles: pd.DataFrame, *, where: str) -> float:
    """The threshold of highest F1 on validation tiles, half-way between two probabilities; of equals nearest to 0.5.

    Raises TrainingDataError if the tiles, from `labelled_tiles`, are of one class; `where` names the variant.
    """
    known = tiles[tiles["p_tumour"].notna()]
    positive = known["label"].to_numpy() == 1
    if positive.all() or not positive.any():
        found = f"{np.count_nonzero(positive)} tumour, {np.count_nonzero(~positive)} non-tumour tiles in validation"
        mend = "Mark slides with both classes `val` in the sheet, or keep the threshold at 0.5."
        raise TrainingDataError("a threshold cannot be tuned on one class alone", where=where, found=found, mend=mend)
    p = known["p_tumour"].to_numpy(float)
    # Between two neighbouring probabilities nothing changes: their middle stands for all, and is not on a tile's own.
    known_p = np.unique(p)
    candidates = np.unique([DEFAULT_THRESHOLD, known_p[0], *(known_p[:-1] + known_p[1:]) / 2])
    called = len(p) - np.searchsorted(np.sort(p), candidates)
    hits = positive.sum() - np.searchsorted(np.sort(p[positive]), candidates)
    f1 = 2 * hits / (called + positive.sum())
    best = candidates[f1 == f1.max()]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD))])


def slide_scores(arms: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Score every slide under every variant: arm, slide, patient, threshold, and what `tile_scores` gives."""
    rows = []
    for arm, tiles in arms.items():
        for (slide, patient), own in tiles.groupby(["slide", "patient"], sort=False):
            scores = tile_scores(own["p_tumour"].to_numpy(), own["label"].to_numpy(), thresholds[arm])
            place = {"arm": arm, "slide": slide, "patient": patient, "threshold": thresholds[arm]}
            rows.append({**place, **scores._asdict()})
    return pd.DataFrame(rows)


def arm_metrics(
    arms: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float], *, resamples: int, seed: int
) -> pd.DataFrame:
    """Measure variants in both views, with 95 % bootstrap intervals over patients; all are resampled alike.

    Returns columns arm, protocol (`pooled` or `mean_of_slides`), repeat (empty), metric, value. Metrics are the scores,
    each with `_low` and `_high`; pooled also threshold, tiles, unreadable, slides, patients; `{score}_slides` is on how
    many slides a score is defined. Raises TrainingDataError if a variant has no tile.
    """
    if empty := [arm for arm, tiles in arms.items() if tiles.empty]:
        found = "no usable annotated slide of the split, or none with labelled tiles"
        mend = "Mark annotated slides `test` in the sheet; slides.tsv in the results says what was left out."
        raise TrainingDataError("there is no labelled tile to measure", where=empty[0], found=found, mend=mend)
    rows: list[tuple[str, str, str, str, float]] = []
    per_slide = slide_scores(arms, thresholds)
    for arm, tiles in arms.items():
        p, label, patients = (tiles[column].to_numpy() for column in ("p_tumour", "label", "patient"))
        pooled = tile_scores(p, label, thresholds[arm])._asdict()
        bounds = pooled_intervals(p, label, patients, thresholds[arm], resamples=resamples, seed=seed)
        own = per_slide[per_slide["arm"] == arm]
        values: dict[str, float] = {}
        means: dict[str, float] = {}
        for score in SCORES:
            values |= {score: pooled[score], f"{score}_low": bounds[score][0], f"{score}_high": bounds[score][1]}
            mean = summarise(own[score].to_numpy(), own["patient"].to_numpy(), resamples=resamples, seed=seed)
            means |= {score: mean.mean, f"{score}_low": mean.low, f"{score}_high": mean.high, f"{score}_slides": mean.n}
        values |= {"tiles": pooled["tiles"], "unreadable": pooled["unreadable"], "threshold": thresholds[arm]}
        values |= {"slides": tiles["slide"].nunique(), "patients": tiles["patient"].nunique()}
        for protocol, measured in ((POOLED, values), (MEAN_OF_SLIDES, means)):
            rows += [(arm, protocol, "", metric, float(value)) for metric, value in measured.items()]
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def pooled_intervals(
    p_tumour: np.ndarray, label: np.ndarray, groups: np.ndarray, threshold: float, *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of scores over pooled tiles (n,), drawing whole groups (patients); NaN for a single group.

    Draws in which a score is not defined do not count for it.
    """
    p_tumour, label = np.asarray(p_tumour, dtype=np.float64), np.asarray(label)
    counts = ((label == 0) | (label == 1)) & np.isfinite(p_tumour)
    p, positive = p_tumour[counts], label[counts] == 1
    draws = resample(np.asarray(groups, dtype=object).astype(str)[counts], resamples=resamples, seed=seed)
    if draws is None:
        return dict.fromkeys(("precision", "recall", "f1", "auc"), (NAN, NAN))
    owner, drawn = draws
    called, count = p >= threshold, drawn.shape[1]
    hits, n_called, n_tumour, n_other = (
        drawn @ np.bincount(owner[chosen], minlength=count)
        for chosen in (called & positive, called, positive, ~positive)
    )
    # A draw's area under the curve is a sum over pairs of groups: positives of one against negatives of the other.
    groups_p = [(p[positive & (owner == i)], p[~positive & (owner == i)]) for i in range(count)]
    won = np.array([[_wins(above, below) for _, below in groups_p] for above, _ in groups_p])
    with np.errstate(invalid="ignore"):
        scores = {
            "precision": hits / n_called,
            "recall": hits / n_tumour,
            "f1": 2 * hits / (n_called + n_tumour),
            "auc": ((drawn @ won) * drawn).sum(axis=1) / (n_tumour * n_other),
        }
    return {name: interval(values, 0.95) for name, values in scores.items()}


def _wins(positive: np.ndarray, negative: np.ndarray) -> float:
    """Pairs in which the positive scores above the negative, a tie counting half."""
    ordered = np.sort(negative)
    return float(sum(np.searchsorted(ordered, positive, side).sum() for side in ("left", "right"))) / 2


def wide(metrics: pd.DataFrame, protocol: str = POOLED) -> pd.DataFrame:
    """One row per arm and one column per metric, of one protocol; arms and metrics in the order of their rows."""
    own = metrics[metrics["protocol"] == protocol]
    table = own.pivot_table(index="arm", columns="metric", values="value", sort=False, dropna=False)
    return table.reset_index().rename_axis(columns=None)


def with_interval(row: Mapping[Any, Any], score: str, digits: int = 2) -> str:
    """A score of a row of `wide` with its interval, as text."""
    return words.with_interval(row[score], row[f"{score}_low"], row[f"{score}_high"], digits)
