from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import shapely

from drunet.annotation import Annotation, read_annotation
from drunet.annotation.parsed import write_parsed
from drunet.annotation.provenance import provenance_of
from drunet.errors import ConfigError, FailedSlideError, SlideError, TrainingDataError
from drunet.export.onnx_model import export_trained
from drunet.export.outline import write_geojson
from drunet.files import sha256
from drunet.grid import Grid
from drunet.heatmap import write_heatmap
from drunet.inference import EngineOptions, classify, open_session
from drunet.models import registry
from drunet.outcome import write_outcome
from drunet.report.card import write_card
from drunet.report.figures import training_curves
from drunet.settings.classifier import ClassifierRecipe
from drunet.settings.network import NetworkSettings, starts_whole
from drunet.settings.refiner import RefinerSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, tile_table, write_table
from drunet.training import checkpoint, classifier, loop, refiner
from drunet.training.checkpoint import save_inference_weights
from drunet.training.classifier import train_classifier
from drunet.training.readers import AnnotatedSlide, SlideSource, split_slides
from drunet.training.recipe import as_it_came, identity
from drunet.training.refiner import RefinerSlide, train_refiner
from drunet.training.trained import Trained, builder_options, rebuild
from drunet_demo.pyramid import write_pyramid

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

CLASSES = {"tumour": ["tumor"], "non_tumour": ["normal"], "ignore": []}
GRID = Grid(width=512, height=256, mpp=0.5, tile_mpp=1.0, size=16, step=16)
LEFT, RIGHT = shapely.box(0, 0, 256, 256), shapely.box(256, 0, 512, 256)
PLAN = {
    "optimiser": "adam",
    "learning_rate": 0.02,
    "batch_size": 16,
    "epochs": 4,
    "steps_per_epoch": None,
    "patience": 9,
    "precision": "float32",
    "reestimate_batches": 0,
}
SETTINGS: dict[str, Any] = {
    "architecture": "tiny",
    "weights": "random",
    "options": {"filters": 6},
    "freeze_fraction": 0.0,
    "batch_norm_momentum": None,
    "data": {"annotation_kinds": ["wta", "psa"], "cohorts": None, "sampling": {"strategy": "as_is"}},
    "loss": {"name": "cross_entropy", "class_weights": None},
    "training": PLAN,
    "augment": {"flip": True, "quarter_turns": True},
}
RECIPE = ClassifierRecipe.of(SETTINGS, "classifiers.c1")
REFINER = RefinerSettings.of(
    {
        "architecture": "tiny_refiner",
        "weights": "random",
        "classifier": "c1",
        "options": {"size": 32},
        "batch_norm_momentum": None,
        "data": {"annotation_kinds": ["wta"], "cohorts": None},
        "training": {**PLAN, "batch_size": 1, "epochs": 3, "steps_per_epoch": 30, "learning_rate": 0.1},
        "augment": None,
    },
    "refiners.r1",
)


