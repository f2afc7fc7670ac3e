from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from PIL import Image

from drunet.errors import ConfigError, ModelError
from drunet.inference import EngineOptions
from drunet.models import registry
from drunet.training import checkpoint
from drunet.training.trained import Trained, rebuild
from studies.common import series
from studies.common.errors import ImageSetError
from studies.common.images.export import export_arm
from studies.common.images.splits import HISTORY
from studies.common.images.training import train_arm
from studies.common.images.view import Degradation, View
from studies.common.series import keep_weights, weights_file

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

SIDE = 8
CLASSES = ["aca", "n", "scc"]
TASK: dict[str, Any] = {"classes": CLASSES, "protocols": ["random", "grouped"], "split": {"folds": 3, "run": [0, 2]}}
VIEW = View(size=SIDE, short_side=SIDE, crop_scale=(0.6, 1.0), rotation=5.0)
TRAINING: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 0.02,
    "decay": {"factor": 0.8, "epochs": 2},
    "batch_size": 8,
    "epochs": 3,
    "steps_per_epoch": None,
    "patience": 9,
    "precision": "float32",
    "reestimate_batches": 2,
}
ARM: dict[str, Any] = {
    "label": "tiny",
    "architecture": "tiny",
    "options": {"width": 6},
    "weights": "random",
    "freeze_fraction": 0.0,
    "batch_norm_momentum": 0.9,
    "training": TRAINING,
}
SEED = 5


def build_tiny(
    size: int,
    *,
    classes: int = 2,
    width: int = 4,
    weights: str = "random",
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((size, size, 3), name="input_image")
    x = keras.layers.Conv2D(width, 3, strides=2)(x)
    x = keras.layers.BatchNormalization(momentum=batch_norm_momentum or 0.99)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    x = keras.layers.Dropout(0.1)(x)
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x), name="tiny")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "tiny", f"{__name__}:build_tiny")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine sources of each class, two images of each: alike within a source, of one colour within a class."""
    folder = tmp_path_factory.mktemp("images")
    for k, label in enumerate(CLASSES):
        (folder / label).mkdir()
        for source in range(9):
            rng = np.random.default_rng([k, source])
            base = rng.normal(110, 30, (SIDE + 2, SIDE + 2, 3))
            base[..., k] += 60
            for copy in range(2):
                pixels = np.clip(base + np.random.default_rng([k, source, copy]).normal(0, 4, base.shape), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{source}_{copy}.png")
    return folder


@pytest.fixture(scope="module")
def images(root: Path) -> pd.DataFrame:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return pd.DataFrame(
        {"file": files, "label": [f.split("/")[0] for f in files], "group": [f.split("_")[0] for f in files]}
    )


def run(folder: Path, root: Path, images: pd.DataFrame, **changed: Any) -> Trained:
    arm = {**ARM, **changed.pop("arm", {})}
    task = {**TASK, **changed.pop("task", {})}
    given: dict[str, Any] = {"view": VIEW, "validation_share": 0.25, "distillation": None, "seed": SEED, **changed}
    return train_arm("study, task, tiny", arm, task, images, root, folder=folder, **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path, images: pd.DataFrame) -> Any:
    """An arm that nothing interrupted, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.ARCHITECTURES, "tiny", f"{__name__}:build_tiny")
        folder = tmp_path_factory.mktemp("arm") / "state"
        return folder, run(folder, root, images)


@pytest.mark.slow
def test_every_fold_of_every_protocol_leaves_a_prediction_per_test_image(trained: Any, images: pd.DataFrame) -> None:
    predictions = trained[1].predictions
    assert list(predictions) == ["file", "label", "group", "protocol", "fold", "p_aca", "p_n", "p_scc"]
    p = predictions[["p_aca", "p_n", "p_scc"]]
    assert (p.dtypes == np.float32).all() and np.allclose(p.sum(axis=1), 1, atol=1e-5)
    for _, rows in predictions.groupby(["protocol", "fold"]):
        assert len(rows) == len(images) / 3 and rows["file"].is_unique
    assert predictions.groupby(["protocol", "fold"], sort=False).ngroups == 4
    joined = predictions.merge(images, on="file", suffixes=("", "_given"))
    assert (joined["label"] == joined["label_given"]).all() and (joined["group"] == joined["group_given"]).all()
    # Each protocol's colour tells the class: three epochs are enough to be far above chance, in the right columns.
    assert (p.to_numpy().argmax(axis=1) == [CLASSES.index(label) for label in predictions["label"]]).mean() > 0.6


