"""What batches of pictures have in common, whatever is learnt from them: order, constant size, threads.

Every batch is a function of (seed, epoch, index) alone, and every batch of an epoch has one size: a network is traced
(on a GPU: compiled) for one shape only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

# Position of a picture, and how often the epoch has shown it before.
Shown: TypeAlias = tuple[int, int]


class EpochBatches(keras.utils.PyDataset, ABC):
    """Pictures in an order that is drawn anew for every epoch; subclasses say what is seen of each, by `_seen`.

    Parameters
    ----------
    count : int
        Pictures.
    batch_size, seed : int
    steps : int, optional
        Batches per epoch; by default as many as show every picture once. The last one is filled up from the beginning
        of the order, and an order that is too short begins anew.
    threads : int
        Pictures decoded and cut at a time.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, steps: int | None = None, threads: int = 1) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.count, self.seed, self.epoch = count, seed, 0
        self._batch_size, self._threads = batch_size, threads
        self._steps = steps or math.ceil(count / batch_size)

    def __len__(self) -> int:
        return self._steps

    def _places(self, index: int) -> range:
        return range(index * self._batch_size, (index + 1) * self._batch_size)

    def _shown(self, index: int) -> list[Shown]:
        """The pictures of a batch."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        return [(int(order[place % self.count]), place // self.count) for place in self._places(index)]

    def _gathered(self, shown: Sequence[Shown]) -> list[Any]:
        """What `_seen` gives of each, in their order."""
        if self._threads > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                return list(pool.map(self._seen, shown))
        return [self._seen(picture) for picture in shown]

    def _rng(self, picture: Shown, stream: int) -> np.random.Generator:
        """Draws for a picture; `stream` keeps them apart from those of the order, of the same seed and epoch."""
        return np.random.default_rng([self.seed, self.epoch, *picture, stream])

    @abstractmethod
    def _seen(self, picture: Shown) -> Any:
        """What a batch takes of a picture."""


class GivenOrder(EpochBatches):
    """Mixed in before batches: each picture once, in the order given, the last batch filled up with the first one."""

    def _shown(self, index: int) -> list[Shown]:
        return [(place if place < self.count else 0, 0) for place in self._places(index)]

    def counts(self, index: int) -> NDArray[np.bool_]:
        """Which pictures of a batch count, (batch,): not those that fill it up."""
        return np.asarray(self._places(index)) < self.count

    def weights(self, index: int) -> NDArray[np.float32]:
        """Weights of a batch's pictures, (batch,): 0 for what fills it up.

        Those of the others make up for Keras' dividing by a batch's size, so that a loss over all batches is the mean
        over the pictures.
        """
        whole = len(self) * self._batch_size
        return (self.counts(index) * (whole / self.count)).astype(np.float32)
