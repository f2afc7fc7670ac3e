"""Training over clusters of tissue: many-shot, by a head that tells every class apart, and few-shot, by episodes.

Episodes are those of prototypical networks (Snell, Swersky and Zemel 2017).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import pandas as pd
from keras import ops

from drunet.augment.pipeline import Augmentation
from drunet.console import say
from drunet.errors import ConfigError, TrainingDataError
from drunet.sampling import Crops
from drunet.settings.network import NetworkSettings
from drunet.settings.training import TrainingSettings
from drunet.tiles import read_table
from drunet.training.distillation import LabelledF1
from drunet.training.loop import Trainer
from drunet.training.readers import SlideSource, TileReader
from drunet.training.recipe import identity, new_network, run_facts
from drunet.training.trained import Trained
from studies.common.clustering.batches import ClassBatches, Episodes, episode_classes
from studies.common.clustering.clustered import CLASSES
from studies.common.clustering.features import embed, load_start
from studies.common.clustering.prototypes import EMBEDDING, PROTOTYPES, logits
from studies.common.clustering.settings import EpisodePlan
from studies.common.clustering.tiles import TRAINING, VALIDATION, TissueClasses, tissue_classes

# Validation episodes per training episode: their classes are fewer and the loss is a mean.
_VALIDATED = 4
# Keeps the draw of shots for prototypes apart from those of the episodes, which use the same seed.
_SHOTS = 13
# What is remembered of the tiles: all of it stands in the facts of their table.
_LEARNT_FROM = ("size", "mpp", "training_slides", "validation_slides", "annotation_provenance")


@dataclass(frozen=True, eq=False)
class ClusteredSlides:
    """Clustered tiles made ready for learning.

    `slides` are all that the `table` of `cluster_tiles` names, training first; `facts` are stored with it.
    """

    slides: list[SlideSource]
    table: pd.DataFrame
    facts: dict[str, Any]
    classes: TissueClasses

    @classmethod
    def read(cls, path: str, slides: Sequence[SlideSource], least: int, where: str) -> Self:
        """Read a cluster table and make classes of at least `least` training tiles; raises as `tissue_classes`."""
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
    threads: int = 1,
    code: str = "",
) -> Trained:
    """Train a classifier of architecture `clustered` or `prototypes` (DRU-Net, runs IX and VIII).

    Episodes teach the embedding of `prototypes`. Then each class gets its prototype: the mean embedding of all its
    training tiles, or of as many as an episode has shots (`data.episodes.prototypes`), not augmented. `settings` are an
    entry under `classifiers`, `slides` those of training, then of validation, `clusters` the file of their clustered
    tiles, `least` the training tiles that a class needs: `min_tiles` of the model that made the clusters, or what an
    episode takes of a class, if that is more. `start` holds the files `weights` and `facts` of the trained model that
    the backbone comes from; the rest is as for `drunet.training.classifier.train_classifier`.

    Raises ConfigError if sampling or loss are others than as is and cross-entropy, or the episodes do not fit,
    TrainingDataError if a label has too few tiles.
    """
    _refuse_other_balance(name, settings)
    where, episodes, enough = f"classifiers.{name}", None, least
    plan = TrainingSettings.of(settings["training"], f"{where}.training")
    if settings["architecture"] == "prototypes":
        episodes = EpisodePlan.of(settings["data"].get("episodes") or {}, f"{where}.data.episodes")
        enough = max(least, episodes.tiles)
    augmentation = Augmentation.from_config(settings["augment"], where=f"{where}.augment")
    data = ClusteredSlides.read(clusters, slides, enough, f"{where}.data")
    reader = TileReader(data.slides, size=data.facts["size"], mpp=data.facts["mpp"], augmentation=augmentation)
    network = NetworkSettings.among(settings, name)
    model = new_network(network, plan, seed, data.facts["size"], labels=data.classes.labels)
    load_start(model, settings["weights"], start, f"{where}.weights")
    learnt, kept, labels = data.tiles(TRAINING), data.tiles(VALIDATION), len(data.classes.labels)
    shown: dict[str, Any] = {"classes": labels, "seed": seed, "batch_size": plan.batch_size, "workers": threads}
    over_classes = partial(ClassBatches, reader, **shown)
    batches: ClassBatches | Episodes
    checks: ClassBatches | Episodes | None
    loss: Any = "categorical_crossentropy"
    metrics: list[Any] = ["accuracy", LabelledF1()]
    if episodes is None:
        batches = over_classes(tiles=learnt, steps=plan.steps_per_epoch)
        checks = over_classes(tiles=kept, fixed=True) if len(kept) else None
    else:
        batches = Episodes(reader, learnt, plan=episodes, seed=seed, workers=threads)
        checks = validation_episodes(reader, kept, episodes, seed + 1)
        layer = model.get_layer(PROTOTYPES)
        loss = PrototypicalLoss(episodes.shots, layer.temperature, layer.distance)
        metrics = [QueryAccuracy(episodes.shots)]
    taught = model.get_layer(EMBEDDING if episodes else CLASSES).output
    learner = keras.Model(model.inputs, taught, name=model.name)
    decisive = {"settings": settings, "seed": seed, "least": least, "code": code}
    history = Trainer(learner, loss=loss, metrics=metrics, plan=plan).train(
        batches=batches,
        validation=checks,
        folder=folder,
        identity=identity([[clusters]], [], start["weights"] if start else None, **decisive),
        name=name,
    )
    facts = {
        "architecture": settings["architecture"],
        **{key: data.facts[key] for key in _LEARNT_FROM},
        # What the builder needs besides the settings.
        "builder": {"labels": data.classes.labels},
        "classes": data.classes.facts,
        "merged": data.classes.merged,
        **run_facts(history, seed),
    }
    if isinstance(batches, ClassBatches):
        drawn = batches.order()
    else:
        some = episodes is not None and episodes.prototypes != "all"
        tiles = some_of_each(learnt, episodes.shots, seed) if episodes and some else learnt
        plain = over_classes(tiles=tiles, fixed=True)
        found = class_means(embed(learner, plain, f"{name}: prototypes"), plain.tiles.label, where)
        model.get_layer(PROTOTYPES).set_weights([found])
        drawn = np.concatenate([batches.draw(i).ravel() for i in range(len(batches))])
    reader.close()
    facts["samples_per_epoch"] = data.count(batches.tiles.label[drawn])
    facts["validation_samples"] = data.count(checks.tiles.label) if checks else None
    if isinstance(batches, Episodes) and episodes:
        facts["episodes"] = {"ways": batches.ways, "shots": episodes.shots, "queries": episodes.queries}
        facts["prototypes"] = episodes.prototypes
    return Trained(model, history, facts)


def _refuse_other_balance(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse what a training over clusters would pass over in silence (raises ConfigError)."""
    loss = settings.get("loss", {})
    asked = {
        "data.sampling.strategy": (settings["data"].get("sampling", {}).get("strategy", "as_is"), "as_is"),
        "loss.name": (loss.get("name", "cross_entropy"), "cross_entropy"),
        "loss.class_weights": (loss.get("class_weights"), None),
    }
    for key, (value, only) in asked.items():
        if value != only:
            mend = f"Use {'null' if only is None else only}: classes are balanced by clusters here."
            what, where = "a model over clusters cannot use this", f"classifiers.{name}.{key}"
            raise ConfigError(what, where=where, found=value, mend=mend)


