"""One training loop for every model: early stopping, best weights, progress, and going on after a kill."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.console import say
from drunet.errors import TrainingDataError
from drunet.files import whole_file, write_json
from drunet.settings.training import TrainingSettings
from drunet.training.batch_norm import BatchNormEstimator

# Seconds from one state on disk to the next: writing that of a deep network takes longer than a short epoch.
KEEP_EVERY = 30.0

OPTIMISERS = {"adam": keras.optimizers.Adam, "adamax": keras.optimizers.Adamax, "sgd": keras.optimizers.SGD}
# Files that take the weights of a state in turn, so that the one before stays whole.
_SLOTS = ("one", "other")


def new_optimiser(plan: TrainingSettings) -> keras.optimizers.Optimizer:
    """Return the optimiser as it is before the first step."""
    options = {} if plan.epsilon is None else {"epsilon": plan.epsilon}
    return OPTIMISERS[plan.optimiser](plan.learning_rate, **options)


def train(
    model: keras.Model,
    *,
    loss: Any,
    metrics: Sequence[Any],
    batches: Any,
    validation: Any | None,
    plan: TrainingSettings,
    folder: Path,
    identity: str,
    name: str,
) -> pd.DataFrame:
    """Train a model in place; it ends with its best weights.

    A copy of everything that training needs is kept in `folder`: after an epoch, twice a minute at most. Killed and
    started again with the same `identity`, training goes on from there and ends with the same weights; with another it
    starts anew.

    Parameters
    ----------
    model : keras.Model
    loss, metrics
        As for `keras.Model.compile`.
    batches, validation : PyDataset
        With a settable `epoch`; without validation the training loss decides which weights are best, and when to stop.
    plan : TrainingSettings
    folder : Path
        For the state; removed by the caller when its outputs are written.
    identity : str
        Digest of all that decides the result.
    name : str
        How progress lines call the model.

    Returns
    -------
    DataFrame
        epoch (from 1), loss, val_loss, metrics, seconds.

    Raises
    ------
    TrainingDataError
        If the loss, a metric, or one of them in validation, becomes NaN or infinite.
    """
    return Trainer(model, loss=loss, metrics=metrics, plan=plan).train(
        batches=batches, validation=validation, folder=folder, identity=identity, name=name
    )


class Trainer:
    """A compiled model that may be trained several times: what the first training traces serves the others too.

    Tracing a deep network takes as long as several short epochs; over folds, with one loss and one plan, it is the same
    every time.

    Parameters
    ----------
    model : keras.Model
        As it is now it begins the first time; before any other time, `start_over`.
    loss, metrics
        As for `keras.Model.compile`.
    plan : TrainingSettings
    """

    def __init__(self, model: keras.Model, *, loss: Any, metrics: Sequence[Any], plan: TrainingSettings) -> None:
        self.model, self.plan = model, plan
        model.compile(optimizer=new_optimiser(plan), loss=loss, metrics=list(metrics))
        model.optimizer.build(model.trainable_variables)
        self._estimator = BatchNormEstimator(model)

    def start_over(self, weights: Sequence[Any]) -> None:
        """Put weights (from `get_weights`) back and make the optimiser forget, without tracing anything anew."""
        self.model.set_weights(weights)
        optimiser = self.model.optimizer
        # Cleared in place: the traced step goes on using this very object.
        fresh = type(optimiser).from_config(optimiser.get_config())
        fresh.build(self.model.trainable_variables)
        for variable, first in zip(optimiser.variables, fresh.variables, strict=True):
            variable.assign(first)

    def train(self, *, batches: Any, validation: Any | None, folder: Path, identity: str, name: str) -> pd.DataFrame:
        """Train once; parameters, result and errors as of `drunet.training.loop.train`."""
        model, plan = self.model, self.plan
        state = _State(model, folder, identity)
        watched = "val_loss" if validation is not None else "loss"
        keeper = _Keeper(state, batches, plan, name, watched, self._estimator)
        try:
            model.fit(
                batches,
                validation_data=validation,
                initial_epoch=len(state.history),
                epochs=plan.epochs if state.wait < plan.patience else len(state.history),
                callbacks=[keeper],
                verbose=0,
                shuffle=False,
            )
        except Exception:
            # TensorFlow raises an error of its own in the place of a dataset's.
            for data in (batches, validation):
                if failure := getattr(data, "failure", None):
                    raise failure from None
            raise
        state.load_best()
        if validation is None:
            # A restart that finds everything trained takes the statistics over the same batches.
            batches.epoch = len(state.history) - 1
            keeper.reestimate()
        return pd.DataFrame(state.history)


def compute_precision(precision: str) -> None:
    """Set the dtype policy that models built from now on use."""
    keras.config.set_dtype_policy(precision)


class _State:
    """What a restart needs, on disk (weights, optimiser, best weights, history), and the best weights in memory."""

    def __init__(self, model: keras.Model, folder: Path, identity: str) -> None:
        self.model, self.folder, self.identity = model, folder, identity
        self.history: list[dict[str, float]] = []
        self.best, self.wait = math.inf, 0
        self._slot = _SLOTS[1]
        self._best_weights: list[np.ndarray] | None = None
        self._written = time.perf_counter()
        self._restore()

    def _restore(self) -> None:
        record = self.folder / "state.json"
        if record.is_file():
            stored = json.loads(record.read_text(encoding="utf-8"))
            if stored["identity"] == self.identity:
                # A compiled model's weights file holds the optimiser's state too.
                self._slot = stored["slot"]
                self.model.load_weights(self._weights(self._slot))
                self.history, self.best, self.wait = stored["history"], stored["best"], stored["wait"]
                return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def _weights(self, slot: str) -> Path:
        return self.folder / f"{slot}.weights.h5"

    def keep(self, improved: bool) -> None:
        """Write the state, if it is time to: a kill at any moment leaves the old one or the new one, whole."""
        if improved:
            self._best_weights = self.model.get_weights()
        if time.perf_counter() - self._written < KEEP_EVERY:
            return
        # The slot that the record on disk does not name, however many epochs lie between two states.
        slot = _SLOTS[0] if self._slot == _SLOTS[1] else _SLOTS[1]
        save_weights(self.model, self._weights(slot))
        if improved:
            _same_file(self._weights(slot), self._best_file(self.best))
        elif not self._best_file(self.best).is_file():
            self._write_best()
        record = {
            "identity": self.identity,
            "slot": slot,
            "history": self.history,
            "best": self.best,
            "wait": self.wait,
        }
        write_json(self.folder / "state.json", record)
        self._slot = slot
        for stale in self.folder.glob("best-*.weights.h5"):
            if stale != self._best_file(self.best):
                stale.unlink()
        self._written = time.perf_counter()

    def _write_best(self) -> None:
        """Write the best weights, of an epoch that was not written itself."""
        current = self.model.get_weights()
        self.model.set_weights(self._best_weights)
        save_weights(self.model, self._best_file(self.best))
        self.model.set_weights(current)

    def _best_file(self, value: float) -> Path:
        return self.folder / f"best-{value:.9g}.weights.h5"

    def load_best(self) -> None:
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)
        elif self._best_file(self.best).is_file():
            self.model.load_weights(self._best_file(self.best))


def _same_file(path: Path, other: Path) -> None:
    """Give a file a second name, or a copy where the file system has no links: weights are written once an epoch.

    The slot is replaced as a whole two states on, so that the second name keeps what it was given.
    """
    with whole_file(other) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)


def save_weights(model: keras.Model, path: Path) -> None:
    """Write weights, and for a compiled model its optimiser's state, whole or not at all."""
    with whole_file(path) as temporary:
        # Keras refuses a name that does not end in .weights.h5.
        named = temporary.with_name(temporary.stem + ".weights.h5")
        model.save_weights(named)
        named.replace(temporary)


