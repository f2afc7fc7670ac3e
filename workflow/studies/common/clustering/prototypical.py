"""Few-shot training by episodes (Snell, Swersky and Zemel 2017), on clusters of tissue (DRU-Net, run VIII)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from drunet.augment.pipeline import Augmentation
from drunet.errors import TrainingDataError
from drunet.sampling import Crops
from drunet.settings.training import TrainingSettings
from drunet.training.loop import Trainer
from drunet.training.readers import SlideSource, TileReader
from drunet.training.trained import Trained
from studies.common.clustering.batches import Episodes, episode_classes
from studies.common.clustering.features import embed
from studies.common.clustering.prototypes import EMBEDDING, PROTOTYPES, squared_distances
from studies.common.clustering.settings import EpisodePlan
from studies.common.clustering.tiles import TRAINING, VALIDATION
from studies.common.clustering.training import (
    ClusteredSlides,
    clustered_facts,
    clustered_identity,
    plain_sampling,
    started_network,
)

# Validation episodes per training episode: their classes are fewer and the loss is a mean.
_VALIDATED = 4


def episode_logits(y_true: Any, y_pred: Any, shots: int, temperature: float) -> tuple[Any, Any]:
    """Classes and logits of an episode's queries.

    Parameters
    ----------
    y_true : (ways (shots + queries), ways)
        One-hot; the shots come first.
    y_pred : (ways (shots + queries), d)
        Embeddings.

    Returns
    -------
    (ways queries, ways), (ways queries, ways)
        One-hot classes; negative squared distances from the classes' mean shots, over the temperature.
    """
    support = y_true.shape[-1] * shots
    prototypes = ops.matmul(ops.transpose(y_true[:support]), y_pred[:support]) / shots
    return y_true[support:], -squared_distances(y_pred[support:], prototypes) / temperature


@keras.saving.register_keras_serializable(package="drunet")
class PrototypicalLoss(keras.losses.Loss):
    """Cross-entropy of an episode's queries over their distances from the classes' prototypes.

    Parameters
    ----------
    shots : int
        Tiles per class that the prototypes are the means of.
    temperature : float
        As the model's.

    Notes
    -----
    Shapes as for `episode_logits`; a batch is one episode.
    """

    def __init__(self, shots: int, temperature: float = 1.0, name: str = "prototypical_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.shots, self.temperature = shots, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each query."""
        truth, logits = episode_logits(y_true, y_pred, self.shots, self.temperature)
        return ops.categorical_crossentropy(truth, logits, from_logits=True)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the loss anew."""
        return {**super().get_config(), "shots": self.shots, "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="drunet")
class QueryAccuracy(keras.metrics.Mean):
    """Share of queries that lie nearest to the prototype of their class."""

    def __init__(self, shots: int, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.shots = shots

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in an episode; shapes as for `episode_logits`."""
        truth, logits = episode_logits(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype), self.shots, 1.0)
        right = ops.equal(ops.argmax(truth, axis=-1), ops.argmax(logits, axis=-1))
        super().update_state(ops.cast(right, self.dtype))

    def get_config(self) -> dict[str, Any]:
        """Return what builds the metric anew."""
        return {**super().get_config(), "shots": self.shots}


def train_prototypical(
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
    """Train a classifier of architecture `prototypes`; parameters as in `clustering.training.train_clustered`.

    Episodes teach the embedding. Then each class gets its prototype: the mean embedding of all its training tiles, not
    augmented. A class needs at least as many tiles as an episode takes of it, whatever `least` says.

    Raises
    ------
    ConfigError
        If sampling or loss are others than as is and cross-entropy, or the episodes do not fit.
    TrainingDataError
        If a label has too few tiles.
    """
    plain_sampling(name, settings)
    where = f"classifiers.{name}"
    plan = TrainingSettings.of(settings["training"], f"{where}.training")
    episodes = EpisodePlan.of(settings["data"].get("episodes") or {}, f"{where}.data.episodes")
    augmentation = Augmentation.from_config(settings["augment"], where=f"{where}.augment")
    data = ClusteredSlides.read(clusters, slides, max(least, episodes.tiles), f"{where}.data")
    reader = data.reader(augmentation)
    batches = Episodes(reader, data.tiles(TRAINING), plan=episodes, seed=seed)
    checks = _validation(reader, data.tiles(VALIDATION), episodes, seed + 1)
    model = started_network(name, settings, plan, data, seed, start)
    embedder = keras.Model(model.inputs, model.get_layer(EMBEDDING).output, name=model.name)
    loss = PrototypicalLoss(episodes.shots, model.get_layer(PROTOTYPES).temperature)
    history = Trainer(embedder, loss=loss, metrics=[QueryAccuracy(episodes.shots)], plan=plan).train(
        batches=batches,
        validation=checks,
        folder=folder,
        identity=clustered_identity(clusters, start, settings=settings, seed=seed, least=least, code=code),
        name=name,
    )
    plain = data.batches(reader, TRAINING, seed=seed, batch_size=plan.batch_size, fixed=True)
    prototypes = class_means(embed(embedder, plain, f"{name}: prototypes"), plain.tiles.label, where)
    model.get_layer(PROTOTYPES).set_weights([prototypes])
    reader.close()
    facts = clustered_facts(settings, data, history, seed)
    drawn = np.concatenate([batches.draw(i).ravel() for i in range(len(batches))])
    facts["samples_per_epoch"] = data.count(batches.tiles.label[drawn])
    facts["validation_samples"] = data.count(checks.tiles.label) if checks else None
    facts["episodes"] = {"ways": batches.ways, "shots": episodes.shots, "queries": episodes.queries}
    return Trained(model, history, facts)


def class_means(embeddings: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Prototypes: the mean embedding (classes, d) of each class.

    Raises
    ------
    TrainingDataError
        If the embeddings are not numbers.
    """
    means = np.stack([embeddings[classes == k].mean(axis=0, dtype=np.float64) for k in range(classes.max() + 1)])
    if not np.isfinite(means).all():
        mend = "Lower `learning_rate`, or train in float32."
        raise TrainingDataError("the prototypes are not numbers", where=where, mend=mend)
    return means.astype(np.float32)


def _validation(reader: TileReader, tiles: Crops, plan: EpisodePlan, seed: int) -> Episodes | None:
    """Episodes of validation tiles; none where fewer than two classes have enough of them."""
    if not len(tiles) or len(episode_classes(tiles, plan)) < 2:
        return None
    fewer = plan.model_copy(update={"count": max(1, plan.count // _VALIDATED)})
    return Episodes(reader, tiles, plan=fewer, seed=seed, fixed=True)
