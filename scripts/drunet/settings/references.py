"""Cross-references of the configuration; no script imports this module, so that an edit here reruns nothing."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from drunet.errors import ConfigError, closest
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.classifier import ClassifierSettings
from drunet.settings.config import Configuration
from drunet.settings.encoder import EncoderHead, EncoderSettings
from drunet.settings.finished import FinishedModel
from drunet.settings.network import starts_whole
from drunet.settings.refiner import RefinerSettings

_FOLD_NAME = re.compile(r"\.fold\d+of\d+$")
# Options that decide nothing about the arrays of weights: a fine-tuned model may differ from its start in them.
_FREE_OPTIONS = {"size", "dropout", "spatial_dropout"}

TrainedClassifier = ClassifierSettings | EncoderHead
Trained = TrainedClassifier | RefinerSettings
Models = Mapping[str, Trained | FinishedModel]


def checked(config: Mapping[str, Any]) -> Configuration:
    """Check a configuration whose models are written out: its blocks, its cross-references, the files that it names.

    `config` is as `drunet.settings.merging.resolve_models` returns it. Raises ConfigError, and ModelError for an
    unknown architecture.
    """
    settings = Configuration.of(config, "")
    check_references(settings)
    check_model_files(settings)
    return settings


def check_references(settings: Configuration) -> None:
    """Check that names of models lead to models that fit: of runs, refiners, starts, first models and teachers.

    Raises ConfigError, and ModelError for an unknown architecture.
    """
    classifiers, refiners = settings.classifiers, settings.refiners
    for name in classifiers:
        if _FOLD_NAME.search(name):
            raise ConfigError(
                "a classifier's name reads like a fold of another",
                where="classifiers",
                found=name,
                mend="Leave out `.fold…of…`: the workflow gives such names itself when it cross-fits.",
            )
    for run, parts in settings.runs.items():
        _known(f"runs.{run}.classifier", parts.classifier, classifiers, "classifier")
        if parts.refiner is not None:
            _known(f"runs.{run}.refiner", parts.refiner, refiners, "refiner")
        if parts.smallest_tumour_of is not None:
            _known(f"runs.{run}.smallest_tumour_of", parts.smallest_tumour_of, refiners, "refiner")
        if parts.cascade is not None:
            _check_cascade(settings, run, parts.classifier, parts.cascade.student)
    for name, classifier in classifiers.items():
        if isinstance(classifier, EncoderHead):
            _known(f"classifiers.{name}.encoder", classifier.encoder, settings.encoders, "encoder")
    for name, refiner in refiners.items():
        if isinstance(refiner, FinishedModel):
            continue
        _known(f"refiners.{name}.classifier", refiner.classifier, classifiers, "classifier")
        if refiner.weights == "imagenet":
            where, mend = f"refiners.{name}.weights", "Use random, a weights file, or {model: NAME}."
            raise ConfigError("a refiner has no ImageNet weights", where=where, found="imagenet", mend=mend)
    for kind, models in _both(settings):
        for name, model in models.items():
            if not isinstance(model, FinishedModel):
                registry.check_options(model.architecture, model.options, f"{kind}.{name}.options")
                if not model.training.epochs and not starts_whole(model.weights):
                    where, mend = f"{kind}.{name}.weights", "Name a whole model's file or {model: NAME}, or train."
                    what = "a model that is not trained (epochs: 0) needs weights"
                    raise ConfigError(what, where=where, found=model.weights, mend=mend)
                _check_start(models, kind, name)
    _check_chains(
        classifiers,
        "data.sampling.first_model",
        lambda model: model.data.sampling.first_model,
        "circular `first_model` reference",
        "Name another.",
    )
    _check_chains(
        classifiers,
        "distillation.teacher",
        lambda model: None if model.distillation is None else model.distillation.teacher,
        "circular `teacher` reference",
        "Name another, or let one of them learn from labels alone: `distillation: null`.",
    )
    for name, classifier in classifiers.items():
        lesson = classifier.distillation if isinstance(classifier, ClassifierSettings) else None
        if lesson and _stains(settings, lesson.teacher) != _stains(settings, name):
            what, where = "a teacher sees other stains than its student", f"classifiers.{name}.stain_normalisation"
            mend = "Give both the same `stain_normalisation`."
            raise ConfigError(what, where=where, found=f"teacher: {lesson.teacher}", mend=mend)
    both = sorted(set(classifiers) & set(refiners))
    if both:
        raise ConfigError(
            "a classifier and a refiner have the same name",
            where="classifiers, refiners",
            found=", ".join(both),
            mend="They share the folder `models` of the results: rename one.",
        )


def check_model_files(settings: Configuration) -> None:
    """Check that models and weights that the configuration names are there, and as pinned; raises ConfigError."""
    for kind, models in (*_both(settings), ("encoders", settings.encoders)):
        for name, model in models.items():
            for key, path in _named_files(model):
                # Listed models are fetched when needed. `isfile` raises nothing where no folder may be entered.
                if Path(path).parent != Path(settings.results, "fetched") and not os.path.isfile(path):  # noqa: PTH113
                    raise ConfigError(
                        "the file is not there",
                        where=f"{kind}.{name}.{key}",
                        found=path,
                        mend="Correct the path; relative ones start in the working directory.",
                    )
    begun = [model for _, models in _both(settings) for model in models.values()]
    named = {path for model in begun if not isinstance(model, FinishedModel) for _, path in _named_files(model)}
    for path, digest in settings.pinned.items():
        if path not in named:
            raise ConfigError("no model starts from this file", where="pinned", found=path, mend=closest(path, named))
        if (found := sha256(path)) != digest:
            mend = "Ask its authors for the digest, and fetch it again. Nothing of it was read."
            raise ConfigError("the file is not the one that is pinned", where=f"pinned.{path}", found=found, mend=mend)


def start_of(weights: object) -> str | None:
    """Name of the trained model that a model's `weights` name, if it is fine-tuned."""
    return weights["model"] if isinstance(weights, Mapping) and "model" in weights else None


