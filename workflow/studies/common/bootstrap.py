"""Whole groups drawn with replacement, for bootstrap intervals of scores that are no mean: values of one group (slides
of a patient, images of one source) are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Resampled:
    """Groups drawn anew many times: `owner` int (n,) is the group of each value, `drawn` int (resamples, groups) how
    often each group is drawn.
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
    """Draw the groups of n values `resamples` times; None with fewer than two groups, of which there is no interval.

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