def test_the_history_has_a_row_per_protocol_fold_and_epoch(trained: Any) -> None:
    history = trained[1].history
    assert list(history) == list(HISTORY)
    assert history.groupby(["protocol", "fold"])["epoch"].apply(list).tolist() == [[1, 2, 3]] * 4
    assert history.notna().all(axis=None)


def test_facts_tell_leak_counts_and_how_to_build_the_network(trained: Any, root: Path, images: pd.DataFrame) -> None:
    folder, outcome = trained
    facts = json.loads(json.dumps(outcome.facts))
    leaks = {(t["protocol"], t["fold"]): t["leak"] for t in facts["trials"]}
    assert leaks["grouped", 0] == leaks["grouped", 2] == 0 and min(leaks["random", 0], leaks["random", 2]) > 0.3
    for trial in facts["trials"]:
        assert sum(sum(part.values()) for part in trial["images"].values()) == len(images)
        assert trial["images"]["test"] == dict.fromkeys(CLASSES, 6) and trial["epochs"] == 3
    # 3 x 3 x 3 x 6 + 6 of the convolution, 4 x 6 of the normalisation (half of them learnt), 6 x 3 + 3 of the head.
    assert facts["parameters"] == 168 + 24 + 21 and facts["trainable_parameters"] == 168 + 12 + 21
    assert facts["classes"] == CLASSES and facts["size"] == SIDE
    model = rebuild(facts, weights_file(folder, "grouped.2"))
    rows = outcome.predictions.query("protocol == 'grouped' and fold == 2")
    seen = np.stack([VIEW.test(np.asarray(Image.open(root / file))) for file in rows["file"]]) / 255
    expected = model.predict(seen.astype(np.float32), verbose=0)
    np.testing.assert_allclose(rows[["p_aca", "p_n", "p_scc"]], expected, atol=1e-5)


class Killed(BaseException):
    pass


def counted(monkeypatch: pytest.MonkeyPatch, then: type[BaseException] | None = None) -> list[str]:
    """Names of the trainings from now on; each raises `then`, if that is given."""
    names, train = [], series.Trainer.train

    def counting(self: Any, **given: Any) -> Any:
        names.append(given["name"])
        if then is not None:
            raise then
        return train(self, **given)

    monkeypatch.setattr(series.Trainer, "train", counting)
    return names


@pytest.mark.slow
def test_a_killed_arm_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Any, root: Path, images: pd.DataFrame
) -> None:

    real, calls = checkpoint.write_json, iter(range(1, 99))

    def killing(*args: Any) -> None:
        # The first epoch of the second fold, after the first fold's and its record, which therefore begins again: there
        # with a fresh network, in the arm that was not killed with one that the first fold had trained and that was
        # told to start over.
        if next(calls) == TRAINING["epochs"] + 2:
            raise Killed
        real(*args)

    for module in (checkpoint, series):
        monkeypatch.setattr(module, "write_json", killing)
    with pytest.raises(Killed):
        run(tmp_path / "state", root, images)
    for module in (checkpoint, series):
        monkeypatch.setattr(module, "write_json", real)
    assert {path.name for path in (tmp_path / "state").glob("*.json")} == {"random.0.json"}
    names = counted(monkeypatch)
    again = run(tmp_path / "state", root, images)
    assert len(names) == 3, "the finished fold is not trained again"
    pd.testing.assert_frame_equal(again.predictions, trained[1].predictions, check_exact=True)
    one, other = (outcome.history.drop(columns="seconds") for outcome in (again, trained[1]))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("changed", ["label", "learning_rate", "groups", "seed"])
def test_what_decides_the_result_makes_it_train_anew_and_a_name_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Any, root: Path, images: pd.DataFrame, changed: str
) -> None:
    shutil.copytree(trained[0], tmp_path / "state")
    names = counted(monkeypatch, Killed)
    if changed == "label":
        outcome = run(tmp_path / "state", root, images, arm={"label": "another name"})
        pd.testing.assert_frame_equal(outcome.predictions, trained[1].predictions, check_exact=True)
        assert not names
        return
    options: dict[str, Any] = {
        "learning_rate": {"arm": {"training": {**TRAINING, "learning_rate": 0.5}}},
        "groups": {},
        "seed": {"seed": SEED + 1},
    }[changed]
    with pytest.raises(Killed):
        moved = images.assign(group=images["group"] + "x") if changed == "groups" else images
        run(tmp_path / "state", root, moved, **options)
    assert names == ["study, task, tiny, random 0"]


