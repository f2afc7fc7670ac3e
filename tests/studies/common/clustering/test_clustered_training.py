from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from drunet.annotation import Annotation
from drunet.annotation.parsed import write_parsed
from drunet.annotation.provenance import Provenance, summarise_provenance
from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError, SlideError, TrainingDataError
from drunet.files import write_json
from drunet.grid import Grid
from drunet.models import registry
from drunet.models.options import Network
from drunet.sampling import Crops
from drunet.slide import Slide
from drunet.tiles import TileRules, write_table
from drunet.training import checkpoint
from drunet.training.checkpoint import save_inference_weights
from drunet.training.loop import Trainer
from drunet.training.readers import AnnotatedSlide, SlideSource, TileReader
from drunet.training.trained import Trained
from drunet_demo.pyramid import write_pyramid
from studies.common.clustering import features
from studies.common.clustering.batches import ClassBatches, Episodes
from studies.common.clustering.features import embed_tiles, load_start, rebuild
from studies.common.clustering.prototypes import Prototypes, label_sums
from studies.common.clustering.settings import EpisodePlan
from studies.common.clustering.tiles import TRAINING
from studies.common.clustering.training import (
    ClusteredSlides,
    PrototypicalLoss,
    QueryAccuracy,
    class_means,
    some_of_each,
    train_clustered,
)

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

SIZE, ROWS, COLUMNS = 16, 8, 12
GRID = Grid(width=384, height=256, mpp=0.5, tile_mpp=1.0, size=SIZE, step=SIZE)
COLOURS = np.array([[220, 90, 90], [90, 200, 90], [90, 90, 220]], np.uint8)
PROVENANCE = {"annotation_provenance": {"by_hand": 1}}
EPISODES = {"shots": 2, "queries": 3, "count": 8, "ways": None}
SETTINGS: dict[str, Any] = {
    "architecture": "prototypes",
    "weights": "random",
    "options": {},
    "freeze_fraction": 0.0,
    "batch_norm_momentum": 0.5,
    "data": {"sampling": {"strategy": "as_is"}, "clustering": {}, "episodes": EPISODES},
    "loss": {"name": "cross_entropy", "class_weights": None},
    "training": {
        "optimiser": "adam",
        "learning_rate": 0.02,
        "batch_size": 16,
        "epochs": 3,
        "steps_per_epoch": None,
        "patience": 9,
        "precision": "float32",
        "reestimate_batches": 0,
    },
    "augment": {"flip": True},
}


