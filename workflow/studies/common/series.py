"""Several trainings of one network in one job, and what they leave on disk."""

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

    They share what is traced for the first of them, as long as the plan is the same, and begin with the weights that
    `model` has now. `metrics` makes new ones for each plan: in the first epoch Keras would not reset one that has
    been used. `folder` is for state and results, `decisive` holds all that decides every result (JSON values).
    """

    def __init__(
        self, model: keras.Model, *, loss: Any, metrics: Callable[[], list[Any]], folder: Path, decisive: Sequence[Any]
    ) -> None:
        self.model, self._loss, self._metrics = model, loss, metrics
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

        `key` names the training's files, `name` its progress; `data` gives batches and validation (or None), `answers`
        the trained model's predictions; `decisive` is what decides this result beside what decides all.
        """
        identity = digest([*self._decisive, key, *decisive])
        record, rows, state = (self._folder / f"{key}.{end}" for end in ("json", "parquet", "state"))
        if not record.is_file() or read_json(record)["identity"] != identity:
            history = self._trained(plan, data, folder=state, identity=identity, name=name)
            predictions = answers()
            save_inference_weights(self.model, weights_file(self._folder, key))
            with whole_file(rows) as temporary:
                predictions.to_parquet(temporary, index=False)
            # Last: it says that the others are whole.
            write_json(record, {"identity": identity, "history": history.to_dict("list")})
            shutil.rmtree(state)
        return pd.read_parquet(rows), pd.DataFrame(read_json(record)["history"])

    def _trained(
        self, plan: TrainingSettings, data: Callable[[], tuple[Any, Any | None]], **training: Any
    ) -> pd.DataFrame:
        if self._trainer is None or self._trainer.plan != plan:
            self._trainer = Trainer(self.model, loss=self._loss, metrics=self._metrics(), plan=plan)
        if self._begun:
            self._trainer.start_over(self._beginning)
        self._begun = True
        batches, validation = data()
        return self._trainer.train(batches=batches, validation=validation, **training)

    def go_on_from(self, key: str) -> None:
        """Let what follows begin with the weights that a finished training ended with."""
        if not self._begun:
            registry.load_weights(self.model, weights_file(self._folder, key))
        self._beginning = self.model.get_weights()


def weights_file(folder: str | os.PathLike[str], key: str) -> Path:
    """The weights of a training (of a set of images: `protocol.fold`), in the folder of the state or of the results."""
    return Path(folder) / f"{key}.weights.h5"


def keep_weights(state: Path, keys: Sequence[str], folder: str | os.PathLike[str]) -> None:
    """Copy the weights of these trainings from the state to the results."""
    for key in keys:
        with whole_file(weights_file(folder, key)) as temporary:
            shutil.copyfile(weights_file(state, key), temporary)
