"""Clusters of embedded tiles, and the classes made of them: each cluster, parted into tumour and non-tumour tiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from drunet.errors import TrainingDataError
from drunet.tiles import NON_TUMOUR, TUMOUR
from studies.common.clustering.evolution import Clusters, cluster_means, evolve_clusters
from studies.common.clustering.settings import Search

LABEL_NAMES = {NON_TUMOUR: "non-tumour", TUMOUR: "tumour"}
TRAINING, VALIDATION = "training", "validation"
# Silhouettes need all distances: above this many points they are taken on a draw.
_SILHOUETTE_POINTS = 5000
_STARTS = 10  # of k-means


def cluster_tiles(
    features: pd.DataFrame, search: Search, *, seed: int, where: str
) -> tuple[pd.DataFrame, Clusters, pd.DataFrame, dict[str, Any]]:
    """Cluster the training tiles by their features, whatever their label.

    `features` has split, slide, x, y, label and float32 columns f0, f1, … Returns a row per tile: split, slide, x, y,
    label, cluster (of a validation tile the nearest) and the principal components c0, c1, …; the clusters, their
    `validity_table`, and facts (JSON values). Raises TrainingDataError if all tiles look the same, or as
    `evolve_clusters`.
    """
    columns = feature_columns(features, "f")
    training = features["split"].to_numpy() == TRAINING
    values = features[columns].to_numpy(np.float64)
    points, explained = principal_components(values, training, search.components, where)
    found = evolve_clusters(points[training], search, seed=seed, where=where)
    table = features.drop(columns=columns).reset_index(drop=True)
    table["cluster"] = nearest(points, found.centroids)
    table.loc[training, "cluster"] = found.labels
    table = table.assign(**{f"c{i}": component for i, component in enumerate(points.T)})
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
    return table, found, validity, facts


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
            what = f"too few {LABEL_NAMES[value]} tiles to make a class of"
            raise TrainingDataError(what, where=where, found=found, mend=mend)
        groups = _merged(points[own], cluster[own], least, LABEL_NAMES[value], merged)
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
            facts.append({"label": LABEL_NAMES[value], "clusters": members, "tiles": int((inside == i).sum())})
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
