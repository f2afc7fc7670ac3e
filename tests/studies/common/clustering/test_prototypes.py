from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from drunet.errors import ModelError
from drunet.models import registry
from drunet.training.checkpoint import save_inference_weights
from studies.common.clustering import clustered as cluster_head
from studies.common.clustering import prototypes
from studies.common.clustering.prototypes import Prototypes, squared_distances

LABELS = [0, 1, 1]


@pytest.fixture(scope="module")
def few() -> keras.Model:
    return registry.build("prototypes", size=32, labels=LABELS, seed=1)


@pytest.fixture(scope="module")
def many() -> keras.Model:
    return registry.build("clustered", size=32, labels=LABELS, seed=1)


def pictures(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((n, 32, 32, 3), dtype=np.float32)


def test_squared_distances_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    points, centres = rng.normal(size=(5, 7)), rng.normal(size=(4, 7))
    expected = np.linalg.norm(points[:, None] - centres, axis=-1) ** 2
    np.testing.assert_allclose(np.asarray(squared_distances(points, centres)), expected, rtol=1e-5)


@pytest.mark.slow
def test_a_tile_is_of_the_label_whose_prototypes_are_near(few: keras.Model) -> None:
    embedding = keras.Model(few.input, few.get_layer("embedding").output).predict(pictures(), verbose=0)
    assert embedding.shape == (3, 1280) and embedding.dtype == np.float32
    centres = embedding + np.random.default_rng(1).normal(0, 0.01, embedding.shape).astype(np.float32)
    few.get_layer("prototypes").set_weights([centres])
    found = few.predict(pictures(), verbose=0)
    logits = -((embedding[:, None].astype(float) - centres) ** 2).sum(-1)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found, np.stack([p[:, 0], p[:, 1] + p[:, 2]], 1), atol=1e-4)
    assert not few.get_layer("prototypes").trainable_weights


def test_a_temperature_makes_the_softmax_less_sure() -> None:
    layer, hot = Prototypes(2), Prototypes(2, temperature=4.0)
    points, centres = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 0.0], [1.0, 2.0]], np.float32)
    for each in (layer, hot):
        each.build((None, 2))
        each.set_weights([centres])
    np.testing.assert_allclose(np.asarray(layer(points)), [[-1, -4]])
    np.testing.assert_allclose(np.asarray(hot(points)), [[-0.25, -1]])


def test_distances_are_plain_where_the_options_say_so() -> None:
    centres = np.array([[0.0, 0.0], [4.0, 3.0]], np.float32)
    layer = Prototypes(2, temperature=2.0, distance="euclidean")
    layer.build((None, 2))
    layer.set_weights([centres])
    np.testing.assert_allclose(np.asarray(layer(np.zeros((1, 2), np.float32))), [[0, -2.5]], atol=1e-5)
    model = registry.build("prototypes", size=32, labels=LABELS, seed=1, distance="euclidean")
    assert model.get_layer("prototypes").distance == "euclidean"
    with pytest.raises(ModelError, match=r"'distance' is out of range .*Use one of squared, euclidean"):
        registry.build("prototypes", size=32, labels=LABELS, distance="cosine")


@pytest.mark.slow
def test_the_head_over_clusters_sums_its_classes(many: keras.Model) -> None:
    classes = keras.Model(many.input, many.get_layer("classes").output).predict(pictures(), verbose=0)
    assert classes.shape == (3, 3)
    both = many.predict(pictures(), verbose=0)
    np.testing.assert_allclose(both, np.stack([classes[:, 0], classes[:, 1] + classes[:, 2]], 1), atol=1e-6)


@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
@pytest.mark.slow
def test_weights_survive_a_file(architecture: str, few: keras.Model, many: keras.Model, tmp_path: Path) -> None:
    model = few if architecture == "prototypes" else many
    save_inference_weights(model, tmp_path / "w.weights.h5")
    again = registry.build(architecture, size=32, labels=LABELS, seed=2)
    registry.load_weights(again, tmp_path / "w.weights.h5")
    np.testing.assert_allclose(again.predict(pictures(), verbose=0), model.predict(pictures(), verbose=0), atol=1e-6)
    other = registry.build(architecture, size=32, labels=[0, 1], seed=2)
    with pytest.raises(ModelError, match="does not fit the model"):
        registry.load_weights(other, tmp_path / "w.weights.h5")


@pytest.mark.parametrize("build", [prototypes.build_prototypes, cluster_head.build_clustered])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, 1]}, r"labels do not fit \(found: \[1, 1\]\)"),
        ({"labels": [0, 2]}, "labels do not fit"),
        ({"size": 16}, r"'size' is out of range \(found: 16\)"),
        ({"weights": "imagnet"}, r"unknown initial weights \(found: imagnet\)"),
        ({"weights": {"densenet201": "d.h5"}}, "wrong backbones"),
        ({"freeze_fraction": 2}, "'freeze_fraction' is out of range"),
    ],
)
def test_options_out_of_range_are_refused(build: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(**{"size": 32, "labels": LABELS, **options})


def test_a_temperature_is_above_zero() -> None:
    with pytest.raises(ModelError, match="'temperature' is out of range"):
        prototypes.build_prototypes(32, labels=LABELS, temperature=0)
