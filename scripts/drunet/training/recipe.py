"""What the recipes of training share: the network to begin with, a training's identity, several trainings in a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from drunet.annotation.provenance import summarise_provenance
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.network import BuiltSettings, starts_whole
from drunet.settings.training import TrainingSettings
from drunet.training.checkpoint import Kept, digest, weights_file
from drunet.training.loop import Trainer, compute_precision
from drunet.training.readers import AnnotatedSlide
from drunet.training.trained import builder_options


def new_network(
    settings: BuiltSettings,
    plan: TrainingSettings,
    seed: int,
    size: int | None = None,
    *,
    start: Any = None,
    **more: Any,
) -> keras.Model:
    """Build a network in the plan's precision, with the weights that its training begins with.

    Parameters
    ----------
    settings, seed, size
        As for `drunet.training.trained.builder_options`.
    plan : TrainingSettings
    start : path, optional
        Weights of a whole model, where `settings` begin with such.
    **more
        Further arguments of the builder.

    Raises
    ------
    ModelError
        As `drunet.models.registry.build` and `load_weights`.
    """
    compute_precision(plan.precision)
    model = registry.build(settings.architecture, **{**builder_options(settings, seed, size), **more})
    if start is not None and starts_whole(settings.weights):
        registry.load_weights(model, start)
    return model


def identity(
    training: Sequence[Sequence[str]], validation: Sequence[Sequence[str]], start: str | None = None, **decisive: Any
) -> str:
    """Digest of all that decides a result: each slide's files, its side, the start, Keras' version, and JSON values."""
    digests = [[[sha256(file) for file in files] for files in slides] for slides in (training, validation)]
    return digest([decisive, keras.__version__, digests, sha256(start) if start else None])


def slide_facts(training: Sequence[AnnotatedSlide], validation: Sequence[AnnotatedSlide]) -> dict[str, Any]:
    """The slides of a training by name, and where their annotations come from; JSON values."""
    return {
        "training_slides": [s.source.slide_id for s in training],
        "validation_slides": [s.source.slide_id for s in validation],
        "annotation_provenance": summarise_provenance({s.source.slide_id: s.provenance for s in training}),
    }


def run_facts(history: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Epochs, seed and Keras' version of a training; JSON values."""
    return {"epochs": len(history), "seed": seed, "keras": keras.__version__}


class Series:
    """Trainings of one network in one job: one that is finished is not done again, and one that was killed goes on.

    They share what is traced for the first of them, as long as the plan is the same.

    Parameters
    ----------
    model : keras.Model
        Every training begins with the weights that it has now.
    loss
        As for `keras.Model.compile`.
    metric : callable
        Makes the metric, for each plan a new one: in the first epoch Keras would not reset one that has been used.
    folder : Path
        For state and results, see `drunet.training.checkpoint.Kept`.
    decisive : list
        All that decides every result, JSON values.
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
        """Train once, unless it is done.

        Parameters
        ----------
        key : str
            Name of the training's files.
        name : str
            For progress lines.
        plan : TrainingSettings
        data : callable
            Gives batches and validation (or None).
        answers : callable
            Gives the trained model's predictions.
        *decisive
            What decides this result beside what decides all, JSON values.

        Returns
        -------
        (DataFrame, DataFrame)
            Predictions and history.
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
