"""Students of the main chain: what they are shown, what they learn, what is remembered, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import shapely
import yaml
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import log_loss

from drunet.annotation import read_annotation
from drunet.annotation.parsed import write_parsed
from drunet.annotation.provenance import Provenance
from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError, ModelError, TrainingDataError
from drunet.export.outline import write_geojson
from drunet.files import sha256
from drunet.grid import Grid
from drunet.inference import EngineOptions, Layout
from drunet.models import registry
from drunet.report.card import write_card
from drunet.sampling import Crops, GridTiles
from drunet.settings.classifier import ClassifierRecipe
from drunet.settings.config import Configuration
from drunet.settings.distillation import DistillationSettings
from drunet.settings.merging import merged, resolve_models
from drunet.settings.references import check_references, teacher_of
from drunet.tiles import TileRules, read_table, tile_table, write_table
from drunet.training import checkpoint, loop
from drunet.training.batches import TileBatches
from drunet.training.classifier import train_classifier
from drunet.training.distillation import Lesson, TaughtBatches
from drunet.training.readers import AnnotatedSlide, SlideSource, TileReader, tissue_tiles
from drunet.training.trained import Trained
from drunet_demo.pyramid import write_pyramid

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

CLASSES = {"tumour": ["tumor"], "non_tumour": ["normal"], "ignore": ["artefact"]}
SIZE = 16
GRID = Grid(width=512, height=256, mpp=0.5, tile_mpp=1.0, size=SIZE, step=SIZE)
DISTILLATION = {"teacher": "big", "temperature": 2.0, "weight": 0.5, "unlabelled_share": 0.25}
PLAN = {
    "optimiser": "adam",
    "learning_rate": 0.05,
    "batch_size": 16,
    "epochs": 6,
    "steps_per_epoch": None,
    "patience": 9,
    "precision": "float32",
    "reestimate_batches": 0,
}
SETTINGS: dict[str, Any] = {
    "architecture": "mean_colour",
    "weights": "random",
    "options": {},
    "freeze_fraction": 0.0,
    "batch_norm_momentum": None,
    "data": {"annotation_kinds": ["wta"], "cohorts": None, "sampling": {"strategy": "as_is"}},
    "loss": {"name": "cross_entropy", "class_weights": None},
    "distillation": DISTILLATION,
    "training": PLAN,
    "augment": {"flip": True, "brightness": 0.05},
}
LESSON = DistillationSettings.of(DISTILLATION, "distillation")


def recipe(**changes: Any) -> ClassifierRecipe:
    return ClassifierRecipe.of({**SETTINGS, **changes}, "classifiers.small")


def build_mean_colour(
    size: int, weights: str, freeze_fraction: float, batch_norm_momentum: float | None, seed: int
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    x = keras.layers.Rescaling(8.0, -4.0)(keras.layers.GlobalAveragePooling2D()(image))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))


@pytest.fixture(autouse=True)
def architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "mean_colour", f"{__name__}:build_mean_colour")


def red_teacher(path: Path, *, size: Any = SIZE, classes: int = 2, sign: float = 1.0) -> Path:
    """softmax of (0, sign * (mean red - 150) / 20) for tiles of 0..255: red is tumour."""
    columns, offset = np.zeros((3, classes), np.float32), np.zeros(classes, np.float32)
    columns[0, 1], offset[1] = sign / 20, -sign * 7.5
    nodes = [
        helper.make_node("ReduceMean", ["tiles", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "columns"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["logit"]),
        helper.make_node("Softmax", ["logit"], ["probability"]),
    ]
    numbers = {"axes": np.array([1, 2]), "columns": columns, "offset": offset}
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["n", size, size, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def says(pixels: np.ndarray, sign: float = 1.0) -> np.ndarray:
    """The same by hand, for pixels in [0, 1]: probability of tumour."""
    return 1 / (1 + np.exp(-sign * (255 * pixels[..., 0].mean((1, 2), dtype=np.float64) - 150) / 20))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedSlide:
    """Red on the left, which is called tumour up to a third of a tile from the middle; some is to be ignored."""
    folder = tmp_path_factory.mktemp("slide")
    rng = np.random.default_rng(1)
    image = rng.integers(90, 130, (256, 512, 3)).astype(np.uint8)
    image[:, :256, 0] = rng.integers(190, 230, (256, 256))
    write_pyramid(folder / "s.tif", image, GRID.mpp)
    for name, shape in (("tumor", shapely.box(0, 0, 257, 256)), ("artefact", shapely.box(320, 0, 512, 64))):
        write_geojson(folder / f"{name}.geojson", [shape], slide_id="s", name=name, colour=(1, 2, 3), mpp=0.5)
    document = json.loads((folder / "tumor.geojson").read_text())
    document["features"] += json.loads((folder / "artefact.geojson").read_text())["features"]
    (folder / "s.geojson").write_text(json.dumps(document))
    annotation = read_annotation(folder / "s.geojson", kind="wta", where="s", width=512, height=256, classes=CLASSES)
    table = tile_table(GRID, np.ones((16, 32), bool), annotation, TileRules(min_tumour=0.05))
    write_table(folder / "s.parquet", table, {"grid": GRID.to_dict()})
    write_parsed(folder / "drawn.parquet", annotation, Provenance("drawn"), slide_id="s", size=(512, 256))
    return AnnotatedSlide(
        SlideSource(str(folder / "s.tif"), "s"), *[str(folder / f"{n}.parquet") for n in ("s", "drawn")]
    )


def train(folder: Path, slide: AnnotatedSlide, teacher: Path, **changes: Any) -> Trained:
    settings = recipe(**changes)
    lesson = Lesson.read("small", settings.distillation, str(teacher), size=SIZE) if settings.distillation else None
    return train_classifier(
        "small", settings, [slide], [slide], rules=TileRules(), seed=3, folder=folder, lesson=lesson
    )


def taught_batches(slide: AnnotatedSlide, **changes: Any) -> TaughtBatches:
    table = read_table(slide.tiles)[0]
    reader = TileReader([slide.source], size=SIZE, mpp=1.0, augmentation=changes.pop("augmentation", None))
    given = {"share": 0.25, "batch_size": 16, "seed": 5, "teacher": lambda x: np.zeros((len(x), 2)), **changes}
    return TaughtBatches(
        reader, [GridTiles(0, table)], tissue_tiles([table], TileRules()), given.pop("teacher"), **given
    )


def corners(crops: Crops) -> list[tuple[int, int]]:
    return list(zip(crops.x.tolist(), crops.y.tolist(), strict=True))


def test_unlabelled_tiles_are_all_that_hold_tissue_the_ignored_and_the_doubtful_too(slide: AnnotatedSlide) -> None:
    table = read_table(slide.tiles)[0]
    # 16 x 8 tiles; 6 x 2 are ignored, and a column of 8 holds 1 px of 32 of tumour.
    assert (table["label"] == -1).sum() == 12 + 8
    found = tissue_tiles([table.head(0), table], TileRules())
    assert corners(found) == [(32 * c, 32 * r) for r in range(8) for c in range(16)]
    assert set(found.label) == {-1} and set(found.slide) == {1}
    thin = table.assign(tissue_fraction=np.linspace(0, 1, len(table), dtype=np.float32))
    assert len(tissue_tiles([thin], TileRules(min_tissue=0.7))) == (thin["tissue_fraction"] >= 0.7).sum()


def test_every_batch_is_composed_alike_and_shows_every_labelled_tile(slide: AnnotatedSlide) -> None:
    batches = taught_batches(slide, batch_size=20)
    labelled = corners(GridTiles(0, read_table(slide.tiles)[0]).draw(np.random.default_rng(0)))
    # 15 to a batch, and 12 shown twice in the last one.
    assert len(labelled) == 108 and len(batches) == 8
    for batches.epoch in (0, 3):
        parts = [batches.parts(i) for i in range(len(batches))]
        assert {(len(a), len(b)) for a, b in parts} == {(15, 5)}
        shown = [corner for part, _ in parts for corner in corners(part)]
        assert set(shown) == set(labelled) and len(shown) == 120
        loose = [corner for _, part in parts for corner in corners(part)]
        assert len(set(loose)) == 40


def test_unlabelled_tiles_come_round_as_often_as_each_other(slide: AnnotatedSlide) -> None:
    batches = taught_batches(slide, share=0.75, steps=32)
    shown = [corner for i in range(len(batches)) for corner in corners(batches.parts(i)[1])]
    # 32 batches of 12: each of 128 tiles three times.
    assert {shown.count(corner) for corner in set(shown)} == {3} and len(set(shown)) == 128


def test_a_batch_depends_on_seed_epoch_and_index_alone(slide: AnnotatedSlide) -> None:
    augmentation = Augmentation(flip=True, quarter_turns=True, brightness=0.2)
    one, other = (taught_batches(slide, augmentation=augmentation) for _ in range(2))
    one.epoch = other.epoch = 2
    for index in (5, 0):  # `other` was never asked for anything before
        np.testing.assert_array_equal(one[index][0], other[index][0])
    other.epoch = 1
    assert not np.array_equal(one[0][0], other[0][0])
    assert corners(one.parts(0)[1]) != corners(other.parts(0)[1])
    assert corners(taught_batches(slide, seed=6).parts(0)[1]) != corners(taught_batches(slide).parts(0)[1])


def test_the_teacher_answers_the_very_pixels_that_the_student_sees(slide: AnnotatedSlide, tmp_path: Path) -> None:
    lesson = Lesson.read("small", LESSON, str(red_teacher(tmp_path / "t.onnx")), size=SIZE)
    augmentation = Augmentation(flip=True, brightness=0.3)
    batches = taught_batches(slide, teacher=lesson.teacher, augmentation=augmentation)
    x, y = batches[1]
    assert x.shape == (16, SIZE, SIZE, 3) and y.shape == (16, 4) and y.dtype == np.float32
    np.testing.assert_allclose(y[:, 3], says(x), atol=1e-5)
    np.testing.assert_allclose(y[:, 2:].sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(batches.inputs(1), x)
    np.testing.assert_array_equal(y[:12, 1], batches.parts(1)[0].label)
    np.testing.assert_array_equal(y[:, :2].sum(1), [1] * 12 + [0] * 4)


def test_a_teacher_whose_tumour_comes_first_is_turned_round(slide: AnnotatedSlide, tmp_path: Path) -> None:
    file = str(red_teacher(tmp_path / "t.onnx"))
    turned = Lesson.read("small", LESSON, file, size=SIZE, layout=Layout(tumour=0))
    x, y = taught_batches(slide, teacher=turned.teacher)[0]
    np.testing.assert_allclose(y[:, 2], says(x), atol=1e-5)


@pytest.mark.parametrize(("weight", "follows"), [(1.0, "teacher"), (0.0, "labels")])
@pytest.mark.slow
def test_the_weight_decides_whom_a_student_believes(
    slide: AnnotatedSlide, tmp_path: Path, weight: float, follows: str
) -> None:
    # A teacher that has it the wrong way round.
    teacher = red_teacher(tmp_path / "t.onnx", sign=-1.0)
    lesson = {**DISTILLATION, "weight": weight, "unlabelled_share": 0.5}
    # Nobody's labels may choose among the epochs of a student that learns the opposite.
    trained = train_classifier(
        "small",
        recipe(distillation=lesson),
        [slide],
        [],
        rules=TileRules(),
        seed=3,
        folder=tmp_path / "state",
        lesson=Lesson.read("small", DistillationSettings.of(lesson, "distillation"), str(teacher), size=SIZE),
    )
    tiles = np.full((2, SIZE, SIZE, 3), 110 / 255, np.float32)
    tiles[0, ..., 0] = 210 / 255
    red, grey = trained.model.predict(tiles, verbose=0)[:, 1]
    assert (red > 0.8 and grey < 0.2) if follows == "labels" else (red < 0.2 and grey > 0.8)


@pytest.fixture(scope="module")
def trained(slide: AnnotatedSlide, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("student")
    patch = pytest.MonkeyPatch()
    patch.setitem(registry.ARCHITECTURES, "mean_colour", f"{__name__}:build_mean_colour")
    result = train(folder / "state", slide, red_teacher(folder / "t.onnx"))
    patch.undo()
    return result, folder / "t.onnx"


@pytest.mark.slow
def test_validation_is_plain_cross_entropy_over_labelled_tiles(
    trained: tuple[Trained, Path], slide: AnnotatedSlide
) -> None:
    model, history = trained[0].model, trained[0].history
    table = read_table(slide.tiles)[0]
    reader = TileReader([slide.source], size=SIZE, mpp=1.0)
    tiles = TileBatches(reader, [GridTiles(0, table)], batch_size=108, seed=0, fixed=True)
    x, y = tiles[0]
    probability = model.predict(x, verbose=0)
    assert history["val_loss"].min() == pytest.approx(log_loss(y[:, 1], probability[:, 1]), rel=1e-4)
    best = history.loc[history["val_loss"].idxmin()]
    assert best["val_accuracy"] == pytest.approx(((probability[:, 1] > 0.5) == y[:, 1]).mean())
    assert {"accuracy", "loss"} <= set(history.columns)


def test_what_is_remembered_names_the_teacher_and_counts_the_tiles(
    trained: tuple[Trained, Path], tmp_path: Path
) -> None:
    facts, teacher = trained[0].facts, trained[1]
    lesson = facts["distillation"]
    assert {key: lesson[key] for key in DISTILLATION} == DISTILLATION
    assert lesson["sha256"] == sha256(teacher) and lesson["tissue_tiles"] == 128
    assert lesson["batch"] == {"labelled": 12, "unlabelled": 4}
    assert sum(facts["samples_per_epoch"].values()) == 108
    assert facts["validation_samples"] == {"tumour": 64, "non_tumour": 44}
    json.dumps(facts)
    write_card(
        tmp_path / "card.md",
        name="small",
        facts={**facts, "settings": SETTINGS},
        history=trained[0].history,
        weights_sha256="0",
    )
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert f"Distilled from big (SHA-256 `{sha256(teacher)}`) at temperature 2, weight 0.5" in card
    assert "12 labelled and 4 unlabelled tiles, the latter out of 128 tissue tiles" in card


@pytest.mark.slow
def test_a_killed_student_ends_with_the_same_weights_and_another_teacher_starts_it_anew(
    slide: AnnotatedSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, plan = red_teacher(tmp_path / "t.onnx"), {"training": {**PLAN, "epochs": 2, "steps_per_epoch": 3}}
    monkeypatch.setattr(checkpoint, "KEEP_EVERY", 0.0)
    whole = train(tmp_path / "whole", slide, teacher, **plan)
    kept = loop._Keeper.on_epoch_end

    def killed(self: Any, epoch: int, logs: Any = None) -> None:
        kept(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Keeper, "on_epoch_end", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", slide, teacher, **plan)
    resumed = train(tmp_path / "killed", slide, teacher, **plan)
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    state = json.loads((tmp_path / "killed" / "state.json").read_text())
    train(tmp_path / "killed", slide, red_teacher(tmp_path / "other.onnx", sign=-1.0), **plan)
    assert json.loads((tmp_path / "killed" / "state.json").read_text())["identity"] != state["identity"]


def test_a_teacher_that_does_not_fit_is_refused_by_the_key_that_names_it(tmp_path: Path) -> None:
    three = str(red_teacher(tmp_path / "three.onnx", classes=3))
    key = r"classifiers\.small\.distillation\.teacher \(big\)"
    with pytest.raises(ModelError, match=rf"{key}: the teacher knows other classes .*teacher: 3; student: 2"):
        Lesson.read("small", LESSON, three, size=SIZE)
    with pytest.raises(ModelError, match=rf"{key}: the model does not take the tiles"):
        Lesson.read("small", LESSON, str(red_teacher(tmp_path / "t.onnx")), size=24)
    # A file that leaves the side open takes any tile.
    Lesson.read("small", LESSON, str(red_teacher(tmp_path / "open.onnx", size="s")), size=24)


def test_a_share_of_nothing_is_refused(slide: AnnotatedSlide) -> None:
    table = read_table(slide.tiles)[0]
    given: dict[str, Any] = {"share": 0.5, "batch_size": 8, "seed": 0}
    reader = TileReader([slide.source], size=SIZE, mpp=1.0)
    none = tissue_tiles([table.head(0)], TileRules())
    with pytest.raises(TrainingDataError, match="no tile holds tissue"):
        TaughtBatches(reader, [GridTiles(0, table)], none, lambda x: x, **given)
    labels_alone = TaughtBatches(reader, [GridTiles(0, table)], none, lambda x: x, **{**given, "share": 0.0})
    assert [len(part) for part in labels_alone.parts(0)] == [8, 0]


def test_a_student_is_not_taught_on_by_a_teacher_that_computes_otherwise(tmp_path: Path) -> None:
    path = str(red_teacher(tmp_path / "t.onnx"))
    half, plain = EngineOptions(precision="float16", threads=1), EngineOptions(threads=2)
    how = [Lesson.read("small", LESSON, path, size=SIZE, options=o).teacher.how for o in (None, plain, half)]
    assert how[0] == how[1] != how[2] and how[2]["precision"] == "float16"
    turned = Lesson.read("small", LESSON, path, size=SIZE, layout=Layout(tumour=0)).teacher.how
    assert turned != how[0]
    # As they enter the digest.
    assert len({json.dumps(each) for each in (*how, turned)}) == 3


def test_a_lesson_and_its_block_come_together(slide: AnnotatedSlide, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="come together"):
        train_classifier("small", recipe(), [slide], [], rules=TileRules(), seed=1, folder=tmp_path / "state")
    assert teacher_of({**SETTINGS, "distillation": None}) is None and teacher_of(SETTINGS) == "big"


SMALL = {**SETTINGS, "architecture": "dr_fused", "data": {**SETTINGS["data"], "cross_fit_folds": 2}}
BIG = {**SMALL, "distillation": None}


def check(classifiers: dict[str, Any]) -> None:
    """Check models as those of the configuration that ships."""
    text = (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    check_references(Configuration.of({**config, "classifiers": {**config["classifiers"], **classifiers}}, ""))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distillation": {**DISTILLATION, "teacher": "bigg"}}, ["small.distillation.teacher", "Did you mean big?"]),
        ({"distillation": {**DISTILLATION, "teacher": "small"}}, ["circular `teacher` reference", "found: small"]),
        (
            {"distillation": {**DISTILLATION, "teacher": "middle"}},
            ["circular `teacher` reference", "small.distillation.teacher", "found: middle"],
        ),
        ({"distillation": {"teacher": "big", "weight": 0.5}}, ["a key is missing", "temperature, unlabelled_share"]),
        ({"distillation": {**DISTILLATION, "weight": 1.5}}, ["small.distillation.weight", "at most 1"]),
        ({"distillation": {**DISTILLATION, "temperature": 0}}, ["small.distillation.temperature", "more than 0"]),
        ({"distillation": {**DISTILLATION, "unlabelled_share": 1.0}}, ["unlabelled_share", "less than 1"]),
        ({"loss": {"name": "focal", "class_weights": None}}, ["small.loss.name", "cannot use this", "focal"]),
        ({"loss": {"name": "cross_entropy", "class_weights": "balanced"}}, ["small.loss.class_weights", "balanced"]),
    ],
)
def test_a_mistake_in_who_teaches_whom_is_named_by_its_key(changes: dict[str, Any], said: list[str]) -> None:
    middle = {**BIG, "distillation": {**DISTILLATION, "teacher": "small"}}
    others = {"big": BIG, "done": {"onnx": "done.onnx"}}
    if "middle" in str(changes):
        others["middle"] = middle
    with pytest.raises(ConfigError) as caught:
        check({**others, "small": {**SMALL, **changes}})
    assert all(part in str(caught.value) for part in said), str(caught.value)
    check({"big": BIG, "done": {"onnx": "d.onnx"}, "small": SMALL})
    finished = {**SMALL, "distillation": {**DISTILLATION, "teacher": "done"}}
    check({"done": {"onnx": "done.onnx"}, "small": finished})


def test_a_model_like_a_student_takes_its_lesson_whole_or_not_at_all() -> None:
    models = {
        "small": SETTINGS,
        "same": {"like": "small"},
        "own": {"like": "small", "distillation": {"teacher": "done"}},
        "alone": {"like": "small", "distillation": None},
    }
    found = resolve_models({"classifiers": models})["classifiers"]
    assert found["same"]["distillation"] == DISTILLATION
    assert found["own"]["distillation"] == {"teacher": "done"}
    assert found["alone"]["distillation"] is None
    assert merged(found["alone"], {}) == {**SETTINGS, "distillation": None}
