"""Distillation: a student learns from a teacher's soft answers beside the labels (Hinton, Vinyals and Dean 2015).

The loss, the teacher (an ONNX file) and the batches with its answers. Targets are float (n, 2 classes): the one-hot
label, then the teacher's probabilities. Either half may be all zeros: a sample without label learns from the teacher
alone, one without a teacher's answer by cross-entropy alone. In validation the second half may be left out as a whole.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from drunet.errors import ModelError, TrainingDataError
from drunet.files import AnyPath, sha256
from drunet.inference import EngineOptions, Layout, check_classifier, open_session
from drunet.sampling import Crops, Source
from drunet.settings.distillation import DistillationSettings
from drunet.training.batches import EpochBatches, TileBatches
from drunet.training.readers import TileReader

# What a logarithm sees at least. A class thereby stops teaching through the soft term only where the student gives it
# less than 1e-30 (69 in logits below the largest), and what flows back (1 over it) still fits into float32.
_FLOOR = 1e-30
# Metadata of an exported file: the names of its classes, in the order of its output, as a JSON list.
CLASSES = "classes"
_SUM_ERROR = 1e-3

# Images, float32 (n, size, size, 3) in [0, 1], to the probabilities of the classes, float32 (n, classes).
Answers: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@keras.saving.register_keras_serializable(package="drunet")
class DistillationLoss(keras.losses.Loss):
    """(1 - a) CE(label, p) + a T^2 KL(softmax(log q / T) || softmax(log p / T)) of a student p and its teacher q.

    T^2 keeps the size of the soft term's gradient whatever the temperature (Hinton et al., section 2), so that the
    weight means the same at each. log p differs from the logits by a constant per sample, which softmax ignores: the
    models may end in a softmax. The temperature T is above 0, usually 3 to 5; the weight a goes from 0 (labels only) to
    1 (teacher only), usually 0.5 to 0.7; others raise ValueError.

    `y_true` (n, 2 classes) as the module says; `y_pred` (n, classes) probabilities. Without label only the second term
    is there, still times a; without teacher only the cross-entropy, then times 1, so that validation of a distilled and
    of a plain student are the same number. The cross-entropy is Keras' own, which goes back to the logits where the
    backend keeps them and cuts off at 1e-7 where it does not.
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


