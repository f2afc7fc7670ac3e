"""Few-shot training by episodes (Snell, Swersky and Zemel 2017): the loss, its metric, prototypes and validation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from drunet.errors import TrainingDataError
from drunet.sampling import Crops
from drunet.training.readers import TileReader
from studies.common.clustering.batches import Episodes, episode_classes
from studies.common.clustering.prototypes import squared_distances
from studies.common.clustering.settings import EpisodePlan

# Validation episodes per training episode: their classes are fewer and the loss is a mean.
_VALIDATED = 4


def episode_logits(y_true: Any, y_pred: Any, shots: int, temperature: float) -> tuple[Any, Any]:
    """Classes, one-hot, and logits of an episode's queries, both (ways queries, ways).

    `y_true` is one-hot, (ways (shots + queries), ways), the shots first, `y_pred` the embeddings, (…, d). Logits are
    negative squared distances from the classes' mean shots, over the temperature.
    """
    support = y_true.shape[-1] * shots
    prototypes = ops.matmul(ops.transpose(y_true[:support]), y_pred[:support]) / shots
    return y_true[support:], -squared_distances(y_pred[support:], prototypes) / temperature


class PrototypicalLoss(keras.losses.Loss):
    """Cross-entropy of an episode's queries over their distances from the classes' prototypes.

    Shapes are as for `episode_logits`; a batch is one episode. Prototypes are the means of `shots` tiles per class; the
    `temperature` is the model's.
    """

    def __init__(self, shots: int, temperature: float = 1.0) -> None:
        super().__init__(name="prototypical_loss")
        self.shots, self.temperature = shots, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each query."""
        truth, logits = episode_logits(y_true, y_pred, self.shots, self.temperature)
        return ops.categorical_crossentropy(truth, logits, from_logits=True)


class QueryAccuracy(keras.metrics.Mean):
    """Share of queries that lie nearest to the prototype of their class."""

    def __init__(self, shots: int) -> None:
        super().__init__(name="accuracy")
        self.shots = shots

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in an episode; shapes as for `episode_logits`."""
        truth, logits = episode_logits(ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype), self.shots, 1.0)
        right = ops.equal(ops.argmax(truth, axis=-1), ops.argmax(logits, axis=-1))
        super().update_state(ops.cast(right, self.dtype))


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
