"""Training the refinement network on heatmaps of slides that the classifier did not learn from."""

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
from drunet.training.loop import Trainer
from drunet.training.losses import ThresholdedDice, refinement_loss
from drunet.training.readers import AnnotatedSlide
from drunet.training.recipe import identity, new_network, run_facts, slide_facts
from drunet.training.trained import Trained
from drunet.training.windows import Field, SlideBatches, WindowBatches


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
    threads: int = 1,
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
    smallest: list[float] = []
    fields = [_load(s, settings, smallest) for s in training]
    held_out = [_load(s, settings, []) for s in validation]
    if not smallest:
        what = "no training slide of the refiner shows tumour"
        found = ", ".join(s.slide.source.slide_id for s in training)
        mend = "Add wholly annotated slides with tumour."
        raise TrainingDataError(what, where=f"refiners.{name}.data", found=found, mend=mend)
    model = new_network(settings, plan, seed, start=start)
    decisive = {"settings": settings.model_dump(), "seed": seed, "code": code}
    shown: dict[str, Any] = {"seed": seed, "workers": threads}
    learnt: dict[str, Any] = {"batch_size": plan.batch_size, "steps": plan.steps_per_epoch, **shown}
    batches = _batches(fields, settings, augmentation=augmentation, **learnt)
    # Windows without tumour have a Dice of 0 or 1 for a pixel more or less: they are judged in batches.
    fixed: dict[str, Any] = {"batch_size": 1 if settings.mpp is None else plan.batch_size, "fixed": True, **shown}
    trainer = Trainer(model, loss=refinement_loss(settings.loss), metrics=[ThresholdedDice(name="dice")], plan=plan)
    history = trainer.train(
        batches=batches,
        validation=_batches(held_out, settings, **fixed) if held_out else None,
        folder=folder,
        identity=identity([s.files for s in training], [s.files for s in validation], start, **decisive),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        "size": settings.options["size"],
        "mpp": settings.mpp,
        **slide_facts([s.slide for s in training], [s.slide for s in validation]),
        "smallest_tumour_um2": round(min(smallest), 1),
        **run_facts(history, seed),
    }
    return Trained(model, history, facts)


def _load(entry: RefinerSlide, settings: RefinerSettings, smallest: list[float]) -> Field:
    _, grid, annotation = entry.slide.read()
    heatmap, _ = read_heatmap(entry.heatmap)
    size = settings.options["size"]
    shape = (size, size) if settings.mpp is None else grid.raster(settings.mpp)
    with entry.slide.source.open() as slide:
        image, heat = refiner_inputs(slide, heatmap, grid, shape)
    if annotation.smallest_tumour_px2 is not None:
        smallest.append(annotation.smallest_tumour_px2 * grid.mpp**2)
    truth = rasterise(annotation.tumour, shape, slide_size=(grid.width, grid.height))
    return Field(image, heat, truth, np.isfinite(grid.resample_to_slide(heatmap, shape)))


def _batches(fields: Sequence[Field], settings: RefinerSettings, **shown: Any) -> SlideBatches:
    if settings.mpp is None:
        return SlideBatches(fields, **shown)
    return WindowBatches(fields, settings.options["size"], **shown)
