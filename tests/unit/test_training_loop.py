from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from drunet.errors import ConfigError, ModelError, TrainingDataError
from drunet.settings.training import ClasslessTraining, TrainingSettings
from drunet.training import checkpoint, loop
from drunet.training.batch_norm import BatchNormEstimator
from drunet.training.batches import EpochBatches
from drunet.training.checkpoint import alone_in, save_inference_weights
from drunet.training.feed import Feed
from drunet.training.loop import Trainer, compute_precision

checkpoint.KEEP_EVERY = 0.0  # a state after every epoch

PLAN: dict[str, Any] = {
    "optimiser": "adam",
    "learning_rate": 0.01,
    "batch_size": 8,
    "epochs": 5,
    "steps_per_epoch": None,
    "patience": 10,
    "precision": "float32",
    "reestimate_batches": 3,
}


class Points(EpochBatches):
    """Random points of which the first coordinate decides the class; `flipped`: the other way round."""

    def __init__(self, seed: int = 4, flipped: bool = False, fixed: bool = False, broken: int | None = None) -> None:
        super().__init__(32, batch_size=8, seed=seed, fixed=fixed)
        self.flipped, self.broken = flipped, broken
        self.seen: list[int] = []

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(self.epoch)
        rng = np.random.default_rng([self.seed, 0 if self.fixed else self.epoch, index])
        x = rng.standard_normal((8, 6)).astype(np.float32)
        y = np.eye(2, dtype=np.float32)[((x[:, 0] > 0) ^ self.flipped).astype(int)]
        if self.broken is not None and self.epoch >= self.broken:
            y[0, 0] = np.nan
        return x, y


def network(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((6,))
    x = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Dense(8, activation="relu")(x))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(keras.layers.Dropout(0.4)(x)))


def fit(folder: Path, model: keras.Model | None = None, **options: Any) -> tuple[keras.Model, pd.DataFrame]:
    model = model or network()
    validation = options.pop("validation", Points(seed=9, fixed=True))
    batches, identity = options.pop("batches", None) or Points(), options.pop("identity", "one")
    plan = TrainingSettings.of({**PLAN, **options}, "here")
    trainer = Trainer(model, loss="categorical_crossentropy", metrics=["accuracy"], plan=plan)
    history = trainer.train(batches=batches, validation=validation, folder=folder, identity=identity, name="m1")
    return model, history


def equal(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_a_model_that_has_to_be_trained_is_told_that_no_epochs_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m1: training\.epochs: this model cannot be taken as it is \(found: 0\)"):
        fit(tmp_path / "state", epochs=0)


def test_every_dropout_draws_anew_in_every_epoch_and_the_same_again() -> None:
    x = image = keras.Input((6,))
    for _ in range(2):
        x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(image, x)
    plan, estimator = TrainingSettings.of(PLAN, "here"), BatchNormEstimator(model)
    keeper = loop._Keeper(Any, Feed(Points()), plan, "m1", "loss", estimator)  # type: ignore[arg-type]
    keeper.set_model(model)

    def masks(epoch: int) -> list[bytes]:
        """The first four masks of each layer, by step."""
        keeper.on_epoch_begin(epoch)
        ones = np.ones((8, 6), np.float32)
        return [np.asarray(layer(ones, training=True)).tobytes() for layer in model.layers[1:] for _ in range(4)]

    epochs = [masks(epoch) for epoch in range(3)]
    assert len({mask for epoch in epochs for mask in epoch}) == 3 * 2 * 4
    assert masks(1) == epochs[1]


@dataclass
class Run:
    model: keras.Model
    history: pd.DataFrame
    folder: Path
    seen: list[int]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Run]:
    """Trainings that nothing interrupts, with validation and without."""
    done = {}
    for validated in (True, False):
        folder, batches = tmp_path_factory.mktemp("run") / "state", Points()
        done[validated] = Run(*fit(folder, batches=batches, **with_or_without(validated)), folder, batches.seen)
    return done


def with_or_without(validated: bool) -> dict[str, Any]:
    return {} if validated else {"validation": None}


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, batches = tmp_path_factory.mktemp("averaged") / "state", Points()
    return Run(*fit(folder, batches=batches, averaging=0.8), folder, batches.seen)


