"""Training the refinement network on heatmaps of slides that the classifier did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drunet.annotation import rasterise
from drunet.augment.pipeline import Augmentation
from drunet.errors import TrainingDataError
from drunet.heatmap import read_heatmap
from drunet.refine import refiner_inputs
from drunet.settings.refiner import RefinerSettings
from drunet.training.batches import SlideBatches
from drunet.training.loop import Trainer
from drunet.training.losses import DiceLoss, ThresholdedDice
from drunet.training.readers import AnnotatedSlide
from drunet.training.recipe import identity, new_network, run_facts, slide_facts
from drunet.training.trained import Trained


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

    Raises TrainingDataError if there are no such slides, or none of them shows tumour.
    """
    if not training:
        found = "no wholly annotated training slide with status ok"
        mend = "Mark slides `train` with annotation_kind `wta`; slides.tsv in the results lists what is left out."
        raise TrainingDataError("no usable slide to learn from", where=f"refiners.{name}.data", found=found, mend=mend)
    plan, augmentation = settings.training, Augmentation.from_config(settings.augment)
    size = settings.options["size"]
    smallest: list[float] = []
    arrays = [_load(s, size, smallest) for s in training]
    held_out = [_load(s, size, []) for s in validation]
    if not smallest:
        what = "no training slide of the refiner shows tumour"
        found = ", ".join(s.slide.source.slide_id for s in training)
        mend = "Add wholly annotated slides with tumour."
        raise TrainingDataError(what, where=f"refiners.{name}.data", found=found, mend=mend)
    shown: dict[str, Any] = {"batch_size": plan.batch_size, "steps": plan.steps_per_epoch, "seed": seed}
    model = new_network(settings, plan, seed, start=start)
    decisive = {"settings": settings.model_dump(), "seed": seed, "code": code}
    history = Trainer(model, loss=DiceLoss(), metrics=[ThresholdedDice(name="dice")], plan=plan).train(
        batches=SlideBatches(*_stack(arrays), augmentation=augmentation, **shown),
        validation=SlideBatches(*_stack(held_out), batch_size=1, seed=seed, fixed=True) if held_out else None,
        folder=folder,
        identity=identity([s.files for s in training], [s.files for s in validation], start, **decisive),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        "size": size,
        **slide_facts([s.slide for s in training], [s.slide for s in validation]),
        "smallest_tumour_um2": round(min(smallest), 1),
        **run_facts(history, seed),
    }
    return Trained(model, history, facts)


def _load(entry: RefinerSlide, size: int, smallest: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, grid, annotation = entry.slide.read()
    heatmap, _ = read_heatmap(entry.heatmap)
    with entry.slide.source.open() as slide:
        image, heat = refiner_inputs(slide, heatmap, grid, size)
    if annotation.smallest_tumour_px2 is not None:
        smallest.append(annotation.smallest_tumour_px2 * grid.mpp**2)
    return image, heat, rasterise(annotation.tumour, (size, size), slide_size=(grid.width, grid.height))


def _stack(arrays: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, heats, truths = zip(*arrays, strict=True)
    return np.stack(images), np.stack(heats), np.stack(truths)
