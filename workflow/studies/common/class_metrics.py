"""Classification metrics of predicted probabilities, for two classes or more, and the images that figures show.

Predictions are tables with a row per test image: `protocol`, `fold`, `label`, `group`, and `p_<class>` for each class,
in the order of the classes. The predicted class is the likeliest; of equal ones the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from drunet.metrics import NAN, area_under_roc, interval
from studies.common.statistics import resample

SCORES = ("accuracy", "mcc", "precision", "recall", "f1", "auc")
# Of one positive class: recall is the sensitivity to it.
POSITIVE_SCORES = ("accuracy", "precision", "recall", "f1", "auc", "specificity", "mcc")
_PREFIX = "p_"
# Draws whose weights are held at once.
_CHUNK = 100
# Places along the false positive rate at which curves are averaged; fine enough for any figure.
_PLACES = 2001


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic; `auc` of an average of curves is the average of their areas."""

    false_rate: NDArray[np.float64]
    true_rate: NDArray[np.float64]
    auc: float


def classes_in(predictions: pd.DataFrame) -> list[str]:
    """Names of the classes, in the order of their columns."""
    return [str(c)[len(_PREFIX) :] for c in predictions.columns if str(c).startswith(_PREFIX)]


def probabilities(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Probabilities (n, classes), in the order of `classes_in`; ValueError if one is not a number."""
    found = predictions[[_PREFIX + name for name in classes_in(predictions)]].to_numpy(dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{int((~np.isfinite(found)).any(axis=1).sum())} images have no probabilities")
    return found


def truth(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Index (n,) of each image's own class."""
    return pd.Index(classes_in(predictions)).get_indexer(pd.Index(predictions["label"])).astype(np.int64)


def called(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Index (n,) of the predicted class of each image."""
    return np.argmax(probabilities(predictions), axis=1).astype(np.int64)


def confusion(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Images by true class (rows) and predicted class (columns), summed over whatever folds the table holds."""
    count = len(classes_in(predictions))
    cells = truth(predictions) * count + called(predictions)
    return np.bincount(cells, minlength=count * count).reshape(count, count)


def scores_of_counts(counts: NDArray, positive: int | None = None) -> dict[str, NDArray[np.float64]]:
    """Scores of confusion matrices (..., classes, classes) with true classes in rows.

    mcc is the multi-class Matthews correlation R_K (Gorodkin 2004, equation 8), 0 where all images are predicted as, or
    are, one class. Precision, recall and f1 are averages over the classes that have them (macro), or those of a
    `positive` class (index), with its specificity TN / (TN + FP). A class that is never predicted has precision 0; NaN
    where nothing decides.
    """
    counts = np.asarray(counts, dtype=np.float64)
    per_class = _per_class(counts)
    total = counts.sum(axis=(-2, -1))
    hits = np.trace(counts, axis1=-2, axis2=-1)
    own, said = counts.sum(axis=-1), counts.sum(axis=-2)
    spread = (total**2 - (own**2).sum(axis=-1)) * (total**2 - (said**2).sum(axis=-1))
    covariance = hits * total - (own * said).sum(axis=-1)
    found = {
        "accuracy": _ratio(hits, total),
        "mcc": np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0),
    }
    shared = ("precision", "recall", "f1")
    if positive is None:
        return {**found, **{name: _average(per_class[name]) for name in shared}}
    return {**found, **{name: per_class[name][..., positive] for name in (*shared, "specificity")}}


def scores(predictions: pd.DataFrame, positive: str | None = None) -> dict[str, float]:
    """All scores of one fold, `SCORES` or `POSITIVE_SCORES`; auc is the positive class's, or the mean over classes."""
    index, areas = _index(predictions, positive), _areas(predictions)
    area = _average(areas) if index is None else areas[index]
    found = {**scores_of_counts(confusion(predictions), index), "auc": area}
    return {name: float(found[name]) for name in _names(positive)}


def class_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Each class against the rest: class, n, precision, recall (sensitivity), specificity, f1, auc; NaN if none."""
    counts = confusion(predictions)
    found = {"class": classes_in(predictions), "n": counts.sum(axis=1), **_per_class(counts.astype(np.float64))}
    table = pd.DataFrame({**found, "auc": _areas(predictions)})
    return table[["class", "n", "precision", "recall", "specificity", "f1", "auc"]]


def fold_scores(predictions: pd.DataFrame, positive: str | None = None) -> pd.DataFrame:
    """Scores of every protocol and fold: protocol, fold, metric (those of `scores`, and `recall <class>`), value."""
    rows = []
    for (protocol, fold), part in predictions.groupby(["protocol", "fold"], sort=False):
        recalls = class_scores(part).set_index("class")["recall"]
        found = {**scores(part, positive), **{f"recall {name}": float(value) for name, value in recalls.items()}}
        rows += [{"protocol": protocol, "fold": fold, "metric": m, "value": v} for m, v in found.items()]
    return pd.DataFrame(rows, columns=["protocol", "fold", "metric", "value"])


def summary(predictions: pd.DataFrame, *, resamples: int, seed: int, positive: str | None = None) -> pd.DataFrame:
    """Scores over folds: protocol, metric, folds, mean, sd (n - 1); for one fold low and high, by `group_intervals`."""
    by = fold_scores(predictions, positive).groupby(["protocol", "metric"], sort=False)["value"]
    table = by.agg(folds="count", mean="mean", sd="std").reset_index()
    table = table[table["metric"].isin(_names(positive))].reset_index(drop=True).assign(low=NAN, high=NAN)
    for protocol in table["protocol"].unique():
        part = predictions[predictions["protocol"] == protocol]
        if len(part["fold"].unique()) > 1:
            continue
        bounds = group_intervals(part, resamples=resamples, seed=seed, positive=positive)
        for index in table.index[table["protocol"] == protocol]:
            table.loc[index, ["low", "high"]] = bounds[str(table.loc[index, "metric"])]
    return table


def group_intervals(
    predictions: pd.DataFrame, *, resamples: int, seed: int, positive: str | None = None
) -> dict[str, tuple[float, float]]:
    """Percentile bounds of the scores of one fold, by drawing whole groups of images; NaN for a single group."""
    draws = resample(predictions["group"].astype(str).to_numpy(), resamples=resamples, seed=seed)
    if draws is None:
        return dict.fromkeys(_names(positive), (NAN, NAN))
    index = _index(predictions, positive)
    count, own, said = len(classes_in(predictions)), truth(predictions), called(predictions)
    owner, drawn = draws
    cells = np.zeros((drawn.shape[1], count * count))
    np.add.at(cells, (owner, own * count + said), 1)
    counts = (drawn @ cells).reshape(resamples, count, count)
    # A draw that lost a class is another task.
    whole = (counts.sum(axis=-1) > 0)[:, np.unique(own)].all(axis=1)
    drawn, found = drawn[whole], scores_of_counts(counts[whole], index)
    given = probabilities(predictions)
    areas = [_weighted_areas(given[:, k], own == k, drawn, owner) for k in (range(count) if index is None else [index])]
    found["auc"] = _average(np.stack(areas, axis=-1))
    return {name: interval(found[name], 0.95) for name in _names(positive)}


def roc_curves(predictions: pd.DataFrame) -> dict[str, Roc]:
    """Curve of each class against the rest, averaged at equal false positive rate over the folds that have it."""
    found: dict[str, list[Roc]] = {name: [] for name in classes_in(predictions)}
    for _, part in predictions.groupby("fold", sort=True):
        own, given = truth(part), probabilities(part)
        for k, name in enumerate(found):
            if 0 < np.count_nonzero(own == k) < len(own):
                false_rate, true_rate, _ = roc_curve(own == k, given[:, k])
                found[name].append(Roc(false_rate, true_rate, area_under_roc(given[:, k], own == k)))
    return {name: mean_roc(curves) for name, curves in found.items() if curves}


def mean_roc(curves: list[Roc]) -> Roc:
    """Average curves at equal false positive rate (over classes: the macro average)."""
    places = np.linspace(0, 1, _PLACES)
    rates = np.mean([np.interp(places, c.false_rate, c.true_rate) for c in curves], axis=0)
    start = np.zeros(1)
    return Roc(np.append(start, places), np.append(start, rates), float(np.mean([c.auc for c in curves])))


def trial_of(predictions: pd.DataFrame, trial: str) -> pd.DataFrame:
    """The predictions of one trial, named `protocol.fold`."""
    protocol, _, fold = trial.rpartition(".")
    return predictions[(predictions["protocol"] == protocol) & (predictions["fold"] == int(fold))]


def with_calls(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions with `called` (predicted class), `p` (its probability), `index` (its number), `own` (true number)."""
    names, index = np.array(classes_in(predictions)), called(predictions)
    p = probabilities(predictions)[np.arange(len(index)), index]
    return predictions.assign(called=names[index], p=p, index=index, own=truth(predictions))


def _most_certain_first(predictions: pd.DataFrame) -> pd.DataFrame:
    return with_calls(predictions).sort_values(["p", "file"], ascending=[False, True], kind="stable")


def surest(predictions: pd.DataFrame) -> pd.DataFrame:
    """The most certain correct image of each class, and the most certain wrong one, if there is any, of one trial.

    As `with_calls`, with `kind` ("right" or "wrong"); classes in their order. Of equal probabilities the first file.
    """
    known = _most_certain_first(predictions)
    right = known[known["label"] == known["called"]]
    chosen = [right[right["label"] == name].head(1).assign(kind="right") for name in classes_in(predictions)]
    wrong = known[known["label"] != known["called"]].head(1).assign(kind="wrong")
    return pd.concat([*chosen, wrong], ignore_index=True)


def confused(predictions: pd.DataFrame, classes: Sequence[str], *, pairs: int, at_most: int) -> pd.DataFrame:
    """Images of some classes (the malignant ones) that were taken for another of them, the most certain ones first.

    Of one trial, as `with_calls`; at most `pairs` for each pair of true and predicted class, and `at_most` altogether.
    Of images from one source (`group`) only one is shown, since they look alike.
    """
    mistakes = _most_certain_first(predictions)
    mistakes = mistakes[_mistaken(mistakes, classes)]
    chosen = mistakes.drop_duplicates("group").groupby(["label", "called"], sort=False).head(pairs).head(at_most)
    return chosen.reset_index(drop=True)


def count_confused(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[int, int]:
    """How many images of some classes were taken for another of them, and how many were tested in all."""
    return int(_mistaken(with_calls(predictions), classes).sum()), len(predictions)


def _mistaken(known: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    among = known["label"].isin(list(classes)) & known["called"].isin(list(classes))
    return among & (known["label"] != known["called"])


def _names(positive: str | None) -> tuple[str, ...]:
    return SCORES if positive is None else POSITIVE_SCORES


def _index(predictions: pd.DataFrame, positive: str | None) -> int | None:
    return None if positive is None else classes_in(predictions).index(positive)


def _areas(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Area under the curve of each class against the rest (classes,)."""
    own, given = truth(predictions), probabilities(predictions)
    return np.array([area_under_roc(given[:, k], own == k) for k in range(given.shape[1])])


def _per_class(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and specificity (..., classes) of confusion matrices."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    own, said = counts.sum(axis=-1), counts.sum(axis=-2)
    precision = np.where(said > 0, _ratio(hits, said), np.where(own + said > 0, 0.0, NAN))
    others = counts.sum(axis=(-2, -1))[..., None] - own
    found = {"precision": precision, "recall": _ratio(hits, own), "f1": _ratio(2 * hits, own + said)}
    return {**found, "specificity": _ratio(others - (said - hits), others)}


def _weighted_areas(
    score: NDArray[np.float64], positive: NDArray[np.bool_], drawn: NDArray[np.int64], owner: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Area under the curve in every draw (draws,): the share of pairs won, images weighing as often as drawn."""
    _, place = np.unique(score, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    areas = []
    for first in range(0, len(drawn), _CHUNK):
        weight = drawn[first : first + _CHUNK][:, owner[order]].astype(np.float64)
        above = np.add.reduceat(weight * positive[order], starts, axis=1)
        below = np.add.reduceat(weight * ~positive[order], starts, axis=1)
        won = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
        areas.append(_ratio(won, above.sum(axis=1) * below.sum(axis=1)))
    return np.concatenate(areas) if areas else np.zeros(0)


def _average(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), NAN), where=whole > 0)
