"""Training the head of a classifier on the features of an encoder, which are kept per slide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drunet.features import open_features
from drunet.models import registry
from drunet.models.encoder_head import standardise
from drunet.sampling import Crops, GridTiles, draw_epoch
from drunet.sampling.strategies import sampled
from drunet.settings.encoder import HeadRecipe
from drunet.settings.sampling import SamplingSettings
from drunet.settings.training import TrainingSettings
from drunet.tiles import UNLABELLED, read_table
from drunet.training.batches import TileBatches, class_counts
from drunet.training.classifier import validation_batches
from drunet.training.distillation import LabelledF1
from drunet.training.loop import Trainer, compute_precision
from drunet.training.losses import classification_loss
from drunet.training.readers import AnnotatedSlide, need_slides, tile_shape
from drunet.training.recipe import identity, run_facts, slide_facts
from drunet.training.trained import Trained

_ROWS = 4096


def train_head(
    name: str,
    settings: HeadRecipe,
    training: Sequence[AnnotatedSlide],
    validation: Sequence[AnnotatedSlide],
    features: Sequence[str],
    *,
    encoder: Mapping[str, Any],
    seed: int,
    folder: Path,
    code: str = "",
) -> Trained:
    """Train a head on the labelled tiles of the grid, of whole and of partial annotations, each with kept features.

    `settings` are an entry under `classifiers`; `features` are, per training slide and then per validation slide, the
    file of `drunet.features.write_features`; `encoder` is what its adoption found: sha256, and decided: features,
    opset; the rest is as for `drunet.training.classifier.train_classifier`. Raises ModelError for an option of the head
    that there is not; TrainingDataError if there are no training slides, no labelled tiles, or one class only.
    """
    need_slides(training, name)
    plan = TrainingSettings(**settings.training.model_dump(), precision="float32", reestimate_batches=0)
    taught = FeatureReader(training, features[: len(training)])
    checker = FeatureReader(validation, features[len(training) :])
    shape = tile_shape(training)
    strategy = SamplingSettings(strategy=settings.data.sampling.strategy)
    sampling = sampled(taught.sources, strategy, seed=seed, where=f"classifiers.{name}.data.sampling")
    counts = class_counts(draw_epoch(sampling.sources, seed, 0, balance=sampling.balance).label)
    loss, loss_facts = classification_loss(settings.loss, counts)
    samples = None if plan.steps_per_epoch is None else plan.steps_per_epoch * plan.batch_size
    own: dict[str, Any] = {"batch_size": plan.batch_size, "seed": seed, "balance": sampling.balance}
    batches = TileBatches(taught, sampling.sources, samples=samples, **own)
    checks = validation_batches(TileBatches, checker, checker.sources, settings, seed + 1)

    compute_precision(plan.precision)
    builder = {"features": encoder["decided"]["features"], "seed": seed, **settings.options}
    model = registry.build(settings.architecture, **builder)
    standardise(model, *taught.moments())
    # Features are a function of the encoder, the slide and its tiles: they need no digest of their own.
    decisive = {"settings": settings.model_dump(), "seed": seed, "code": code, "encoder": encoder["sha256"]}
    history = Trainer(model, loss=loss, metrics=["accuracy", LabelledF1()], plan=plan).train(
        batches=batches,
        validation=checks,
        folder=folder,
        identity=identity([s.files for s in training], [s.files for s in validation], **decisive),
        name=name,
    )
    facts = {
        "architecture": settings.architecture,
        "builder": builder,
        "encoder": {
            "name": settings.encoder,
            # Of the file that was given.
            "sha256": encoder["source_sha256"],
            "opset": encoder["decided"]["opset"],
        },
        **shape,
        **slide_facts(training, validation),
        "samples_per_epoch": batches.class_counts(),
        "validation_samples": checks.class_counts() if checks else None,
        "sampling": sampling.facts,
        "loss": loss_facts,
        **run_facts(history, seed),
    }
    return Trained(model, history, facts)


class FeatureReader:
    """Kept features of tiles, from one file per slide; `sources` are the labelled tiles that have any."""

    def __init__(self, slides: Sequence[AnnotatedSlide], files: Sequence[str]) -> None:
        self.sources: list[GridTiles] = []
        self._features: list[np.ndarray] = []
        places, rows = [], []
        for index, (slide, file) in enumerate(zip(slides, files, strict=True)):
            table, _ = read_table(slide.tiles)
            features = open_features(file, table)
            labelled = np.flatnonzero(table["label"] != UNLABELLED)
            # Nothing is learnt from tiles that could not be read.
            known = labelled[np.isfinite(features[labelled, 0])]
            self._features.append(features)
            self.sources.append(GridTiles(index, table.iloc[known]))
            places.append(self.sources[-1].draw(np.random.default_rng(0)))
            rows.append(known)
        self._known = Crops.join(places)
        self._rows = np.concatenate([np.zeros(0, np.int64), *rows])
        self._places = _index(self._known)

    def read(self, crops: Crops, rng: np.random.Generator | None = None) -> np.ndarray:
        """Features of crops, float32 (n, features); nothing is drawn."""
        at = self._rows[self._places.get_indexer(_index(crops))]
        features = np.empty((len(crops), self._features[0].shape[1]), np.float32)
        for slide in np.unique(crops.slide):
            here = np.flatnonzero(crops.slide == slide)
            features[here] = self._features[slide][at[here]]
        return features

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each feature over the labelled tiles, float64 (features,)."""
        count, total, squares, origin = len(self._known), 0.0, 0.0, self.read(self._known.take(np.arange(1)))
        for begin in range(0, count, _ROWS):
            rows = self.read(self._known.take(np.arange(begin, min(begin + _ROWS, count)))).astype(np.float64)
            # Counted from one of them, so that no large mean is squared.
            rows -= origin
            total, squares = total + rows.sum(axis=0), squares + (rows**2).sum(axis=0)
        return origin[0] + total / count, np.maximum(squares / count - (total / count) ** 2, 0)


def _index(crops: Crops) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([crops.slide, crops.x, crops.y])
