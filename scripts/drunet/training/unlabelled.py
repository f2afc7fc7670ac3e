"""Labelled tiles beside tissue tiles that nobody labelled, each with what a teacher makes of it.

As in `drunet.training.batches`, every batch is drawn from (seed, epoch, index) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from drunet.errors import TrainingDataError
from drunet.sampling import Crops, Source
from drunet.tiles import UNLABELLED, TileRules
from drunet.training.batches import SlideSource, TileBatches

# Keeps the order of unlabelled tiles apart from other draws, which use the same seed and epoch.
_STREAM = 13

# Probabilities of [non-tumour, tumour], float32 (n, 2), for tiles, float32 (n, size, size, 3) in [0, 1].
Answers: TypeAlias = Callable[[np.ndarray], np.ndarray]


def tissue_tiles(tables: Sequence[pd.DataFrame], rules: TileRules) -> Crops:
    """List all tiles that hold tissue, whatever the annotation says of them.

    To the labelled ones come those with too little tumour for a label, those outside marked regions, and those to be
    ignored: their labels are unknown or doubtful, their pixels are not.

    Parameters
    ----------
    tables : list of DataFrame
        A tile table per slide; a tile's `slide` is the position of its table.
    rules : TileRules
        Its `min_tissue` counts.

    Returns
    -------
    Crops
        Every label is -1.
    """
    parts = []
    for slide, table in enumerate(tables):
        x, y = (table.loc[table["tissue_fraction"] >= rules.min_tissue, axis].to_numpy(np.int64) for axis in "xy")
        parts.append(Crops(np.full(len(x), slide), x, y, np.full(len(x), UNLABELLED)))
    return Crops.join(parts)


class TaughtBatches(TileBatches):
    """Batches for a student: labelled tiles, then unlabelled ones, and a teacher's answers to the very same pixels.

    Every batch is composed alike. Where every labelled tile is shown once an epoch, the last batch is filled up with
    some that are shown twice; unlabelled tiles come round in an order that is drawn anew for every epoch.

    Parameters
    ----------
    slides, sources, batch_size
        As in `TileBatches`; a batch's unlabelled tiles count.
    unlabelled : Crops
        From `tissue_tiles`; their `slide` indexes `slides`.
    teacher : callable
        float32 (n, size, size, 3) in [0, 1] to float32 (n, 2).
    share : float
        Of a batch that is unlabelled, rounded; at least one tile is labelled.
    steps : int, optional
        Batches per epoch; by default as many as show every labelled tile once.
    **tiles
        size, mpp, seed, augmentation and balance, as in `TileBatches`.

    Yields
    ------
    (float32 (n, size, size, 3) in [0, 1], float32 (n, 4))
        The labels one-hot, all zero where there is none, then the teacher's probabilities.

    Raises
    ------
    TrainingDataError
        If a share is asked for and there is no tissue.
    """

    def __init__(
        self,
        slides: Sequence[SlideSource],
        sources: Sequence[Source],
        unlabelled: Crops,
        teacher: Answers,
        *,
        share: float,
        batch_size: int,
        steps: int | None = None,
        **tiles: Any,
    ) -> None:
        self.unlabelled_per_batch = min(round(share * batch_size), batch_size - 1)
        labelled = batch_size - self.unlabelled_per_batch
        # To the parent a batch is its labelled part.
        samples = None if steps is None else steps * labelled
        super().__init__(slides, sources, batch_size=labelled, samples=samples, **tiles)
        if steps is None:
            self._samples = math.ceil(len(self.crops) / labelled) * labelled
            self._drawn = (0, self._epoch_crops(0))
        if self.unlabelled_per_batch and not len(unlabelled):
            mend = "Set `unlabelled_share` to 0, or lower `tiles.min_tissue`."
            raise TrainingDataError("no tile holds tissue", where="unlabelled tiles of the training slides", mend=mend)
        self.unlabelled, self._teacher = unlabelled, teacher
        self._ordered: tuple[int, np.ndarray] | None = None

    def _order(self) -> np.ndarray:
        """Positions of the unlabelled tiles that an epoch shows, batch after batch."""
        if self._ordered is None or self._ordered[0] != self.epoch:
            rng = np.random.default_rng([self.seed, self.epoch, _STREAM])
            wanted, count = len(self) * self.unlabelled_per_batch, len(self.unlabelled)
            rounds = [rng.permutation(count) for _ in range(math.ceil(wanted / max(count, 1)))]
            self._ordered = self.epoch, np.concatenate([np.zeros(0, np.int64), *rounds])[:wanted]
        return self._ordered[1]

    def parts(self, index: int) -> tuple[Crops, Crops]:
        """The labelled and the unlabelled tiles of a batch of the current epoch."""
        labelled = self.crops.take(np.arange(index * self.batch_size, (index + 1) * self.batch_size))
        each = self.unlabelled_per_batch
        return labelled, self.unlabelled.take(self._order()[index * each : (index + 1) * each])

    def inputs(self, index: int) -> np.ndarray:
        """The pixels of a batch alone, for which the teacher is not asked."""
        return self.read(Crops.join(self.parts(index)), self._rng(index))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        labelled, x = self.parts(index)[0], self.inputs(index)
        hard = np.zeros((len(x), 2), np.float32)
        hard[np.arange(len(labelled)), labelled.label] = 1
        return x, np.concatenate([hard, self._teacher(x)], axis=-1)
