"""Many-shot training over clusters of tissue: a head that tells every class apart, whose answers add up to two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.augment.pipeline import Augmentation
from drunet.console import say
from drunet.errors import ConfigError
from drunet.sampling import Crops
from drunet.settings.network import NetworkSettings
from drunet.settings.training import TrainingSettings
from drunet.tiles import read_table
from drunet.training.loop import Trainer
from drunet.training.readers import SlideSource, TileReader
from drunet.training.recipe import identity, new_network, run_facts
from drunet.training.trained import Trained
from studies.common.clustering.batches import ClassBatches
from studies.common.clustering.classes import TissueClasses, tissue_classes
from studies.common.clustering.clustered import CLASSES
from studies.common.clustering.features import load_start
from studies.common.clustering.tiles import TRAINING, VALIDATION

# What the table of features remembers of the slides.
LEARNT_FROM = ("training_slides", "validation_slides", "annotation_provenance")


@dataclass(frozen=True, eq=False)
class ClusteredSlides:
    """Clustered tiles made ready for learning.

    Attributes
    ----------
    slides : list of SlideSource
        All that the table names, training first.
    table : DataFrame
        From `studies.common.clustering.tiles.cluster_tiles`.
    facts : dict
        Stored with the table: size, mpp, training_slides, validation_slides.
    classes : TissueClasses
    """

    slides: list[SlideSource]
    table: pd.DataFrame
    facts: dict[str, Any]
    classes: TissueClasses

    @classmethod
    def read(cls, path: str, slides: Sequence[SlideSource], least: int, where: str) -> ClusteredSlides:
        """Read a cluster table and make classes of at least `least` training tiles.

        Raises
        ------
        TrainingDataError
            As `tissue_classes`.
        """
        table, facts = read_table(path)
        classes = tissue_classes(table, least, where=where)
        for note in classes.merged:
            say(f"{where}: {note}")
        return cls(list(slides), table, facts, classes)

    def tiles(self, split: str) -> Crops:
        """The tiles of a split, with classes for labels."""
        own = (self.table["split"] == split).to_numpy()
        position = {s.slide_id: i for i, s in enumerate(self.slides)}
        slide = self.table.loc[own, "slide"].map(position).to_numpy(np.int64)
        x, y = (self.table.loc[own, axis].to_numpy(np.int64) for axis in ("x", "y"))
        return Crops(slide, x, y, self.classes.of_tiles[own])

    def reader(self, augmentation: Augmentation | None) -> TileReader:
        """Reader of the tiles."""
        return TileReader(self.slides, size=self.facts["size"], mpp=self.facts["mpp"], augmentation=augmentation)

    def batches(self, reader: TileReader, split: str, **batches: Any) -> ClassBatches:
        """Batches of a split; see `ClassBatches`."""
        return ClassBatches(reader, self.tiles(split), len(self.classes.labels), **batches)

    def count(self, classes: np.ndarray) -> dict[str, int]:
        """How many of some tiles, given by their classes, are tumour and how many not."""
        tumour = int(np.asarray(self.classes.labels)[classes].sum())
        return {"tumour": tumour, "non_tumour": len(classes) - tumour}


def train_clustered(
    name: str,
    settings: Mapping[str, Any],
    slides: Sequence[SlideSource],
    clusters: str,
    *,
    least: int,
    seed: int,
    folder: Path,
    start: Mapping[str, str] | None = None,
    code: str = "",
) -> Trained:
    """Train a classifier of architecture `clustered`.

    Parameters
    ----------
    name : str
        How messages call the model.
    settings : mapping
        An entry under `classifiers` in the configuration.
    slides : list of SlideSource
        Training slides, then validation slides.
    clusters : str
        File with their clustered tiles.
    least : int
        Training tiles that a class needs (`data.clustering.min_tiles` of the model that made the clusters).
    seed, folder, code
        As for `drunet.training.classifier.train_classifier`.
    start : mapping, optional
        `weights` and `facts`, the files of the trained model that the backbone comes from.

    Raises
    ------
    ConfigError
        If sampling or loss are others than as is and cross-entropy.
    TrainingDataError
        If a label has too few tiles.
    """
    plain_sampling(name, settings)
    plan = TrainingSettings.of(settings["training"], f"classifiers.{name}.training")
    augmentation = Augmentation.from_config(settings["augment"], where=f"classifiers.{name}.augment")
    data = ClusteredSlides.read(clusters, slides, least, f"classifiers.{name}.data")
    reader, shown = data.reader(augmentation), {"seed": seed, "batch_size": plan.batch_size}
    batches = data.batches(reader, TRAINING, steps=plan.steps_per_epoch, **shown)
    checks = data.batches(reader, VALIDATION, fixed=True, **shown)
    model = started_network(name, settings, plan, data, seed, start)
    learner = keras.Model(model.inputs, model.get_layer(CLASSES).output, name=model.name)
    history = Trainer(learner, loss="categorical_crossentropy", metrics=["accuracy"], plan=plan).train(
        batches=batches,
        validation=checks if len(checks) else None,
        folder=folder,
        identity=clustered_identity(clusters, start, settings=settings, seed=seed, least=least, code=code),
        name=name,
    )
    reader.close()
    facts = clustered_facts(settings, data, history, seed)
    facts["samples_per_epoch"] = data.count(batches.tiles.label[batches.order()])
    facts["validation_samples"] = data.count(checks.tiles.label) if len(checks) else None
    return Trained(model, history, facts)


def started_network(
    name: str,
    settings: Mapping[str, Any],
    plan: TrainingSettings,
    data: ClusteredSlides,
    seed: int,
    start: Mapping[str, str] | None,
) -> keras.Model:
    """Build the network over the classes that were found, with the backbone that it starts from."""
    network = NetworkSettings.among(settings, name)
    model = new_network(network, plan, seed, data.facts["size"], labels=data.classes.labels)
    load_start(model, settings["weights"], start, f"classifiers.{name}.weights")
    return model


def clustered_identity(clusters: str, start: Mapping[str, str] | None, **decisive: Any) -> str:
    """Digest of all that decides a training over clusters."""
    return identity([[clusters]], [], start["weights"] if start else None, **decisive)


def clustered_facts(
    settings: Mapping[str, Any], data: ClusteredSlides, history: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """What to remember of a training over clusters; `builder` is what its builder needs besides the settings."""
    return {
        "architecture": settings["architecture"],
        **{key: data.facts[key] for key in ("size", "mpp", *LEARNT_FROM)},
        "builder": {"labels": data.classes.labels},
        "classes": data.classes.facts,
        "merged": data.classes.merged,
        **run_facts(history, seed),
    }


def plain_sampling(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse what a training over clusters would pass over in silence.

    Raises
    ------
    ConfigError
    """
    asked = {
        "data.sampling.strategy": (settings["data"].get("sampling", {}).get("strategy", "as_is"), "as_is"),
        "loss.name": (settings.get("loss", {}).get("name", "cross_entropy"), "cross_entropy"),
        "loss.class_weights": (settings.get("loss", {}).get("class_weights"), None),
    }
    for key, (value, only) in asked.items():
        if value != only:
            where = f"classifiers.{name}.{key}"
            mend = f"Use {'null' if only is None else only}: classes are balanced by clusters here."
            raise ConfigError("a model over clusters cannot use this", where=where, found=value, mend=mend)
