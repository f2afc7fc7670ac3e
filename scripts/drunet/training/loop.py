"""One training loop for every model: early stopping, best weights, progress, and going on after a kill."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.console import say
from drunet.errors import ConfigError, TrainingDataError
from drunet.settings.training import WATCHED, TrainingSettings
from drunet.training.batch_norm import BatchNormEstimator, layers_of
from drunet.training.checkpoint import State, alone_in
from drunet.training.feed import Ahead, Feed

# Share of an epoch in which a network may wait for data without a word.
WAITS = 0.1
OPTIMISERS = {"adam": keras.optimizers.Adam, "adamax": keras.optimizers.Adamax, "sgd": keras.optimizers.SGD}


def new_optimiser(plan: TrainingSettings) -> keras.optimizers.Optimizer:
    """Return the optimiser as it is before the first step."""
    options: dict[str, Any] = {} if plan.epsilon is None else {"epsilon": plan.epsilon}
    if plan.averaging is not None:
        options |= {"use_ema": True, "ema_momentum": plan.averaging}
    return OPTIMISERS[plan.optimiser](plan.learning_rate, **options)


class Trainer:
    """A compiled model that may be trained several times: what the first training traces serves the others too.

    Tracing a deep network takes as long as several short epochs; over folds, with one loss and one plan, it is the same
    every time. The model begins as it is now the first time; before any other time, `start_over`. `loss` and `metrics`
    are as for `keras.Model.compile`.
    """

    def __init__(self, model: keras.Model, *, loss: Any, metrics: Sequence[Any], plan: TrainingSettings) -> None:
        self.model, self.plan = model, plan
        for convolution in layers_of(model, keras.layers.Conv2D):
            convolution.kernel.regularizer = keras.regularizers.L2(plan.l2) if plan.l2 else None
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
        """Train once, in place; the model ends with the weights that the plan keeps.

        Gives epoch (from 1), loss, val_loss, metrics, seconds, and `waited`, the share of the time of its steps in
        which they had no batch. After an epoch, twice a minute at most, a copy of everything that training needs is
        kept in `folder`, which the caller removes when its outputs are written. Killed and started again with the same
        `identity`, a digest of all that decides the result, training ends with the same weights; with another it starts
        anew.

        `batches` and `validation` are `EpochBatches`; without validation the scores of training decide which weights
        are best, and when to stop. `name` is how progress lines call the model. Raises ConfigError if the plan has no
        epochs, or watches a score that this training does not measure; TrainingDataError if the loss, a metric, or one
        of them in validation, becomes NaN or infinite; ModelError if another process trains in this folder.
        """
        if not self.plan.epochs:
            what, mend = "this model cannot be taken as it is", "Use 1 or more."
            raise ConfigError(what, where=f"{name}: training.epochs", found=0, mend=mend)
        with alone_in(folder, name):
            return self._train(batches, validation, folder, identity, name)

    def _train(self, batches: Any, validation: Any | None, folder: Path, identity: str, name: str) -> pd.DataFrame:
        model, plan = self.model, self.plan
        state = State(model, folder, identity)
        watched = WATCHED[plan.keep] if validation is None else f"val_{WATCHED[plan.keep]}"
        fed, checked = Feed(batches), Feed(validation) if validation is not None else None
        keeper = _Keeper(state, fed, plan, name, watched, self._estimator)
        try:
            model.fit(
                fed,
                validation_data=checked,
                initial_epoch=len(state.history),
                epochs=plan.epochs if state.wait < plan.patience else len(state.history),
                callbacks=[keeper],
                verbose=0,
                shuffle=False,
            )
        except Exception:
            # A backend wraps what a dataset raises in an error of its own: the dataset knows what it was.
            if failures := [feed.failure for feed in (fed, checked) if feed is not None and feed.failure]:
                raise failures[0] from None
            raise
        finally:
            for feed in (fed, checked):
                if feed is not None:
                    feed.close()
        state.load_best()
        if validation is None:
            # A restart that finds everything trained takes the statistics over the same batches.
            batches.epoch = len(state.history) - 1
            keeper.reestimate()
        return pd.DataFrame(state.history)


def compute_precision(precision: str) -> None:
    """Set the dtype policy that models built from now on use."""
    keras.config.set_dtype_policy(precision)


class _Keeper(keras.callbacks.Callback):
    """Sets the epoch of the data, watches the loss, keeps the state, and says how far it is."""

    # A step's end is taken down by a thread that waits for it: a GPU is given the next one meanwhile.
    async_safe = True

    def __init__(
        self, state: State, feed: Feed, plan: TrainingSettings, name: str, watched: str, estimator: BatchNormEstimator
    ) -> None:
        super().__init__()
        self._state, self._feed, self._plan, self._name, self._watched = state, feed, plan, name, watched
        self._batches, self._estimator, self._begun, self._warned = feed.batches, estimator, 0.0, False

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

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._feed.ended[batch] = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        if self._plan.averaging is not None:
            self._exchange_average()
        self.reestimate()

    def reestimate(self) -> None:
        """Take batch-norm statistics of the current weights over the first batches of the current epoch."""
        count = min(self._plan.reestimate_batches, len(self._batches))
        if count:
            with Ahead(self._batches.inputs, count, self._batches.workers) as inputs:
                self._estimator(inputs)

    def _exchange_average(self) -> None:
        """Give the model the running average of its weights to be judged with, or its own back to go on with."""
        averages = self.model.optimizer._model_variables_moving_average
        for weight, average in zip(self.model.trainable_variables, averages, strict=True):
            own = np.array(keras.ops.convert_to_numpy(weight))
            weight.assign(average)
            average.assign(own)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        values = {k: float(v) for k, v in (logs or {}).items()}
        if self._watched not in values:
            what, where = "this training does not measure what `keep` asks for", f"training of {self._name}"
            mend = "Set `keep` of its training to best_loss, best_accuracy or last."
            raise ConfigError(what, where=where, found=self._plan.keep, mend=mend)
        seconds = time.perf_counter() - self._begun
        lost = [f"{k} {v}" for k, v in values.items() if not math.isfinite(v)]
        if lost:
            what = "the loss is no longer a number"
            found = ", ".join(lost)
            mend = "Lower `learning_rate`, or train in float32."
            raise TrainingDataError(what, where=f"training of {self._name}, epoch {epoch + 1}", found=found, mend=mend)
        state = self._state
        waited = round(self._feed.waited(), 3)
        state.history.append({"epoch": epoch + 1, **values, "seconds": round(seconds, 2), "waited": waited})
        # Less is better: scores are negated.
        watched = values[self._watched] * (1 if self._watched.endswith("loss") else -1)
        improved = watched < state.best
        state.best = min(watched, state.best)
        gained = watched < state.mark - self._plan.min_delta
        state.mark, state.wait = (watched, 0) if gained else (state.mark, state.wait + 1)
        chosen = improved or self._plan.keep == "last"
        if self._plan.averaging is None:
            state.keep(chosen)
        else:
            if not self._watched.startswith("val_"):
                # Without validation the average was not put in for it.
                self._exchange_average()
            state.keep(chosen, self._exchange_average)
        self._say(epoch + 1, values)
        if state.wait >= self._plan.patience:
            self.model.stop_training = True

    def _say(self, epoch: int, values: Mapping[str, float]) -> None:
        spent = [row["seconds"] for row in self._state.history]
        left = round(float(np.median(spent[-5:])) * (self._plan.epochs - epoch))
        numbers = ", ".join(f"{k} {v:.3f}" for k, v in values.items())
        ago = epoch - self._state.kept
        note = f", best {abs(self._state.best):.3f} {ago} epochs ago" if ago else ""
        time_left = f"at most {left // 60}:{left % 60:02d} left"
        waited = self._state.history[-1]["waited"]
        say(f"{self._name}: epoch {epoch}/{self._plan.epochs}, {numbers}{note}, waited {waited:.0%}, {time_left}")
        if waited > WAITS and not self._warned:
            self._warned = True
            mend = f"give its rule more threads under `resources` (now {self._batches.workers}), or a faster disk"
            say(f"{self._name}: the network waited for data {waited:.0%} of this epoch. If that goes on, {mend}.")
