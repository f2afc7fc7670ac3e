from __future__ import annotations

import copy
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, silhouette_score

from drunet.errors import ConfigError, TrainingDataError
from studies.common.clustering import evolution
from studies.common.clustering.evolution import MEASURES, by_size, cluster_means, evolve_clusters
from studies.common.clustering.settings import Search
from studies.common.clustering.sharing import clustered_models, clusters_of
from studies.common.clustering.tiles import cluster_tiles, principal_components, tissue_classes, validity_table

CONFIG: dict[str, Any] = {
    "max_clusters": 6,
    "components": 3,
    "population": 30,
    "generations": 60,
    "seconds": 300,
    "min_tiles": 5,
    "tiles": 500,
}
SEARCH = Search.of(CONFIG, "clustering")
CENTRES = np.array([[0, 0, 0], [12, 0, 0], [0, 12, 0], [0, 0, 12.0]])


def blobs(clusters: int = 3, n: int = 180, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points, truth = make_blobs(n, centers=CENTRES[:clusters], random_state=seed)
    return points, truth


# ---- fitness


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_fitness_is_what_scikit_learn_computes(seed: int, clusters: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, 3)) * rng.uniform(0.1, 5, 3)
    labels = np.concatenate([np.arange(clusters), rng.integers(clusters, size=40 - clusters)])
    values = {name: MEASURES[name](points)(labels) for name in MEASURES}
    assert values["variance_ratio"] == pytest.approx(1 / calinski_harabasz_score(points, labels), rel=1e-6)
    assert values["silhouette"] == pytest.approx(1 - silhouette_score(points, labels), abs=1e-5)


def test_fitness_worked_by_hand() -> None:
    points, labels = np.array([[0.0], [2.0], [10.0], [14.0]]), np.array([0, 0, 1, 1])
    # 2 and 12, 2 and 10, 4 and 9, 4 and 13 on average to the own and the other cluster.
    by_hand = (10 / 12 + 8 / 10 + 5 / 9 + 9 / 13) / 4
    assert MEASURES["silhouette"](points)(labels) == pytest.approx(1 - by_hand)
    # W = 1 + 1 + 4 + 4 over n - k = 2; B = 2 · 5.5² · 2 over k - 1 = 1.
    assert MEASURES["variance_ratio"](points)(labels) == pytest.approx((10 / 2) / 121)


def test_clusters_that_coincide_are_infinitely_bad() -> None:
    points, labels = np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.array([0, 0, 1, 1])
    assert MEASURES["variance_ratio"](points)(labels) == np.inf


# ---- the search


@pytest.mark.parametrize("fitness", MEASURES)
@pytest.mark.parametrize("clusters", [3, 4])
def test_the_number_of_clusters_and_the_clusters_are_found(clusters: int, fitness: str) -> None:
    points, truth = blobs(clusters)
    found = evolve_clusters(points, Search(**{**CONFIG, "fitness": fitness}), seed=1, where="x")
    assert len(found) == clusters
    assert adjusted_rand_score(truth, found.labels) == 1
    expected = np.stack([points[truth == k].mean(axis=0) for k in range(clusters)])
    assert np.allclose(sorted(map(tuple, found.centroids)), sorted(map(tuple, expected)))
    assert found.fitness == pytest.approx(MEASURES[fitness](points)(truth))


def test_the_same_seed_finds_the_same_and_the_curve_only_falls() -> None:
    points = np.random.default_rng(3).normal(size=(120, 3))
    first, again = (evolve_clusters(points, SEARCH, seed=7, where="x") for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)
    pd.testing.assert_frame_equal(first.curve, again.curve)
    best = first.curve["best"].dropna()
    assert (best.diff().dropna() <= 0).all() and best.iloc[-1] == pytest.approx(first.fitness)
    assert first.curve["generation"].tolist() == list(range(len(first.curve)))
    assert first.curve["clusters"].iloc[-1] == len(first)
    other = evolve_clusters(points, SEARCH, seed=8, where="x")
    assert not first.curve["median"].equals(other.curve["median"])


