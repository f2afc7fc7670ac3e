"""Tiles at fixed places with a class each, as batches and as few-shot episodes.

As in `drunet.training.batches`, every batch is drawn from (seed, epoch, index) alone.
"""

from typing import Any, ClassVar

import numpy as np

from drunet.sampling import Crops
from drunet.training.batches import EpochBatches
from drunet.training.readers import TileReader
from studies.common.clustering.settings import EpisodePlan


class ClassBatches(EpochBatches):
    """Batches of (float32 (n, size, size, 3) in [0, 1], float32 (n, classes) one-hot), for a supervised head.

    The `slide` of `tiles` indexes the reader's slides, their `label` is a class, 0..classes-1; `batches` are
    batch_size, seed, steps and fixed, as for `EpochBatches`.
    """

    reader: TileReader

    def __init__(self, reader: TileReader, tiles: Crops, classes: int, **batches: Any) -> None:
        super().__init__(len(tiles), **batches)
        self.reader, self.tiles, self.classes = reader, tiles, classes

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        taken = self.tiles.take(self.chosen(index))
        label = np.eye(self.classes, dtype=np.float32)[taken.label]
        return self.reader.read(taken, self.augmentation_draws(index)), label


class Episodes(EpochBatches):
    """Few-shot episodes: some tiles of each of some classes, none of them twice.

    Yields (float32 (ways (shots + queries), size, size, 3) in [0, 1], float32 (…, ways) one-hot): first the shots,
    class by class, then the queries. Classes with too few tiles for an episode are never drawn. `reader` and `tiles`
    are as for `ClassBatches`; `fixed`: the same episodes in every epoch, nothing augmented; `batches` are seed, fixed
    and workers, as for `EpochBatches`.
    """

    reader: TileReader
    streams: ClassVar = {"episode": (0,), "augmentation": (1,)}

    def __init__(self, reader: TileReader, tiles: Crops, *, plan: EpisodePlan, **batches: Any) -> None:
        super().__init__(plan.count, batch_size=1, **batches)
        self.reader, self.tiles, self._plan = reader, tiles, plan
        self.known = episode_classes(self.tiles, plan)
        self._members = {k: np.flatnonzero(self.tiles.label == k) for k in self.known}
        self.ways = min(plan.ways or len(self.known), len(self.known))

    def draw(self, index: int) -> np.ndarray:
        """Positions of an episode's tiles: int (ways, shots + queries)."""
        rng = self.draws("episode", index)
        chosen = np.sort(rng.choice(self.known, self.ways, replace=False))
        return np.stack([rng.choice(self._members[k], self._plan.tiles, replace=False) for k in chosen])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        drawn, shots = self.draw(index), self._plan.shots
        chosen = np.concatenate([drawn[:, :shots].ravel(), drawn[:, shots:].ravel()])
        way = np.arange(self.ways)
        target = np.concatenate([way.repeat(shots), way.repeat(self._plan.queries)])
        pixels = self.reader.read(self.tiles.take(chosen), self.augmentation_draws(index))
        return pixels, np.eye(self.ways, dtype=np.float32)[target]


def episode_classes(tiles: Crops, plan: EpisodePlan) -> np.ndarray:
    """Classes with enough tiles for an episode."""
    return np.flatnonzero(np.bincount(tiles.label) >= plan.tiles)