@keras.saving.register_keras_serializable(package="drunet")
class LabelledF1(keras.metrics.F1Score):
    """Mean over classes of the F1 of the likeliest class (DRU-Net, "Model training"); else as `LabelledAccuracy`."""

    def __init__(self, name: str = "f1", dtype: Any = None) -> None:
        super().__init__(average="macro", name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch; as `LabelledAccuracy.update_state`."""
        label = ops.cast(y_true, self.dtype)[:, : y_pred.shape[-1]]
        counted = ops.sum(label, axis=-1)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
        super().update_state(label, y_pred, counted)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the metric anew."""
        return {"name": self.name, "dtype": self.dtype}


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


class OnnxTeacher:
    """Class probabilities of a classifier in an ONNX file; they depend, beside the file, on `how`, JSON values.

    `classes` are the student's, or how many there are; `size` is the side of the images, px. `layout` is how the file
    wants its images; what this project exports wants the default. With two classes and the tumour first, the answers
    are turned round: a student's first class is non-tumour. `where` is how messages call the teacher; else its path.
    Raises ModelError if the file is no classifier of such images, or of other classes, in number or by the names in it;
    ProviderError if the provider asked for is not there.
    """

    def __init__(
        self,
        path: AnyPath,
        classes: Sequence[str] | int,
        *,
        size: int,
        layout: Layout | None = None,
        options: EngineOptions | None = None,
        where: str | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self._where = where or f"teacher {self.path}"
        self._layout = layout or Layout()
        options = options or EngineOptions()
        self.how = {"provider": options.provider, "precision": options.precision, "layout": asdict(self._layout)}
        self._session = open_session(self.path, options, where=self._where)
        self._input = check_classifier(self._session, self._layout, size, where=self._where)
        self._names = None if isinstance(classes, int) else list(classes)
        self.classes = classes if isinstance(classes, int) else len(classes)
        self._check_classes(self._session.get_outputs()[0].shape[1])

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer for a batch, float32 (n, size, size, 3) in [0, 1]: float32 (n, classes), the first output of several.

        Raises ModelError if the answers are no probabilities, or of another number of classes.
        """
        feed = images * np.float32(255 * self._layout.scale)
        if not self._layout.channels_last:
            feed = np.ascontiguousarray(feed.transpose(0, 3, 1, 2))
        answers = np.asarray(self._session.run(None, {self._input: feed})[0], dtype=np.float32)
        # A file may leave its number of classes open.
        self._check_classes(answers.shape[1])
        self._check_probabilities(answers)
        turned = self.classes == 2 and self._layout.tumour == 0
        return np.ascontiguousarray(answers[:, ::-1]) if turned else answers

    def _check_classes(self, count: object) -> None:
        named = self._session.get_modelmeta().custom_metadata_map.get(CLASSES)
        own = json.loads(named) if named else None
        same_count = not isinstance(count, int) or count == self.classes
        if same_count and (own is None or self._names is None or own == self._names):
            return
        taught = ", ".join(self._names) if self._names else str(self.classes)
        found = f"teacher: {', '.join(own) if own else count}; student: {taught}"
        mend = "Take a teacher of the same classes in the same order."
        raise ModelError("the teacher knows other classes than its student", where=self._where, found=found, mend=mend)

    def _check_probabilities(self, answers: NDArray[np.float32]) -> None:
        sums = answers.sum(axis=1)
        # NaN compares false.
        if not (answers.min() >= -_SUM_ERROR and np.abs(sums - 1).max() <= _SUM_ERROR):
            found = f"{answers.min():g} to {answers.max():g}, sums {sums.min():g} to {sums.max():g}"
            mend = "Its last layer must be a softmax."
            raise ModelError("the teacher's outputs are no probabilities", where=self._where, found=found, mend=mend)


class TaughtBatches(TileBatches):
    """Batches for a student: labelled tiles, then unlabelled ones, and a teacher's answers to the very same pixels.

    Every batch is composed alike: the `share` that is unlabelled is rounded, and at least one tile is labelled. `steps`
    are batches an epoch; by default every labelled tile is shown once, and the last batch is filled up with some that
    are shown twice; unlabelled tiles, from `drunet.training.readers.tissue_tiles`, come round in an order that is drawn
    anew for every epoch. The teacher is of two classes; other arguments are as in `TileBatches`. Yields (float32 (n,
    size, size, 3) in [0, 1], float32 (n, 4)): the labels one-hot, all zero where there is none, then the teacher's
    probabilities. Raises TrainingDataError if a share is asked for and there is no tissue.
    """

    streams: ClassVar = {**EpochBatches.streams, "unlabelled": (13,)}

    def __init__(
        self,
        reader: TileReader,
        sources: Sequence[Source],
        unlabelled: Crops,
        teacher: Answers,
        *,
        share: float,
        batch_size: int,
        steps: int | None = None,
        **batches: Any,
    ) -> None:
        self.unlabelled_per_batch = min(round(share * batch_size), batch_size - 1)
        # To the parent a batch is its labelled part.
        labelled = batch_size - self.unlabelled_per_batch
        samples = None if steps is None else steps * labelled
        super().__init__(reader, sources, batch_size=labelled, samples=samples, **batches)
        if steps is None:
            self.fill_up()
        if self.unlabelled_per_batch and not len(unlabelled):
            mend = "Set `unlabelled_share` to 0, or lower `tiles.min_tissue`."
            raise TrainingDataError("no tile holds tissue", where="unlabelled tiles of the training slides", mend=mend)
        self.unlabelled, self._teacher = unlabelled, teacher

    def parts(self, index: int) -> tuple[Crops, ...]:
        """The labelled and the unlabelled tiles of a batch of the current epoch."""
        each = self.unlabelled_per_batch
        order = self.in_rounds("unlabelled", len(self.unlabelled), len(self) * each)
        return *super().parts(index), self.unlabelled.take(order[index * each : (index + 1) * each])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, label = self.inputs(index), self.parts(index)[0].label
        hard = np.zeros((len(x), 2), np.float32)
        hard[np.arange(len(label)), label] = 1
        return x, np.concatenate([hard, self._teacher(x)], axis=-1)


class LabelBatches(TileBatches):
    """Tiles to validate a student on, without a teacher's answers: these are zeros, float32 (n, 4) with the labels."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, hard = super().__getitem__(index)
        return x, np.concatenate([hard, np.zeros_like(hard)], axis=-1)


@dataclass(frozen=True)
class Lesson:
    """How a student is taught, its teacher of [non-tumour, tumour], and the ONNX file that this was read from."""

    settings: DistillationSettings
    teacher: OnnxTeacher
    file: str

    @classmethod
    def read(cls, name: str, settings: DistillationSettings, file: str, **teacher: Any) -> Lesson:
        """Load the teacher of the classifier `name`; size, layout, options and errors as for `OnnxTeacher`."""
        where = f"classifiers.{name}.distillation.teacher ({settings.teacher})"
        return cls(settings, OnnxTeacher(file, 2, where=where, **teacher), file)

    def facts(self, batches: TaughtBatches) -> dict[str, Any]:
        """What to remember, as JSON values: settings, sha256 of the teacher, tissue_tiles, batch (tiles), note."""
        batch = {"labelled": batches.batch_size, "unlabelled": batches.unlabelled_per_batch}
        return {
            **self.settings.model_dump(),
            "sha256": sha256(self.file),
            "tissue_tiles": len(batches.unlabelled),
            "batch": batch,
            "note": "unlabelled tiles are tissue tiles of the training slides, whatever their label; they teach by the "
            "teacher's answers alone, and validation is by labels alone",
        }