def trunk(size: int, seed: int) -> tuple[Any, Any]:
    """An image and its embedding, by a network small enough for a test."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    inside = keras.Input((size, size, 3))
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Conv2D(6, 3, activation="relu")(inside))
    x = keras.Model(inside, x, name="mobilenetv2")(image)
    return image, keras.layers.GlobalAveragePooling2D(name="embedding")(x)


def build_few(
    size: int, labels: list[int], weights: str, freeze_fraction: float, batch_norm_momentum: float | None, seed: int
) -> keras.Model:
    image, x = trunk(size, seed)
    x = keras.layers.Softmax(name="classes")(Prototypes(len(labels), name="prototypes")(x))
    return keras.Model(image, label_sums(x, labels), name="few")


def build_many(
    size: int, labels: list[int], weights: str, freeze_fraction: float, batch_norm_momentum: float | None, seed: int
) -> keras.Model:
    image, x = trunk(size, seed)
    x = keras.layers.Dense(len(labels), activation="softmax", name="classes")(x)
    return keras.Model(image, label_sums(x, labels), name="many")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "prototypes", f"{__name__}:build_few")
    monkeypatch.setitem(registry.ARCHITECTURES, "clustered", f"{__name__}:build_many")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SlideSource:
    """A slide whose tiles are of three colours, by row modulo 3, with grain."""
    path = tmp_path_factory.mktemp("slides") / "s.tif"
    image = COLOURS[np.arange(ROWS) % 3].repeat(32, 0)[:, None].repeat(COLUMNS * 32, 1).astype(int)
    image = image + np.random.default_rng(0).integers(-25, 26, image.shape)
    write_pyramid(path, np.clip(image, 0, 255).astype(np.uint8), 0.5)
    return SlideSource(str(path), "s")


def table() -> pd.DataFrame:
    """Clustered tiles: colours are clusters; the second is tumour; the third both. Two columns are validation."""
    row, column = (a.ravel() for a in np.indices((ROWS, COLUMNS)))
    x, y = GRID.tile_origin(column, row)
    cluster = row % 3
    return pd.DataFrame(
        {
            "split": np.where(column >= 10, "validation", "training"),
            "slide": "s",
            "x": x,
            "y": y,
            "label": np.where(cluster == 1, 1, 0),
            "cluster": cluster,
            "c0": cluster * 5.0,
        }
    )


@pytest.fixture
def clusters(tmp_path: Path) -> str:
    facts = {"size": SIZE, "mpp": 1.0, "training_slides": ["s"], "validation_slides": ["s"], **PROVENANCE}
    write_table(tmp_path / "clusters.parquet", table(), facts)
    return str(tmp_path / "clusters.parquet")


def crops() -> Crops:
    t = table()
    return Crops(np.zeros(len(t), int), t["x"].to_numpy(), t["y"].to_numpy(), t["cluster"].to_numpy())


def tiles(source: SlideSource, kind: Any = ClassBatches, **options: Any) -> Any:
    reader = TileReader([source], size=SIZE, mpp=1.0, augmentation=options.pop("augmentation", None))
    classes = [3] if kind is ClassBatches else []
    return kind(reader, crops(), *classes, **{"seed": 4, **options})


def run(architecture: str, source: SlideSource, clusters: str, folder: Path, **changes: Any) -> Trained:
    settings = {**SETTINGS, "architecture": architecture, **changes.pop("settings", {})}
    return train_clustered("m", settings, [source], clusters, least=5, seed=3, folder=folder, **changes)


# ---- batches and episodes


def test_a_batch_holds_the_tiles_pixels_and_their_classes(source: SlideSource) -> None:
    batches, places = tiles(source, batch_size=10), crops()
    order = batches.order()
    assert sorted(order) == list(range(ROWS * COLUMNS)) and len(batches) == 10
    pixels, target = batches[3]
    assert pixels.dtype == target.dtype == np.float32
    with Slide(source.path, "s") as slide:
        for k, i in enumerate(order[30:40]):
            expected = slide.read(int(places.x[i]), int(places.y[i]), (SIZE, SIZE), 1.0).astype(np.float32) / 255
            np.testing.assert_array_equal(pixels[k], expected)
            assert target[k].tolist() == np.eye(3)[places.label[i]].tolist()
    batches.epoch = 1
    assert not np.array_equal(batches.order(), order)
    batches.epoch = 0
    np.testing.assert_array_equal(batches[3][0], pixels)
    assert len(tiles(source, batch_size=10, steps=25).order()) == 250
    np.testing.assert_array_equal(tiles(source, batch_size=10, fixed=True).order(), np.arange(ROWS * COLUMNS))


def test_an_episode_holds_shots_then_queries_of_every_class_and_no_tile_twice(source: SlideSource) -> None:
    plan = EpisodePlan(shots=2, queries=3, count=4, ways=None)
    episodes = tiles(source, Episodes, plan=plan, augmentation=Augmentation(flip=True))
    assert len(episodes) == 4 and episodes.ways == 3
    drawn = episodes.draw(1)
    assert len(set(drawn.ravel())) == 15
    assert (crops().label[drawn] == np.arange(3)[:, None]).all()
    pixels, target = episodes[1]
    assert pixels.shape == (15, SIZE, SIZE, 3)
    np.testing.assert_array_equal(target.argmax(1), [0, 0, 1, 1, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    # The colour says the class: red, green and blue.
    np.testing.assert_array_equal(pixels.mean((1, 2)).argmax(1), target.argmax(1))
    np.testing.assert_array_equal(pixels, episodes[1][0])
    episodes.epoch = 1
    assert not np.array_equal(drawn, episodes.draw(1))


def test_fewer_ways_take_other_classes_in_every_episode_and_small_classes_never(source: SlideSource) -> None:
    episodes = tiles(source, Episodes, plan=EpisodePlan(shots=2, queries=3, count=20, ways=2))
    assert len({tuple(crops().label[episodes.draw(i)[:, 0]]) for i in range(20)}) == 3
    # Three rows are red, three green, two blue: 36, 36 and 24 tiles.
    large = tiles(source, Episodes, plan=EpisodePlan(shots=20, queries=10, count=5, ways=None))
    assert large.known.tolist() == [0, 1] and large.ways == 2
    fixed = tiles(source, Episodes, plan=EpisodePlan(shots=2, queries=3, count=5, ways=None), fixed=True)
    first = fixed.draw(2)
    fixed.epoch = 7
    np.testing.assert_array_equal(fixed.draw(2), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 0}, r"e\.shots: the value does not fit \(found: 0\)"),
        ({"ways": 1}, r"e\.ways: .*at least 2 .*null: all"),
        ({"shot": 2}, r"found: shot\)"),
    ],
)
def test_a_mistake_in_the_episodes_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EpisodePlan.of({**EPISODES, **change}, "e")


# ---- loss


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
def test_the_loss_is_snells_worked_in_numpy(distance: str) -> None:
    rng = np.random.default_rng(0)
    ways, shots, queries = 3, 2, 4
    points = rng.normal(size=(ways * (shots + queries), 5)).astype(np.float32)
    classes = np.concatenate([np.repeat(np.arange(ways), shots), rng.permutation(np.repeat(np.arange(ways), queries))])
    centres = np.stack([points[:6][classes[:6] == k].mean(0) for k in range(ways)])
    losses, right = [], []
    for point, k in zip(points[6:], classes[6:], strict=True):
        d = np.linalg.norm(point - centres, axis=1) ** (2 if distance == "squared" else 1) / 1.7
        losses.append(d[k] + np.log(np.exp(-d).sum()))
        right.append(d.argmin() == k)
    target = np.eye(ways, dtype=np.float32)[classes]
    loss = PrototypicalLoss(shots, temperature=1.7, distance=distance)
    assert float(loss(target, points)) == pytest.approx(np.mean(losses), rel=1e-5)
    accuracy = QueryAccuracy(shots)
    accuracy.update_state(target, points)
    assert float(accuracy.result()) == pytest.approx(np.mean(right))


def test_a_query_on_its_prototype_has_a_gradient() -> None:
    """The root's own is infinite there, and one such query would end the training."""
    points = keras.Variable(np.zeros((4, 3), np.float32))
    with tf.GradientTape() as tape:
        loss = PrototypicalLoss(1, distance="euclidean")(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], points)
    assert np.isfinite(np.asarray(tape.gradient(loss, points.value))).all()