def build_tiny(
    size: int, weights: str, freeze_fraction: float, batch_norm_momentum: float | None, seed: int, filters: int
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((size, size, 3), name="input_image")
    x = keras.layers.Conv2D(filters, 3, activation="relu")(keras.layers.BatchNormalization(momentum=0.5)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(x), name="tiny")


def build_tiny_refiner(size: int, batch_norm_momentum: float | None, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image, heat = keras.Input((size, size, 3), name="input_image"), keras.Input((size, size, 1), name="input_pred")
    x = keras.layers.Conv2D(2, 1, activation="softmax")(keras.layers.Concatenate()([image, heat]))
    return keras.Model([image, heat], x)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "tiny", f"{__name__}:build_tiny")
    monkeypatch.setitem(registry.ARCHITECTURES, "tiny_refiner", f"{__name__}:build_tiny_refiner")


MakeSlide = Callable[..., AnnotatedSlide]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeSlide:
    """Make slides whose left half is fine-grained and whose right half is smooth, in the same mean colour."""
    folder = tmp_path_factory.mktemp("slides")

    def slide(slide_id: str, seed: int, kind: str = "wta", **outlines: shapely.Geometry) -> AnnotatedSlide:
        rng = np.random.default_rng(seed)
        image = np.full((256, 512, 3), 150, np.uint8)
        image[:, :256] = 150 + 60 * rng.choice([-1, 1], (64, 64, 1)).repeat(4, 0).repeat(4, 1)
        write_pyramid(folder / f"{slide_id}.tif", image, GRID.mpp)
        drawn = folder / f"{slide_id}.geojson"
        name, shape = next(iter((outlines or {"tumor": LEFT}).items()))
        write_geojson(drawn, [shape], slide_id=slide_id, name=name, colour=(1, 2, 3), mpp=0.5)
        if len(outlines) > 1:
            document = json.loads(drawn.read_text())
            other = folder / "other.geojson"
            write_geojson(other, [outlines["normal"]], slide_id=slide_id, name="normal", colour=(1, 2, 3), mpp=0.5)
            document["features"] += json.loads(other.read_text())["features"]
            drawn.write_text(json.dumps(document))
        annotation = read_annotation(drawn, kind=kind, where=slide_id, width=512, height=256, classes=CLASSES)
        table = tile_table(GRID, np.ones((16, 32), bool), annotation, TileRules())
        write_table(folder / f"{slide_id}.parquet", table, {"grid": GRID.to_dict()})
        parsed = folder / f"{slide_id}_drawn.parquet"
        write_parsed(parsed, annotation, provenance_of(drawn, slide_id), slide_id=slide_id, size=(512, 256))
        source = SlideSource(str(folder / f"{slide_id}.tif"), slide_id)
        return AnnotatedSlide(source, str(folder / f"{slide_id}.parquet"), str(parsed))

    return slide


def train(folder: Path, training: list[AnnotatedSlide], validation: list[AnnotatedSlide], **changes: Any) -> Trained:
    settings = ClassifierRecipe.of({**SETTINGS, **changes.pop("settings", {})}, "classifiers.c1")
    return train_classifier("c1", settings, training, validation, rules=TileRules(), seed=3, folder=folder, **changes)


def by_strategy(strategy: str, **options: Any) -> dict[str, Any]:
    data = {**SETTINGS["data"], "sampling": {"strategy": strategy, **options}}
    return {"data": data, "training": {**PLAN, "epochs": 1}}


@pytest.fixture(scope="module")
def trained(make: MakeSlide, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    patch = pytest.MonkeyPatch()
    patch.setitem(registry.ARCHITECTURES, "tiny", f"{__name__}:build_tiny")
    partial = make("psa1", 1, "psa", tumor=LEFT.buffer(-20), normal=RIGHT.buffer(-20))
    whole, held_out = make("wta1", 2), make("val1", 3)
    result = train(tmp_path_factory.mktemp("c1") / "state", [partial, whole], [held_out])
    patch.undo()
    return result


def test_two_textures_are_told_apart_on_a_slide_not_learnt_from(trained: Trained) -> None:
    assert trained.history["val_accuracy"].max() > 0.95
    assert trained.history["val_loss"].min() < 0.3


def test_what_a_training_remembers_names_its_slides_and_counts_its_tiles(trained: Trained) -> None:
    facts = trained.facts
    assert facts["training_slides"] == ["psa1", "wta1"] and facts["validation_slides"] == ["val1"]
    assert facts["epochs"] == 4 and facts["size"] == 16 and facts["mpp"] == 1.0 and facts["seed"] == 3
    # 16 x 8 tiles, half of them tumour.
    assert facts["validation_samples"] == {"tumour": 64, "non_tumour": 64}
    # Two regions of (256 - 40)² px, in which round(45.56) tiles of 32² px fit.
    assert facts["samples_per_epoch"] == {"tumour": 64 + 46, "non_tumour": 64 + 46}
    json.dumps(facts)


def test_the_card_names_slides_digest_and_settings(trained: Trained, tmp_path: Path) -> None:
    save_inference_weights(trained.model, tmp_path / "model.weights.h5")
    digest = sha256(tmp_path / "model.weights.h5")
    write_card(
        tmp_path / "card.md",
        name="c1",
        facts={**trained.facts, "settings": SETTINGS},
        history=trained.history,
        weights_sha256=digest,
    )
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "\n---\n# c1\n" in card and digest in card
    assert "Training slides (2): psa1, wta1" in card and "Validation slides (1): val1" in card
    assert "110 tumour, 110 non-tumour" in card
    best = trained.history.loc[trained.history["val_loss"].idxmin()]
    assert f"| epoch | {best['epoch']:.4g} |" in card and f"| val_loss | {best['val_loss']:.4g} |" in card
    assert json.loads(card.partition("```json\n")[2].partition("```")[0]) == SETTINGS
    assert str(tmp_path) not in card


@pytest.mark.slow
def test_a_model_of_parts_that_whole_annotations_stop_says_so_in_the_log_and_on_the_card(
    make: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [make("psa1", 1, "psa", tumor=LEFT.buffer(-20), normal=RIGHT.buffer(-20))]
    short = {**by_strategy("as_is"), "training": {**PLAN, "epochs": 1, "steps_per_epoch": 1}}

    def learnt(validation: str, **data: Any) -> tuple[bool, bool]:
        settings = {**short, "data": {**short["data"], "annotation_kinds": ["psa"], **data}}
        own = {"tumor": LEFT.buffer(-20), "normal": RIGHT.buffer(-20)} if validation == "psa" else {}
        held_out = [make(f"val_{validation}", 3, validation, **own)]
        result = train(tmp_path / f"{validation}{len(data)}", parts, held_out, settings=settings)
        path, facts = tmp_path / "card.md", {**result.facts, "settings": SETTINGS}
        write_card(path, name="c1", facts=facts, history=result.history, weights_sha256="")
        card = "a test on their cohort is not external" in path.read_text(encoding="utf-8")
        assert card == result.facts["validated_on_wta"]
        return card, "c1: no validation slide is partially annotated" in capsys.readouterr().err

    assert learnt("wta") == (True, True)
    assert learnt("psa") == (False, False)
    # Who asked for it is not warned; the card says it all the same.
    assert learnt("wta", validation_kinds=["wta"]) == (True, False)


def test_a_model_of_no_epochs_is_what_it_starts_from(trained: Trained, tmp_path: Path) -> None:
    save_inference_weights(trained.model, tmp_path / "given.weights.h5")
    block = {**SETTINGS, "weights": str(tmp_path / "given.weights.h5"), "training": {**PLAN, "epochs": 0}}
    kept = as_it_came(
        ClassifierRecipe.of(block, "c2"), {"size": 16, "mpp": 1.0}, seed=9, start=str(tmp_path / "given.weights.h5")
    )
    paths = {name: tmp_path / name for name in ("w.weights.h5", "history.tsv", "facts.json")}
    weights, history, facts = paths.values()
    kept.write(weights=weights, history=history, facts=facts, settings=block)
    again = rebuild(json.loads(facts.read_text(encoding="utf-8")), weights)
    for one, same in zip(trained.model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    told = json.loads(facts.read_text(encoding="utf-8"))
    assert told["training_slides"] == [] and told["epochs"] == 0
    # What is read back from the table draws and describes a model without epochs.
    table = pd.read_csv(history, sep="\t")
    write_card(tmp_path / "card.md", name="c2", facts=told, history=table, weights_sha256="")
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "Nothing was trained here." in card and "not known, the weights are as they came" in card
    assert "training loss decided" not in card and "Annotations: not known." in card
    drawn = training_curves(table, "c2").axes[0]
    assert [text.get_text() for text in drawn.texts] == ["c2: nothing was trained"]


def test_the_exported_model_separates_the_textures_in_the_engine(
    trained: Trained, make: MakeSlide, tmp_path: Path
) -> None:
    save_inference_weights(trained.model, tmp_path / "model.weights.h5")
    facts = {**trained.facts, "settings": SETTINGS}
    export_trained(facts, tmp_path / "model.weights.h5", tmp_path / "m.onnx", opset=17, name="c1")
    source = make("test1", 4).source
    row, column = (a.ravel() for a in np.indices(GRID.shape))
    options = EngineOptions(threads=1)
    p = classify(
        open_session(tmp_path / "m.onnx", options, where="c1"),
        source.open,
        *GRID.tile_origin(column, row),
        size=16,
        mpp=1.0,
        options=options,
        where="test1",
    ).p_tumour
    assert ((p > 0.5) == (column < 8)).mean() > 0.95


def test_without_slides_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"classifiers\.c1\.data: no usable slide to learn from"):
        train(tmp_path / "state", [], [])
    with pytest.raises(TrainingDataError, match=r"refiners\.r1\.data: no usable slide"):
        train_refiner("r1", REFINER, [], [], seed=1, folder=tmp_path / "state")


def test_one_class_alone_cannot_be_learnt(make: MakeSlide, tmp_path: Path) -> None:
    only = make("only", 5, "psa", tumor=LEFT)
    with pytest.raises(TrainingDataError, match=r"one class only \(found: \d+ tumour and 0 non-tumour tiles\)"):
        train(tmp_path / "state", [only], [])


@pytest.fixture(scope="module")
def uneven(make: MakeSlide) -> AnnotatedSlide:
    """A slide of 16 x 8 tiles, of which the first three columns are tumour."""
    return make("uneven", 7, tumor=shapely.box(0, 0, 96, 256))


@pytest.mark.parametrize(
    ("strategy", "tumour", "non_tumour"), [("as_is", 24, 104), ("oversample", 104, 104), ("undersample", 24, 24)]
)
@pytest.mark.slow
def test_a_strategy_decides_what_an_epoch_shows(
    uneven: AnnotatedSlide, tmp_path: Path, strategy: str, tumour: int, non_tumour: int
) -> None:
    facts = train(tmp_path / "state", [uneven], [uneven], settings=by_strategy(strategy)).facts
    assert facts["samples_per_epoch"] == {"tumour": tumour, "non_tumour": non_tumour}
    assert facts["validation_samples"] == {"tumour": 24, "non_tumour": 104}
    assert facts["sampling"] == {"strategy": strategy}


@pytest.mark.parametrize(("at_most", "used"), [(40, 40), (127, 127), (128, 128), (5000, 128), (None, 128)])
@pytest.mark.slow
def test_at_most_so_many_tiles_decide_which_epoch_was_best(
    uneven: AnnotatedSlide, tmp_path: Path, at_most: int | None, used: int
) -> None:
    limited = by_strategy("as_is")
    limited["data"]["validation_tiles"] = at_most
    counts = train(tmp_path / "state", [uneven], [uneven], settings=limited).facts["validation_samples"]
    assert sum(counts.values()) == used
    # Drawn at random: about as many of each class as there are.
    assert counts["tumour"] == pytest.approx(24 * used / 128, abs=6)


def test_balanced_weights_are_counted_over_a_whole_epoch_and_remembered(uneven: AnnotatedSlide, tmp_path: Path) -> None:
    weighted = {**by_strategy("as_is"), "loss": {"name": "cross_entropy", "class_weights": "balanced"}}
    weighted["training"] = {**PLAN, "epochs": 1, "steps_per_epoch": 2}
    facts = train(tmp_path / "state", [uneven], [], settings=weighted).facts
    np.testing.assert_allclose(facts["loss"]["class_weights"], [128 / 208, 128 / 48])
    assert sum(facts["samples_per_epoch"].values()) == 32


def test_strata_find_the_tissues_of_the_slides(make: MakeSlide, tmp_path: Path) -> None:
    # The grain makes tiles on the left differ in mean colour; the right half is one tissue.
    slide = make("strata", 8, tumor=shapely.box(128, 0, 384, 256))
    facts = train(tmp_path / "state", [slide], [], settings=by_strategy("strata", clusters=2)).facts
    assert facts["sampling"]["strategy"] == "strata" and len(facts["sampling"]["clusters"]) == 2
    assert sum(c["tumour"] for c in facts["sampling"]["clusters"]) == 64
    assert facts["samples_per_epoch"] == {"tumour": 64, "non_tumour": 64}
    # Regions of four tiles each.
    small = make("few", 8, "psa", tumor=shapely.box(0, 0, 64, 64), normal=shapely.box(300, 0, 364, 64))
    with pytest.raises(TrainingDataError, match=r"classifiers\.c1\.data\.sampling: there are fewer tiles"):
        train(tmp_path / "state", [small], [], settings=by_strategy("strata", clusters=32))


def scores_of(folder: Path, name: str, p: np.ndarray) -> str:
    row, column = (a.ravel() for a in np.indices(GRID.shape))
    frame = pd.DataFrame({"column": column, "row": row, "p_tumour": p.ravel()})
    write_table(folder / f"{name}.parquet", frame, {"grid": GRID.to_dict()})
    return str(folder / f"{name}.parquet")


@pytest.mark.slow
def test_two_passes_learn_from_the_areas_that_a_first_model_got_wrong(
    uneven: AnnotatedSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p = np.full(GRID.shape, 0.2)
    p[2, 8:13] = [0.9, 0.6, 0.8, 0.55, 0.7]
    settings = by_strategy("induced_imbalance", first_model="c0", tumour=8, non_tumour=10, hard=2)
    facts = train(tmp_path / "state", [uneven], [uneven], settings=settings, scores=[scores_of(tmp_path, "p", p)]).facts
    assert facts["samples_per_epoch"] == {"tumour": 8, "non_tumour": 10}
    assert facts["validation_samples"] == {"tumour": 24, "non_tumour": 104}
    hard = [a for a in facts["sampling"]["areas"] if a["kind"] == "hard"]
    assert [(a["slide"], a["x"], a["y"], a["score"]) for a in hard] == [
        ("uneven", 9 * 32, 2 * 32, 0.6),
        ("uneven", 11 * 32, 2 * 32, 0.55),
    ]
    assert "fewer areas" not in capsys.readouterr().err
    json.dumps(facts)
    more = by_strategy("induced_imbalance", first_model="c0", tumour=48, non_tumour=60, hard=12)
    facts = train(tmp_path / "s2", [uneven], [], settings=more, scores=[scores_of(tmp_path, "p", p)]).facts
    assert facts["sampling"]["used"] == {"tumour": 24, "clear": 25, "hard": 5}
    assert "c1: fewer areas than asked for: asked 48 tumour, 48 clear, 12 hard" in capsys.readouterr().err


def test_scores_that_change_start_a_training_anew(uneven: AnnotatedSlide, tmp_path: Path) -> None:
    seen = []
    for value in (0.1, 0.2):
        scores = [scores_of(tmp_path, "p", np.full(GRID.shape, value))]
        seen.append(identity(classifier._learnt_files([uneven], scores), [], settings=SETTINGS))
    assert len(set(seen)) == 2
    assert classifier._learnt_files([uneven], ()) == [uneven.files]


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(
    make: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [make("strata", 8, tumor=shapely.box(128, 0, 384, 256))], list[AnnotatedSlide]()
    settings = {**by_strategy("strata", clusters=2), "loss": {"name": "focal", "class_weights": "balanced"}}
    settings["training"] = {**PLAN, "epochs": 2, "steps_per_epoch": 2}
    whole = train(tmp_path / "whole", *slides, settings=settings)
    kept = loop._Keeper.on_epoch_end

    def killed(self: Any, epoch: int, logs: Any = None) -> None:
        kept(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Keeper, "on_epoch_end", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", *slides, settings=settings)
    resumed = train(tmp_path / "killed", *slides, settings=settings)
    assert len(resumed.history) == 2
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mistake_in_the_settings_is_named_by_its_key(make: MakeSlide, tmp_path: Path) -> None:
    slide = make("wta1", 2)
    with pytest.raises(ConfigError, match=r"classifiers\.c1\.augment: .*found: flop\).*flip"):
        train(tmp_path / "state", [slide], [], settings={"augment": {"flop": True}})
    with pytest.raises(ConfigError, match=r"classifiers\.c1\.training: .*found: epoch\)"):
        train(tmp_path / "state", [slide], [], settings={"training": {**PLAN, "epoch": 3}})
    with pytest.raises(ConfigError, match=r"classifiers\.c1\.data\.sampling\.strategy: .*found: 'smote'"):
        train(tmp_path / "state", [slide], [], settings=by_strategy("smote"))
    with pytest.raises(ConfigError, match=r"classifiers\.c1\.loss\.name: .*found: 'hinge'"):
        train(tmp_path / "state", [slide], [], settings={"loss": {"name": "hinge", "class_weights": None}})


def test_a_trainings_identity_is_all_that_decides_its_result(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    Path(a).write_text("tiles of a")
    Path(b).write_text("tiles of b")
    first = identity([[a]], [[b]], settings=SETTINGS, seed=1)
    assert first == identity([[a]], [[b]], seed=1, settings=dict(reversed(SETTINGS.items())))
    others = [
        identity([[a]], [[b]], settings={**SETTINGS, "freeze_fraction": 0.5}, seed=1),
        identity([[a]], [[b]], settings=SETTINGS, seed=2),
        identity([[a], [b]], [], settings=SETTINGS, seed=1),  # a slide that changes sides
        identity([[b]], [[a]], settings=SETTINGS, seed=1),
        identity([[a]], [[b]], b, settings=SETTINGS, seed=1),
    ]
    Path(b).write_text("tiles of b, changed")
    others.append(identity([[a]], [[b]], settings=SETTINGS, seed=1))
    assert len({first, *others}) == 7


class Begun(BaseException):
    """Raised in the place of a training, with its identity."""


def begun(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> str:
    """The identity of the training that a call begins."""

    def begin(*_: Any, identity: str, **__: Any) -> None:
        raise Begun(identity)

    monkeypatch.setattr(loop.Trainer, "train", begin)
    with pytest.raises(Begun) as caught:
        call()
    return str(caught.value)


def test_what_else_decides_a_result_starts_a_training_anew(
    make: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = make("wta1", 2)
    asked: dict[str, Any] = {"rules": TileRules(), "code": "one"}

    def classifies(**changes: Any) -> str:
        options = {"seed": 3, "folder": tmp_path, **asked, **changes}
        options = {"seed": 3, "folder": tmp_path, **asked, **changes}
        learnt = [options.pop("slide", slide)]
        return begun(monkeypatch, lambda: train_classifier("c1", RECIPE, learnt, [], **options))

    # The same outline, which now means something else.
    drawn = slide.read()[2]
    other = Annotation("wta", tuple(replace(region, label="ignore") for region in drawn.regions))
    write_parsed(tmp_path / "other.parquet", other, slide.provenance, slide_id="wta1", size=(512, 256))
    renamed = replace(slide, annotation=str(tmp_path / "other.parquet"))
    others = [{"rules": TileRules(min_tumour=0.2)}, {"slide": renamed}, {"code": "two"}]
    assert classifies() == classifies() and len({classifies(), *(classifies(**other) for other in others)}) == 4

    entry = refiner_slide(make, tmp_path, "r1")

    def refines(**changes: Any) -> str:
        options: dict[str, Any] = {"code": "one", "seed": 3, "folder": tmp_path, **changes}
        learnt = [options.pop("slide", entry)]
        return begun(monkeypatch, lambda: train_refiner("r1", REFINER, learnt, [], **options))

    # On this side the outline goes on meaning tumour, without which no refiner begins.
    split = Annotation(
        "wta", tuple(replace(region, label="tumour", name="other") for region in entry.slide.read()[2].regions)
    )
    write_parsed(tmp_path / "split.parquet", split, slide.provenance, slide_id="r1", size=(512, 256))
    others = [
        {"slide": replace(entry, slide=replace(entry.slide, annotation=str(tmp_path / "split.parquet")))},
        {"code": "two"},
    ]
    assert refines() == refines() and len({refines(), *(refines(**other) for other in others)}) == 3


def test_an_annotation_that_changes_starts_a_training_anew(make: MakeSlide) -> None:
    slide = make("wta1", 2)
    assert slide.files == [slide.tiles, slide.annotation]
    assert RefinerSlide(slide, "h.tif").files == [slide.tiles, slide.annotation, "h.tif"]


def refiner_slide(make: MakeSlide, tmp_path: Path, slide_id: str, **outlines: Any) -> RefinerSlide:
    heatmap = np.full(GRID.shape, 0.1, np.float32)
    heatmap[:, :8] = 0.9
    write_heatmap(tmp_path / f"{slide_id}.tif", heatmap, GRID, {})
    return RefinerSlide(make(slide_id, 6, **outlines), str(tmp_path / f"{slide_id}.tif"))


def test_a_refiner_learns_the_annotated_half_and_remembers_its_smallest_tumour(make: MakeSlide, tmp_path: Path) -> None:
    slides = [refiner_slide(make, tmp_path, name) for name in ("r1", "r2")]
    result = train_refiner("r1", REFINER, slides[:1], slides[1:], seed=1, folder=tmp_path / "state")
    assert result.history["val_dice"].max() > 0.95
    # 256 x 256 level-0 px of 0.5 µm.
    assert result.facts["smallest_tumour_um2"] == pytest.approx(128 * 128)
    assert result.facts["training_slides"] == ["r1"] and result.facts["validation_slides"] == ["r2"]
    truth = refiner._load(slides[0], REFINER.model_copy(update={"options": {"size": 8}}), []).truth
    np.testing.assert_array_equal(truth, np.tile([True] * 4 + [False] * 4, (8, 1)))


def test_a_refiner_needs_tumour(make: MakeSlide, tmp_path: Path) -> None:
    slide = refiner_slide(make, tmp_path, "bare", normal=RIGHT)
    with pytest.raises(TrainingDataError, match=r"no training slide of the refiner shows tumour \(found: bare\)"):
        train_refiner("r1", REFINER, [slide], [], seed=1, folder=tmp_path / "state")


def test_starting_weights_from_a_file_replace_those_that_the_builder_would_fetch() -> None:
    def options_of(weights: Any) -> dict[str, Any]:
        return builder_options(NetworkSettings.among({**SETTINGS, "weights": weights}, "c1"), 1, 16)

    for whole in ("models/start.weights.h5", {"model": "other"}):
        assert starts_whole(whole)
        assert options_of(whole)["weights"] == "random"
    for weights in ("imagenet", "random", {"densenet201": "d.h5"}):
        assert not starts_whole(weights)
        assert options_of(weights)["weights"] == weights


# ---- slides that failed before training


def test_a_slide_with_an_outcome_is_left_out_on_its_own_side(
    make: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [make(name, number) for number, name in enumerate(("left_a", "left_b", "left_c", "left_d"))]
    rows = [{"slide_id": s.source.slide_id, "mpp": 0.5} for s in slides]
    paths, tiles, annotations = ([getter(s) for s in slides] for getter in GETTERS)
    further = [str(tmp_path / f"{n}.tif") for n in range(4)]
    for path in further:
        Path(path).write_text("a heatmap")
    failure = FailedSlideError("gone", stage="classify_tiles", status="unreadable", where="left_b", mend="Mend it.")
    write_outcome([further[1]], failure)
    training, validation, left = split_slides(rows, 3, paths, tiles, annotations, further)
    assert [s.source.slide_id for s in training] == ["left_a", "left_c"]
    assert [s.source for s in validation] == [SlideSource(paths[3], "left_d", 0.5)]
    assert left == [further[0], *further[2:]]
    assert (training[1].tiles, training[1].annotation) == (tiles[2], annotations[2])
    assert "left out: left_b: unreadable at classify_tiles: gone. Mend it." in capsys.readouterr().err
    # Without the file that failed nothing is left out.
    assert len(split_slides(rows, 3, paths, tiles, annotations)[0]) == 3


@pytest.mark.parametrize(("side", "threads"), [("training", 1), ("training", 3), ("validation", 2)])
def test_a_tile_that_breaks_in_training_ends_in_the_slides_name(
    make: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str, threads: int
) -> None:
    slides = {"training": make("whole_t", 3), "validation": make("whole_v", 4)}
    broken = slides[side].source.slide_id
    read = Slide.read

    def fails(self: Slide, *place: Any) -> np.ndarray:
        if self.slide_id == broken:
            raise SlideError("the file cannot be read", status="unreadable", where=broken, mend="Copy it.")
        return read(self, *place)

    monkeypatch.setattr(Slide, "read", fails)
    with pytest.raises(SlideError, match=rf"^{broken}: the file cannot be read. Copy it. Or take the slide out"):
        train(tmp_path, [slides["training"]], [slides["validation"]], threads=threads)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


GETTERS = (lambda s: s.source.path, lambda s: s.tiles, lambda s: s.annotation)


@pytest.mark.slow
def test_a_refiner_at_a_physical_scale_learns_from_windows_that_are_not_stretched(
    make: MakeSlide, tmp_path: Path
) -> None:
    slides = [refiner_slide(make, tmp_path, name) for name in ("r1", "r2")]
    plan = REFINER.training.model_copy(update={"batch_size": 4})
    changes = {"mpp": 4.0, "loss": "dice_cross_entropy", "options": {"size": 16}, "training": plan}
    scaled = REFINER.model_copy(update=changes)
    # 512 x 256 level-0 px of 0.5 µm.
    field = refiner._load(slides[0], scaled, [])
    assert field.image.shape == (32, 64, 3) and field.heat.shape == field.looked.shape == (32, 64)
    np.testing.assert_array_equal(field.truth, np.tile([True] * 32 + [False] * 32, (32, 1)))
    result = train_refiner("r1", scaled, slides[:1], slides[1:], seed=1, folder=tmp_path / "state")
    assert result.history["val_dice"].max() > 0.9
    assert result.facts["mpp"] == 4.0 and result.facts["size"] == 16
