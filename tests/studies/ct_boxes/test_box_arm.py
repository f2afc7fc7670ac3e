from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from drunet.errors import ConfigError, ModelError
from drunet.training import checkpoint, loop
from drunet.training.trained import Trained, rebuild
from studies.common import series
from studies.common.errors import ImageSetError
from studies.common.images.folder import write_list
from studies.common.images.tables import ImageArm
from studies.common.series import weights_file
from studies.ct_boxes import tables
from studies.ct_boxes import training as box_arm
from studies.ct_boxes import trials as box_trials
from studies.ct_boxes.geometry import COORDINATES, iou
from studies.ct_boxes.training import train_box_arm, tuned_key
from studies.ct_boxes.trials import read_slices

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

SIZE, WIDTH, HEIGHT = 32, 40, 48
TRAINING: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 0.003,
    "decay": None,
    "batch_size": 8,
    "epochs": 4,
    "steps_per_epoch": None,
    "patience": 99,
    "precision": "float32",
    "reestimate_batches": 0,
}
ARM: dict[str, Any] = {
    "label": "simple",
    "architecture": "simple_box_cnn",
    "options": {"filters": [4, 4], "dense_units": 16},
    "loss": "mse",
    "coordinates": "pixels",
    "augment": None,
    "training": TRAINING,
    "fine_tuning": {"parts": {"training": 80, "test": 20}, "training": {**TRAINING, "epochs": 2}},
}
COMPACT = {
    "architecture": "compact_box_regressor",
    "options": {"filters": [8, 8]},
    "loss": "giou_l1",
    "coordinates": "normalised",
    "augment": {"flip": True, "shift": 0.1, "zoom": 0.1},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices of five patients of subtype B, three of A, one of G, with a bright square in the box; and their list."""
    folder, rng = tmp_path_factory.mktemp("slices"), np.random.default_rng(0)
    rows: list[list[Any]] = []
    for patient, subtype in enumerate("BBBBBAAAG", start=1):
        corner, side = rng.uniform(4, 20, 2), rng.uniform(8, 16)
        for _ in range(4):
            x0, y0 = np.rint(corner + rng.uniform(-2, 2, 2))
            x1, y1 = np.rint([x0 + side, y0 + side])
            image = rng.integers(20, 60, (HEIGHT, WIDTH), dtype=np.uint8)
            image[int(y0) : int(y1), int(x0) : int(x1)] += 150
            file = f"{len(rows):05d}.png"
            Image.fromarray(image).save(folder / file)
            rows.append([file, subtype, patient, WIDTH, HEIGHT, x0, y0, x1, y1, 1])
    columns = ["file", "subtype", "patient", "width", "height", *COORDINATES, "boxes"]
    write_list(folder / "slices.tsv", pd.DataFrame(rows, columns=columns))
    return folder


def run(folder: Path, root: Path, **changed: Any) -> Trained:
    arm = {**ARM, **changed.pop("arm", {})}
    given: dict[str, Any] = {
        "size": SIZE,
        "source": "B",
        "targets": ["A", "G"],
        "protocol": "grouped",
        "parts": {"training": 80, "test": 20},
        "validation_share": 0.0,
        "seed": 3,
        **changed,
    }
    slices = given.pop("slices", None)
    slices = read_slices(root / "slices.tsv") if slices is None else slices
    return train_box_arm("ct_boxes, test", arm, slices, root, folder=folder, **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Trained]:
    """What nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("arm") / "state"
    return folder, run(folder, root)


@pytest.mark.slow
def test_every_stage_leaves_its_predictions(trained: Any, root: Path) -> None:
    predictions, slices = trained[1].predictions, read_slices(root / "slices.tsv")
    assert tuple(predictions) == box_trials.ROWS
    count = predictions.groupby(["stage", "target", "part"]).size().to_dict()
    assert count == {
        ("source", "B", "training"): 16,
        ("source", "B", "test"): 4,
        ("untouched", "A", "untouched"): 12,
        ("untouched", "G", "untouched"): 4,
        ("fine-tuned", "A", "training"): 8,
        ("fine-tuned", "A", "test"): 4,
    }
    assert (predictions["subtype"] == predictions["target"]).all()
    joined = predictions.merge(slices, on="file", suffixes=("", "_given"))
    for column in ("subtype", "patient", *COORDINATES):
        assert (joined[column] == joined[f"{column}_given"]).all(), column
    edges = predictions[[f"p{edge}" for edge in COORDINATES]].to_numpy()
    np.testing.assert_allclose(predictions["iou"], iou(predictions[list(COORDINATES)], edges))
    # Patients are whole.
    divided = predictions.query("part != 'untouched'").groupby(["stage", "patient"])["part"].nunique()
    assert (divided == 1).all()


@pytest.mark.slow
def test_several_subtypes_are_learnt_together(tmp_path: Path, root: Path) -> None:
    outcome = run(tmp_path / "state", root, source="A+B", targets=["G"])
    count = outcome.predictions.groupby(["stage", "subtype", "target", "part"]).size().to_dict()
    # Of each subtype the same share of patients is tested: one of three, and one of five.
    assert count == {
        ("source", "A", "A+B", "training"): 8,
        ("source", "A", "A+B", "test"): 4,
        ("source", "B", "A+B", "training"): 16,
        ("source", "B", "A+B", "test"): 4,
        ("untouched", "G", "G", "untouched"): 4,
    }
    assert outcome.facts["source"] == "A+B" and list(outcome.history["target"].unique()) == ["A+B"]


def test_predictions_are_what_the_kept_weights_answer_in_pixels_of_the_slice(trained: Any, root: Path) -> None:
    folder, outcome = trained
    for key, stage in (("source", "untouched"), (tuned_key("A"), "fine-tuned")):
        rows = outcome.predictions.query(f"stage == '{stage}' and target == 'A'")
        model = rebuild(outcome.facts, weights_file(folder, key))
        pictures = [Image.open(root / file) for file in rows["file"]]
        # A reduction by area done by Pillow, which may differ by a level.
        seen = np.stack([np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BOX)) for p in pictures])
        answers = np.asarray(model(seen[..., None].astype(np.float32) / 255))
        factor = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) / SIZE
        found = rows[[f"p{edge}" for edge in COORDINATES]].to_numpy()
        np.testing.assert_allclose(found, answers * factor, atol=0.3)


