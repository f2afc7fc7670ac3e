"""Bootstrap by group: intervals where whole groups are drawn with replacement, as many as there are.

Values of one group (slides of a patient, images of one source) are not independent; drawn one by one they would make
intervals too narrow. Intervals are percentile intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")


@dataclass(frozen=True)
class Resampled:
    """Groups drawn anew many times.

    Attributes
    ----------
    owner : int (n,)
        Group of each value.
    drawn : int (resamples, groups)
        How often each group is drawn.
    """

    owner: NDArray[np.intp]
    drawn: NDArray[np.int64]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.drawn.shape[1]

    def count(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of the values that are `chosen` (n,) every draw holds (resamples,)."""
        return np.asarray(self.drawn @ np.bincount(self.owner[chosen], minlength=self.groups))


def resample(groups: NDArray, *, resamples: int, seed: int) -> Resampled | None:
    """Draw groups `resamples` times; None with fewer than two groups, of which there is no interval.

    Parameters
    ----------
    groups : (n,)
        The group of each value.

    Examples
    --------
    >>> drawn = resample(np.array(["p01", "p01", "p02"]), resamples=4, seed=0)
    >>> drawn.drawn.shape, drawn.drawn.sum(axis=1).tolist()
    ((4, 2), [2, 2, 2, 2])
    """
    names, owner = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return Resampled(owner, drawn)


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

    Examples
    --------
    >>> interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return NAN, NAN
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