@pytest.mark.slow
def test_the_history_has_a_row_an_epoch_and_the_promised_columns(runs: dict[bool, Run]) -> None:
    for validated, columns in ((True, {"val_loss", "val_accuracy"}), (False, set())):
        history = runs[validated].history
        assert set(history) == {"epoch", "loss", "accuracy", "seconds", "waited"} | columns
        assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
        assert history["loss"].iloc[-1] < history["loss"].iloc[0] and (history["seconds"] > 0).all()


def test_every_epoch_sees_its_own_batches(runs: dict[bool, Run]) -> None:
    # Four to learn from, then three for batch-norm statistics: before each validation, or once at the end.
    assert [runs[True].seen.count(epoch) for epoch in range(1, 5)] == [7, 7, 7, 7]
    assert [runs[False].seen.count(epoch) for epoch in range(1, 5)] == [4, 4, 4, 7]


def test_training_stops_after_patience_and_ends_with_its_best_weights(tmp_path: Path) -> None:
    # What is learnt is the opposite of what is checked: the first epoch's validation is the best.
    validation = Points(seed=9, flipped=True, fixed=True)
    model, history = fit(tmp_path / "state", validation=validation, patience=2, epochs=9, learning_rate=0.1)
    assert history["epoch"].tolist() == [1, 2, 3] and history["val_loss"].idxmin() == 0
    assert model.evaluate(validation, verbose=0)[0] == pytest.approx(history["val_loss"].min(), rel=1e-5)
    # Started again it knows that it had stopped.
    again, same = fit(tmp_path / "state", validation=validation, patience=2, epochs=9, learning_rate=0.1)
    assert len(same) == 3 and equal(model, again)


def test_without_validation_the_training_loss_decides(runs: dict[bool, Run]) -> None:
    state = json.loads((runs[False].folder / "state.json").read_text())
    assert state["best"] == pytest.approx(runs[False].history["loss"].min())
    assert state["best_weights"] == f"epoch{runs[False].history['loss'].argmin() + 1}.weights.h5"


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("moment", "call", "kind"),
    [
        ("write_json", 2, "validated"),
        ("save_weights", 4, "validated"),
        ("write_json", 5, "not validated"),
        ("write_json", 3, "averaged"),
    ],
    ids=["between weights and record", "before weights", "in the last epoch", "with averaged weights"],
)
@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runs: dict[bool, Run],
    averaged: Run,
    moment: str,
    call: int,
    kind: str,
) -> None:
    settings = {"averaging": 0.8} if kind == "averaged" else with_or_without(kind == "validated")
    straight = averaged if kind == "averaged" else runs[kind == "validated"]
    real, calls = getattr(checkpoint, moment), iter(range(1, 99))

    def killing(*args: Any) -> None:
        if next(calls) == call:
            raise Killed
        real(*args)

    monkeypatch.setattr(checkpoint, moment, killing)
    with pytest.raises(Killed):
        fit(tmp_path / "state", **settings)
    monkeypatch.setattr(checkpoint, moment, real)
    resumed, again = fit(tmp_path / "state", network(seed=50), **settings)
    assert equal(resumed, straight.model)
    one, other = (history.drop(columns=["seconds", "waited"]) for history in (again, straight.history))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("validated", [True, False], ids=["validated", "not validated"])
@pytest.mark.slow
def test_an_average_of_the_weights_is_judged_and_kept_while_the_weights_go_on(tmp_path: Path, validated: bool) -> None:
    def one_step_an_epoch(epochs: int, **more: Any) -> tuple[keras.Model, keras.Model, pd.DataFrame]:
        """The model that is kept, the one that training would go on with, and the history."""
        batches, folder = Points(), tmp_path / f"{epochs} {more}"
        batches.steps = 1
        settings = {**with_or_without(validated), **more, "epochs": epochs}
        model, history = fit(folder, batches=batches, **settings)
        latest = network()
        latest.compile(loop.new_optimiser(TrainingSettings.of({**PLAN, **more}, "here")))
        latest.optimizer.build(latest.trainable_variables)
        latest.load_weights(folder / f"epoch{epochs}.weights.h5")
        return model, latest, history

    def trainable(model: keras.Model) -> list[np.ndarray]:
        return [weight.numpy() for weight in model.trainable_variables]

    steps = [trainable(one_step_an_epoch(epochs)[1]) for epochs in (1, 2, 3)]
    average, averages = steps[0], [steps[0]]
    for step in steps[1:]:
        average = [0.8 * a + 0.2 * w for a, w in zip(average, step, strict=True)]
        averages.append(average)
    model, latest, history = one_step_an_epoch(3, averaging=0.8)
    best = int(history["val_loss" if validated else "loss"].idxmin())
    for kept, expected in zip(trainable(model), averages[best], strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-7)
    for going_on, expected in zip(trainable(latest), steps[2], strict=True):
        np.testing.assert_array_equal(going_on, expected)
    assert not np.allclose(averages[2][0], steps[2][0])


