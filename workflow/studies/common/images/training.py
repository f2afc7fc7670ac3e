"""Training an arm on a set of images: every protocol and fold of a task, in one process, all from the same weights.

Each can be killed and goes on where it stood, and one that is finished is not trained again.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.files import sha256
from drunet.inference import EngineOptions
from drunet.settings.network import NetworkSettings
from drunet.settings.training import TrainingSettings
from drunet.training.distillation import DistillationLoss, LabelledAccuracy, LabelledF1, OnnxTeacher
from drunet.training.recipe import new_network
from drunet.training.trained import Trained, builder_options, rebuild
from studies.common.images.batches import ImageBatches, Originals, probabilities
from studies.common.images.job_settings import Lesson, starting_files
from studies.common.images.splits import HISTORY, Split, Trial, class_numbers, draw_trials, images_of, prediction_rows
from studies.common.images.view import View
from studies.common.series import Series


def train_arm(
    name: str,
    arm: Mapping[str, Any],
    task: Mapping[str, Any],
    images: pd.DataFrame,
    root: str | Path,
    *,
    view: View,
    validation_share: float,
    distillation: Mapping[str, Any] | None,
    seed: int,
    folder: Path,
    teachers: Mapping[str, str | Path] | None = None,
    engine: EngineOptions | None = None,
    threads: int = 1,
    keep_mb: float = 1500,
    code: str = "",
) -> Trained:
    """Train an arm in every protocol and fold of a task, and test it.

    `name` is how messages call it; `arm` has architecture, options, weights, freeze_fraction, batch_norm_momentum,
    training (in full) and teacher; `images` have file (below `root`), label, group, and part for the protocol "given".
    `validation_share` of the images beside the test decide when training was best; 0: the training loss does.
    `distillation` (temperature, weight) is for an arm with a teacher, `teachers` are ONNX files of it by
    `protocol.fold`, trained on the same images. `seed` is that of splits, initial weights, order, views and dropout.
    `folder` keeps the state and, until the caller removes it, the weights of every trial. `keep_mb` of decoded pixels
    stay in memory. An edit of the code, of which `code` is a digest, begins trainings anew.

    Raises ConfigError, ImageSetError or ModelError for what does not fit, TrainingDataError if the loss is no number.
    """
    plan = TrainingSettings.of(arm["training"], f"{name}: training")
    taught = Lesson.of(distillation or {}, f"{name}: distillation") if arm.get("teacher") else None
    lesson = taught and taught.model_dump()
    classes, images = list(task["classes"]), images_of(task, images)
    trials = draw_trials(task, images, validation_share=validation_share, seed=seed)
    taught_by = {trial.key: (teachers or {})[trial.key] for trial in trials} if taught else {}
    engine = engine or EngineOptions()
    network = NetworkSettings.among(arm, name)
    model = new_network(network, plan, seed, view.size, start=arm["weights"], classes=len(classes))
    usual: dict[str, Any] = {"classes": len(classes), "view": view, "batch_size": plan.batch_size, "seed": seed}
    usual |= {"originals": Originals(root, keep_mb), "distilled": bool(taught_by), "workers": threads}
    numbers = class_numbers(images, classes)

    def part(chosen: np.ndarray, **options: Any) -> ImageBatches:
        return ImageBatches(images["file"].iloc[chosen].tolist(), numbers[chosen], **usual, **options)

    def batches(trial: Trial) -> tuple[ImageBatches, ImageBatches | None]:
        """Batches to learn from, with the answers of the trial's teacher if it has one, and to validate with."""
        file, validation, where = taught_by.get(trial.key), trial.split.validation, f"{name}: teacher"
        teacher = OnnxTeacher(file, classes, size=view.size, options=engine, where=where) if file else None
        learnt = part(trial.split.training, teacher=teacher, steps=plan.steps_per_epoch)
        return learnt, part(validation, fixed=True) if len(validation) else None

    def answers(trial: Trial) -> pd.DataFrame:
        return prediction_rows(images, trial, classes, probabilities(model, part(trial.split.test, fixed=True)))

    # A fold is what it is however many others are trained.
    split = {key: value for key, value in task["split"].items() if key != "run"}
    decisive = [without_names(arm), classes, split, view.settings(), validation_share, lesson, seed]
    decisive += [images.to_csv(index=False), [sha256(file) for file in starting_files(arm)], code]
    loss = DistillationLoss(taught.temperature, taught.weight) if taught else "categorical_crossentropy"

    def measured() -> list[Any]:
        return [LabelledAccuracy(), LabelledF1()]

    series = Series(model, loss=loss, metrics=measured, folder=folder, decisive=decisive)
    done = []
    for trial in trials:
        file, label = taught_by.get(trial.key), f"{name}, {trial.protocol} {trial.fold}"
        own = file and sha256(file)
        given = partial(batches, trial), partial(answers, trial)
        done.append((trial, *series.train(trial.key, label, plan, *given, own)))

    curves = [h.assign(protocol=t.protocol, fold=t.fold).reindex(columns=list(HISTORY)) for t, _, h in done]
    predictions = pd.concat([rows for _, rows, _ in done], ignore_index=True)
    facts = {
        "architecture": arm["architecture"],
        "options": dict(arm["options"]),
        "normalisation": arm["options"].get("normalise"),
        "size": view.size,
        "classes": classes,
        "builder": {**builder_options(network, seed, view.size), "classes": len(classes), "weights": "random"},
        "weights": arm["weights"],
        "view": view.settings(),
        "training": dict(arm["training"]),
        "validation_share": validation_share,
        "distillation": lesson and {**lesson, "teacher": arm["teacher"]},
        "parameters": int(model.count_params()),
        "trainable_parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        "seed": seed,
        "keras": keras.__version__,
        "trials": [{**trial.facts(images, classes), **pace(h)} for trial, _, h in done],
    }
    return Trained(None, pd.concat(curves, ignore_index=True), facts, predictions)


def external_answers(
    facts: Mapping[str, Any], weights: str | Path, images: pd.DataFrame, root: str | Path, *, threads: int = 1
) -> pd.DataFrame:
    """What a trained arm predicts for images (file, label, group) of another folder, as one trial `external.0`.

    `facts` are what `train_arm` left, `weights` those of one of its trials.
    """
    classes, view, none = list(facts["classes"]), View.of(facts["view"], "view"), np.empty(0, np.int64)
    shown: dict[str, Any] = {"classes": len(classes), "view": view, "seed": facts["seed"], "workers": threads}
    shown |= {"batch_size": facts["training"]["batch_size"], "originals": Originals(root, 0), "fixed": True}
    batches = ImageBatches(images["file"].tolist(), class_numbers(images, classes), **shown)
    trial = Trial("external", 0, Split(none, none, np.arange(len(images))), 0.0)
    return prediction_rows(images, trial, classes, probabilities(rebuild(facts, weights), batches))


def without_names(arm: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an arm but for what it is called, which does not decide what it becomes."""
    return {key: value for key, value in arm.items() if key not in ("label", "published")}


def pace(history: pd.DataFrame) -> dict[str, Any]:
    """How long a training took: epochs, and the median of seconds_per_epoch."""
    return {"epochs": len(history), "seconds_per_epoch": float(history["seconds"].median())}
