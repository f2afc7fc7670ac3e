"""Training a patch-wise classifier on annotated slides."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from drunet.augment.pipeline import Augmentation
from drunet.console import say
from drunet.sampling import GridTiles, Source, draw_epoch
from drunet.sampling.strategies import Sampling, sampled
from drunet.settings.classifier import ClassifierRecipe
from drunet.settings.encoder import HeadRecipe
from drunet.settings.training import TrainingSettings
from drunet.tiles import TileRules, read_table
from drunet.training.batches import TileBatches, class_counts
from drunet.training.distillation import (
    DistillationLoss,
    LabelBatches,
    LabelledAccuracy,
    LabelledF1,
    Lesson,
    TaughtBatches,
)
from drunet.training.loop import Trainer
from drunet.training.losses import classification_loss
from drunet.training.readers import (
    AnnotatedSlide,
    CropReader,
    TileReader,
    crop_sources,
    need_slides,
    stain_facts,
    tile_shape,
    tissue_tiles,
)
from drunet.training.recipe import identity, new_network, run_facts, slide_facts
from drunet.training.trained import Trained


def train_classifier(
    name: str,
    settings: ClassifierRecipe,
    training: Sequence[AnnotatedSlide],
    validation: Sequence[AnnotatedSlide],
    *,
    rules: TileRules,
    seed: int,
    folder: Path,
    start: str | None = None,
    scores: Sequence[str] = (),
    lesson: Lesson | None = None,
    threads: int = 1,
    code: str = "",
) -> Trained:
    """Train a patch-wise classifier.

    Raises ModelError if the settings name an architecture, or options of it, that there are not; TrainingDataError if
    there are no training slides, no labelled tiles, one class only, or not what the sampling strategy needs.

    Parameters
    ----------
    name : str
        How messages call the model.
    settings : ClassifierRecipe
        An entry under `classifiers` in the configuration.
    training, validation : lists of AnnotatedSlide
        With no validation slides the scores of training decide which weights are best, and when to stop.
    seed : int
        Of weights, sampling and augmentation. On one machine the same inputs give the same weights; another processor
        or number of threads adds floating-point sums in another order.
    folder : Path
        Where the state is kept from which a killed training goes on.
    start : str, optional
        File with the weights to begin with: what `weights` names, or the trained model that it names.
    scores : list of str
        Per training slide, its tiles as the first model of the strategy `induced_imbalance` sees them.
    lesson : Lesson, optional
        What `distillation` asks for.
    threads : int
        That read tiles ahead of the training; how many does not change the result.
    code : str
        Digest of the code that trains: after an edit, training begins anew.
    """
    need_slides(training, name)
    if (settings.distillation is None) != (lesson is None):
        raise ValueError("a lesson and the `distillation` block that it was read from come together")
    plan, augmentation = settings.training, Augmentation.from_config(settings.augment)
    shape = tile_shape(training)
    sources = [slide.source for slide in training]
    sampling = sampled(
        crop_sources(training, rules),
        settings.data.sampling,
        seed=seed,
        where=f"classifiers.{name}.data.sampling",
        slide_ids=[source.slide_id for source in sources],
        openers=[source.open for source in sources],
        scores=scores,
        side_um=shape["size"] * shape["mpp"],
    )
    if note := sampling.facts.get("note"):
        say(f"{name}: {note}")
    loss, metric, loss_facts = _loss(settings, sampling, lesson, seed)

    reader = TileReader(sources, augmentation=augmentation, **shape)
    checker = TileReader([s.source for s in validation], **shape)
    held_out = crop_sources(validation, rules)
    # Partially annotated slides are cropped from in their regions, wholly annotated ones give the tiles of a grid.
    fallen_back = settings.data.annotation_kinds == ["psa"] and any(isinstance(s, GridTiles) for s in held_out)
    if fallen_back and settings.data.validation_kinds is None:
        say(f"{name}: no validation slide is partially annotated; wholly annotated ones decide which epoch is best")
    tissue = tissue_tiles([read_table(s.tiles)[0] for s in training], rules) if lesson else None
    batches = _batches(reader, sampling, plan, lesson, tissue, seed=seed, workers=threads)
    kind = LabelBatches if lesson else TileBatches
    checks = validation_batches(kind, checker, held_out, settings, seed + 1, threads)

    model = new_network(settings, plan, seed, shape["size"], start=start)
    learnt = _learnt_files(training, scores) + ([[lesson.file]] if lesson else [])
    decisive = {"settings": settings.model_dump(), "seed": seed, "rules": asdict(rules), "code": code}
    decisive["teacher"] = lesson and lesson.teacher.how
    densities = [slide.source.density for slide in (*training, *validation)]
    decisive["densities"] = [None if density is None else density.tolist() for density in densities]
    history = Trainer(model, loss=loss, metrics=[metric, LabelledF1()], plan=plan).train(
        batches=batches,
        validation=checks,
        folder=folder,
        identity=identity(learnt, [s.files for s in validation], start, **decisive),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        **shape,
        **slide_facts(training, validation),
        "samples_per_epoch": batches.class_counts(),
        "validation_samples": checks.class_counts() if checks else None,
        "validated_on_wta": fallen_back,
        "sampling": sampling.facts,
        "loss": loss_facts,
        **stain_facts(training, settings.stain_normalisation),
        **run_facts(history, seed),
    }
    if lesson is not None and isinstance(batches, TaughtBatches):
        facts["distillation"] = lesson.facts(batches)
    reader.close()
    checker.close()
    return Trained(model, history, facts)


def _learnt_files(training: Sequence[AnnotatedSlide], scores: Sequence[str]) -> list[list[str]]:
    own = [slide.files for slide in training]
    return [[*files, score] for files, score in zip(own, scores, strict=True)] if scores else own


def _loss(
    settings: ClassifierRecipe, sampling: Sampling, lesson: Lesson | None, seed: int
) -> tuple[Any, Any, dict[str, Any]]:
    """The loss, the metric beside it, and what to remember of the loss; weights are those of a whole epoch."""
    counts = class_counts(draw_epoch(sampling.sources, seed, 0, balance=sampling.balance).label)
    loss, facts = classification_loss(settings.loss, counts)
    if lesson is None:
        return loss, "accuracy", facts
    # Cross-entropy where no teacher has answered: the validation loss is that of a student without a teacher.
    return DistillationLoss(lesson.settings.temperature, lesson.settings.weight), LabelledAccuracy(), facts


def _batches(
    reader: TileReader, sampling: Sampling, plan: TrainingSettings, lesson: Lesson | None, tissue: Any, **shown: Any
) -> TileBatches:
    own: dict[str, Any] = {"batch_size": plan.batch_size, "balance": sampling.balance, **shown}
    if lesson is not None:
        own |= {"share": lesson.settings.unlabelled_share, "steps": plan.steps_per_epoch}
        return TaughtBatches(reader, sampling.sources, tissue, lesson.teacher, **own)
    samples = None if plan.steps_per_epoch is None else plan.steps_per_epoch * plan.batch_size
    return TileBatches(reader, sampling.sources, samples=samples, **own)


def validation_batches(
    kind: type[TileBatches],
    reader: CropReader,
    sources: Sequence[Source],
    settings: ClassifierRecipe | HeadRecipe,
    seed: int,
    workers: int = 1,
) -> TileBatches | None:
    """The same crops in every epoch, at most so many, drawn once; None where there are none."""
    if not sources:
        return None
    size = settings.training.batch_size
    batches = partial(kind, reader, sources, batch_size=size, seed=seed, fixed=True, workers=workers)
    every, at_most = batches(), settings.data.validation_tiles
    if at_most is not None and len(every.crops) > at_most:
        return batches(samples=at_most)
    return every if len(every) else None
