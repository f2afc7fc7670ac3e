"""Batch normalisation after short trainings: its moving averages taken anew.

Keras' moving averages forget with momentum 0.99: after a few hundred steps they still hold what the untrained network
gave, and the network is judged with statistics that it never learnt with.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np


def layers_of(model: keras.Model, kind: type[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """List the layers of a kind in a model, those of nested models included."""
    return [layer for layer in model._flatten_layers(include_self=False, recursive=True) if isinstance(layer, kind)]


class BatchNormEstimator:
    """Replace the moving mean and variance of every batch normalisation by their plain average over batches.

    Each batch goes through the network as in training (batch normalisation by the batch's own statistics), but with
    dropout off: the averages serve at inference, where nothing is dropped, and dropout inflates the variance that
    later layers see. Trainable weights are untouched, frozen layers are left alone, and if a batch fails everything
    is as it was before. The model is changed in place by every call; the pass is compiled once, with the first.
    """

    def __init__(self, model: keras.Model) -> None:
        self._norms = [norm for norm in layers_of(model, keras.layers.BatchNormalization) if norm.trainable]
        self._dropouts = layers_of(model, keras.layers.Dropout)
        self._forward = TrainingForward(model)

    def __call__(self, batches: Iterable[Any]) -> int:
        """Take the statistics anew over batches: an array, a list of arrays or a dict by input name each.

        Equal sizes are best, for every batch counts the same. Returns how many batches were seen; raises ValueError if
        there are none.
        """
        before = [_statistics(norm) for norm in self._norms]
        sums = [[np.zeros(values.shape, dtype=np.float64) for values in pair] for pair in before]
        seen = 0
        try:
            # With a momentum of 0, moving statistics are those of the latest batch.
            with _zeroed(self._norms, "momentum"), _zeroed(self._dropouts, "rate"):
                for batch in batches:
                    # Zero times infinity is no number: what a diverged run has left must not survive a momentum of 0.
                    clean = ((np.zeros_like(mean), np.ones_like(variance)) for mean, variance in before)
                    _assign(self._norms, clean)
                    self._forward.predict_on_batch(batch)
                    seen += 1
                    for totals, norm in zip(sums, self._norms, strict=True):
                        for total, latest in zip(totals, _statistics(norm), strict=True):
                            total += latest
            if not seen:
                raise ValueError("no batches to take batch-norm statistics from")
        except BaseException:
            _assign(self._norms, before)
            raise
        _assign(self._norms, ((mean / seen, variance / seen) for mean, variance in sums))
        return seen


class TrainingForward(keras.Model):
    """Run a model in training mode through Keras' compiled prediction, much faster than layer by layer.

    Compilation keeps the momentum and the dropout rates that it meets: run it only where they are set.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def call(self, inputs: Any) -> Any:
        """Return what the model gives in training mode."""
        return self.model(inputs, training=True)


@contextmanager
def _zeroed(layers: list[keras.layers.Layer], attribute: str) -> Iterator[None]:
    """Set an attribute of layers to 0, and put it back."""
    before = [getattr(layer, attribute) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, attribute, 0.0)
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            setattr(layer, attribute, value)


def _statistics(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    # Copies: a backend may hand out a view of the variable that the next batch writes to.
    mean, variance = (np.array(keras.ops.convert_to_numpy(v)) for v in (norm.moving_mean, norm.moving_variance))
    return mean, variance


def _assign(norms: list[keras.layers.BatchNormalization], statistics: Iterable[Any]) -> None:
    for norm, (mean, variance) in zip(norms, statistics, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