@pytest.mark.slow
def test_states_that_skip_epochs_never_overwrite_the_one_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: dict[bool, Run]
) -> None:
    keep, write, records = checkpoint.State.keep, checkpoint.write_json, iter(range(1, 99))

    def at_even_epochs(state: Any, *improved: Any) -> None:
        monkeypatch.setattr(checkpoint, "KEEP_EVERY", 0.0 if len(state.history) in (2, 4) else 1e6)
        keep(state, *improved)

    def killing(*args: Any) -> None:
        if next(records) == 2:
            raise Killed
        write(*args)

    monkeypatch.setattr(checkpoint.State, "keep", at_even_epochs)
    monkeypatch.setattr(checkpoint, "write_json", killing)
    with pytest.raises(Killed):
        fit(tmp_path / "state")
    assert len(json.loads((tmp_path / "state" / "state.json").read_text())["history"]) == 2
    # Killed at the same place of a resumed training, the state that it was resumed from is there still.
    records = iter([2])
    with pytest.raises(Killed):
        fit(tmp_path / "state", network(seed=50))
    monkeypatch.setattr(checkpoint, "write_json", write)
    resumed, history = fit(tmp_path / "state", network(seed=51))
    assert equal(resumed, runs[True].model)
    assert history.drop(columns=["seconds", "waited"]).equals(runs[True].history.drop(columns=["seconds", "waited"]))


def killed_in_epoch_3(folder: str) -> None:
    """Train in this process, which ends itself while the third epoch's record is written."""
    real, calls = checkpoint.write_json, iter(range(1, 99))

    def killing(*args: Any) -> None:
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args)

    checkpoint.write_json = killing  # type: ignore[assignment]
    fit(Path(folder))


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_a_state_to_go_on_from(tmp_path: Path, runs: dict[bool, Run]) -> None:
    here = Path(__file__)
    code = f"import {here.stem} as t; t.killed_in_epoch_3({os.fspath(tmp_path / 'state')!r})"
    places = os.pathsep.join(map(os.fspath, [here.parent, Path(loop.__file__).parents[2]]))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": places}, capture_output=True)  # noqa: PLW1510
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    assert len(json.loads((tmp_path / "state" / "state.json").read_text())["history"]) == 2
    batches = Points()
    resumed, history = fit(tmp_path / "state", network(seed=50), batches=batches)
    assert len(history) == 5 and equal(resumed, runs[True].model)
    assert 1 not in batches.seen, "no epoch is trained twice"


@pytest.mark.slow
def test_progress_counts_the_epochs_and_ends_without_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path / "state")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("m1: epoch ")]
    assert [line.split(",")[0] for line in lines] == [f"m1: epoch {number}/5" for number in range(1, 6)]
    assert lines[-1].endswith("at most 0:00 left")


