"""Tiles at fixed places with a class each, as batches and as few-shot episodes.

As in `drunet.training.batches`, every batch is drawn from (seed, epoch, index) alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError, check_keys
from drunet.sampling import Crops
from drunet.training.batches import SlideSource, TileReader


class ClassTiles(TileReader):
    """What batches and episodes have in common: the tiles and their classes.

    Parameters
    ----------
    slides, size, mpp, batch_size, seed, augmentation
        As in `TileReader`.
    tiles : Crops
        Their `slide` indexes `slides`, their `label` is a class, 0..classes-1.
    classes : int
    """

    def __init__(
        self,
        slides: Sequence[SlideSource],
        tiles: Crops,
        classes: int,
        *,
        size: int,
        mpp: float,
        seed: int,
        batch_size: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(slides, size=size, mpp=mpp, batch_size=batch_size, seed=seed, augmentation=augmentation)
        self.tiles, self.classes = tiles, classes


class ClassBatches(ClassTiles):
    """Batches for a supervised head.

    Parameters
    ----------
    steps : int, optional
        Batches per epoch; by default every tile once.
    fixed : bool
        The same order in every epoch, every tile once.
    **tiles
        As for `ClassTiles`.

    Yields
    ------
    (float32 (n, size, size, 3) in [0, 1], float32 (n, classes) one-hot)
    """

    def __init__(self, *args: Any, steps: int | None = None, fixed: bool = False, **tiles: Any):
        super().__init__(*args, **tiles)
        self._steps, self._fixed = steps, fixed

    def __len__(self) -> int:
        return self._steps or math.ceil(len(self.tiles) / self.batch_size)

    def order(self) -> np.ndarray:
        """Positions of the tiles of the current epoch."""
        count = len(self.tiles)
        if self._fixed:
            return np.arange(count)
        rng = np.random.default_rng([self.seed, self.epoch])
        wanted = self._steps * self.batch_size if self._steps else count
        return np.concatenate([rng.permutation(count) for _ in range(math.ceil(wanted / count))])[:wanted]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        taken = self.tiles.take(self.order()[index * self.batch_size : (index + 1) * self.batch_size])
        return self.read(taken, self._rng(index)), np.eye(self.classes, dtype=np.float32)[taken.label]


@dataclass(frozen=True)
class EpisodePlan:
    """How episodes are made; keys as under `data.episodes` in the configuration.

    Attributes
    ----------
    shots, queries : int
        Tiles per class from which prototypes are made, and which are then told apart (published: 2 and 3).
    count : int
        Episodes per epoch; the published 100 are those of all epochs.
    ways : int or None
        Classes per episode, where there are so many; None: all.
    """

    shots: int
    queries: int
    count: int
    ways: int | None

    @classmethod
    def from_config(cls, config: Any, where: str) -> EpisodePlan:
        """Read an `episodes` block; `where` is its key, for messages.

        Raises
        ------
        ConfigError
            For keys that are missing or unknown, and values out of range.
        """
        check_keys(cls, config, where)
        for key in sorted(config):
            value, least = config[key], 2 if key == "ways" else 1
            known = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not known and not (key == "ways" and value is None):
                also = ", or null for all classes" if key == "ways" else ""
                mend = f"Use a whole number of at least {least}{also}."
                raise ConfigError("the value is out of range", where=f"{where}.{key}", found=value, mend=mend)
        return cls(**config)

    @property
    def tiles(self) -> int:
        """Tiles that an episode takes of a class."""
        return self.shots + self.queries


class Episodes(ClassTiles):
    """Few-shot episodes: some tiles of each of some classes, none of them twice.

    Classes with too few tiles for an episode are never drawn.

    Parameters
    ----------
    plan : EpisodePlan
    fixed : bool
        The same episodes in every epoch.
    **tiles
        As for `ClassTiles`.

    Yields
    ------
    (float32 (ways (shots + queries), size, size, 3) in [0, 1], float32 (…, ways) one-hot)
        First the shots, class by class, then the queries.

    Raises
    ------
    ValueError
        If fewer than two classes have enough tiles.
    """

    def __init__(self, *args: Any, plan: EpisodePlan, fixed: bool = False, **tiles: Any):
        super().__init__(*args, batch_size=1, **tiles)
        self._plan, self._fixed = plan, fixed
        self.known = episode_classes(self.tiles, plan)
        if len(self.known) < 2:
            raise ValueError("an episode needs two classes with enough tiles")
        self._members = {k: np.flatnonzero(self.tiles.label == k) for k in self.known}
        self.ways = min(plan.ways or len(self.known), len(self.known))

    def __len__(self) -> int:
        return self._plan.count

    def draw(self, index: int) -> np.ndarray:
        """Positions of an episode's tiles: int (ways, shots + queries)."""
        rng = self._draws(index, 0)
        chosen = np.sort(rng.choice(self.known, self.ways, replace=False))
        return np.stack([rng.choice(self._members[k], self._plan.tiles, replace=False) for k in chosen])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        drawn, shots = self.draw(index), self._plan.shots
        chosen = np.concatenate([drawn[:, :shots].ravel(), drawn[:, shots:].ravel()])
        way = np.arange(self.ways)
        target = np.concatenate([way.repeat(shots), way.repeat(self._plan.queries)])
        return self.read(self.tiles.take(chosen), self._draws(index, 1)), np.eye(self.ways, dtype=np.float32)[target]

    def _draws(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0 if self._fixed else self.epoch, index, stream])


def episode_classes(tiles: Crops, plan: EpisodePlan) -> np.ndarray:
    """Classes with enough tiles for an episode."""
    return np.flatnonzero(np.bincount(tiles.label) >= plan.tiles)
