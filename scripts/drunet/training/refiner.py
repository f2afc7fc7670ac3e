"""Training the refinement network on heatmaps of slides that the classifier did not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from drunet.annotation import Annotation, rasterise
from drunet.annotation.provenance import summarise_provenance
from drunet.augment.pipeline import Augmentation
from drunet.errors import TrainingDataError
from drunet.heatmap import read_heatmap
from drunet.models import registry
from drunet.refine import refiner_inputs
from drunet.settings.network import starts_whole
from drunet.settings.refiner import RefinerSettings
from drunet.training.batches import SlideBatches
from drunet.training.classifier import AnnotatedSlide, Trained, identity
from drunet.training.loop import compute_precision, train
from drunet.training.losses import DiceLoss, ThresholdedDice


@dataclass(frozen=True)
class RefinerSlide:
    """An annotated slide and its heatmap, made by a classifier that did not learn from this slide's patient."""

    slide: AnnotatedSlide
    heatmap: str

    @property
    def files(self) -> list[str]:
        """What training learns from besides pixels."""
        return [*self.slide.files, self.heatmap]


def train_refiner(
    name: str,
    settings: RefinerSettings,
    training: Sequence[RefinerSlide],
    validation: Sequence[RefinerSlide],
    *,
    seed: int,
    folder: Path,
    start: str | None = None,
    code: str = "",
) -> Trained:
    """Train a refiner; parameters as in `drunet.training.classifier.train_classifier`.

    Only wholly annotated slides can teach it: on others most of the square would be unknown.

    Raises
    ------
    TrainingDataError
        If there are no such slides, or none of them shows tumour.
    """
    if not training:
        raise TrainingDataError(
            "no usable slide to learn from",
            where=f"refiners.{name}.data",
            found="no wholly annotated training slide with status ok",
            mend="Mark slides `train` with annotation_kind `wta`; slides.tsv in the results lists what is left out.",
        )
    plan, augmentation = settings.training, Augmentation.from_config(settings.augment)
    size = settings.options["size"]
    smallest: list[float] = []
    arrays = [_load(s, size, smallest) for s in training]
    held_out = [_load(s, size, []) for s in validation]
    if not smallest:
        raise TrainingDataError(
            "no training slide of the refiner shows tumour",
            where=f"refiners.{name}.data",
            found=", ".join(s.slide.source.slide_id for s in training),
            mend="Add wholly annotated slides with tumour.",
        )
    batches = SlideBatches(
        *_stack(arrays),
        batch_size=plan.batch_size,
        seed=seed,
        augmentation=augmentation,
        steps=plan.steps_per_epoch,
    )
    checks = SlideBatches(*_stack(held_out), batch_size=1, seed=seed, fixed=True) if held_out else None
    compute_precision(plan.precision)
    model = registry.build(
        settings.architecture, **refiner_options(settings.options, settings.batch_norm_momentum, seed)
    )
    if starts_whole(settings.weights):
        registry.load_weights(model, str(start))
    history = train(
        model,
        loss=DiceLoss(),
        metrics=[ThresholdedDice(name="dice")],
        batches=batches,
        validation=checks,
        plan=plan,
        folder=folder,
        identity=identity(
            [s.files for s in training],
            [s.files for s in validation],
            start,
            settings=settings.model_dump(),
            seed=seed,
            code=code,
        ),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        "size": size,
        "training_slides": [s.slide.source.slide_id for s in training],
        "validation_slides": [s.slide.source.slide_id for s in validation],
        "annotation_provenance": summarise_provenance({s.slide.source.slide_id: s.slide.provenance for s in training}),
        "smallest_tumour_um2": round(min(smallest), 1),
        "epochs": len(history),
        "seed": seed,
        "keras": keras.__version__,
    }
    return Trained(model, history, facts)


def refiner_options(options: Mapping[str, Any], batch_norm_momentum: float | None, seed: int) -> dict[str, Any]:
    """Arguments of a refiner's builder, from its configuration."""
    return {**options, "batch_norm_momentum": batch_norm_momentum, "seed": seed}


def _load(entry: RefinerSlide, size: int, smallest: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, grid, annotation = entry.slide.read()
    heatmap, _ = read_heatmap(entry.heatmap)
    with entry.slide.source.open() as slide:
        image, heat = refiner_inputs(slide, heatmap, grid, size)
    if annotation.smallest_tumour_px2 is not None:
        smallest.append(annotation.smallest_tumour_px2 * grid.mpp**2)
    return image, heat, truth_mask(annotation, (size, size), (grid.width, grid.height))


def truth_mask(annotation: Annotation, shape: tuple[int, int], slide_size: tuple[int, int]) -> np.ndarray:
    """The annotated tumour as bool (h, w) over the whole slide."""
    return rasterise(annotation.tumour, shape, slide_size=slide_size)


def _stack(arrays: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, heats, truths = zip(*arrays, strict=True)
    return np.stack(images), np.stack(heats), np.stack(truths)