@pytest.mark.slow
def test_a_model_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    code = "import sys, pathlib, drunet.training.checkpoint as c\nwith c.alone_in(pathlib.Path(sys.argv[1]), 'm1'):\n"
    code += "    print('held', flush=True)\n    sys.stdin.read()"
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(loop.__file__).parents[2])}
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment, **pipe)
    assert other.stdout and other.stdout.readline() == b"held\n"
    with pytest.raises(
        ModelError, match=f"m1: this model is being trained by another process .found: process {other.pid}"
    ):
        fit(folder)
    assert not folder.exists(), "nothing of the other's state is touched"
    # However it ends, its lock ends with it.
    other.kill()
    other.wait()
    _, history = fit(folder)
    assert len(history) == 5 and [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.slow
def test_a_script_holds_its_folder_until_the_states_are_removed(tmp_path: Path) -> None:
    folder, lock = tmp_path / "state", tmp_path / "state.lock"

    def free() -> bool:
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    with alone_in(folder, "m1"):
        fit(folder)
        assert not free()
    assert not lock.exists()
    with pytest.raises(RuntimeError), alone_in(folder, "m1"):
        raise RuntimeError
    assert free()
    with alone_in(folder, "m1"):
        assert not free()


@pytest.mark.parametrize("validated", [True, False])
def test_a_finished_training_is_not_trained_further(tmp_path: Path, runs: dict[bool, Run], validated: bool) -> None:
    shutil.copytree(runs[validated].folder, tmp_path / "state")
    model, history = fit(tmp_path / "state", network(seed=50), **with_or_without(validated))
    assert equal(model, runs[validated].model) and history.equals(runs[validated].history)


@pytest.mark.slow
def test_another_identity_starts_anew(tmp_path: Path, runs: dict[bool, Run]) -> None:
    shutil.copytree(runs[False].folder, tmp_path / "state")
    model, history = fit(tmp_path / "state", identity="two")
    assert len(history) == 5 and equal(model, runs[True].model)


@pytest.mark.slow
def test_a_training_that_kept_no_state_for_long_ends_with_the_same_weights(
    tmp_path: Path, runs: dict[bool, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "KEEP_EVERY", 1e6)
    for validated, run in runs.items():
        model, history = fit(tmp_path / "state", **with_or_without(validated))
        assert equal(model, run.model)
        assert history.drop(columns=["seconds", "waited"]).equals(run.history.drop(columns=["seconds", "waited"]))
        assert not list((tmp_path / "state").iterdir())


@pytest.mark.slow
def test_the_best_weights_reach_the_disk_with_a_later_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Learning far too fast, the first epoch stays the best; the clock lets the third one be written.
    settings: dict[str, Any] = {"learning_rate": 0.5, "epochs": 4, "patience": 9}
    whole, history = fit(tmp_path / "whole", **settings)
    assert history["val_loss"].idxmin() < 2
    written = []
    monkeypatch.setattr(checkpoint, "KEEP_EVERY", 1e6)
    keep = checkpoint.State.keep

    def third(state: Any, improved: bool) -> None:
        monkeypatch.setattr(checkpoint, "KEEP_EVERY", 0.0 if len(state.history) == 3 else 1e6)
        keep(state, improved)
        written.append(len(list(state.folder.glob("best*"))))
        if len(state.history) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.State, "keep", third)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", **settings)
    assert written == [0, 0, 1, 1]
    monkeypatch.setattr(checkpoint.State, "keep", keep)
    resumed, again = fit(tmp_path / "killed", network(seed=50), **settings)
    assert equal(resumed, whole)
    assert len(again) == 4


def test_the_state_keeps_the_latest_and_the_best_weights_alone(runs: dict[bool, Run]) -> None:
    names = {path.name for path in runs[True].folder.iterdir()}
    best = int(runs[True].history["val_loss"].argmin()) + 1
    assert names == {f"epoch{best}.weights.h5", "epoch5.weights.h5", "state.json"}


@pytest.mark.parametrize(("batches", "validation"), [(1, None), (None, 0)], ids=["training", "validation"])
@pytest.mark.slow
def test_a_loss_that_is_no_number_is_told(tmp_path: Path, batches: int | None, validation: int | None) -> None:
    with pytest.raises(TrainingDataError, match=r"training of m1, epoch \d: the loss is no longer.*nan.*learning_rate"):
        fit(
            tmp_path / "state",
            batches=Points(broken=batches),
            validation=Points(fixed=True, broken=validation),
            reestimate_batches=0,
        )


def test_inference_weights_hold_no_optimiser_and_fit_the_model(tmp_path: Path, runs: dict[bool, Run]) -> None:
    path = tmp_path / "model.weights.h5"
    save_inference_weights(runs[True].model, path)
    with h5py.File(path) as file:
        assert "optimizer" not in file
    other = network(seed=50)
    other.load_weights(path)
    assert equal(other, runs[True].model) and [p.name for p in tmp_path.iterdir()] == ["model.weights.h5"]


def test_a_learning_rate_falls_by_a_factor_after_every_so_many_epochs() -> None:
    # 000: 1e-3, less by a fifth after each ten epochs.
    block = {**PLAN, "learning_rate": 1e-3, "decay": {"factor": 0.8, "epochs": 10}}
    plan = TrainingSettings.of(block, "here")
    expected = {0: 1e-3, 9: 1e-3, 10: 8e-4, 19: 8e-4, 20: 6.4e-4, 35: 5.12e-4}
    assert {epoch: plan.learning_rate_in(epoch) for epoch in expected} == pytest.approx(expected)
    constant = TrainingSettings.of({**PLAN, "decay": None}, "here")
    assert constant == TrainingSettings.of(PLAN, "here") and constant.learning_rate_in(99) == PLAN["learning_rate"]


@pytest.mark.parametrize(
    "wrong", [{"factor": 0.0, "epochs": 1}, {"factor": 1.1, "epochs": 1}, {"factor": 0.8, "epochs": 0}, {"factor": 0.8}]
)
def test_a_learning_rate_that_cannot_fall_so_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"here\.decay"):
        TrainingSettings.of({**PLAN, "decay": wrong}, "here")