def test_the_history_has_a_row_per_stage_and_epoch(trained: Any) -> None:
    history = trained[1].history
    assert tuple(history) == box_trials.HISTORY
    assert history.groupby(["stage", "target"])["epoch"].apply(list).to_dict() == {
        ("source", "B"): [1, 2, 3, 4],
        ("fine-tuned", "A"): [1, 2],
    }
    assert history[["loss", "iou", "seconds"]].notna().all(axis=None) and history["val_loss"].isna().all()
    # Fine-tuning begins where the source has ended, not at the beginning.
    losses = history.groupby("stage")["loss"].first()
    assert losses["fine-tuned"] < losses["source"]


def test_facts_tell_parameters_and_what_was_left_out(trained: Any) -> None:
    facts = json.loads(json.dumps(trained[1].facts))
    hidden = (8 * 8 * 4 + 1) * 16
    assert facts["parameters"] == (9 + 1) * 4 + (36 + 1) * 4 + hidden + 17 * 4
    assert list(facts["skipped"]) == ["G"] and "1 patient" in facts["skipped"]["G"]
    assert [t["key"] for t in facts["trainings"]] == ["source", tuned_key("A")]


def leaks_of(outcome: Trained, root: Path) -> pd.DataFrame:
    """What the page says of the split of the source."""
    facts = outcome.facts
    arm = ImageArm(facts["protocol"], "a", "a", None, outcome.predictions, outcome.history, facts)
    return tables.leaks([arm], tables.judged(facts["source"], []), read_slices(root / "slices.tsv"))


@pytest.mark.slow
def test_a_random_split_leaks_and_says_how_much(tmp_path: Path, root: Path) -> None:
    outcome = run(tmp_path / "state", root, protocol="random", targets=[], validation_share=0.25)
    parts = outcome.predictions.set_index("file")[["part", "patient"]]
    assert parts["part"].value_counts().to_dict() == {"training": 12, "validation": 4, "test": 4}
    learnt = set(parts.query("part != 'test'")["patient"])
    leaked = parts.query("part == 'test'")["patient"].isin(learnt).mean()
    assert leaks_of(outcome, root)["leak"].tolist() == [leaked] and leaked > 0
    assert outcome.history[["val_loss", "val_iou"]].notna().all(axis=None)


def test_two_patients_can_be_kept_apart(tmp_path: Path, root: Path) -> None:
    slices = read_slices(root / "slices.tsv").query("patient in ['6', '7']").reset_index(drop=True)
    outcome = run(tmp_path / "state", root, slices=slices, source="A", targets=[], validation_share=0.2)
    assert outcome.predictions.groupby("part")["patient"].nunique().to_dict() == {"training": 1, "test": 1}
    assert leaks_of(outcome, root)["leak"].tolist() == [0]


