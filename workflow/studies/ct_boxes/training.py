"""Training of a box regressor on one subtype, tests on others, and fine-tuning for each of them.

Source: D. Pravdyvets, master's thesis (UOC 2023), sections 3.2 to 3.4. An interrupted training continues, and one that
is finished is not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.console import say
from drunet.errors import ConfigError, ImageSetError, ModelError
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.training import TrainingSettings
from drunet.training.kept import Kept, digest, weights_file
from drunet.training.loop import Trainer, compute_precision
from studies.common.images.batches import Originals, probabilities
from studies.common.images.trials import ArmOutcome
from studies.ct_boxes import geometry
from studies.ct_boxes.batches import BoxBatches, FixedBoxBatches, read_slice
from studies.ct_boxes.losses import MeanBoxIou, box_loss
from studies.ct_boxes.simple_box_cnn import layer_parameters
from studies.ct_boxes.trials import (
    HISTORY,
    SOURCE,
    TUNED,
    UNTOUCHED,
    SubtypeSplit,
    divide,
    prediction_rows,
    true_boxes,
)
from studies.ct_boxes.view import BoxView

COORDINATES = ("pixels", "normalised")
PUBLISHED_SIZE = 512  # px
# Networks whose answers are shares of the sides, whatever they are asked for.
_IN_SHARES = ("compact_box_regressor",)
# What an arm is called does not decide what it becomes.
_NAMES = ("label", "published")


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
) -> ArmOutcome:
    """Train on the source's slices, predict those of the targets, fine-tune on each target, and predict again.

    Parameters
    ----------
    name : str
        For messages.
    arm : mapping
        architecture, options, loss (a name of `studies.ct_boxes.losses.LOSSES`), coordinates (pixels, of the square
        that the network sees, or normalised), augment (see `BoxView`; null: none), training (a plan, in full), and
        fine_tuning: {parts, training}, likewise.
    slices : DataFrame
        From `studies.ct_boxes.trials.read_slices`.
    root : path
        Folder of the pictures.
    size : int
        Side of the square that they are resized to, px (published: 512).
    source, targets : str, sequence of str
        The subtype of the first training, and other subtypes.
    protocol, parts, validation_share
        See `studies.ct_boxes.trials.divide`; parts of the source (published: 800 and 200). Without validation slices
        the training loss chooses the epoch.
    seed : int
        Of splits, initial weights, order and views.
    folder : Path
        Of the state, and of the weights of every training (`drunet.training.kept.weights_file`); the caller removes it.
    threads : int
        Slices decoded at a time.
    keep_mb : float
        Pixels kept in memory, MB.
    code : str
        Digest of the training code: after a change training starts again.

    Returns
    -------
    ArmOutcome
        Predictions (`trials.ROWS`): all slices of the source, of every part (stage "source"), of each target before
        ("untouched", also the part), and after fine-tuning ("fine-tuned", every part). History (`trials.HISTORY`).
        Facts: among others `parameters`, `dense_parameters` (of the largest dense layer), `layers`,
        `at_published_size`, `trainings` (key, stage, target, slices, patients, leak), and `skipped`, the targets that
        could not be fine-tuned for and why.

    Raises
    ------
    ConfigError
        For a protocol, a loss, coordinates, an augmentation or a plan that there is not or does not fit.
    ImageSetError
        If the source has too few slices or patients, or a picture cannot be read.
    ModelError
        For an architecture or options that do not fit.
    TrainingDataError
        If the loss is no longer a number.
    """
    plan = TrainingSettings.of(arm["training"], f"{name}: training")
    tuning = TrainingSettings.of(arm["fine_tuning"]["training"], f"{name}: fine_tuning.training")
    _check_precision(plan, tuning, name)
    view = BoxView.from_config(arm["augment"], f"{name}: augment")
    unit = _unit(arm, size, name)
    loss = box_loss(arm["loss"], side=size / unit, where=f"{name}: loss")
    own = partial(divide, slices, protocol=protocol, validation_share=validation_share, seed=seed, where=name)
    first = own(source, parts=parts)
    tuned, skipped = _tuned(own, targets, arm["fine_tuning"]["parts"])
    # What is kept of the source's training holds its answers for the targets, which decide nothing of the training.
    read = slices[slices["subtype"].isin([source, *targets])]

    compute_precision(plan.precision)
    builder = {"size": size, "seed": seed, **arm["options"]}
    model = registry.build(arm["architecture"], **builder)
    _check_answers(model, name)
    data = {"originals": Originals(root, keep_mb, partial(read_slice, size=size)), "unit": unit, "threads": threads}
    learner = _Learner(model, loss, {**data, "seed": seed}, view, size)
    decisive = [{k: v for k, v in arm.items() if k not in _NAMES}, size, source, list(targets), protocol, dict(parts)]
    decisive += [validation_share, seed, keras.__version__, read.to_csv(index=False), code]
    decisive += [[sha256(Path(root) / file) for file in read["file"]]]

    kept = Kept(folder, SOURCE, digest(decisive))
    if kept.there():
        registry.load_weights(model, weights_file(folder, SOURCE))
    else:
        history = learner.learn(first, plan, kept, f"{name}, {source}")
        rows = [learner.rows(first.slices, plan, part=first.parts, stage=SOURCE, target=source)]
        for target in targets:
            others = slices[slices["subtype"] == target]
            if len(others):
                rows.append(learner.rows(others, plan, part=UNTOUCHED, stage=UNTOUCHED, target=target))
        kept.keep(model, pd.concat(rows, ignore_index=True), history)
    learner.beginning = model.get_weights()
    done = [(SOURCE, SOURCE, source, first, *kept.read())]
    for target, split in tuned.items():
        key = tuned_key(target)
        kept = Kept(folder, key, digest([*decisive, target]))
        if not kept.there():
            history = learner.learn(split, tuning, kept, f"{name}, {source} fine-tuned for {target}")
            kept.keep(model, learner.rows(split.slices, tuning, part=split.parts, stage=TUNED, target=target), history)
        done.append((key, TUNED, target, split, *kept.read()))

    how = {"size": size, "source": source, "targets": list(targets), "protocol": protocol, "parts": dict(parts)}
    how |= {"validation_share": validation_share, "seed": seed, "keras": keras.__version__, "skipped": skipped}
    curves = [h.assign(stage=stage, target=target) for _, stage, target, _, _, h in done]
    predictions = pd.concat([rows for *_, rows, _ in done], ignore_index=True)
    history = pd.concat(curves, ignore_index=True).reindex(columns=list(HISTORY))
    facts = {**_network_facts(arm, model), "builder": builder, **how, "trainings": [_training_facts(d) for d in done]}
    return ArmOutcome(predictions, history, facts)


def tuned_key(target: str) -> str:
    """Name of the files of the training that is fine-tuned for a subtype; those of the source: `source`."""
    return f"fine_tuned.{target}"


class _Learner:
    """A network with its training; every training after the first starts with the weights `beginning`."""

    def __init__(
        self, model: keras.Model, loss: keras.losses.Loss, data: Mapping[str, Any], view: BoxView | None, size: int
    ) -> None:
        self._model, self._loss, self._data, self._view, self._size = model, loss, dict(data), view, size
        self._trainer: Trainer | None = None
        self.beginning: list[NDArray[Any]] | None = None

    def learn(self, own: SubtypeSplit, plan: TrainingSettings, kept: Kept, name: str) -> pd.DataFrame:
        """Train on a subtype; the network ends with its best weights. Returns the history."""
        if self._trainer is None or self._trainer.plan != plan:
            self._trainer = Trainer(self._model, loss=self._loss, metrics=[MeanBoxIou()], plan=plan)
        if self.beginning is not None:
            self._trainer.start_over(self.beginning)
        learnt, judged = (own.slices.iloc[part] for part in (own.split.training, own.split.validation))
        return self._trainer.train(
            batches=self._batches(BoxBatches, learnt, plan, steps=plan.steps_per_epoch, view=self._view),
            validation=self._batches(FixedBoxBatches, judged, plan) if own.validated else None,
            folder=kept.state,
            identity=kept.identity,
            name=name,
        )

    def rows(self, slices: pd.DataFrame, plan: TrainingSettings, **what: Any) -> pd.DataFrame:
        """Predictions for slices; `what` as of `prediction_rows`."""
        answers = probabilities(self._model, self._batches(FixedBoxBatches, slices, plan)).astype(np.float64)
        return prediction_rows(slices, answers * self._data["unit"] / self._size, **what)

    def _batches(
        self, kind: type[BoxBatches], slices: pd.DataFrame, plan: TrainingSettings, **options: Any
    ) -> BoxBatches:
        boxes = geometry.normalise(true_boxes(slices), slices["width"], slices["height"]) * self._size
        return kind(slices["file"].tolist(), boxes, batch_size=plan.batch_size, **self._data, **options)


def _unit(arm: Mapping[str, Any], size: int, name: str) -> float:
    """What px of the network's square are divided by before it learns them."""
    asked = arm["coordinates"]
    if asked not in COORDINATES:
        mend = f"Use {' or '.join(COORDINATES)}."
        raise ConfigError("unknown coordinates", where=f"{name}: coordinates", found=asked, mend=mend)
    if asked == "pixels" and arm["architecture"] in _IN_SHARES:
        mend = "Use normalised."
        raise ConfigError(
            f"{arm['architecture']} answers in shares of the sides",
            where=f"{name}: coordinates",
            found=asked,
            mend=mend,
        )
    return float(size) if asked == "normalised" else 1.0


