"""The number of clusters and the clusters themselves, by differential evolution.

Paper, Discussion: an evolutionary optimiser chooses the clusters before few-shot training. The authors' genetic
algorithm works on the label of every tile (population 1000 x 100,000 generations), which no cohort can wait for. Here
an individual holds what grows with the clusters and not with the tiles: an activation and a centroid for each of at
most K clusters, the encoding of Das, Abraham and Konar (2008, "Automatic clustering using an improved differential
evolution algorithm").
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeResult, differential_evolution
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score

from drunet.console import say
from drunet.errors import TrainingDataError
from studies.common.clustering.settings import Search

# Labels int (n,), 0..k-1, every one of them used and k at least 2, to a number of which less is better. A measure is
# bound to points, float (n, d), so that what depends on them alone is computed once.
Fitness = Callable[[np.ndarray], float]
# A cluster takes part where its activation exceeds this.
_ACTIVE = 0.5


@dataclass(frozen=True, eq=False)
class Clusters:
    """What the search found.

    `labels`: int (n,), 0..k-1, the largest cluster first. `centroids`: float (k, d), means of the clusters' points.
    `fitness`: of these labels. `curve`: generation (0 is the first population), best, median (of the population),
    clusters (of the best). `cut`: whether the seconds ended the search.
    """

    labels: np.ndarray
    centroids: np.ndarray
    fitness: float
    curve: pd.DataFrame
    cut: bool

    def __len__(self) -> int:
        return len(self.centroids)


def evolve_clusters(points: np.ndarray, search: Search, *, seed: int, where: str) -> Clusters:
    """Find clusters and their number.

    The first population's centroids are points drawn at random. An individual's clusters are the points nearest to each
    active centroid; those with fewer than `min_tiles` points are given up and their points go to the next nearest.

    The same seed and points, float (n, d), give the same clusters, unless the seconds ran out. Raises TrainingDataError
    if there are fewer tiles than two clusters need, or no two clusters can be distinguished.
    """
    counted = f"{len(points)} tiles, at least {search.min_tiles} a cluster"
    if len(points) < 2 * search.min_tiles:
        mend = "Lower `min_tiles`, or annotate more."
        raise TrainingDataError("too few tiles to make clusters of", where=where, found=counted, mend=mend)
    rng = np.random.default_rng(seed)
    problem = _Problem(points, search, where)
    members, most = search.population, search.max_clusters
    activations, chosen = rng.random((members, most)), rng.integers(len(points), size=(members, most))
    start = np.hstack([activations, points[chosen].reshape(members, -1)])
    energies = problem(start.T)
    problem.note(start[np.argsort(energies, kind="stable")[0]], energies)
    how: dict[str, Any] = {"strategy": "best1bin", "mutation": (0.5, 1.0), "recombination": 0.9, "tol": 1e-6}
    how |= {"maxiter": search.generations, "polish": False, "updating": "deferred", "vectorized": True}
    result = differential_evolution(problem, problem.bounds, init=start, rng=rng, callback=problem.watch, **how)
    labels = problem.labels(result.x)
    if labels is None or not np.isfinite(result.fun):
        mend = "Lower `min_tiles`, or annotate tiles that differ."
        raise TrainingDataError("no two clusters of tiles can be distinguished", where=where, found=counted, mend=mend)
    labels = by_size(labels)
    return Clusters(labels, cluster_means(points, labels), float(result.fun), problem.curve(), problem.cut)


def by_size(labels: np.ndarray) -> np.ndarray:
    """Number labels anew, 0 for the one that is met most."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.asarray(np.argsort(order, kind="stable")[labels])