@pytest.mark.slow
def test_parts_are_one_fold_and_without_validation_the_training_loss_decides(
    tmp_path: Path, root: Path, images: pd.DataFrame
) -> None:
    split = {"parts": {"training": 3, "test": 1}}
    arm = {"training": {**TRAINING, "epochs": 1}}
    outcome = run(tmp_path / "a", root, images, task={"split": split}, arm=arm, validation_share=0.0)
    assert set(outcome.predictions["fold"]) == {0} and set(outcome.predictions["protocol"]) == {"random", "grouped"}
    assert outcome.history["val_loss"].isna().all() and outcome.history["loss"].notna().all()
    for trial in outcome.facts["trials"]:
        assert trial["images"]["validation"] == dict.fromkeys(CLASSES, 0)


@pytest.mark.slow
def test_trials_are_exported_and_a_student_learns_from_its_own_folds_teacher(
    tmp_path: Path, trained: Any, root: Path, images: pd.DataFrame
) -> None:
    folder, outcome = trained
    keys = ["grouped.0", "random.0"]
    keep_weights(folder, keys, tmp_path / "weights")
    assert export_arm(outcome.facts, tmp_path / "weights", tmp_path / "onnx", opset=15, name="tiny") == keys
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == sorted(
        f"{key}.{end}" for key in keys for end in ("json", "onnx")
    )
    report = json.loads((tmp_path / "onnx" / "random.0.json").read_text())
    assert report["parity"] < 1e-4 and report["classes"] == CLASSES

    rows = outcome.predictions.query("protocol == 'random' and fold == 0")
    seen = np.stack([VIEW.test(np.asarray(Image.open(root / file))) for file in rows["file"]]).astype(np.float32)
    session = ort.InferenceSession(tmp_path / "onnx" / "random.0.onnx", providers=["CPUExecutionProvider"])
    answered = session.run(None, {session.get_inputs()[0].name: seen})[0]
    np.testing.assert_allclose(rows[["p_aca", "p_n", "p_scc"]], answered, atol=1e-5)

    teachers = {key: tmp_path / "onnx" / f"{key}.onnx" for key in keys}
    taught: dict[str, Any] = {
        "arm": {"teacher": "tiny"},
        "distillation": {"temperature": 4.0, "weight": 0.7},
        "teachers": teachers,
    }
    task = {"split": {"folds": 3, "run": [0]}}
    taught["arm"]["training"] = {**TRAINING, "epochs": 1}
    student = run(tmp_path / "student", root, images, task=task, **taught)
    assert student.facts["distillation"] == {"temperature": 4.0, "weight": 0.7, "teacher": "tiny"}
    untaught = outcome.history.query("fold == 0 and epoch == 1").reset_index(drop=True)
    # Other losses to learn from, one and the same to stop by: plain cross-entropy.
    assert (student.history["loss"] != untaught["loss"]).all()
    assert np.isfinite(student.history["val_loss"]).all()

    renamed(teachers["random.0"], ["n", "aca", "scc"])
    with pytest.raises(ModelError, match=r"other classes.*teacher: n, aca, scc; student: aca, n, scc"):
        run(tmp_path / "third", root, images, task=task, **taught)


def renamed(path: Path, classes: list[str]) -> None:
    proto = onnx.load(path)
    for entry in proto.metadata_props:
        if entry.key == "classes":
            entry.value = json.dumps(classes)
    onnx.save(proto, path)