def _check_precision(plan: TrainingSettings, tuning: TrainingSettings, name: str) -> None:
    """A network is built once, in one precision."""
    if tuning.precision != plan.precision:
        mend = f"Use {plan.precision}, as in training, or change both."
        where = f"{name}: fine_tuning.training.precision"
        raise ConfigError("fine-tuning in another precision", where=where, found=tuning.precision, mend=mend)


def _tuned(
    own: Any, targets: Sequence[str], parts: Mapping[str, float]
) -> tuple[dict[str, SubtypeSplit], dict[str, str]]:
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


def _training_facts(done: tuple[str, str, str, SubtypeSplit, pd.DataFrame, pd.DataFrame]) -> dict[str, Any]:
    """What one training was: its key, stage, target, split and history; JSON."""
    key, stage, target, split, _, history = done
    took = {"epochs": len(history), "seconds_per_epoch": float(history["seconds"].median())}
    return {"key": key, "stage": stage, "target": target, **split.facts(), **took}


def _network_facts(arm: Mapping[str, Any], model: keras.Model) -> dict[str, Any]:
    """What an arm is, and how many parameters lie where."""
    layers = {layer.name: int(layer.count_params()) for layer in model.layers if layer.count_params()}
    dense = [layers[layer.name] for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    told = ("architecture", "options", "loss", "coordinates", "augment", "training", "fine_tuning")
    return {
        **{key: arm[key] for key in told},
        "parameters": int(model.count_params()),
        "dense_parameters": max(dense, default=0),
        "layers": layers,
        "at_published_size": _at_published_size(arm, layers),
    }


def _at_published_size(arm: Mapping[str, Any], layers: Mapping[str, int]) -> dict[str, Any]:
    """Parameters in all and of the largest layer at 512 px; only the simple network has more of them there."""
    if arm["architecture"] == "simple_box_cnn":
        layers = layer_parameters(PUBLISHED_SIZE, **arm["options"])
    largest = max(layers, key=lambda layer: layers[layer])
    return {
        "size": PUBLISHED_SIZE,
        "parameters": sum(layers.values()),
        "largest_layer": largest,
        "largest": layers[largest],
    }