def test_one_patient_cannot_be_kept_apart(tmp_path: Path, root: Path) -> None:
    with pytest.raises(ImageSetError, match=r"too few patients .*1 patient of subtype G.*other patients"):
        run(tmp_path / "state", root, source="G", targets=[])
    with pytest.raises(ImageSetError, match=r"no patient of subtype E"):
        run(tmp_path / "state", root, source="E", targets=[])
    with pytest.raises(ImageSetError, match=r"too few patients .*1 patient of subtype G"):
        run(tmp_path / "state", root, source="A+G", targets=[])


@pytest.mark.slow
def test_the_compact_network_learns_where_the_box_is(tmp_path: Path, root: Path) -> None:
    training = {**TRAINING, "epochs": 15, "learning_rate": 0.01}
    tuning = {**ARM["fine_tuning"], "training": training}
    arm = {**COMPACT, "training": training, "fine_tuning": tuning}
    outcome = run(tmp_path / "state", root, arm=arm, targets=[])
    curve = outcome.history.query("stage == 'source'")["iou"].to_numpy()
    assert curve[-3:].mean() > max(0.4, curve[0] + 0.15), curve
    assert outcome.predictions.query("part == 'training'")["iou"].mean() > 0.4


@pytest.mark.slow
def test_a_killed_arm_goes_on_and_ends_the_same(
    tmp_path: Path, root: Path, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    learnt: list[str] = []
    rows = box_trials.prediction_rows

    def die(*args: Any, **what: Any) -> pd.DataFrame:
        learnt.append(what["stage"])
        if what["stage"] == "fine-tuned":
            raise Killed
        return rows(*args, **what)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(box_arm, "prediction_rows", die)
        run(tmp_path / "state", root)
    assert learnt == ["source", "untouched", "untouched", "fine-tuned"]

    trainings: list[str] = []
    train = loop.Trainer.train

    def watched(self: Any, **what: Any) -> pd.DataFrame:
        trainings.append(what["name"])
        return train(self, **what)

    monkeypatch.setattr(loop.Trainer, "train", watched)
    again = run(tmp_path / "state", root)
    assert len(trainings) == 1 and "fine-tuned for A" in trainings[0]
    numbers = [f"p{edge}" for edge in COORDINATES]
    np.testing.assert_allclose(again.predictions[numbers], trained[1].predictions[numbers], rtol=1e-3, atol=1e-2)
    left_out = "seconds"
    pd.testing.assert_frame_equal(
        again.history.drop(columns=left_out), trained[1].history.drop(columns=left_out), rtol=1e-3
    )


@pytest.mark.slow
def test_pictures_that_changed_are_learnt_anew(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in root.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    run(tmp_path / "state", own, targets=[])
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(own / "00003.png")
    trained_again: list[str] = []
    train = loop.Trainer.train

    def watched(self: Any, **what: Any) -> pd.DataFrame:
        trained_again.append(what["name"])
        return train(self, **what)

    monkeypatch.setattr(loop.Trainer, "train", watched)
    run(tmp_path / "state", own, targets=[])
    assert len(trained_again) == 1


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"arm": {"augment": {"flip": True}}}, ConfigError, "augment: a key is missing"),
        ({"arm": {"architecture": "plain_cnn", "options": {}}}, ModelError, "one grey picture"),
    ],
)
def test_mistakes_in_the_settings_of_boxes_are_named(
    tmp_path: Path, root: Path, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(tmp_path / "state", root, **changed)


def test_a_patient_who_only_stopped_the_training_leaks_too() -> None:
    # Slices 2 to 5 are tested: one is of the patient learnt from, one of the patient validated on.
    slices = pd.DataFrame({"file": list("012345"), "subtype": "B", "patient": ["1", "2", "1", "2", "3", "4"]})
    rows = slices.assign(stage="source", part=["training", "validation", *["test"] * 4])
    arm = ImageArm("random", "a", "a", None, rows, pd.DataFrame(), {"source": "B"})
    assert tables.leaks([arm], tables.judged("B", []), slices)["leak"].tolist() == [2 / 4]


class Begun(BaseException):
    """Raised in the place of a training, with its identity."""


def test_a_training_is_not_continued_with_edited_code(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any, identity: str, **__: Any) -> None:
        raise Begun(identity)

    monkeypatch.setattr(series.Series, "_trained", begin)

    def begun(code: str) -> str:
        with pytest.raises(Begun) as caught:
            run(tmp_path / "state", root, code=code)
        return str(caught.value)

    assert begun("one") == begun("one") != begun("two")