@pytest.mark.slow
def test_training_starts_from_the_weights_of_a_whole_model(tmp_path: Path, root: Path, images: pd.DataFrame) -> None:
    model = build_tiny(SIDE, classes=3, width=6, seed=77)
    model.save_weights(tmp_path / "start.weights.h5")
    still = {**TRAINING, "epochs": 1, "learning_rate": 1e-30, "reestimate_batches": 0}
    task = {"protocols": ["random"], "split": {"folds": 3, "run": [0]}}
    arm = {"weights": str(tmp_path / "start.weights.h5"), "training": still}
    run(tmp_path / "state", root, images, task=task, arm=arm)
    again = build_tiny(SIDE, classes=3, width=6)
    again.load_weights(weights_file(tmp_path / "state", "random.0"))
    for one, other in zip(again.trainable_weights, model.trainable_weights, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"task": {"split": {"folds": 12, "run": [0]}}}, ImageSetError, r"fewer groups than folds"),
        ({"arm": {"teacher": "x"}}, ConfigError, "distillation: a key is missing"),
        (
            {"arm": {"teacher": "x"}, "distillation": {"temperature": 0, "weight": 0.5}},
            ConfigError,
            r"distillation\.temperature: the value does not fit",
        ),
        ({"arm": {"training": {**TRAINING, "decay": {"factor": 2, "epochs": 1}}}}, ConfigError, r"training\.decay"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is(
    tmp_path: Path, root: Path, images: pd.DataFrame, changed: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        run(tmp_path / "state", root, images, **changed)
    assert not (tmp_path / "state").exists()


def test_the_outcome_is_written_as_the_pages_read_it(tmp_path: Path, trained: Any) -> None:
    outcome = trained[1]
    outcome.write(predictions=tmp_path / "p.parquet", facts=tmp_path / "t.json", history=tmp_path / "h.tsv")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p.parquet"), outcome.predictions)
    assert list(pd.read_csv(tmp_path / "h.tsv", sep="\t")) == list(HISTORY)
    assert json.loads((tmp_path / "t.json").read_text())["architecture"] == "tiny"


@pytest.mark.slow
def test_given_parts_and_what_is_left_of_an_image_reach_training_test_and_facts(
    tmp_path: Path, root: Path, images: pd.DataFrame
) -> None:
    """Only the rim is seen: pictures whose inside is lost are answered alike."""
    part = ["test" if "_1" in file else "training" for file in images["file"]]
    task = {"protocols": ["given"], "split": {"parts": {"training": 1, "test": 1}}}
    stretched = View(size=SIDE, short_side=SIDE, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), fit="stretch")
    view = stretched.model_copy(update={"sees": Degradation(border=0.2)})
    given = {"task": task, "view": view, "validation_share": 0.0, "arm": {"training": {**TRAINING, "epochs": 1}}}
    outcome = run(tmp_path / "state", root, images.assign(part=part), **given)
    assert set(outcome.predictions["file"]) == {file for file in images["file"] if "_1" in file}
    assert [trial["leak"] for trial in outcome.facts["trials"]] == [1.0]
    facts = json.loads(json.dumps(outcome.facts))
    assert facts["view"]["sees"] == {"border": 0.2} and View.of(facts["view"], "view") == view
    hollow = tmp_path / "hollow"
    for file in images["file"]:
        pixels = np.asarray(Image.open(root / file)).copy()
        pixels[3:-3, 3:-3] = 7
        (hollow / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(hollow / file)
    again = run(tmp_path / "again", hollow, images.assign(part=part), **given)
    pd.testing.assert_frame_equal(outcome.predictions, again.predictions)
    plain = {**given, "view": stretched}
    whole = run(tmp_path / "whole", root, images.assign(part=part), **plain)
    assert not outcome.predictions["p_n"].equals(whole.predictions["p_n"])


class Begun(BaseException):
    """Raised in the place of a training, with its identity."""


def test_a_training_is_not_continued_with_edited_code_or_another_teacher(
    tmp_path: Path, root: Path, images: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any, identity: str, **__: Any) -> None:
        raise Begun(identity)

    monkeypatch.setattr(series.Series, "_trained", begin)
    (tmp_path / "t.onnx").write_bytes(b"no network is read before it is needed")
    keys = [f"{protocol}.{fold}" for protocol in TASK["protocols"] for fold in TASK["split"]["run"]]
    lesson: dict[str, Any] = {"arm": {"teacher": "tiny"}, "distillation": {"temperature": 4.0, "weight": 0.7}}
    lesson["teachers"] = dict.fromkeys(keys, tmp_path / "t.onnx")

    def begun(**changes: Any) -> str:
        with pytest.raises(Begun) as caught:
            run(tmp_path / "state", root, images, **{**lesson, "code": "one", **changes})
        return str(caught.value)

    one = begun()
    assert one == begun(engine=EngineOptions(provider="cuda", threads=3, batch_size=7))
    assert one != begun(code="two")
    (tmp_path / "t.onnx").write_bytes(b"another teacher")
    assert one != begun()