class _Problem:
    """The optimiser's view of the clusters, genes in, fitness out; keeps the curve, and ends the search in time."""

    def __init__(self, points: np.ndarray, search: Search, where: str = "") -> None:
        self._points, self._search, self._where, self._begun = points, search, where, time.monotonic()
        self._fitness: Fitness = MEASURES[search.fitness](points)
        low, high = points.min(axis=0), points.max(axis=0)
        axes = [(a, max(b, np.nextafter(a, np.inf))) for a, b in zip(low, high, strict=True)]
        self.bounds = [(0.0, 1.0)] * search.max_clusters + axes * search.max_clusters
        self._rows: list[dict[str, float]] = []
        self.cut = False

    def __call__(self, population: np.ndarray) -> np.ndarray:
        """Fitness (s,) of a population (genes, s), as `differential_evolution` hands it over."""
        values = np.full(population.shape[1], np.inf)
        for i, genes in enumerate(population.T):
            labels = self.labels(genes)
            if labels is not None:
                values[i] = self._fitness(labels)
        return values

    def labels(self, genes: np.ndarray) -> np.ndarray | None:
        """The clusters that genes stand for, numbered 0..k-1; None where fewer than two are large enough."""
        most = self._search.max_clusters
        activations, centroids = genes[:most], genes[most:].reshape(most, -1)
        active = np.flatnonzero(activations > _ACTIVE)
        if len(active) < 2:
            active = np.sort(np.argsort(-activations, kind="stable")[:2])
        # The points' own squares change no order of distances.
        distances = (centroids**2).sum(axis=1) - 2 * self._points @ centroids.T
        while len(active) >= 2:
            nearest = distances[:, active].argmin(axis=1)
            count = np.bincount(nearest, minlength=len(active))
            if count.min() >= self._search.min_tiles:
                return np.asarray(nearest)
            # The smallest alone: its points may save another.
            active = np.delete(active, count.argmin())
        return None

    def note(self, best: np.ndarray, energies: np.ndarray) -> None:
        """Take down a generation."""
        labels = self.labels(best)
        clusters = 0 if labels is None else int(labels.max()) + 1
        row = {"generation": len(self._rows), "best": float(energies.min()), "median": float(np.median(energies))}
        self._rows.append({**row, "clusters": clusters})

    def watch(self, intermediate_result: OptimizeResult) -> None:
        """Take down each generation, and stop when the seconds are over."""
        self.note(intermediate_result.x, intermediate_result.population_energies)
        if time.monotonic() - self._begun > self._search.seconds:
            self.cut = True
            ended = f"ended by its {self._search.seconds:g} seconds after {len(self._rows) - 1} generations"
            hint = "another machine may find other clusters. Raise `seconds` to have the same everywhere."
            say(f"{self._where}: {ended}; {hint}")
            raise StopIteration

    def curve(self) -> pd.DataFrame:
        """A row per generation; what is infinite, because no clusters were large enough, is left out."""
        return pd.DataFrame(self._rows).replace([np.inf, -np.inf], np.nan)


def variance_ratio(points: np.ndarray) -> Fitness:
    """Variance within clusters over variance between them: [W / (n - k)] / [B / (k - 1)].

    W and B are the sums of squared distances of points from their cluster's mean, and of these means, once per point,
    from the mean of all: the two that the paper sets against each other (Discussion), and the inverse of the index of
    Calinski and Harabasz (1974). Clusters count by their size, so that a few odd tiles do not make the best cluster.
    """
    centred = points - points.mean(axis=0)
    total = float((centred**2).sum())

    def measure(labels: np.ndarray) -> float:
        members = np.eye(labels.max() + 1)[labels]
        count = members.sum(axis=0)
        between = float((((members.T @ centred) ** 2).sum(axis=1) / count).sum())
        clusters, n = len(count), len(labels)
        if not between > 0 or n <= clusters:
            return np.inf
        return max(total - between, 0.0) / (n - clusters) * (clusters - 1) / between

    return measure


def silhouette(points: np.ndarray) -> Fitness:
    """1 - the mean silhouette (Rousseeuw 1987), the fitness of the authors' code; holds all n² distances."""
    distances = squareform(pdist(points)).astype(np.float32)
    return lambda labels: 1 - float(silhouette_score(distances, labels, metric="precomputed"))


MEASURES: dict[str, Callable[[np.ndarray], Fitness]] = {"variance_ratio": variance_ratio, "silhouette": silhouette}


def cluster_means(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means (k, d) of the points with each label; every label 0..k-1 is used."""
    members = np.eye(labels.max() + 1)[labels]
    return np.asarray((members.T @ points) / members.sum(axis=0)[:, None])
