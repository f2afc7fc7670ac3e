"""What the evolved clusters are worth: against k-means on the same points, by measures that neither optimised alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

# Silhouettes need all distances: above this many points they are taken on a draw.
_SILHOUETTE_POINTS = 5000
_STARTS = 10


def validity_table(
    points: np.ndarray, labels: np.ndarray, tumour: np.ndarray, max_clusters: int, *, seed: int
) -> pd.DataFrame:
    """Compare clusters with those of k-means: as many, and as many as give the best silhouette.

    `points`: float (n, d). `labels`: int (n,), the evolved clusters. `tumour`: int (n,), 1 tumour, 0 non-tumour: how
    far clusters follow the label that they were never shown. `max_clusters`: k-means is tried with 2 to so many.
    Returns columns method, clusters, silhouette (more is better), davies_bouldin (less is better), agreement (adjusted
    Rand index with the evolved clusters), agreement_with_label.
    """
    most = min(max_clusters, len(np.unique(points, axis=0)) - 1)
    trials = {k: _k_means(points, k, seed) for k in range(2, most + 1)}
    scores = {k: _silhouette(points, trial, seed) for k, trial in trials.items()}
    own = int(labels.max()) + 1
    rows = [_row("evolutionary", points, labels, labels, tumour, seed)]
    if own in trials:
        rows.append(_row("k-means, as many clusters", points, trials[own], labels, tumour, seed))
    if scores:
        best = max(scores, key=lambda k: (scores[k], -k))
        rows.append(_row("k-means, best silhouette", points, trials[best], labels, tumour, seed))
    return pd.DataFrame(rows)


def _k_means(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    return np.asarray(KMeans(k, n_init=_STARTS, random_state=seed).fit_predict(points))


def _silhouette(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    drawn = _SILHOUETTE_POINTS if len(points) > _SILHOUETTE_POINTS else None
    return float(silhouette_score(points, labels, sample_size=drawn, random_state=seed))


def _row(
    method: str, points: np.ndarray, labels: np.ndarray, evolved: np.ndarray, tumour: np.ndarray, seed: int
) -> dict[str, object]:
    return {
        "method": method,
        "clusters": len(np.unique(labels)),
        "silhouette": _silhouette(points, labels, seed),
        "davies_bouldin": float(davies_bouldin_score(points, labels)),
        "agreement": float(adjusted_rand_score(evolved, labels)),
        "agreement_with_label": float(adjusted_rand_score(tumour, labels)),
    }