@pytest.mark.slow
def test_a_restart_learns_at_the_pace_of_its_epoch_and_starting_over_at_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decay = {"factor": 0.5, "epochs": 2}
    paces: list[float] = []

    class Noting(Points):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            if index == 0 and model is not None and model.optimizer is not None:
                paces.append(float(model.optimizer.learning_rate))
            return super().__getitem__(index)

    model = network()
    straight, history = fit(tmp_path / "one", model, batches=Noting(), decay=decay, reestimate_batches=0)
    # Keras itself looks at the first batches before the first epoch.
    assert paces[-5:] == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025])
    real, calls = checkpoint.write_json, iter(range(1, 99))

    def killing(*args: Any) -> None:
        if next(calls) == 4:
            raise Killed
        real(*args)

    monkeypatch.setattr(checkpoint, "write_json", killing)
    with pytest.raises(Killed):
        fit(tmp_path / "two", decay=decay, reestimate_batches=0)
    monkeypatch.setattr(checkpoint, "write_json", real)
    resumed, again = fit(tmp_path / "two", network(seed=50), decay=decay, reestimate_batches=0)
    assert equal(resumed, straight)
    pd.testing.assert_frame_equal(
        again.drop(columns=["seconds", "waited"]), history.drop(columns=["seconds", "waited"]), check_exact=True
    )


@pytest.mark.slow
def test_a_model_that_starts_over_learns_as_a_new_one_and_is_not_traced_anew(tmp_path: Path) -> None:
    traced: list[int] = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        traced.append(1)
        return keras.losses.categorical_crossentropy(y_true, y_pred)

    plan = TrainingSettings.of({**PLAN, "epochs": 3, "decay": {"factor": 0.5, "epochs": 1}}, "here")
    model = network()
    beginning = model.get_weights()
    trainer = Trainer(model, loss=loss, metrics=["accuracy"], plan=plan)

    def once(folder: str, seed: int) -> pd.DataFrame:
        validation = Points(seed=9, fixed=True)
        return trainer.train(
            batches=Points(seed), validation=validation, folder=tmp_path / folder, identity=folder, name="m1"
        )

    first = once("a", seed=4)
    learnt, times = model.get_weights(), len(traced)
    assert times
    trainer.start_over(beginning)
    once("b", seed=5)
    assert not np.array_equal(model.get_weights()[0], learnt[0])
    trainer.start_over(beginning)
    again = once("c", seed=4)
    pd.testing.assert_frame_equal(
        first.drop(columns=["seconds", "waited"]), again.drop(columns=["seconds", "waited"]), check_exact=True
    )
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), learnt, strict=True))
    assert len(traced) == times


@pytest.fixture
def policy() -> Iterator[None]:
    yield
    compute_precision("float32")