@pytest.mark.parametrize("kind", ["all", "shots"])
@pytest.mark.slow
def test_prototypes_come_from_all_tiles_or_from_the_shots_alone(
    kind: str, source: SlideSource, clusters: str, tmp_path: Path
) -> None:
    changed = {"data": {**SETTINGS["data"], "episodes": {**EPISODES, "prototypes": kind}}}
    trained = run("prototypes", source, clusters, tmp_path / "state", settings=changed)
    assert trained.facts["prototypes"] == kind
    learnt = ClusteredSlides.read(clusters, [source], 5, "here").tiles(TRAINING)
    shown = learnt if kind == "all" else some_of_each(learnt, EPISODES["shots"], 3)
    assert len(shown) == (80 if kind == "all" else 3 * 2)
    embedder = keras.Model(trained.model.input, trained.model.get_layer("embedding").output)
    embedded = embedder.predict(TileReader([source], size=SIZE, mpp=1.0).read(shown), verbose=0)
    expected = np.stack([embedded[shown.label == k].mean(axis=0) for k in range(3)])
    (found,) = trained.model.get_layer("prototypes").get_weights()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shots_are_of_every_class_none_twice_and_of_the_seed() -> None:
    some = some_of_each(crops(), 4, 3)
    assert np.bincount(some.label).tolist() == [4, 4, 4]
    assert len(set(zip(some.x.tolist(), some.y.tolist(), strict=True))) == 12
    assert some.x.tolist() == some_of_each(crops(), 4, 3).x.tolist() != some_of_each(crops(), 4, 4).x.tolist()


def test_prototypes_are_the_classes_means() -> None:
    rng = np.random.default_rng(0)
    points, classes = rng.normal(size=(30, 4)), np.arange(30) % 3
    expected = pd.DataFrame(points).groupby(classes).mean().to_numpy()
    np.testing.assert_allclose(class_means(points, classes, "x"), expected, rtol=1e-5)
    with pytest.raises(TrainingDataError, match="not numbers"):
        class_means(np.full((3, 2), np.nan), np.arange(3), "x")


