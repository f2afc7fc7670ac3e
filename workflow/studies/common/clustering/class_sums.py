"""From many classes to two: each class is tumour or not, and their probabilities add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from drunet.errors import ModelError
from drunet.models.options import Check


@keras.saving.register_keras_serializable(package="drunet")
class ClassSums(keras.layers.Layer):
    """Add up the probabilities of the classes of each label.

    Parameters
    ----------
    labels : sequence of int
        Per class 0 (non-tumour) or 1 (tumour).

    Notes
    -----
    (n, classes) in, (n, 2) out: non-tumour, tumour. Nothing is learnt.
    """

    def __init__(self, labels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labels = [int(label) for label in labels]

    def call(self, inputs: Any) -> Any:
        """Return the two sums."""
        members = [[1.0 - label, float(label)] for label in self.labels]
        return ops.matmul(inputs, ops.convert_to_tensor(members, dtype=self.compute_dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """One number per label."""
        return (*input_shape[:-1], 2)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer anew."""
        return {**super().get_config(), "labels": self.labels}


def check_labels(labels: Sequence[int], where: str) -> None:
    """Refuse classes that are not of both labels.

    Raises
    ------
    ModelError
    """
    if set(labels) != {0, 1}:
        mend = "Name 0 (non-tumour) or 1 (tumour) for each class, both at least once."
        raise ModelError("the classes' labels do not fit", where=where, found=list(labels), mend=mend)


def two_check(classes: int) -> Check:
    """The check of how many sums are asked for, see `drunet.models.options.refuse_unfit`."""
    return classes, classes == 2, "Use 2: clusters add up to non-tumour and tumour."
