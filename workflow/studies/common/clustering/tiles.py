"""Clusters of embedded tiles: the space they are looked for in, and the table of who belongs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from drunet.errors import TrainingDataError
from studies.common.clustering.evolution import Clusters, evolve_clusters
from studies.common.clustering.settings import Search

TRAINING, VALIDATION = "training", "validation"
# Silhouettes need all distances: above this many points they are taken on a draw.
_SILHOUETTE_POINTS = 5000
_STARTS = 10  # of k-means


@dataclass(frozen=True, eq=False)
class TileClusters:
    """Clustered tiles, and what to know of the clusters.

    `table` has split, slide, x, y, label, cluster and the principal components c0, c1, …, a row per tile. Clusters are
    found among training tiles; a validation tile is given the nearest. `validity` is a `validity_table`, `facts` are
    JSON values.
    """

    table: pd.DataFrame
    clusters: Clusters
    validity: pd.DataFrame
    facts: dict[str, Any]


def cluster_tiles(features: pd.DataFrame, search: Search, *, seed: int, where: str) -> TileClusters:
    """Cluster the training tiles by their features, whatever their label.

    `features` has split, slide, x, y, label and float32 columns f0, f1, … Raises TrainingDataError if all tiles look
    the same, or as `evolve_clusters`.
    """
    columns = feature_columns(features, "f")
    training = features["split"].to_numpy() == TRAINING
    values = features[columns].to_numpy(np.float64)
    points, explained = principal_components(values, training, search.components, where)
    found = evolve_clusters(points[training], search, seed=seed, where=where)
    table = features.drop(columns=columns).reset_index(drop=True)
    table["cluster"] = nearest(points, found.centroids)
    table.loc[training, "cluster"] = found.labels
    for i, values_of_component in enumerate(points.T):
        table[f"c{i}"] = values_of_component
    label = table.loc[training, "label"].to_numpy()
    validity = validity_table(points[training], found.labels, label, search.max_clusters, seed=seed)
    facts = {
        "clusters": len(found),
        "fitness": {"measure": search.fitness, "value": found.fitness},
        "generations": int(found.curve["generation"].iloc[-1]),
        "cut_by_seconds": found.cut,
        "tiles": int(training.sum()),
        "components": points.shape[1],
        "explained_variance": explained,
        "seed": seed,
        "centroids": found.centroids.tolist(),
        "members": [
            {"cluster": k, "tiles": int((found.labels == k).sum()), "tumour": float(label[found.labels == k].mean())}
            for k in range(len(found))
        ],
    }
    return TileClusters(table, found, validity, facts)


def feature_columns(frame: pd.DataFrame, prefix: str) -> list[str]:
    """The columns prefix0, prefix1, … that a table has."""
    return [c for c in frame.columns if str(c).startswith(prefix) and str(c)[len(prefix) :].isdigit()]


def principal_components(
    values: np.ndarray, training: np.ndarray, components: int, where: str
) -> tuple[np.ndarray, float]:
    """Project features on the training tiles' principal components, of which fewer are taken where there are no more.

    The components keep their proportions; together they are scaled to a variance of 1 per tile. Returns points, float
    (n, d), and the share of the training tiles' variance that they keep. Raises TrainingDataError if all training tiles
    have the same features.
    """
    known = values[training]
    spread = np.sqrt(((known - known.mean(axis=0)) ** 2).sum(axis=1).mean())
    # Features are float32: what differs less than their rounding does not differ.
    if not spread > 1e-6 * np.abs(known).max():
        what = "all tiles have the same features, so that there is nothing to cluster"
        mend = "Check the annotated regions, or start from other `weights`."
        raise TrainingDataError(what, where=where, found=f"{len(known)} tiles", mend=mend)
    pca = PCA(min(components, *known.shape), svd_solver="full").fit(known / spread)
    return pca.transform(values / spread), float(pca.explained_variance_ratio_.sum())


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index (n,) of the centroid nearest to each point."""
    distances = (centroids**2).sum(axis=1) - 2 * points @ centroids.T
    return np.asarray(distances.argmin(axis=1))


def validity_table(
    points: np.ndarray, labels: np.ndarray, tumour: np.ndarray, max_clusters: int, *, seed: int
) -> pd.DataFrame:
    """Compare clusters with those of k-means: as many, and as many as give the best silhouette.

    `points`: float (n, d). `labels`: int (n,), the evolved clusters. `tumour`: int (n,), 1 tumour, 0 non-tumour: how
    far clusters follow the label that they were never shown. `max_clusters`: k-means is tried with 2 to so many.
    Returns columns method, clusters, silhouette (more is better), davies_bouldin (less is better), agreement (adjusted
    Rand index with the evolved clusters), agreement_with_label.
    """
    drawn = _SILHOUETTE_POINTS if len(points) > _SILHOUETTE_POINTS else None

    def silhouette(found: np.ndarray) -> float:
        return float(silhouette_score(points, found, sample_size=drawn, random_state=seed))

    most, own = min(max_clusters, len(np.unique(points, axis=0)) - 1), int(labels.max()) + 1
    trials = {k: KMeans(k, n_init=_STARTS, random_state=seed).fit_predict(points) for k in range(2, most + 1)}
    compared = {"evolutionary": labels}
    if own in trials:
        compared["k-means, as many clusters"] = trials[own]
    if trials:
        scores = {k: silhouette(trial) for k, trial in trials.items()}
        compared["k-means, best silhouette"] = trials[max(scores, key=lambda k: (scores[k], -k))]
    rows = []
    for method, found in compared.items():
        row = {"method": method, "clusters": len(np.unique(found)), "silhouette": silhouette(found)}
        row |= {"davies_bouldin": float(davies_bouldin_score(points, found))}
        row |= {"agreement": float(adjusted_rand_score(labels, found))}
        rows.append(row | {"agreement_with_label": float(adjusted_rand_score(tumour, found))})
    return pd.DataFrame(rows)
