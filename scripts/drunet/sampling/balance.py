"""Classes as often as each other: over- and under-sampling of an epoch's crops as they were drawn."""

from collections.abc import Sequence

import numpy as np

from drunet.sampling.crops import Crops


def oversample(rng: np.random.Generator, crops: Crops) -> Crops:
    """Repeat the rarer class until there is as much of it as of the other, every crop as often give or take one.

    >>> crops = Crops(slide=np.zeros(5, int), x=np.arange(5), y=np.arange(5), label=np.array([0, 0, 0, 0, 1]))
    >>> np.bincount(oversample(np.random.default_rng(0), crops).label).tolist()
    [4, 4]
    """
    members = _by_class(crops)
    return evened(rng, crops, members, [max(map(len, members))] * len(members))


def undersample(rng: np.random.Generator, crops: Crops) -> Crops:
    """Cut the commoner class down to as much as there is of the other: another part of it in every epoch.

    >>> crops = Crops(slide=np.zeros(5, int), x=np.arange(5), y=np.arange(5), label=np.array([0, 0, 0, 0, 1]))
    >>> np.bincount(undersample(np.random.default_rng(0), crops).label).tolist()
    [1, 1]
    """
    members = _by_class(crops)
    return evened(rng, crops, members, [min(map(len, members))] * len(members))


def evened(rng: np.random.Generator, crops: Crops, members: Sequence[np.ndarray], counts: Sequence[int]) -> Crops:
    """Draw from groups of crops, in each every member as often as any other give or take one.

    `members` has the positions in `crops` of each group, int (n,), none of them empty; `counts` says how many of each.
    """
    order = []
    for group, count in zip(members, counts, strict=True):
        rounds, rest = divmod(count, len(group))
        order += [np.tile(group, rounds), rng.permutation(group)[:rest]]
    return crops.take(np.concatenate(order))


def _by_class(crops: Crops) -> list[np.ndarray]:
    return [np.flatnonzero(crops.label == label) for label in np.unique(crops.label)]
