"""Clusters of embedded tiles: the space they are looked for in, and the table of who belongs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from drunet.errors import TrainingDataError
from studies.common.clustering.evolution import Clusters, evolve_clusters
from studies.common.clustering.settings import Search
from studies.common.clustering.validity import validity_table

TRAINING, VALIDATION = "training", "validation"


@dataclass(frozen=True, eq=False)
class TileClusters:
    """Clustered tiles, and what to know of the clusters.

    Attributes
    ----------
    table : DataFrame
        split, slide, x, y, label, cluster and the principal components c0, c1, …, a row per tile. Clusters are found
        among training tiles; a validation tile is given the nearest.
    clusters : Clusters
    validity : DataFrame
        See `studies.common.clustering.validity.validity_table`.
    facts : dict
        clusters, fitness, generations, cut, explained variance, and per cluster its tiles and share of tumour (JSON
        values).
    """

    table: pd.DataFrame
    clusters: Clusters
    validity: pd.DataFrame
    facts: dict[str, Any]


def cluster_tiles(features: pd.DataFrame, search: Search, *, seed: int, where: str) -> TileClusters:
    """Cluster the training tiles by their features, whatever their label.

    Parameters
    ----------
    features : DataFrame
        split, slide, x, y, label and float32 columns f0, f1, …
    search : Search
    seed : int
    where : str
        Named in messages.

    Raises
    ------
    TrainingDataError
        If all tiles look the same, or as `evolve_clusters`.
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

    The components keep their proportions; together they are scaled to a variance of 1 per tile.

    Returns
    -------
    (float (n, d), float)
        Points, and the share of the training tiles' variance that they keep.

    Raises
    ------
    TrainingDataError
        If all training tiles have the same features.
    """
    known = values[training]
    spread = np.sqrt(((known - known.mean(axis=0)) ** 2).sum(axis=1).mean())
    # Features are float32: what differs less than their rounding does not differ.
    if not spread > 1e-6 * np.abs(known).max():
        raise TrainingDataError(
            "all tiles have the same features, so that there is nothing to cluster",
            where=where,
            found=f"{len(known)} tiles",
            mend="Check the annotated regions, or start from other `weights`.",
        )
    pca = PCA(min(components, *known.shape), svd_solver="full").fit(known / spread)
    return pca.transform(values / spread), float(pca.explained_variance_ratio_.sum())


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index (n,) of the centroid nearest to each point."""
    distances = (centroids**2).sum(axis=1) - 2 * points @ centroids.T
    return np.asarray(distances.argmin(axis=1))
