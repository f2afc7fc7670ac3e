"""How far a segmentation is from the truth, and how sure an average over slides is."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NAN = float("nan")


class SegmentationScores(NamedTuple):
    """Agreement of two masks; NaN where a score is not defined.

    Dice similarity coefficient and intersection over union, 0 to 1; Hausdorff distance between the boundaries, and the
    same at the 95th percentile, in µm; precision and recall are the share of the prediction that is true and the share
    of the truth that is predicted.
    """

    dsc: float
    iou: float
    hd_um: float
    hd95_um: float
    precision: float
    recall: float


class TileScores(NamedTuple):
    """Classification of the labelled tiles of a slide, of the class tumour; NaN where a score is not defined.

    Those tiles count that have a label and a readable probability; labelled tiles whose probability is NaN are
    unreadable.
    """

    tiles: int
    precision: float
    recall: float
    f1: float
    auc: float
    unreadable: int = 0


class Summary(NamedTuple):
    """A score over many slides: `n` values count, those that are NaN are left out.

    `sd` is the sample standard deviation (n - 1), `low` and `high` are bounds of the bootstrap interval of the mean,
    NaN with fewer than two groups (patients).
    """

    n: int
    mean: float
    sd: float
    median: float
    low: float
    high: float
    groups: int = 0
    left_out: int = 0


def segmentation_scores(
    predicted: np.ndarray,
    truth: np.ndarray,
    *,
    mpp: float | tuple[float, float],
    region: np.ndarray | None = None,
) -> SegmentationScores:
    """Compare a predicted mask with the truth, bool (h, w) both.

    `mpp` is µm per pixel, or (µm per row, µm per column). With a `region`, bool (h, w), only a part of the slide is
    annotated: pixels outside it do not count, and distances are NaN, as boundaries would be cut by the region's own. A
    boundary is the set of mask pixels with a 4-neighbour outside the mask; what lies beyond the picture counts as
    outside. Each boundary pixel has a distance to the nearest one of the other mask. `hd_um` is the largest of these
    distances over both directions, `hd95_um` the larger one of the two directions' 95th percentiles.

    ============ ============= ======== ========= ====== ========
    predicted    truth         dsc, iou precision recall hd, hd95
    ============ ============= ======== ========= ====== ========
    empty        empty         1        NaN       NaN    0
    some         empty         0        0         NaN    NaN
    empty        some          0        NaN       0      NaN
    anything     empty region  NaN      NaN       NaN    NaN
    ============ ============= ======== ========= ====== ========

    >>> predicted, truth = np.zeros((2, 10, 10), bool)
    >>> predicted[2:6, 2:6] = truth[2:6, 4:8] = True
    >>> scores = segmentation_scores(predicted, truth, mpp=4.0)
    >>> scores.dsc, scores.precision, scores.hd_um
    (0.5, 0.5, 8.0)
    """
    _require_masks(predicted, truth, region)
    sampling = _sampling(mpp)
    if region is not None:
        if not region.any():
            return SegmentationScores(NAN, NAN, NAN, NAN, NAN, NAN)
        predicted, truth = predicted & region, truth & region

    both = int(np.count_nonzero(predicted & truth))
    n_predicted, n_truth = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
    empty = n_predicted + n_truth == 0
    hd, hd95 = (NAN, NAN) if region is not None else _hausdorff(predicted, truth, sampling)
    return SegmentationScores(
        dsc=1.0 if empty else 2 * both / (n_predicted + n_truth),
        iou=1.0 if empty else both / (n_predicted + n_truth - both),
        hd_um=hd,
        hd95_um=hd95,
        precision=_ratio(both, n_predicted),
        recall=_ratio(both, n_truth),
    )


def tile_scores(p_tumour: np.ndarray, label: np.ndarray, threshold: float) -> TileScores:
    """Score the tiles of a slide.

    Of `p_tumour`, float (n,), NaN is a tile that could not be read; of `label`, int (n,), 1 is tumour, 0 non-tumour,
    and anything else (-1) no label: the tile does not count. A tile is called tumour from the threshold on (`>=`).
    Precision is NaN when no tile is called tumour, recall when none is, F1 when both, and the area under the curve when
    only one class is there.

    >>> scores = tile_scores(np.array([0.9, 0.7, 0.2, np.nan]), np.array([1, 0, 0, 1]), threshold=0.5)
    >>> scores.tiles, scores.precision, scores.recall, scores.auc, scores.unreadable
    (3, 0.5, 1.0, 1.0, 1)
    """
    p_tumour, label = np.asarray(p_tumour, dtype=np.float64), np.asarray(label)
    if p_tumour.shape != label.shape or p_tumour.ndim != 1:
        raise ValueError(f"one probability and one label a tile, not {p_tumour.shape} and {label.shape}")
    labelled = (label == 0) | (label == 1)
    readable = np.isfinite(p_tumour)
    p, is_tumour = p_tumour[labelled & readable], label[labelled & readable] == 1

    called = p >= threshold
    hits = int(np.count_nonzero(called & is_tumour))
    n_called, n_tumour = int(np.count_nonzero(called)), int(np.count_nonzero(is_tumour))
    return TileScores(
        tiles=p.size,
        precision=_ratio(hits, n_called),
        recall=_ratio(hits, n_tumour),
        f1=_ratio(2 * hits, n_called + n_tumour),
        auc=area_under_roc(p, is_tumour),
        unreadable=int(np.count_nonzero(labelled & ~readable)),
    )


def area_under_roc(score: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive scores above a negative, a tie counting half (Mann-Whitney); NaN with one class only.

    >>> area_under_roc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return NAN
    # Ties share the mean of their ranks. `scipy.stats` does it too, and takes half a second to import, for every slide.
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    above = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * n_negative)


def summarise(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | np.ndarray,
    *,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> Summary:
    """Average a score (n,) over slides, with a percentile bootstrap interval of the mean of coverage `level`.

    Whole `groups`, (n,) whom each value belongs to (patients), are drawn with replacement, as many as there are, and
    all of a drawn group's values enter the mean (cluster bootstrap). NaN values are left out and counted.

    >>> summary = summarise([0.8, 0.9, 0.7], ["p01", "p01", "p02"], resamples=1000, seed=1)
    >>> summary.n, summary.groups, round(summary.mean, 3), round(summary.low, 2), round(summary.high, 2)
    (3, 2, 0.8, 0.7, 0.85)
    """
    score = np.asarray(values, dtype=np.float64)
    owner = np.asarray(groups, dtype=object).astype(str)
    if score.shape != owner.shape or score.ndim != 1:
        raise ValueError(f"one value and one group a slide, not {score.shape} and {owner.shape}")
    known = np.isfinite(score)
    left_out = int(np.count_nonzero(~known))
    score, owner = score[known], owner[known]
    if score.size == 0:
        return Summary(0, NAN, NAN, NAN, NAN, NAN, 0, left_out)

    low, high = mean_interval(score, owner, resamples=resamples, seed=seed, level=level)
    return Summary(
        n=score.size,
        mean=float(score.mean()),
        sd=float(score.std(ddof=1)) if score.size > 1 else NAN,
        median=float(np.median(score)),
        low=low,
        high=high,
        groups=len(np.unique(owner)),
        left_out=left_out,
    )


def mean_interval(
    values: NDArray[np.float64], groups: NDArray, *, resamples: int, seed: int, level: float
) -> tuple[float, float]:
    """Interval of the mean; all of a drawn group's values enter it. NaN with fewer than two groups."""
    _, owner = np.unique(groups, return_inverse=True)
    total, count = np.bincount(owner, weights=values), np.bincount(owner)
    if total.size < 2:
        return NAN, NAN
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples must be positive and level between 0 and 1, not {resamples} and {level}")
    # Groups one by one, not how often each is drawn: sums of decimals depend on their order.
    drawn = np.random.default_rng(seed).integers(0, total.size, (resamples, total.size))
    return interval(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), level)


def interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Percentile bounds of a score over draws; draws in which it is not defined (NaN) do not count.

    >>> interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return NAN, NAN
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _hausdorff(predicted: np.ndarray, truth: np.ndarray, sampling: tuple[float, float]) -> tuple[float, float]:
    """Largest and 95th percentile distance between two boundaries, in µm.

    By trees of points, as exact as a distance transform: of 50 million pixels of a slide few are on a boundary.
    """
    a, b = (np.argwhere(_boundary(mask)) * np.asarray(sampling) for mask in (predicted, truth))
    if len(a) == 0 and len(b) == 0:
        return 0.0, 0.0
    if len(a) == 0 or len(b) == 0:
        return NAN, NAN
    there, _ = cKDTree(b).query(a)
    back, _ = cKDTree(a).query(b)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(max(there.max(), back.max())), float(hd95)


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have a 4-neighbour outside it."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else NAN


def _sampling(mpp: float | tuple[float, float]) -> tuple[float, float]:
    sampling = (float(mpp[0]), float(mpp[1])) if isinstance(mpp, tuple) else (float(mpp), float(mpp))
    if not all(np.isfinite(s) and s > 0 for s in sampling):
        raise ValueError(f"mpp must be positive, not {mpp}")
    return sampling


def _require_masks(predicted: np.ndarray, truth: np.ndarray, region: np.ndarray | None) -> None:
    for name, mask in (("predicted", predicted), ("truth", truth), ("region", region)):
        if mask is None:
            continue
        if mask.dtype != np.bool_ or mask.ndim != 2 or mask.shape != predicted.shape:
            raise ValueError(f"{name} must be bool {predicted.shape}, not {mask.dtype} {mask.shape}")