@pytest.mark.slow
def test_no_cluster_is_smaller_than_asked() -> None:
    points = np.concatenate([blobs(3)[0], [[40, 40, 40], [41, 40, 40], [40, 41, 40.0]]])
    for fitness in MEASURES:
        found = evolve_clusters(points, Search(**{**CONFIG, "fitness": fitness}), seed=1, where="x")
        assert np.bincount(found.labels).min() >= CONFIG["min_tiles"]
    lenient = evolve_clusters(points, Search(**{**CONFIG, "min_tiles": 2, "fitness": "silhouette"}), seed=1, where="x")
    assert np.bincount(lenient.labels).min() == 3, "the three odd ones would otherwise be the best cluster"


def test_genes_stand_for_the_nearest_active_centroids_and_the_smallest_cluster_is_given_up() -> None:
    points = np.repeat([[0.0], [4.0], [6.0], [20.0]], [9, 2, 3, 9], axis=0)
    problem = evolution._Problem(points, Search(**{**CONFIG, "max_clusters": 4, "min_tiles": 5}))

    def labels(*activations: float) -> list[int] | None:
        found = problem.labels(np.array([*activations, 0.0, 4.2, 6.3, 20.0]))
        return None if found is None else np.unique(found, return_counts=True)[1].tolist()

    assert labels(0.9, 0.1, 0.1, 0.9) == [14, 9]
    # Two points at 4 are the smallest: they go to 6, which is then large enough.
    assert labels(0.9, 0.9, 0.9, 0.9) == [9, 5, 9]
    assert labels(0.9, 0.9, 0.1, 0.9) == [9, 5, 9]
    # Fewer than two active: the two highest.
    assert labels(0.4, 0.1, 0.2, 0.3) == [14, 9]
    few = evolution._Problem(points, Search(**{**CONFIG, "max_clusters": 4, "min_tiles": 11}))
    assert few.labels(np.array([0.9, 0.1, 0.1, 0.9, 0.0, 4.2, 6.3, 20.0])) is None


