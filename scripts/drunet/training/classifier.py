"""Training a patch-wise classifier on annotated slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.annotation import Annotation
from drunet.annotation.parsed import read_parsed, read_provenance
from drunet.annotation.provenance import Provenance, summarise_provenance
from drunet.augment.pipeline import Augmentation
from drunet.console import say
from drunet.errors import TrainingDataError
from drunet.files import sha256, whole_file, write_json
from drunet.grid import Grid
from drunet.models import registry
from drunet.outcome import without_failed
from drunet.sampling import GridTiles, RegionCrops, Source, draw_epoch
from drunet.sampling.strategies import LearningSlides, Sampling, sampled
from drunet.settings.classifier import ClassifierRecipe
from drunet.settings.network import NetworkSettings, starts_whole
from drunet.tiles import TileRules, read_table
from drunet.training.batches import SlideSource, TileBatches
from drunet.training.kept import digest
from drunet.training.lesson import LabelBatches, Lesson
from drunet.training.loop import compute_precision, save_inference_weights, train
from drunet.training.losses import classification_loss
from drunet.training.unlabelled import TaughtBatches, tissue_tiles


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide to learn from: its pixels, its tile table and its parsed annotation (files)."""

    source: SlideSource
    tiles: str
    annotation: str

    @property
    def files(self) -> list[str]:
        """What training learns from besides pixels; partial annotations are cropped from directly."""
        return [self.tiles, self.annotation]

    @property
    def provenance(self) -> Provenance:
        """Where its annotation comes from."""
        return read_provenance(self.annotation)

    def read(self) -> tuple[pd.DataFrame, Grid, Annotation]:
        """Tile table, grid and annotation."""
        table, facts = read_table(self.tiles)
        grid = Grid.from_dict(facts["grid"])
        annotation = read_parsed(self.annotation, slide_id=self.source.slide_id, size=(grid.width, grid.height))
        if annotation is None:
            raise ValueError(f"{self.source.slide_id} has no annotation to learn from")
        return table, grid, annotation


def split_slides(
    slides: Sequence[Mapping[str, Any]],
    training: int,
    paths: Sequence[str],
    tiles: Sequence[str],
    annotations: Sequence[str],
    further: Sequence[str] = (),
) -> tuple[list[AnnotatedSlide], list[AnnotatedSlide], list[str]]:
    """Training and validation slides from parallel lists, without those that failed before training.

    A slide with an outcome in the place of its tiles, annotation or further file is left out, and its name is printed:
    it teaches as little as a slide that inspection refused. A tile that cannot be read during training stops it with
    the slide's name, because what was learnt would depend on which tiles had been drawn before.

    Parameters
    ----------
    slides : list of mapping
        slide_id and mpp, training slides first.
    training : int
        Number of training slides.
    further : list of path, optional
        One more file per slide.

    Returns
    -------
    training, validation : list of AnnotatedSlide
    further : list of path
        Of the slides that are left, in their order.
    """
    files = paths, tiles, annotations, further
    kept, (paths, tiles, annotations, further) = without_failed(list(enumerate(slides)), *files)
    sources = [SlideSource(path, s["slide_id"], s["mpp"]) for (_, s), path in zip(kept, paths, strict=True)]
    joined = [AnnotatedSlide(*parts) for parts in zip(sources, tiles, annotations, strict=True)]
    count = sum(place < training for place, _ in kept)
    return joined[:count], joined[count:], further


@dataclass(frozen=True)
class Trained:
    """A trained model, how it went, and what to remember of it (JSON values)."""

    model: keras.Model
    history: pd.DataFrame
    facts: dict[str, Any]

    def write(self, weights: str, history: str, facts: str, settings: Mapping[str, Any]) -> None:
        """Write the weights, the history (TSV), and the facts with the settings (JSON), from which it is exported."""
        save_inference_weights(self.model, Path(weights))
        with whole_file(history) as temporary:
            self.history.to_csv(temporary, sep="\t", index=False)
        write_json(facts, {**self.facts, "settings": settings})


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
    code: str = "",
) -> Trained:
    """Train a patch-wise classifier.

    Parameters
    ----------
    name : str
        How messages call the model.
    settings : ClassifierRecipe
        An entry under `classifiers` in the configuration.
    training, validation : lists of AnnotatedSlide
        With no validation slides the training loss decides which weights are best, and when to stop.
    rules : TileRules
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
    code : str
        Digest of the code that trains: what an edit comes between is not continued but begun anew.

    Raises
    ------
    ModelError
        If the settings name an architecture, or options of it, that there are not.
    TrainingDataError
        If there are no training slides, no labelled tiles, one class only, or not what the sampling strategy needs.
    """
    need_slides(training, name)
    if (settings.distillation is None) != (lesson is None):
        raise ValueError("a lesson and the `distillation` block that it was read from come together")
    plan, augmentation = settings.training, Augmentation.from_config(settings.augment)
    grids = [Grid.from_dict(read_table(s.tiles)[1]["grid"]) for s in [*training, *validation]]
    size, mpp = grids[0].size, grids[0].tile_mpp

    sources = crop_sources(training, rules)
    sampling = sampled(
        sources,
        LearningSlides([s.source.slide_id for s in training], [s.source.open for s in training], scores, size * mpp),
        settings.data.sampling,
        seed=seed,
        where=f"classifiers.{name}.data.sampling",
    )
    if note := sampling.facts.get("note"):
        say(f"{name}: {note}")
    loss, loss_facts = classification_loss(settings.loss, _epoch_counts(sampling, seed))
    metric: Any = "accuracy"
    if lesson is not None:
        loss, metric = lesson.loss(), lesson.metric()

    tiles: dict[str, Any] = {"size": size, "mpp": mpp, "batch_size": plan.batch_size}
    shown = {**tiles, "seed": seed, "augmentation": augmentation, "balance": sampling.balance}
    train_batches = _training_batches(training, sampling.sources, plan.steps_per_epoch, lesson, rules, shown)
    held_out = crop_sources(validation, rules)
    at_most = settings.data.validation_tiles
    validation_batches = _validation_batches(validation, held_out, lesson, seed, at_most, tiles)
    compute_precision(plan.precision)
    model = registry.build(settings.architecture, **builder_options(settings, size, seed))
    if starts_whole(settings.weights):
        registry.load_weights(model, str(start))
    learnt = _learnt_files(training, scores) + ([[lesson.file]] if lesson else [])
    history = train(
        model,
        loss=loss,
        metrics=[metric],
        batches=train_batches,
        validation=validation_batches,
        plan=plan,
        folder=folder,
        identity=identity(
            learnt,
            [s.files for s in validation],
            start,
            settings=settings.model_dump(),
            seed=seed,
            rules=asdict(rules),
            teacher=lesson and lesson.teacher.how,
            code=code,
        ),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        "size": size,
        "mpp": mpp,
        "training_slides": [s.source.slide_id for s in training],
        "validation_slides": [s.source.slide_id for s in validation],
        "annotation_provenance": summarise_provenance({s.source.slide_id: s.provenance for s in training}),
        "samples_per_epoch": _count(train_batches.crops.label),
        "validation_samples": _count(validation_batches.crops.label) if validation_batches else None,
        "sampling": sampling.facts,
        "loss": loss_facts,
        "epochs": len(history),
        "seed": seed,
        "keras": keras.__version__,
    }
    if lesson is not None and isinstance(train_batches, TaughtBatches):
        facts["distillation"] = lesson.facts(train_batches)
    for data in (train_batches, validation_batches):
        if data is not None:
            data.close()
    return Trained(model, history, facts)


