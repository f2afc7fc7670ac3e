"""Several trainings of one network in one job, and what they leave on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from drunet.files import read_json, whole_file, write_json
from drunet.models import registry
from drunet.settings.training import TrainingSettings
from drunet.training.checkpoint import digest, save_inference_weights
from drunet.training.loop import Trainer


class Series:
    """Trainings of one network in one job: one that is finished is not done again, and one that was killed goes on.

    They share what is traced for the first of them, as long as the plan is the same. Every training begins with the
    weights that `model` has now. `metric` makes a new metric for each plan: in the first epoch Keras would not reset
    one that has been used. `folder` is for state and results, `decisive` holds all that decides every result (JSON
    values).
    """

    def __init__(
        self, model: keras.Model, *, loss: Any, metric: Callable[[], Any], folder: Path, decisive: Sequence[Any]
    ) -> None:
        self.model, self._loss, self._metric = model, loss, metric
        self._folder, self._decisive = folder, [*decisive, keras.__version__]
        self._trainer: Trainer | None = None
        self._beginning, self._begun = model.get_weights(), False

    def train(
        self,
        key: str,
        name: str,
        plan: TrainingSettings,
        data: Callable[[], tuple[Any, Any | None]],
        answers: Callable[[], pd.DataFrame],
        *decisive: Any,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train once, unless it is done; returns predictions and history.

        `key` names the training's files, `name` is for progress lines; `data` gives batches and validation (or None),
        `answers` the trained model's predictions; `decisive` is what decides this result beside what decides all.
        """
        kept = Kept(self._folder, key, digest([*self._decisive, key, *decisive]))
        if not kept.there():
            if self._trainer is None or self._trainer.plan != plan:
                self._trainer = Trainer(self.model, loss=self._loss, metrics=[self._metric()], plan=plan)
            if self._begun:
                self._trainer.start_over(self._beginning)
            self._begun = True
            batches, validation = data()
            history = self._trainer.train(
                batches=batches, validation=validation, folder=kept.state, identity=kept.identity, name=name
            )
            kept.keep(self.model, answers(), history)
        return kept.read()

    def go_on_from(self, key: str) -> None:
        """Let what follows begin with the weights that a finished training ended with."""
        if not self._begun:
            registry.load_weights(self.model, weights_file(self._folder, key))
        self._beginning = self.model.get_weights()


class Kept:
    """What a finished training leaves in the folder of the state until all trainings of the job are finished.

    What another `identity` (a digest of all that decides the result) left under this `key` is not used.
    """

    def __init__(self, folder: Path, key: str, identity: str) -> None:
        self._folder, self._key, self.identity = folder, key, identity
        self.state = folder / f"{key}.state"
        self._record, self._rows = folder / f"{key}.json", folder / f"{key}.parquet"

    def there(self) -> bool:
        """Whether this training is finished."""
        return self._record.is_file() and read_json(self._record)["identity"] == self.identity

    def keep(self, model: keras.Model, rows: pd.DataFrame, history: pd.DataFrame) -> None:
        """Write weights, predictions, then the record that says that they are whole."""
        save_inference_weights(model, weights_file(self._folder, self._key))
        with whole_file(self._rows) as temporary:
            rows.to_parquet(temporary, index=False)
        write_json(self._record, {"identity": self.identity, "history": history.to_dict("list")})
        shutil.rmtree(self.state)

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Predictions and history."""
        return pd.read_parquet(self._rows), pd.DataFrame(read_json(self._record)["history"])


def weights_file(folder: str | os.PathLike[str], key: str) -> Path:
    """The weights of a training (of a set of images: `protocol.fold`), in the folder of the state or of the results."""
    return Path(folder) / f"{key}.weights.h5"


def keep_weights(state: Path, keys: Sequence[str], folder: str | os.PathLike[str]) -> None:
    """Copy the weights of these trainings from the state to the results."""
    for key in keys:
        with whole_file(weights_file(folder, key)) as temporary:
            shutil.copyfile(weights_file(state, key), temporary)
