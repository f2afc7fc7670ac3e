"""Training an arm on a set of images: every protocol and fold of a task, in one process.

All trials begin with the same weights and share what is traced for the first. Each can be killed and goes on where it
stood, and one that is finished is not trained again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.errors import ConfigError, ModelError, check_keys
from drunet.files import sha256
from drunet.inference import EngineOptions
from drunet.models import registry
from drunet.settings.network import NetworkSettings, starts_whole
from drunet.settings.training import TrainingSettings
from drunet.training.classifier import builder_options
from drunet.training.distillation import DistillationLoss, LabelledAccuracy
from drunet.training.kept import Kept, digest
from drunet.training.loop import Trainer, compute_precision
from drunet.training.teacher import OnnxTeacher
from studies.common.images.batches import FixedImageBatches, ImageBatches, Originals, probabilities
from studies.common.images.trials import (
    HISTORY,
    ArmOutcome,
    Trial,
    class_numbers,
    draw_trials,
    images_of,
    prediction_rows,
)
from studies.common.images.view import View

# What an arm is called does not decide what it becomes.
_NAMES = ("label", "published")


@dataclass(frozen=True)
class Distillation:
    """How an arm learns from its teacher; keys as under `distillation`; see `DistillationLoss`."""

    temperature: float
    weight: float

    @classmethod
    def of(cls, arm: Mapping[str, Any], config: Mapping[str, Any] | None, where: str) -> Distillation | None:
        """Read the block for an arm: None where the arm has no teacher.

        Raises
        ------
        ConfigError
            If an arm has a teacher and the block is missing, or a value does not fit.
        """
        if not arm.get("teacher"):
            return None
        check_keys(cls, config, f"{where}: distillation")
        found = cls(**(config or {}))
        if not found.temperature > 0 or not 0 <= found.weight <= 1:
            mend = "temperature is above 0, weight from 0 to 1."
            raise ConfigError("out of range", where=f"{where}: distillation", found=asdict(found), mend=mend)
        return found


def train_arm(
    name: str,
    arm: Mapping[str, Any],
    task: Mapping[str, Any],
    images: pd.DataFrame,
    root: str | os.PathLike[str],
    *,
    view: View,
    validation_share: float,
    distillation: Mapping[str, Any] | None,
    seed: int,
    folder: Path,
    teachers: Mapping[str, str | os.PathLike[str]] | None = None,
    engine: EngineOptions | None = None,
    threads: int = 1,
    keep_mb: float = 1500,
    code: str = "",
) -> ArmOutcome:
    """Train an arm in every protocol and fold of a task, and test it.

    Parameters
    ----------
    name : str
        How messages call it.
    arm : mapping
        architecture, options, weights, freeze_fraction, batch_norm_momentum, training (in full), teacher.
    task : mapping
        classes, protocols, split.
    images : DataFrame
        file, label, group, and part for the protocol "given"; a row per image, those of other classes are left out.
    root : path
        Folder of the images.
    view : View
    validation_share : float
        Share of the images beside the test that decide when training was best; 0: the training loss does.
    distillation : mapping or None
        temperature and weight, for an arm with a teacher.
    seed : int
        Of splits, initial weights, order, views and dropout.
    folder : Path
        Where the state is kept, and until the caller removes it the weights of every trial: see
        `drunet.training.kept.weights_file`.
    teachers : mapping of "protocol.fold" to path
        ONNX files of the teacher, trained on the same images as each trial.
    engine : EngineOptions, optional
        Where the teacher computes.
    threads : int
        Images decoded at a time.
    keep_mb : float
        Decoded pixels kept in memory, MB.
    code : str
        Digest of the code that trains: what an edit comes between is not continued but begun anew.

    Returns
    -------
    ArmOutcome

    Raises
    ------
    ConfigError
        For a protocol, a distillation block or a plan that does not fit.
    ImageSetError
        If a class is missing or too small, or an image cannot be read.
    ModelError
        For an architecture, weights or a teacher that do not fit, and if a trial has no teacher.
    TrainingDataError
        If the loss is no longer a number.
    """
    plan = TrainingSettings.of(arm["training"], f"{name}: training")
    taught = Distillation.of(arm, distillation, name)
    classes, images = list(task["classes"]), images_of(task, images, name)
    trials = draw_trials(task, images, validation_share=validation_share, seed=seed, where=name)
    taught_by = _teachers_of(trials, teachers or {}, name) if taught else {}
    engine = engine or EngineOptions()

    compute_precision(plan.precision)
    builder = {**builder_options(NetworkSettings.among(arm, name), view.size, seed), "classes": len(classes)}
    model = registry.build(arm["architecture"], **builder)
    if starts_whole(arm["weights"]):
        registry.load_weights(model, arm["weights"])
    loss = DistillationLoss(taught.temperature, taught.weight) if taught else "categorical_crossentropy"
    trainer = Trainer(model, loss=loss, metrics=[LabelledAccuracy()], plan=plan)
    beginning, begun = model.get_weights(), False

    part = partial(
        _part,
        images,
        class_numbers(images, classes),
        classes=len(classes),
        originals=Originals(root, keep_mb),
        view=view,
        batch_size=plan.batch_size,
        seed=seed,
        distilled=taught is not None,
        threads=threads,
    )
    # A fold is what it is however many others are trained.
    split = {key: value for key, value in task["split"].items() if key != "run"}
    decisive = [_without_names(arm), classes, split, view.settings(), validation_share, taught and asdict(taught), seed]
    decisive += [keras.__version__, images.to_csv(index=False), [sha256(file) for file in _start_files(arm)], code]
    done = []
    for trial in trials:
        teacher = taught_by.get(trial.key)
        taught_with = teacher and [sha256(teacher), engine.provider, engine.precision]
        kept = Kept(folder, trial.key, digest([*decisive, trial.key, taught_with]))
        if not kept.there():
            answers = teacher and OnnxTeacher(
                teacher, classes, size=view.size, options=engine, where=f"{name}: teacher"
            )
            if begun:
                trainer.start_over(beginning)
            begun = True
            validation = trial.split.validation
            history = trainer.train(
                batches=part(ImageBatches, trial.split.training, teacher=answers, steps=plan.steps_per_epoch),
                validation=part(FixedImageBatches, validation) if len(validation) else None,
                folder=kept.state,
                identity=kept.identity,
                name=f"{name}, {trial.protocol} {trial.fold}",
            )
            tested = probabilities(model, part(FixedImageBatches, trial.split.test))
            kept.keep(model, prediction_rows(images, trial, classes, tested), history)
        done.append((trial, *kept.read()))

    predictions = pd.concat([rows for _, rows, _ in done], ignore_index=True)
    history = pd.concat([_labelled(h, trial) for trial, _, h in done], ignore_index=True)
    facts = {
        "architecture": arm["architecture"],
        "options": dict(arm["options"]),
        "normalisation": arm["options"].get("normalise"),
        "size": view.size,
        "classes": classes,
        "builder": {**builder, "weights": "random"},
        "weights": arm["weights"],
        "view": view.settings(),
        "training": dict(arm["training"]),
        "validation_share": validation_share,
        "distillation": taught and {**asdict(taught), "teacher": arm["teacher"]},
        "parameters": int(model.count_params()),
        "trainable_parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        "seed": seed,
        "keras": keras.__version__,
        "trials": [
            {
                **trial.facts(images, classes),
                "epochs": len(h),
                "seconds_per_epoch": float(h["seconds"].median()),
            }
            for trial, _, h in done
        ],
    }
    return ArmOutcome(predictions, history, facts)


def rebuild_arm(facts: Mapping[str, Any], weights: str | os.PathLike[str]) -> keras.Model:
    """Build the network of an arm from its facts and load the weights of a trial.

    Raises
    ------
    ModelError
        If the weights do not fit the facts.
    """
    model = registry.build(facts["architecture"], **facts["builder"])
    registry.load_weights(model, weights)
    return model


def _part(
    images: pd.DataFrame, labels: np.ndarray, kind: type[ImageBatches], chosen: np.ndarray, **options: Any
) -> ImageBatches:
    return kind(images["file"].iloc[chosen].tolist(), labels[chosen], **options)


def _teachers_of(
    trials: Sequence[Trial], teachers: Mapping[str, str | os.PathLike[str]], name: str
) -> dict[str, str | os.PathLike[str]]:
    """The teacher's file for each trial, before anything is trained."""
    missing = [trial.key for trial in trials if trial.key not in teachers]
    if missing:
        found = f"{', '.join(missing)}; there are {', '.join(sorted(teachers)) or 'none'}"
        mend = "Train the teacher on the same protocols and folds."
        raise ModelError("there is no teacher for a trial", where=name, found=found, mend=mend)
    return dict(teachers)


def _without_names(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arm.items() if key not in _NAMES}


def _start_files(arm: Mapping[str, Any]) -> list[str]:
    """Files whose weights an arm begins with: of the whole model, or of backbones."""
    weights = arm["weights"]
    if isinstance(weights, Mapping):
        return [os.fspath(weights[name]) for name in sorted(weights)]
    return [weights] if starts_whole(arm["weights"]) else []


def _labelled(history: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    return history.assign(protocol=trial.protocol, fold=trial.fold).reindex(columns=list(HISTORY))
