"""How good a clustering is: small where clusters are tight and unlike each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score

# Labels int (n,), 0..k-1, every one of them used and k at least 2, to a number of which less is better. A measure is
# bound to points, float (n, d), so that what depends on them alone is computed once.
Fitness = Callable[[np.ndarray], float]


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
