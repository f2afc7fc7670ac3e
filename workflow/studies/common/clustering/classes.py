"""The classes that a model learns: every cluster, parted into its tumour and its non-tumour tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import TrainingDataError
from drunet.tiles import NON_TUMOUR, TUMOUR
from studies.common.clustering.evolution import cluster_means
from studies.common.clustering.tiles import TRAINING, feature_columns, nearest

_NAMES = {NON_TUMOUR: "non-tumour", TUMOUR: "tumour"}


@dataclass(frozen=True, eq=False)
class TissueClasses:
    """Classes of clustered tiles.

    `of_tiles`, int (n,), is the class of each row of the table, training and validation; `labels` are 1 tumour or 0
    non-tumour per class, `facts` its label, clusters and training tiles (JSON values); `merged` says what was too small
    to be a class of its own.
    """

    of_tiles: np.ndarray
    labels: list[int]
    facts: list[dict[str, Any]]
    merged: list[str]


def tissue_classes(table: pd.DataFrame, least: int, *, where: str) -> TissueClasses:
    """Make classes of clusters and labels, none of them too small to be learnt.

    A cluster that holds both labels gives two classes. The smallest class with fewer than `least` training tiles joins
    the nearest one of its label, until none is too small. `table` has split, label, cluster, c0, c1, … from
    `studies.common.clustering.tiles.cluster_tiles`. Raises TrainingDataError if a label has no tiles, or fewer than
    `least` altogether.
    """
    training = table["split"].to_numpy() == TRAINING
    label, cluster = table["label"].to_numpy(int), table["cluster"].to_numpy(int)
    points = table[feature_columns(table, "c")].to_numpy(np.float64)
    of_tiles = np.full(len(table), -1)
    labels: list[int] = []
    facts: list[dict[str, Any]] = []
    merged: list[str] = []
    for value in (NON_TUMOUR, TUMOUR):
        own = training & (label == value)
        if own.sum() < max(least, 1):
            found = f"{int(own.sum())} tiles, at least {max(least, 1)} a class"
            mend = "Annotate more of them, or ask for fewer tiles a class."
            what = f"too few {_NAMES[value]} tiles to make a class of"
            raise TrainingDataError(what, where=where, found=found, mend=mend)
        groups = _merged(points[own], cluster[own], least, _NAMES[value], merged)
        position = {k: i for i, members in enumerate(groups) for k in members}
        inside = np.array([position[k] for k in cluster[own]])
        means = cluster_means(points[own], inside)
        # A validation tile in a cluster that has no class of its label takes the nearest that has.
        others = np.flatnonzero(~training & (label == value))
        fallback = nearest(points[others], means)
        of_tiles[own] = inside + len(labels)
        of_tiles[others] = [position.get(k, j) for k, j in zip(cluster[others], fallback, strict=True)]
        of_tiles[others] += len(labels)
        for i, members in enumerate(groups):
            facts.append({"label": _NAMES[value], "clusters": members, "tiles": int((inside == i).sum())})
        labels += [value] * len(groups)
    return TissueClasses(of_tiles, labels, facts, merged)


def _merged(points: np.ndarray, cluster: np.ndarray, least: int, name: str, notes: list[str]) -> list[list[int]]:
    """Group the clusters of one label so that every group has enough tiles."""
    groups = [[int(k)] for k in np.unique(cluster)]
    words = lambda members: f"cluster{'s' * (len(members) > 1)} {', '.join(map(str, members))}"  # noqa: E731
    while len(groups) > 1:
        inside = [np.isin(cluster, members) for members in groups]
        counts = [int(own.sum()) for own in inside]
        small = int(np.argmin(counts))
        if counts[small] >= least:
            break
        means = np.stack([points[own].mean(axis=0) for own in inside])
        distances = np.linalg.norm(means - means[small], axis=1)
        distances[small] = np.inf
        to = int(distances.argmin())
        too_few = f"{name} of {words(groups[small])} has {counts[small]} tiles, fewer than {least}"
        notes.append(f"{too_few}: learnt with {name} of {words(groups[to])}")
        groups[to] = sorted(groups[to] + groups[small])
        del groups[small]
    return groups