def save_inference_weights(model: keras.Model, path: Path) -> None:
    """Write the weights alone, without an optimiser's state, as the same builder reads them back."""
    save_weights(keras.Model(model.inputs, model.outputs, name=model.name), path)


def _shown(batches: Any, index: int) -> Any:
    """What the network is shown of a batch; data whose answers are dear give it alone, by `inputs`."""
    return batches.inputs(index) if hasattr(batches, "inputs") else batches[index][0]


class _Keeper(keras.callbacks.Callback):
    """Sets the epoch of the data, watches the loss, keeps the state, and says how far it is."""

    def __init__(
        self,
        state: _State,
        batches: Any,
        plan: TrainingSettings,
        name: str,
        watched: str,
        estimator: BatchNormEstimator | None = None,
    ) -> None:
        super().__init__()
        self._state, self._batches, self._plan, self._name, self._watched = state, batches, plan, name, watched
        self._begun = 0.0
        self._estimator = estimator

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches.epoch = epoch
        if self._plan.decay is not None:
            self.model.optimizer.learning_rate = self._plan.learning_rate_in(epoch)
        # Dropout's generators are not part of a weights file: set anew, a restart draws what it would have drawn. At
        # random, because they count upwards: from [seed, epoch] an epoch would repeat most of the one before.
        rng = np.random.default_rng([self._batches.seed, epoch])
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                variable.assign(rng.integers(2**31, size=2, dtype=np.uint32))
        self._begun = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        self.reestimate()

    def reestimate(self) -> None:
        """Take batch-norm statistics of the current weights over the first batches of the current epoch."""
        count = min(self._plan.reestimate_batches, len(self._batches))
        if count and self._estimator is not None:
            self._estimator(_shown(self._batches, i) for i in range(count))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        values = {k: float(v) for k, v in (logs or {}).items()}
        seconds = time.perf_counter() - self._begun
        lost = [f"{k} {v}" for k, v in values.items() if not math.isfinite(v)]
        if lost:
            raise TrainingDataError(
                "the loss is no longer a number",
                where=f"training of {self._name}, epoch {epoch + 1}",
                found=", ".join(lost),
                mend="Lower `learning_rate`, or train in float32.",
            )
        state = self._state
        state.history.append({"epoch": epoch + 1, **values, "seconds": round(seconds, 2)})
        watched = values[self._watched]
        improved = watched < state.best
        state.best, state.wait = (watched, 0) if improved else (state.best, state.wait + 1)
        state.keep(improved)
        self._say(epoch + 1, values)
        if state.wait >= self._plan.patience:
            self.model.stop_training = True

    def _say(self, epoch: int, values: Mapping[str, float]) -> None:
        spent = [row["seconds"] for row in self._state.history]
        left = round(float(np.median(spent[-5:])) * (self._plan.epochs - epoch))
        numbers = ", ".join(f"{k} {v:.3f}" for k, v in values.items())
        note = "" if self._state.wait == 0 else f", best {self._state.best:.3f} {self._state.wait} epochs ago"
        time_left = f"at most {left // 60}:{left % 60:02d} left"
        say(f"{self._name}: epoch {epoch}/{self._plan.epochs}, {numbers}{note}, {time_left}")