# ---- training


@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
@pytest.mark.slow
def test_clusters_are_learnt_and_summed_into_tumour_and_not(
    architecture: str, source: SlideSource, clusters: str, tmp_path: Path
) -> None:
    epochs = {"training": {**SETTINGS["training"], "epochs": 6}}
    trained = run(architecture, source, clusters, tmp_path / "state", settings=epochs)
    assert trained.history["val_accuracy"].max() == 1
    facts = trained.facts
    assert facts["builder"] == {"labels": [0, 0, 1]}
    assert [(c["label"], c["clusters"], c["tiles"]) for c in facts["classes"]] == [
        ("non-tumour", [0], 30),
        ("non-tumour", [2], 20),
        ("tumour", [1], 30),
    ]
    assert facts["training_slides"] == ["s"] and facts["size"] == SIZE
    assert facts["annotation_provenance"] == PROVENANCE["annotation_provenance"]
    if architecture == "clustered":
        assert facts["samples_per_epoch"] == {"tumour": 30, "non_tumour": 50}
        assert facts["validation_samples"] == {"tumour": 6, "non_tumour": 10}
    else:
        assert facts["samples_per_epoch"] == {"tumour": 8 * 5, "non_tumour": 8 * 10}
    json.dumps(facts)
    # What is exported is built from the facts alone.
    save_inference_weights(trained.model, tmp_path / "w.weights.h5")
    settings = {**SETTINGS, "architecture": facts["architecture"]}
    again = rebuild({**facts, "settings": settings})
    registry.load_weights(again, tmp_path / "w.weights.h5")
    pixels = tiles(source, batch_size=96, fixed=True)[0][0]
    p = again.predict(pixels, verbose=0)
    np.testing.assert_array_equal(p[:, 1] > 0.5, crops().label == 1)
    np.testing.assert_allclose(p, trained.model.predict(pixels, verbose=0), atol=1e-6)


@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(
    architecture: str, source: SlideSource, clusters: str, tmp_path: Path
) -> None:
    whole = run(architecture, source, clusters, tmp_path / "whole")
    short = {"training": {**SETTINGS["training"], "epochs": 1}}
    run(architecture, source, clusters, tmp_path / "killed", settings=short)
    state = json.loads((tmp_path / "killed/state.json").read_text())
    state["identity"] = json.loads((tmp_path / "whole/state.json").read_text())["identity"]
    write_json(tmp_path / "killed/state.json", state)
    resumed = run(architecture, source, clusters, tmp_path / "killed")
    assert len(resumed.history) == 3
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
def test_a_tile_that_breaks_in_training_ends_in_the_slides_name(
    architecture: str, source: SlideSource, clusters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Slide, *place: Any) -> np.ndarray:
        raise SlideError("the file cannot be read", status="unreadable", where=self.slide_id, mend="Copy it.")

    monkeypatch.setattr(Slide, "read", fails)
    with pytest.raises(
        SlideError, match=rf"^{source.slide_id}: the file cannot be read. Copy it. Or take the slide out"
    ):
        run(architecture, source, clusters, tmp_path)


