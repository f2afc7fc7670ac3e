"""Whole groups drawn with replacement, for bootstrap intervals of scores that are no mean.

Values of one group (slides of a patient, images of one source) are not independent.
"""

import numpy as np
from numpy.typing import NDArray


def resample(groups: NDArray, *, resamples: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.int64]] | None:
    """Group of each of n values (n,), and how often each group is drawn (resamples, groups); None for a single group.

    >>> owner, drawn = resample(np.array(["p01", "p01", "p02"]), resamples=4, seed=0)
    >>> owner.tolist(), drawn.shape, drawn.sum(axis=1).tolist()
    ([0, 0, 1], (4, 2), [2, 2, 2, 2])
    """
    names, owner = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    return owner, np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