def episode_logits(
    y_true: Any, y_pred: Any, shots: int, temperature: float = 1.0, distance: str = "squared"
) -> tuple[Any, Any]:
    """Classes, one-hot, and logits of an episode's queries, both (ways queries, ways).

    `y_true` is one-hot, (ways (shots + queries), ways), the shots first, `y_pred` the embeddings, (…, d). Logits are
    negative distances from the classes' mean shots, over the temperature.
    """
    support = y_true.shape[-1] * shots
    prototypes = ops.matmul(ops.transpose(y_true[:support]), y_pred[:support]) / shots
    return y_true[support:], logits(y_pred[support:], prototypes, temperature, distance)


class PrototypicalLoss(keras.losses.Loss):
    """Cross-entropy of an episode's queries over their distances from the classes' prototypes.

    Shapes are as for `episode_logits`; a batch is one episode. Prototypes are the means of `shots` tiles per class;
    `temperature` and `distance` are the model's.
    """

    def __init__(self, shots: int, temperature: float = 1.0, distance: str = "squared") -> None:
        super().__init__(name="prototypical_loss")
        self.shots, self.temperature, self.distance = shots, temperature, distance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each query."""
        truth, answers = episode_logits(y_true, y_pred, self.shots, self.temperature, self.distance)
        return ops.categorical_crossentropy(truth, answers, from_logits=True)


class QueryAccuracy(keras.metrics.Mean):
    """Share of queries that lie nearest to the prototype of their class."""

    def __init__(self, shots: int) -> None:
        super().__init__(name="accuracy")
        self.shots = shots

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in an episode; shapes as for `episode_logits`."""
        truth, answers = episode_logits(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype), self.shots)
        right = ops.equal(ops.argmax(truth, axis=-1), ops.argmax(answers, axis=-1))
        super().update_state(ops.cast(right, self.dtype))


def some_of_each(tiles: Crops, count: int, seed: int) -> Crops:
    """Draw `count` tiles of every class, none twice: the shots of a prototype."""
    rng = np.random.default_rng([seed, _SHOTS])
    drawn = [rng.choice(np.flatnonzero(tiles.label == k), count, replace=False) for k in np.unique(tiles.label)]
    return tiles.take(np.concatenate(drawn))


def class_means(embeddings: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Prototypes: the mean embedding (classes, d) of each class; raises TrainingDataError if they are no numbers."""
    means = np.stack([embeddings[classes == k].mean(axis=0, dtype=np.float64) for k in range(classes.max() + 1)])
    if not np.isfinite(means).all():
        mend = "Lower `learning_rate`, or train in float32."
        raise TrainingDataError("the prototypes are not numbers", where=where, mend=mend)
    return means.astype(np.float32)


def validation_episodes(reader: TileReader, tiles: Crops, plan: EpisodePlan, seed: int) -> Episodes | None:
    """Episodes of validation tiles; none where fewer than two classes have enough of them."""
    if not len(tiles) or len(episode_classes(tiles, plan)) < 2:
        return None
    fewer = plan.model_copy(update={"count": max(1, plan.count // _VALIDATED)})
    return Episodes(reader, tiles, plan=fewer, seed=seed, fixed=True)
