"""Training of a box regressor on one subtype, tests on others, and fine-tuning for each of them.

Source: D. Pravdyvets, master's thesis (UOC 2023), sections 3.2 to 3.4. An interrupted training continues, and one that
is finished is not repeated.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
from keras import ops
from numpy.typing import NDArray

from drunet.console import say
from drunet.errors import ModelError
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.training import TrainingSettings
from drunet.training.batches import EpochBatches
from drunet.training.loop import compute_precision
from drunet.training.trained import Trained
from studies.common.errors import ImageSetError
from studies.common.images.batches import Originals, PictureBatches, Shown, probabilities
from studies.common.images.folder import read_image
from studies.common.images.training import pace, without_names
from studies.common.images.view import resized
from studies.common.series import Series
from studies.ct_boxes.tasks import subtypes_in
from studies.ct_boxes.trials import HISTORY, SOURCE, TUNED, UNTOUCHED, divide, prediction_rows, sides_of, true_boxes
from studies.ct_boxes.view import BoxView

Seen = tuple[NDArray[np.uint8], NDArray[np.float64]]


def train_box_arm(
    name: str,
    arm: Mapping[str, Any],
    slices: pd.DataFrame,
    root: str | os.PathLike[str],
    *,
    size: int,
    source: str,
    targets: Sequence[str],
    protocol: str,
    parts: Mapping[str, float],
    validation_share: float,
    seed: int,
    folder: Path,
    threads: int = 1,
    keep_mb: float = 1500,
    code: str = "",
) -> Trained:
    """Train on the source's slices (of one subtype, or several: `A+B`), predict those of the targets, fine-tune on each
    target, and predict again.

    `arm` is what `studies.ct_boxes.tasks.arm_settings` gives, `slices` what `studies.ct_boxes.trials.read_slices`
    reads, `root` the folder of the pictures, `size` the side of the square that they are resized to, px (published:
    512). `protocol`, `parts` and `validation_share` are of the source, see `studies.ct_boxes.trials.divide`; without
    validation slices the training loss chooses the epoch. `folder` keeps the state, and until the caller removes it the
    weights of every training, see `studies.common.series.weights_file`. `threads` make batches ahead,
    `keep_mb` MB of pixels kept. After a change of the digest `code` training starts again.

    Returns predictions (`trials.ROWS`): all slices of the source, of every part (stage "source"), of each target before
    ("untouched", also the part), and after fine-tuning ("fine-tuned", every part); history (`trials.HISTORY`); and
    facts, among them `parameters`, `trainings` (key, stage, target), and `skipped`, the targets
    that could not be fine-tuned for and why.

    Raises ConfigError or ModelError for settings that do not fit, ImageSetError if the source has too few slices or
    patients, or a picture cannot be read, TrainingDataError if the loss is no longer a number.
    """
    plan = TrainingSettings.of(arm["training"], f"{name}: training")
    tuning = TrainingSettings.of(arm["fine_tuning"]["training"], f"{name}: fine_tuning.training")
    view = None if arm["augment"] is None else BoxView.of(arm["augment"], f"{name}: augment")
    # What px of the network's square are divided by before it learns them.
    unit = float(size) if arm["coordinates"] == "normalised" else 1.0
    loss = box_loss(arm["loss"], side=size / unit)
    divided = partial(divide, slices, protocol=protocol, validation_share=validation_share, seed=seed, where=name)
    first = divided(source, parts=parts)
    tuned, skipped = _tuned(divided, targets, arm["fine_tuning"]["parts"])
    # What is kept of the source's training holds its answers for the targets, which decide nothing of the training.
    read = slices[slices["subtype"].isin([*subtypes_in(source), *targets])]

    compute_precision(plan.precision)
    builder = {"size": size, "seed": seed, **arm["options"]}
    model = registry.build(arm["architecture"], **builder)
    _check_answers(model, name)
    data = _Data(Originals(root, keep_mb, partial(read_slice, size=size)), view, size, unit, seed, threads)

    def first_rows() -> pd.DataFrame:
        found = [data.rows(model, first, plan, part=first["part"], stage=SOURCE, target=source)]
        for target in targets:
            others = slices[slices["subtype"] == target]
            if len(others):
                found.append(data.rows(model, others, plan, part=UNTOUCHED, stage=UNTOUCHED, target=target))
        return pd.concat(found, ignore_index=True)

    decisive = [without_names(arm), size, source, list(targets), protocol, dict(parts), validation_share, seed]
    decisive += [read.to_csv(index=False), code, [sha256(Path(root) / file) for file in read["file"]]]
    series = Series(model, loss=loss, metrics=lambda: [MeanBoxIou()], folder=folder, decisive=decisive)
    trained = series.train(SOURCE, f"{name}, {source}", plan, partial(data.of, first, plan), first_rows)
    done = [(SOURCE, SOURCE, source, *trained)]
    series.go_on_from(SOURCE)
    for target, own in tuned.items():
        key, label = tuned_key(target), f"{name}, {source} fine-tuned for {target}"
        answers = partial(data.rows, model, own, tuning, part=own["part"], stage=TUNED, target=target)
        trained = series.train(key, label, tuning, partial(data.of, own, tuning), answers)
        done.append((key, TUNED, target, *trained))

    how = {"size": size, "source": source, "targets": list(targets), "protocol": protocol, "parts": dict(parts)}
    how |= {"validation_share": validation_share, "seed": seed, "keras": keras.__version__, "skipped": skipped}
    trainings = [
        {"key": key, "stage": stage, "target": target, **pace(history)} for key, stage, target, _, history in done
    ]
    curves = [h.assign(stage=stage, target=target) for _, stage, target, _, h in done]
    history = pd.concat(curves, ignore_index=True).reindex(columns=list(HISTORY))
    told = ("architecture", "options", "loss", "coordinates", "augment", "training", "fine_tuning")
    facts = {**{key: arm[key] for key in told}, "parameters": int(model.count_params()), "builder": builder}
    facts |= {**how, "trainings": trainings}
    return Trained(None, history, facts, pd.concat([rows for *_, rows, _ in done], ignore_index=True))


def tuned_key(target: str) -> str:
    """Name of the files of the training that is fine-tuned for a subtype; those of the source: `source`."""
    return f"fine_tuned.{target}"


class BoxBatches(PictureBatches):
    """Slices with views that are drawn anew for every epoch; fixed, or without a `view`: each as it is.

    `boxes` are float (n, 4), xmin, ymin, xmax, ymax, px of what `originals` gives, uint8 (size, size); they are divided
    by the `unit`: 1 yields px, the size shares of the sides. The rest is as of `PictureBatches`. Yields slices, float32
    (batch, size, size, 1) in [0, 1], boxes, float32 (batch, 4), and weights, float32 (batch,), of a fixed dataset.
    """

    streams: ClassVar = {**EpochBatches.streams, "augmentation": (29,)}

    def __init__(
        self,
        files: Sequence[str],
        boxes: NDArray[np.float64],
        *,
        unit: float = 1.0,
        view: BoxView | None = None,
        **pictures: Any,
    ) -> None:
        super().__init__(files, **pictures)
        self._boxes, self._unit = np.asarray(boxes, dtype=np.float64), unit
        self._view = None if self.fixed else view

    def _pair(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen = self.gathered(index)
        return _pixels(seen), (np.stack([box for _, box in seen]) / self._unit).astype(np.float32)

    def inputs(self, index: int) -> NDArray[np.float32]:
        """The slices of a batch alone, float32 (batch, size, size, 1) in [0, 1]."""
        return _pixels(self.gathered(index))

    def _seen(self, picture: Shown) -> Seen:
        image, box = self._originals(self.files[picture[0]]), self._boxes[picture[0]]
        if self._view is None:
            return image, box
        return self._view.training(self.draws("augmentation", *picture), image, box)


@dataclass(frozen=True)
class _Data:
    """How slices become batches, and answers rows."""

    originals: Originals
    view: BoxView | None
    size: int
    unit: float
    seed: int
    threads: int

    def of(self, divided: pd.DataFrame, plan: TrainingSettings) -> tuple[BoxBatches, BoxBatches | None]:
        """Batches to learn from, and to validate with if slices were set aside."""
        learnt, judged = (divided[divided["part"] == part] for part in ("training", "validation"))
        training = self._batches(learnt, plan, steps=plan.steps_per_epoch, view=self.view)
        return training, self._batches(judged, plan, fixed=True) if len(judged) else None

    def rows(self, model: keras.Model, slices: pd.DataFrame, plan: TrainingSettings, **what: Any) -> pd.DataFrame:
        """Predictions for slices; `what` as of `prediction_rows`."""
        answers = probabilities(model, self._batches(slices, plan, fixed=True)).astype(np.float64)
        return prediction_rows(slices, answers * self.unit / self.size, **what)

    def _batches(self, slices: pd.DataFrame, plan: TrainingSettings, **options: Any) -> BoxBatches:
        boxes = true_boxes(slices) / sides_of(slices) * self.size
        files, own = slices["file"].tolist(), {"seed": self.seed, "workers": self.threads, **options}
        return BoxBatches(files, boxes, originals=self.originals, unit=self.unit, batch_size=plan.batch_size, **own)


def _tuned(
    own: Any, targets: Sequence[str], parts: Mapping[str, float]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """How each target is divided, and why some are not fine-tuned for."""
    tuned, skipped = {}, {}
    for target in targets:
        try:
            tuned[target] = own(target, parts=parts)
        except ImageSetError as error:
            skipped[target] = f"{error.what} (found: {error.found})"
            say(f"{error.where}: not fine-tuned for {target}: {skipped[target]}")
    return tuned, skipped


def _check_answers(model: keras.Model, name: str) -> None:
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    if len(shapes) != 2 or shapes[0][-1] != 1 or shapes[1] != (None, 4):
        mend = "Use simple_box_cnn or compact_box_regressor."
        found = ", ".join(map(str, shapes))
        raise ModelError("the network does not turn one grey picture into a box", where=name, found=found, mend=mend)


def read_slice(path: str | os.PathLike[str], size: int) -> NDArray[np.uint8]:
    """A grey image stretched to a square, reduced by area: uint8 (size, size); raises ImageSetError if undecodable."""
    return resized(read_image(path)[..., 0], (size, size))


def _pixels(seen: Sequence[Seen]) -> NDArray[np.float32]:
    """Slices as a network takes them: float32 (n, size, size, 1)."""
    return np.stack([image for image, _ in seen])[..., None].astype(np.float32) / np.float32(255)


# Errors of a few tenths of the side stand beside a GIoU of up to 2: at 1 they hardly count.
L1_WEIGHT = 5.0


def box_loss(name: str, *, side: float) -> keras.losses.Loss:
    """Build a loss; `side` is the length of an image's side in the units of the coordinates.

    Boxes are float (n, 4): xmin, ymin, xmax, ymax; a true one is ordered; without an area it is none (padding).
    "mse" is the mean squared error of the four numbers, as published; "giou" the generalised IoU, which the thesis does
    not have; "giou_l1" adds `L1_WEIGHT` times the mean absolute error of the numbers, in shares of the side.
    """
    if name == "mse":
        return keras.losses.MeanSquaredError()
    return GIoULoss(l1=L1_WEIGHT if name == "giou_l1" else 0.0, side=side)


class GIoULoss(keras.losses.Loss):
    """1 - GIoU, with GIoU = IoU - (C - U) / C, C the smallest box around both, U their union; from 0 to 2.

    Source: Rezatofighi et al. 2019, algorithm 2. As there, the edges of a predicted box are put in order first. Unlike
    IoU it has a gradient where boxes do not meet. A true box without an area needs a weight of 0.

    `l1` is the weight of the mean absolute error of the coordinates, in shares of the `side` (its length in their
    units). It gives a gradient where GIoU has none: for a box shrunk to a point inside the true one.
    """

    def __init__(self, l1: float = 0.0, side: float = 1.0) -> None:
        super().__init__(name="giou_loss")
        self.l1, self.side = l1, side

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each box (n,)."""
        # In shares of the side, what counts as no area is the same whatever the units.
        true, predicted = ops.cast(y_true, y_pred.dtype) / self.side, y_pred / self.side
        low = ops.minimum(predicted[:, :2], predicted[:, 2:])
        high = ops.maximum(predicted[:, :2], predicted[:, 2:])
        common = _area(ops.maximum(low, true[:, :2]), ops.minimum(high, true[:, 2:]))
        union = _area(low, high) + _area(true[:, :2], true[:, 2:]) - common
        whole = _area(ops.minimum(low, true[:, :2]), ops.maximum(high, true[:, 2:]))
        tiny = keras.config.epsilon()
        giou = common / ops.maximum(union, tiny) - (whole - union) / ops.maximum(whole, tiny)
        return 1.0 - giou + self.l1 * ops.mean(ops.abs(predicted - true), axis=-1)


class MeanBoxIou(keras.metrics.Mean):
    """Mean IoU (see `ct_boxes.geometry.iou`), without the rows whose true box has no area."""

    def __init__(self) -> None:
        super().__init__(name="iou")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch: both (n, 4), `sample_weight` (n,)."""
        true, predicted = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        low, high = ops.maximum(predicted[:, :2], true[:, :2]), ops.minimum(predicted[:, 2:], true[:, 2:])
        own, wanted = _area(predicted[:, :2], predicted[:, 2:]), _area(true[:, :2], true[:, 2:])
        common = ops.where(own > 0, _area(low, high), 0.0)
        there = wanted > 0
        overlap = common / ops.where(there, own + wanted - common, 1.0)
        counted = ops.cast(there, self.dtype)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
        super().update_state(overlap, sample_weight=counted)


def _area(low: Any, high: Any) -> Any:
    """Area (n,) between two corners (n, 2); 0 where they are swapped."""
    sides = ops.maximum(high - low, 0.0)
    return sides[:, 0] * sides[:, 1]
