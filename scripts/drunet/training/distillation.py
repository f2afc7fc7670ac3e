"""Learning from a teacher's soft answers beside the labels (Hinton, Vinyals and Dean 2015; Tian et al. 2024, Table 2).

`y_true` is float (n, 2 classes): the one-hot label, then the teacher's probabilities. Either half may be all zeros: a
sample without label learns from the teacher alone, one without a teacher's answer by cross-entropy alone. In validation
the second half may be left out as a whole.
The paper gives neither the temperature nor the weight. `keras.ops` only.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# What a logarithm sees at least. A class thereby stops teaching through the soft term only where the student gives it
# less than 1e-30 (69 in logits below the largest), and what flows back (1 over it) still fits into float32.
_FLOOR = 1e-30


@keras.saving.register_keras_serializable(package="drunet")
class DistillationLoss(keras.losses.Loss):
    """(1 - a) CE(label, p) + a T^2 KL(softmax(log q / T) || softmax(log p / T)) of a student p and its teacher q.

    T^2 keeps the size of the soft term's gradient whatever the temperature (Hinton et al., section 2), so that the
    weight means the same at each. log p differs from the logits by a constant per sample, which softmax ignores: the
    models may end in a softmax.

    Parameters
    ----------
    temperature : float
        T, above 0; usual: 3 to 5.
    weight : float
        a, from 0 (labels only) to 1 (teacher only); usual: 0.5 to 0.7.

    Notes
    -----
    `y_true` (n, 2 classes) as the module says; `y_pred` (n, classes) probabilities. Without label only the second term
    is there, still times a; without teacher only the cross-entropy, then times 1, so that validation of a distilled and
    of a plain student are the same number. The cross-entropy is Keras' own, which goes back to the logits where the
    backend keeps them and cuts off at 1e-7 where it does not.

    Raises
    ------
    ValueError
        For a temperature or a weight out of range.
    """

    def __init__(
        self, temperature: float = 4.0, weight: float = 0.5, name: str = "distillation_loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not (temperature > 0 and math.isfinite(temperature)) or not 0 <= weight <= 1:
            raise ValueError(f"no temperature above 0 with a weight from 0 to 1: {temperature}, {weight}")
        self.temperature, self.weight = float(temperature), float(weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each sample (n,)."""
        classes = y_pred.shape[-1]
        label, teacher = y_true[:, :classes], y_true[:, classes:]
        if teacher.shape[-1] == 0:
            return _cross_entropy(label, y_pred)
        taught = ops.cast(ops.sum(teacher, axis=-1) > 0, y_pred.dtype)
        soft = self.temperature**2 * _divergence(teacher, y_pred, self.temperature)
        return (1 - self.weight * taught) * _cross_entropy(label, y_pred) + self.weight * taught * soft

    def get_config(self) -> dict[str, Any]:
        """Return what builds the loss anew."""
        return {**super().get_config(), "temperature": self.temperature, "weight": self.weight}


@keras.saving.register_keras_serializable(package="drunet")
class LabelledAccuracy(keras.metrics.Mean):
    """Share of the labelled samples whose most probable class is the labelled one.

    An all-zero label (no label, or padding of a batch) does not count; only the first half of `y_true` is looked at
    where it holds a teacher's answers too.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch: `y_true` (n, classes) or (n, 2 classes), `y_pred` (n, classes), `sample_weight` (n,)."""
        label = ops.cast(y_true, self.dtype)[:, : y_pred.shape[-1]]
        right = ops.cast(ops.equal(ops.argmax(label, axis=-1), ops.argmax(y_pred, axis=-1)), self.dtype)
        counted = ops.sum(label, axis=-1)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
        super().update_state(right, sample_weight=counted)


def _cross_entropy(label: Any, predicted: Any) -> Any:
    """Cross-entropy (n,); 0, and no gradient, where the label is all zeros.

    TensorFlow's fused kernel takes for granted that labels sum to one: given zeros its loss is 0 but its gradient is
    not, and it would push each unlabelled sample towards equal logits. Hence the factor, which is 0 there and else 1.
    """
    return ops.sum(label, axis=-1) * keras.losses.categorical_crossentropy(label, predicted)


def _divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """KL(teacher || student) (n,) of two sets of probabilities, both softened."""
    log_q = _softened(teacher, temperature)
    return ops.sum(ops.exp(log_q) * (log_q - _softened(student, temperature)), axis=-1)


def _softened(probability: Any, temperature: float) -> Any:
    return ops.log_softmax(ops.log(ops.maximum(probability, _FLOOR)) / temperature, axis=-1)