def _training_batches(
    slides: Sequence[AnnotatedSlide],
    sources: Sequence[Source],
    steps: int | None,
    lesson: Lesson | None,
    rules: TileRules,
    tiles: Mapping[str, Any],
) -> TileBatches:
    pixels = [s.source for s in slides]
    if lesson is not None:
        tissue = tissue_tiles([read_table(s.tiles)[0] for s in slides], rules)
        return lesson.batches(pixels, sources, tissue, steps=steps, **tiles)
    return TileBatches(pixels, sources, samples=None if steps is None else steps * tiles["batch_size"], **tiles)


def _validation_batches(
    slides: Sequence[AnnotatedSlide],
    sources: Sequence[Source],
    lesson: Lesson | None,
    seed: int,
    at_most: int | None,
    tiles: Mapping[str, Any],
) -> TileBatches | None:
    """The same crops in every epoch, at most so many, drawn once; None where there are none."""
    if not slides:
        return None
    kind = LabelBatches if lesson else TileBatches
    batches = partial(kind, [s.source for s in slides], sources, seed=seed + 1, fixed=True, **tiles)
    every = batches()
    if at_most is not None and len(every.crops) > at_most:
        return batches(samples=at_most)
    return every if len(every) else None


def builder_options(settings: NetworkSettings, size: int, seed: int) -> dict[str, Any]:
    """Arguments of a classifier's builder, from its configuration."""
    return {
        "size": size,
        "weights": "random" if starts_whole(settings.weights) else settings.weights,
        "freeze_fraction": settings.freeze_fraction,
        "batch_norm_momentum": settings.batch_norm_momentum,
        "seed": seed,
        **settings.options,
    }


def identity(
    training: Sequence[Sequence[str]], validation: Sequence[Sequence[str]], start: str | None = None, **decisive: Any
) -> str:
    """Digest of all that decides a result: each slide's files, its side, the start, Keras' version, and JSON values."""
    digests = [[[sha256(file) for file in files] for files in slides] for slides in (training, validation)]
    return digest([decisive, keras.__version__, digests, sha256(start) if start else None])


def crop_sources(slides: Sequence[AnnotatedSlide], rules: TileRules) -> list[Source]:
    """Where crops come from: random ones in the regions of partially annotated slides, the labelled tiles of others."""
    sources: list[Source] = []
    for index, slide in enumerate(slides):
        table, grid, annotation = slide.read()
        if annotation.kind == "psa":
            sources.append(RegionCrops(index, annotation, grid, rules))
        else:
            sources.append(GridTiles(index, table))
    return sources


def _learnt_files(training: Sequence[AnnotatedSlide], scores: Sequence[str]) -> list[list[str]]:
    own = [slide.files for slide in training]
    return [[*files, score] for files, score in zip(own, scores, strict=True)] if scores else own


def _epoch_counts(sampling: Sampling, seed: int) -> dict[str, int]:
    """Classes in a whole epoch, however few of its steps are taken."""
    return _count(draw_epoch(sampling.sources, seed, 0, balance=sampling.balance).label)


def _count(label: np.ndarray) -> dict[str, int]:
    return {"tumour": int((label == 1).sum()), "non_tumour": int((label == 0).sum())}


def need_slides(training: Sequence[AnnotatedSlide], name: str) -> None:
    """Refuse to train classifier `name` on no slides.

    Raises
    ------
    TrainingDataError
    """
    if not training:
        raise TrainingDataError(
            "no usable slide to learn from",
            where=f"classifiers.{name}.data",
            found="no annotated training slide of these kinds with status ok",
            mend="See slides.tsv in the results for what was left out; mark slides `train` in the sheet, or set "
            "`annotation_kinds`.",
        )
