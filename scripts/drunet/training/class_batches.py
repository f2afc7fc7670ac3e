"""Tiles at fixed places with a class each, as batches and as few-shot episodes.

As in `drunet.training.batches`, every batch is drawn from (seed, epoch, index) alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError
from drunet.sampling import Crops
from drunet.slide import Slide
from drunet.training.batches import SlideSource


class ClassTiles(keras.utils.PyDataset):
    """What batches and episodes have in common: the tiles, and how they are read.

    Parameters
    ----------
    slides : list of SlideSource
    tiles : Crops
        Their `slide` indexes `slides`, their `label` is a class, 0..classes-1.
    classes : int
    size, mpp : int, float
        Side of a tile in pixels, and its resolution in µm/px.
    seed : int
    augmentation : Augmentation or None
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
        augmentation: Augmentation | None = None,
    ) -> None:
        # One reader beside the training step keeps the order of batches.
        super().__init__(workers=1, use_multiprocessing=False)
        self.tiles, self.classes, self.seed, self.epoch = tiles, classes, seed, 0
        self._slides, self._size, self._mpp = list(slides), size, mpp
        self._augmentation = augmentation
        self._open: dict[int, Slide] = {}

    def read(self, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pixels of the tiles at positions `chosen`: float32 (n, size, size, 3) in [0, 1]."""
        pixels = np.empty((len(chosen), self._size, self._size, 3), np.float32)
        for k, i in enumerate(chosen):
            slide = self._slide(int(self.tiles.slide[i]))
            tile = slide.read(int(self.tiles.x[i]), int(self.tiles.y[i]), (self._size, self._size), self._mpp)
            pixels[k] = self._augmentation(rng, tile)[0] if self._augmentation else tile
        return pixels / 255

    def _slide(self, index: int) -> Slide:
        if index not in self._open:
            self._open[index] = self._slides[index].open()
        return self._open[index]

    def close(self) -> None:
        """Close the slides that were opened for reading."""
        for slide in self._open.values():
            slide.close()
        self._open.clear()


class ClassBatches(ClassTiles):
    """Batches for a supervised head.

    Parameters
    ----------
    batch_size : int
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

    def __init__(self, *args: Any, batch_size: int, steps: int | None = None, fixed: bool = False, **tiles: Any):
        super().__init__(*args, **tiles)
        self._batch, self._steps, self._fixed = batch_size, steps, fixed

    def __len__(self) -> int:
        return self._steps or math.ceil(len(self.tiles) / self._batch)

    def order(self) -> np.ndarray:
        """Positions of the tiles of the current epoch."""
        count = len(self.tiles)
        if self._fixed:
            return np.arange(count)
        rng = np.random.default_rng([self.seed, self.epoch])
        wanted = self._steps * self._batch if self._steps else count
        return np.concatenate([rng.permutation(count) for _ in range(math.ceil(wanted / count))])[:wanted]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order()[index * self._batch : (index + 1) * self._batch]
        pixels = self.read(chosen, np.random.default_rng([self.seed, self.epoch, index]))
        return pixels, np.eye(self.classes, dtype=np.float32)[self.tiles.label[chosen]]


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
        names = {f.name for f in fields(cls)}
        given = set(config) if isinstance(config, Mapping) else set()
        if given != names:
            found = ", ".join(sorted(given ^ names))
            mend = f"It has exactly the keys {', '.join(sorted(names))}."
            raise ConfigError(
                "the episodes are not complete, or have unknown keys", where=where, found=found, mend=mend
            )
        for key in sorted(names):
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
        super().__init__(*args, **tiles)
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
        rng = self._rng(index, 0)
        chosen = np.sort(rng.choice(self.known, self.ways, replace=False))
        return np.stack([rng.choice(self._members[k], self._plan.tiles, replace=False) for k in chosen])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        drawn, shots = self.draw(index), self._plan.shots
        chosen = np.concatenate([drawn[:, :shots].ravel(), drawn[:, shots:].ravel()])
        way = np.arange(self.ways)
        target = np.concatenate([way.repeat(shots), way.repeat(self._plan.queries)])
        return self.read(chosen, self._rng(index, 1)), np.eye(self.ways, dtype=np.float32)[target]

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0 if self._fixed else self.epoch, index, stream])


def episode_classes(tiles: Crops, plan: EpisodePlan) -> np.ndarray:
    """Classes with enough tiles for an episode."""
    return np.flatnonzero(np.bincount(tiles.label) >= plan.tiles)