@pytest.mark.usefixtures("policy")
@pytest.mark.slow
def test_precision_is_that_of_the_layers_and_weights_stay_whole(tmp_path: Path) -> None:
    compute_precision("mixed_bfloat16")
    model = network()
    assert {layer.compute_dtype for layer in model.layers} == {"bfloat16"}
    assert {str(w.dtype) for w in model.weights} == {"float32"}
    _, history = fit(tmp_path / "state", model, epochs=1)
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("wrong", [{"patience": None}, {"momentum": 0.9}])
def test_a_plan_has_exactly_its_keys(wrong: dict[str, Any]) -> None:
    config = {k: v for k, v in {**PLAN, **wrong}.items() if v is not None or k == "steps_per_epoch"}
    with pytest.raises(ConfigError, match=rf"classifiers\.c\.training: .*found: {next(iter(wrong))}"):
        TrainingSettings.of(config, "classifiers.c.training")


@pytest.mark.slow
def test_epsilon_is_the_optimisers_and_kerass_own_where_none_is_said(tmp_path: Path) -> None:
    for name in ("adam", "adamax"):
        plan = TrainingSettings.of({**PLAN, "optimiser": name, "epsilon": 0.05}, "here")
        assert loop.new_optimiser(plan).epsilon == 0.05
        usual = TrainingSettings.of({**PLAN, "optimiser": name, "epsilon": None}, "here")
        assert usual == TrainingSettings.of({**PLAN, "optimiser": name}, "here")
        assert loop.new_optimiser(usual).epsilon == loop.OPTIMISERS[name]().epsilon
    # Adam's first step is g / (|g| + epsilon) times the learning rate: with so large an epsilon, nearly nothing.
    before = network().get_weights()
    usual, stiff = (fit(tmp_path / str(e), epochs=1, epsilon=e)[0].trainable_weights for e in (None, 1e6))
    moved = [max(float(np.abs(a - b).max()) for a, b in zip(w, before, strict=False)) for w in (usual[:2], stiff[:2])]
    assert moved[0] > 1e-3 > 1e-6 > moved[1]


@pytest.mark.parametrize("wrong", [{"epsilon": 0.1, "optimiser": "sgd"}, {"epsilon": 0.0}])
def test_an_epsilon_that_the_optimiser_does_not_take_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"here\.epsilon: "):
        TrainingSettings.of({**PLAN, **wrong}, "here")


def test_a_loss_that_stays_the_same_is_no_better(tmp_path: Path) -> None:
    image = keras.Input((6,))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(image))
    _, history = fit(tmp_path / "state", model, learning_rate=1e-30, patience=2, epochs=9)
    # The first is the best, and two more are waited for.
    assert len(set(history["val_loss"])) == 1 and history["epoch"].tolist() == [1, 2, 3]


# Of five epochs the lowest loss is the second's, the highest accuracy the fourth's, the highest F1 the third's.
TOLD = {
    "loss": [0.9, 0.4, 0.5, 0.6, 0.5],
    "accuracy": [0.5, 0.6, 0.7, 0.9, 0.8],
    "f1": [0.5, 0.7, 0.9, 0.8, 0.6],
}


def played(folder: Path, validated: bool = True, killed_after: int = 99, **options: Any) -> tuple[int, int]:
    """Epochs that are run, and the one whose weights are kept, where the epochs' scores are `TOLD`."""
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(image))
    prefix = "val_" if validated else ""

    def fit(*_: Any, callbacks: list[Any], initial_epoch: int, epochs: int, **__: Any) -> None:
        model.stop_training = False
        callbacks[0].set_model(model)
        for epoch in range(initial_epoch, epochs):
            model.set_weights([np.full((1, 1), epoch + 1.0)])
            logs = {"loss": 1.0 + epoch, "accuracy": 0.1 * epoch, "f1": -0.1 * epoch}
            callbacks[0].on_epoch_end(epoch, logs | {f"{prefix}{name}": row[epoch] for name, row in TOLD.items()})
            if epoch + 1 == killed_after:
                raise Killed
            if model.stop_training:
                return

    model.fit = fit
    trainer = Trainer(model, loss="mse", metrics=[], plan=TrainingSettings.of({**PLAN, **options}, "here"))
    batches, validation = Points(), Points(fixed=True) if validated else None
    trainer._estimator = lambda batches: 0  # type: ignore[assignment]
    history = trainer.train(batches=batches, validation=validation, folder=folder, identity="one", name="m1")
    return len(history), int(model.get_weights()[0][0, 0])