def teacher_of(model: Mapping[str, Any]) -> str | None:
    """Name of the classifier that another one learns from, by that one's settings; None where it has no teacher."""
    block = model.get("distillation")
    return block["teacher"] if block else None


def _both(settings: Configuration) -> list[tuple[str, Models]]:
    return [("classifiers", settings.classifiers), ("refiners", settings.refiners)]


def _check_chains(
    classifiers: Mapping[str, TrainedClassifier | FinishedModel],
    key: str,
    next_of: Callable[[TrainedClassifier], str | None],
    what: str,
    mend: str,
) -> None:
    """Follow each model to the one that it names under a key, and that one's, to one that names none."""
    for name in classifiers:
        path, model = [name], classifiers[name]
        while not isinstance(model, FinishedModel) and (following := next_of(model)) is not None:
            where = f"classifiers.{path[-1]}.{key}"
            _known(where, following, classifiers, "classifier")
            if following in path:
                raise ConfigError(what, where=where, found=following, mend=mend)
            path.append(following)
            model = classifiers[following]


def _check_cascade(settings: Configuration, run: str, teacher: str, student: str) -> None:
    where, what, mend = f"runs.{run}.cascade.student", "", "Name another classifier."
    _known(where, student, settings.classifiers, "classifier")
    if student == teacher:
        what = "a cascade's student is its teacher"
    elif any(isinstance(settings.classifiers[name], EncoderHead) for name in (student, teacher)):
        what = "a classifier on an encoder's features takes no part in a cascade"
    elif _stains(settings, teacher) != _stains(settings, student):
        what, mend = "a teacher sees other stains than its student", "Give both the same `stain_normalisation`."
    if what:
        raise ConfigError(what, where=where, found=student, mend=mend)


def _check_start(models: Models, kind: str, name: str) -> None:
    """Follow the starts of a model back to one that is not fine-tuned."""
    path, model = [name], models[name]
    while not isinstance(model, FinishedModel) and (start := start_of(model.weights)) is not None:
        where = f"{kind}.{path[-1]}.weights.model"
        _known(where, start, models, kind[:-1])
        if set(model.weights) != {"model"}:
            found = ", ".join(model.weights)
            raise ConfigError("a start is one model and nothing else", where=where, found=found, mend="Keep `model`.")
        if start in path:
            mend = "Let one of them start from random weights, imagenet or a file."
            raise ConfigError("circular `weights.model` reference", where=where, found=start, mend=mend)
        begun = models[start]
        if isinstance(begun, FinishedModel):
            mend = "Name the weights file that the ONNX file was made from: weights: FILE."
            raise ConfigError("a finished ONNX model cannot be trained further", where=where, found=start, mend=mend)
        _check_same_network(model, begun, where, start)
        path.append(start)
        model = begun


def _check_same_network(model: Trained, start: Trained, where: str, name: str) -> None:
    # An architecture that is not the library's says itself what it can take over from another one.
    if model.architecture not in (*registry.ARCHITECTURES, start.architecture):
        return
    here, there = _network(model), _network(start)
    if here != there:
        raise ConfigError(
            "the model to start from is another network",
            where=where,
            found=f"{name}: {there}; here: {here}",
            mend="Start from a model with the same architecture and options, or from random weights.",
        )


def _stains(settings: Configuration, name: str) -> object:
    """What a classifier does to the stains of its tiles."""
    model = settings.classifiers[name]
    if isinstance(model, EncoderHead):
        return settings.encoders[model.encoder].stain_normalisation
    return None if isinstance(model, FinishedModel) else model.stain_normalisation


def _network(model: Trained) -> str:
    """What decides which arrays of weights a model has, as text."""
    options = {k: v for k, v in sorted(model.options.items()) if k not in _FREE_OPTIONS}
    return f"{model.architecture} {options or ''}".strip()


def _named_files(model: Trained | FinishedModel | EncoderSettings) -> list[tuple[str, str]]:
    if isinstance(model, FinishedModel):
        return [("onnx", model.onnx), *([("appearance", model.appearance)] if model.appearance else [])]
    if isinstance(model, EncoderSettings):
        return [("onnx", model.onnx)]
    if isinstance(model.weights, str):
        return [] if model.weights in ("random", "imagenet") else [("weights", model.weights)]
    return [(f"weights.{backbone}", path) for backbone, path in model.weights.items() if backbone != "model"]


def _known(where: str, name: str, defined: Iterable[str], what: str) -> None:
    if name not in defined:
        raise ConfigError(f"unknown {what}", where=where, found=name, mend=closest(name, defined))