@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
def test_a_training_is_not_continued_with_edited_code_or_classes_of_another_size(
    architecture: str, source: SlideSource, clusters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(BaseException):
        """Raised in the place of a training, with its identity."""

    def begin(*_: Any, identity: str, **__: Any) -> None:
        raise Begun(identity)

    monkeypatch.setattr(Trainer, "train", begin)

    def begun(least: int, code: str) -> str:
        settings = {**SETTINGS, "architecture": architecture}
        with pytest.raises(Begun) as caught:
            train_clustered("m", settings, [source], clusters, least=least, seed=3, folder=tmp_path, code=code)
        return str(caught.value)

    assert begun(5, "one") == begun(5, "one")
    assert len({begun(5, "one"), begun(5, "two"), begun(6, "one")}) == 3


def test_few_tiles_for_an_episode_end_in_one_message(source: SlideSource, clusters: str, tmp_path: Path) -> None:
    many = {"data": {**SETTINGS["data"], "episodes": {**EPISODES, "shots": 40}}}
    with pytest.raises(TrainingDataError, match=r"classifiers\.m\.data: too few tumour tiles .*30 tiles, at least 43"):
        run("prototypes", source, clusters, tmp_path / "state", settings=many)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {**SETTINGS["data"], "sampling": {"strategy": "strata"}}}, r"m\.data\.sampling\.strategy: .*strata"),
        ({"loss": {"name": "focal", "class_weights": None}}, r"m\.loss\.name: .*focal"),
        ({"loss": {"name": "cross_entropy", "class_weights": "balanced"}}, r"m\.loss\.class_weights: .*Use null"),
        ({"weights": "start.weights.h5"}, r"m\.weights: .*from a backbone alone"),
    ],
)
@pytest.mark.parametrize("architecture", ["prototypes", "clustered"])
def test_settings_that_would_be_passed_over_are_refused(
    architecture: str, change: dict[str, Any], message: str, source: SlideSource, clusters: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(architecture, source, clusters, tmp_path / "state", settings=change)


def save_start(folder: Path, architecture: str, **builder: Any) -> dict[str, str]:
    settings = {**SETTINGS, "architecture": architecture}
    facts = {"architecture": architecture, "size": SIZE, "seed": 77, "settings": settings, "builder": builder}
    write_json(folder / "training.json", facts)
    save_inference_weights(rebuild(facts), folder / "start.weights.h5")
    return {"weights": str(folder / "start.weights.h5"), "facts": str(folder / "training.json")}


def test_another_models_backbone_is_taken_over_and_nothing_else(tmp_path: Path) -> None:
    start = save_start(tmp_path, "clustered", labels=[0, 1])
    other = registry.build("clustered", **OPTIONS, labels=[0, 1], seed=77)
    model = registry.build("clustered", **OPTIONS, labels=[0, 1], seed=5)
    head = model.get_layer("classes").get_weights()
    load_start(model, {"model": "start"}, start, "weights")
    for a, b in zip(model.get_layer("mobilenetv2").weights, other.get_layer("mobilenetv2").weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.get_layer("classes").get_weights()[0], head[0])


OPTIONS = {"size": SIZE, "weights": "random", "freeze_fraction": 0.0, "batch_norm_momentum": 0.5}


# ---- features


def test_features_are_those_of_the_tiles_drawn(source: SlideSource, tmp_path: Path, monkeypatch: Any) -> None:
    def embedder(network: Network) -> keras.Model:
        image = network.image()
        return keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))

    monkeypatch.setattr(features, "build_embedder", embedder)
    drawn = Provenance("corrected", ("run r",))
    size = GRID.width, GRID.height
    write_parsed(tmp_path / "a.parquet", Annotation("wta", ()), drawn, slide_id="s", size=size)
    own = table().assign(label=lambda t: t["label"].astype(np.int8))
    write_table(tmp_path / "t.parquet", own, {"grid": GRID.to_dict()})
    slide = AnnotatedSlide(source, str(tmp_path / "t.parquet"), str(tmp_path / "a.parquet"))
    options: dict[str, Any] = {"rules": TileRules()}
    found, facts = embed_tiles("m", "random", [slide], [slide], tiles=40, seed=3, **options)
    again, _ = embed_tiles("m", "random", [slide], [slide], tiles=40, seed=3, **options)
    pd.testing.assert_frame_equal(found, again)
    assert found["split"].tolist() == ["training"] * 40 + ["validation"] * 40
    assert facts.pop("annotation_provenance") == summarise_provenance({"s": drawn})
    assert facts == {"size": SIZE, "mpp": 1.0, "training_slides": ["s"], "validation_slides": ["s"]}
    assert not found[:40].duplicated(["x", "y"]).any() and found["f0"].dtype == np.float32
    colour = (found["y"] // 32 % 3).to_numpy()
    np.testing.assert_allclose(found[["f0", "f1", "f2"]], COLOURS[colour] / 255, atol=0.02)
    np.testing.assert_array_equal(found["label"], colour == 1)
    with pytest.raises(TrainingDataError, match=r"classifiers\.m\.data: no usable slide"):
        embed_tiles("m", "random", [], [], tiles=40, seed=3, **options)
    with pytest.raises(ConfigError, match="backbone alone"):
        embed_tiles("m", "some.weights.h5", [slide], [], tiles=40, seed=3, **options)
