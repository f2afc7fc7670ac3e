"""What the recipes of training share: the network to begin with, a training's identity, and facts of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import pandas as pd

from drunet.annotation.provenance import summarise_provenance
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.classifier import ClassifierRecipe
from drunet.settings.network import BuiltSettings, starts_whole
from drunet.settings.refiner import RefinerSettings
from drunet.settings.training import TrainingSettings
from drunet.training.checkpoint import digest
from drunet.training.loop import compute_precision
from drunet.training.readers import AnnotatedSlide
from drunet.training.trained import Trained, builder_options


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

    `settings`, `seed` and `size` are as for `drunet.training.trained.builder_options`; `start` has the weights of a
    whole model, where the settings begin with such; `more` are further arguments of the builder. Raises ModelError as
    `drunet.models.registry.build` and `load_weights`.
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


def as_it_came(
    settings: ClassifierRecipe | RefinerSettings, shape: Mapping[str, Any], *, seed: int, start: str | None
) -> Trained:
    """A model that is not trained here (`training.epochs: 0`): the weights that it starts from.

    `shape` has the `size` (px) and `mpp` (µm/px) of what it sees; the rest is as for `new_network`.
    """
    model = new_network(settings, settings.training, seed, shape["size"], start=start)
    history = pd.DataFrame(columns=["epoch", "loss", "seconds", "waited"])
    facts = {"architecture": settings.architecture, **shape, **slide_facts([], []), **run_facts(history, seed)}
    return Trained(model, history, facts)


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