def test_the_seconds_end_a_search_and_are_said_to(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(evolution.time, "monotonic", iter(range(0, 10_000, 100)).__next__)
    found = evolve_clusters(blobs()[0], SEARCH, seed=1, where="few_shot")
    assert found.cut and found.curve["generation"].iloc[-1] < CONFIG["generations"]
    assert "ended by its 300 seconds after 4 generations" in capsys.readouterr().err
    assert found.labels.max() >= 1


def test_what_cannot_be_clustered_ends_in_one_message() -> None:
    with pytest.raises(TrainingDataError, match=r"x: too few tiles to make clusters of \(found: 9 tiles, at least 5"):
        evolve_clusters(blobs()[0][:9], SEARCH, seed=1, where="x")
    with pytest.raises(TrainingDataError, match="no two clusters of tiles can be distinguished"):
        evolve_clusters(np.ones((50, 3)), SEARCH, seed=1, where="x")


@pytest.mark.parametrize(
    ("change", "where", "found"),
    [
        ({"generation": 3}, "clustering", "generation"),
        ({"max_clusters": 1}, "clustering.max_clusters", "1"),
        ({"population": 4}, "clustering.population", "4"),
        ({"seconds": "long"}, "clustering.seconds", "'long'"),
        ({"fitness": "elbow"}, "clustering.fitness", "'elbow'"),
    ],
)
def test_a_mistake_in_the_settings_is_named_by_its_key(change: dict[str, Any], where: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Search.of({**CONFIG, **change}, "clustering")
    assert caught.value.where == where and str(caught.value.found) == found
    with pytest.raises(ConfigError, match="a key is missing"):
        Search.of({}, "clustering")


def test_a_fitness_that_may_be_named_is_one_that_there_is() -> None:
    assert get_args(get_type_hints(Search)["fitness"]) == tuple(MEASURES)


def test_labels_are_numbered_by_size() -> None:
    np.testing.assert_array_equal(by_size(np.array([2, 0, 0, 1, 2, 2])), [0, 1, 1, 2, 0, 0])


def test_means_of_clusters() -> None:
    points, labels = np.random.default_rng(0).normal(size=(9, 2)), np.array([0, 1, 2] * 3)
    expected = pd.DataFrame(points).groupby(labels).mean().to_numpy()
    np.testing.assert_allclose(cluster_means(points, labels), expected)


# ---- tiles


def features(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Three kinds of tiles of 20 features: two of one label only, one of both; every sixth for validation."""
    points, kind = blobs(3, 180, seed)
    values = points @ np.random.default_rng(9).normal(size=(3, 20)) + 5
    label = np.where(kind == 0, 0, np.where(kind == 1, 1, np.arange(180) % 2))
    table = pd.DataFrame(
        {
            "split": np.where(np.arange(180) % 6 == 5, "validation", "training"),
            "slide": "s",
            "x": np.arange(180),
            "y": 0,
            "label": label,
        }
    )
    return pd.concat([table, pd.DataFrame(values, columns=[f"f{i}" for i in range(20)])], axis=1), kind


def test_tiles_are_clustered_by_their_features_and_validation_tiles_follow() -> None:
    table, kind = features()
    clustered, _, _, facts = cluster_tiles(table, SEARCH, seed=2, where="x")
    assert adjusted_rand_score(kind, clustered["cluster"]) == 1
    assert facts["clusters"] == 3 and facts["tiles"] == 150 and facts["components"] == 3
    assert facts["explained_variance"] == pytest.approx(1)
    training = clustered[clustered["split"] == "training"]
    for member in facts["members"]:
        own = training[training["cluster"] == member["cluster"]]
        assert member["tiles"] == len(own) and member["tumour"] == pytest.approx(own["label"].mean())
    assert "f0" not in clustered


def test_principal_components_keep_distances_up_to_one_scale() -> None:
    values = np.random.default_rng(0).normal(size=(30, 4)) * [1, 2, 3, 4]
    training = np.arange(30) < 20
    points, explained = principal_components(values, training, 10, "x")
    assert points.shape == (30, 4) and explained == pytest.approx(1)
    ratio = np.linalg.norm(points[3] - points[25]) / np.linalg.norm(values[3] - values[25])
    assert np.linalg.norm(points[7] - points[9]) == pytest.approx(ratio * np.linalg.norm(values[7] - values[9]))
    assert (points[training] ** 2).sum(axis=1).mean() == pytest.approx(1)
    with pytest.raises(TrainingDataError, match="all tiles have the same features"):
        principal_components(np.ones((5, 3)), np.ones(5, bool), 2, "x")


def test_validity_sets_k_means_beside_the_evolved_clusters() -> None:
    points, truth = blobs(3)
    worse = np.where(truth == 2, 1, truth)
    table = validity_table(points, worse, (truth == 0).astype(int), 5, seed=1).set_index("method")
    assert table.loc["evolutionary", "clusters"] == 2 and table.loc["k-means, as many clusters", "clusters"] == 2
    assert table.loc["k-means, best silhouette", "clusters"] == 3
    assert table.loc["evolutionary", "agreement"] == 1
    assert table.loc["evolutionary", "agreement_with_label"] == 1
    assert table.loc["k-means, best silhouette", "agreement"] == pytest.approx(adjusted_rand_score(worse, truth))
    assert table.loc["k-means, best silhouette", "silhouette"] == pytest.approx(silhouette_score(points, truth))


# ---- classes


def clustered(rows: list[tuple[str, int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["split", "label", "cluster", "c0"])


def test_a_class_is_a_cluster_of_one_label_and_small_ones_join_the_nearest() -> None:
    rows = [("training", 0, 0, 0.0)] * 8 + [("training", 0, 1, 5.0)] * 6 + [("training", 1, 0, 0.5)] * 2
    rows += [("training", 1, 1, 5.5)] * 7 + [("training", 1, 2, 9.0)] * 6
    rows += [("validation", 0, 2, 8.0), ("validation", 1, 0, 0.4), ("validation", 1, 2, 9.0)]
    classes = tissue_classes(clustered(rows), 5, where="x")
    assert classes.labels == [0, 0, 1, 1]
    assert [(c["label"], c["clusters"], c["tiles"]) for c in classes.facts] == [
        ("non-tumour", [0], 8),
        ("non-tumour", [1], 6),
        ("tumour", [0, 1], 9),
        ("tumour", [2], 6),
    ]
    assert classes.merged == ["tumour of cluster 0 has 2 tiles, fewer than 5: learnt with tumour of cluster 1"]
    np.testing.assert_array_equal(classes.of_tiles[:29], [0] * 8 + [1] * 6 + [2] * 9 + [3] * 6)
    # No non-tumour class in cluster 2: the nearest. The merged class keeps the cluster that it took in.
    np.testing.assert_array_equal(classes.of_tiles[29:], [1, 2, 3])


def test_a_class_of_just_as_many_tiles_as_it_needs_stays() -> None:
    rows = [("training", 0, 0, 0.0)] * 5 + [("training", 1, 0, 0.0)] * 5 + [("training", 1, 1, 5.0)] * 6
    classes = tissue_classes(clustered(rows), 5, where="x")
    assert classes.labels == [0, 1, 1] and classes.merged == []


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_no_class_is_too_small_and_none_is_empty(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [("training", i % 2, int(rng.integers(5)), float(rng.normal())) for i in range(30)]
    classes = tissue_classes(clustered(rows), least, where="x")
    counts = np.bincount(classes.of_tiles, minlength=len(classes.labels))
    assert counts.min() >= least and len(counts) == len(classes.labels)
    assert [classes.labels[c] for c in classes.of_tiles] == [label for _, label, _, _ in rows]


def test_a_label_without_tiles_is_refused() -> None:
    with pytest.raises(TrainingDataError, match=r"x: too few tumour tiles to make a class of \(found: 0 tiles"):
        tissue_classes(clustered([("training", 0, 0, 0.0)] * 9), 5, where="x")
    with pytest.raises(TrainingDataError, match="too few non-tumour tiles"):
        tissue_classes(clustered([("training", 0, 0, 0.0)] * 4 + [("training", 1, 0, 0.0)] * 9), 5, where="x")


# ---- whose clusters

MODELS: dict[str, Any] = {
    "few": {
        "architecture": "prototypes",
        "weights": "imagenet",
        "data": {"annotation_kinds": ["psa"], "cohorts": None, "cross_fit_folds": 2, "clustering": CONFIG},
    },
    "many": {
        "architecture": "clustered",
        "weights": "imagenet",
        "data": {
            "annotation_kinds": ["psa"],
            "cohorts": None,
            "cross_fit_folds": 2,
            "clustering": {"shared_with": "few"},
        },
    },
    "plain": {"architecture": "dr_fused"},
    "finished": {"onnx": "m.onnx"},
}


def test_models_on_the_same_tiles_share_clusters_fold_by_fold() -> None:
    assert clustered_models(MODELS) == ["few", "many"]
    assert clusters_of("few", MODELS) == "few" and clusters_of("few.fold1of2", MODELS) == "few.fold1of2"
    assert clusters_of("many", MODELS) == "few" and clusters_of("many.fold1of2", MODELS) == "few.fold1of2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "random"}, r"classifiers\.many\.weights: .* do not learn from the same tiles"),
        ({"data.annotation_kinds": ["wta"]}, r"classifiers\.many\.data\.annotation_kinds"),
        ({"data.clustering": {"shared_with": "plain"}}, r"no such clusters \(found: plain\)\. .* own: few\."),
        ({"data.clustering": {"shared_with": "many"}}, "no such clusters"),
        ({"data.clustering": {"shared_with": "few", "tiles": 9}}, r"no settings of their own \(found: tiles\)"),
        ({"data.clustering": None}, "needs this block"),
    ],
)
def test_clusters_of_other_tiles_are_not_shared(change: dict[str, Any], message: str) -> None:
    models = copy.deepcopy(MODELS)
    for path, value in change.items():
        *parents, key = path.split(".")
        block = models["many"]
        for parent in parents:
            block = block[parent]
        block[key] = value
    with pytest.raises(ConfigError, match=message):
        clusters_of("many", models)