KEPT = {"best_loss": 2, "best_accuracy": 4, "best_f1": 3, "last": 5}


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(("keep", "epoch"), KEPT.items())
def test_the_weights_that_are_kept_are_those_that_keep_names(
    tmp_path: Path, keep: str, epoch: int, validated: bool
) -> None:
    assert played(tmp_path / "state", validated, keep=keep) == (5, epoch)
    assert TrainingSettings.of(PLAN, "here").keep == "best_loss"


@pytest.mark.parametrize("every", [0.0, 1e6])
@pytest.mark.parametrize("moment", [1, 3, 4])
@pytest.mark.parametrize(("keep", "epoch"), KEPT.items())
def test_a_training_that_was_killed_keeps_the_same_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, epoch: int, moment: int, every: float
) -> None:
    monkeypatch.setattr(checkpoint, "KEEP_EVERY", every)
    with pytest.raises(Killed):
        played(tmp_path / "state", killed_after=moment, keep=keep)
    assert played(tmp_path / "state", keep=keep) == (5, epoch)


@pytest.mark.parametrize(
    ("keep", "run", "kept"), [("best_loss", 4, 2), ("best_f1", 5, 3), ("best_accuracy", 5, 4), ("last", 4, 4)]
)
def test_early_stopping_watches_what_keep_names(tmp_path: Path, keep: str, run: int, kept: int) -> None:
    # With a patience of 2: the loss has its last gain in epoch 2, F1 in 3, accuracy in 4.
    assert played(tmp_path / "state", keep=keep, patience=2) == (run, kept)


def test_a_gain_below_min_delta_is_kept_but_not_waited_for(tmp_path: Path) -> None:
    # As Keras' EarlyStopping: accuracy gains 0.1 over what it last stopped to compare with only in epoch 3, 0.2 in 4.
    assert played(tmp_path / "one", keep="best_accuracy", patience=2, min_delta=0.15) == (5, 4)
    assert played(tmp_path / "two", keep="best_accuracy", patience=2, min_delta=0.25) == (3, 3)
    assert played(tmp_path / "all", keep="best_loss", patience=2, min_delta=0.6) == (3, 2)
    early = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=2, min_delta=0.25, mode="max")
    early.set_model(network())
    early.on_train_begin()
    for epoch, value in enumerate(TOLD["accuracy"][:3]):
        early.model.stop_training = False
        early.on_epoch_end(epoch, {"val_accuracy": value})
    assert early.model.stop_training and early.stopped_epoch == 2


def test_a_score_that_is_not_measured_cannot_be_kept_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m1: this training does not measure.*best_f1"):
        fit(tmp_path / "state", keep="best_f1")


def test_what_predicts_no_class_is_not_kept_by_one() -> None:
    assert ClasslessTraining.of({**PLAN, "keep": "last"}, "here").keep == "last"
    with pytest.raises(ConfigError, match=r"here\.keep: .*best_accuracy"):
        ClasslessTraining.of({**PLAN, "keep": "best_accuracy"}, "here")


@pytest.mark.slow
def test_l2_adds_the_squares_of_the_convolutions_that_learn(tmp_path: Path) -> None:
    def build() -> keras.Model:
        keras.utils.set_random_seed(1)
        x = image = keras.Input((6,))
        x = keras.layers.Conv2D(3, 2, name="fixed", trainable=False)(keras.layers.Reshape((2, 3, 1))(x))
        inner = keras.Input(x.shape[1:])
        nested = keras.Model(inner, keras.layers.Conv2D(2, 1, name="learns")(inner), name="nested")
        return keras.Model(image, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(nested(x))))

    options = {"epochs": 1, "learning_rate": 1e-30, "reestimate_batches": 0}
    plain, weighed = (fit(tmp_path / f"{l2}", build(), l2=l2, **options) for l2 in (0.0, 0.04))
    kernel = weighed[0].get_layer("nested").get_layer("learns").kernel
    added = 0.04 * float(np.square(np.asarray(kernel)).sum())
    assert added > 1e-3
    for column in ("loss", "val_loss"):
        assert weighed[1][column].iloc[0] - plain[1][column].iloc[0] == pytest.approx(added, rel=1e-3), column
    # The next plan of the same model says so anew.
    assert fit(tmp_path / "again", weighed[0], **options)[1]["val_loss"].iloc[0] == plain[1]["val_loss"].iloc[0]
