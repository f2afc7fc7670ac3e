"""Batches of training data: the base of every dataset, and tiles for a classifier.

Every batch is a function of (seed, epoch, index) alone: neither threads nor a restart change the samples.
"""

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from drunet.sampling import Balance, Crops, Source, draw_epoch
from drunet.training.readers import CropReader


class EpochBatches(keras.utils.PyDataset, ABC):
    """A dataset of `count` samples whose content depends on the epoch, which the training loop sets.

    Of `steps` batches an epoch, with further rounds through the samples where they are too few; by default every sample
    is shown once. A `fixed` one, for validation and test, has every sample once, in the order given, the same in every
    epoch. `workers` are threads that make batches, see `drunet.training.feed`. `streams` are named streams of random
    draws, and what is appended to their seeds: draws of one never repeat those of another of the same seed, epoch and
    place.
    """

    streams: ClassVar[Mapping[str, tuple[int, ...]]] = {"order": (), "augmentation": (7,)}

    def __init__(
        self, count: int, *, batch_size: int, seed: int, steps: int | None = None, fixed: bool = False, workers: int = 1
    ) -> None:
        super().__init__(workers=workers)
        self.count, self.batch_size, self.seed, self.fixed = count, batch_size, seed, fixed
        self.steps = None if fixed else steps
        self.epoch = 0
        self._orders: dict[str, tuple[int, np.ndarray]] = {}
        # What is drawn for a whole epoch is drawn by the first thread that asks.
        self._drawing = threading.Lock()

    def __len__(self) -> int:
        return self.steps or math.ceil(self.count / self.batch_size)

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Inputs and targets of a batch of the current epoch, and weights where some samples do not count."""

    def inputs(self, index: int) -> Any:
        """What a network is shown of a batch, without the targets, which may be dear."""
        return self[index][0]

    def draws(self, stream: str, *place: int) -> np.random.Generator:
        """The random generator of a stream for a place in the current epoch."""
        epoch = 0 if self.fixed else self.epoch
        return np.random.default_rng([self.seed, epoch, *place, *self.streams[stream]])

    def augmentation_draws(self, index: int) -> np.random.Generator | None:
        """The generator for a batch's augmentation; None where nothing is augmented."""
        return None if self.fixed else self.draws("augmentation", index)

    def order(self) -> np.ndarray:
        """Positions of the samples of the current epoch, int (n,)."""
        if self.fixed:
            return np.arange(self.count)
        return self.in_rounds("order", self.count, self.steps * self.batch_size if self.steps else self.count)

    def in_rounds(self, stream: str, count: int, wanted: int) -> np.ndarray:
        """Draw `wanted` of `count` positions for the epoch, in rounds that show all of them; int (wanted,)."""
        with self._drawing:
            if self._orders.get(stream, (-1,))[0] != self.epoch:
                rng = self.draws(stream)
                rounds = [rng.permutation(count) for _ in range(math.ceil(wanted / max(count, 1)))]
                self._orders[stream] = self.epoch, np.concatenate([np.zeros(0, np.int64), *rounds])[:wanted]
            return self._orders[stream][1]

    def chosen(self, index: int) -> np.ndarray:
        """Positions of the samples of a batch."""
        return self.order()[index * self.batch_size : (index + 1) * self.batch_size]


class TileBatches(EpochBatches):
    """Tiles for the classifier: (float32 (n, size, size, 3) in [0, 1], float32 (n, 2) one-hot).

    Crops come from `sources`, whose `slide` indexes the reader's slides: `samples` an epoch, by default each once,
    evened out by `balance` (see `drunet.sampling.draw_epoch`), but not those of a fixed dataset. Further arguments are
    those of `EpochBatches`.
    """

    reader: CropReader

    def __init__(
        self,
        reader: CropReader,
        sources: Sequence[Source],
        *,
        samples: int | None = None,
        balance: Balance | None = None,
        **batches: Any,
    ) -> None:
        super().__init__(0, **batches)
        self.reader, self._sources, self._samples = reader, list(sources), samples
        self._balance = None if self.fixed else balance
        self._drawn: tuple[int, Crops] = (-1, Crops.join([]))
        # Neither random crops nor a balance vary in number: an epoch has as many as the first.
        self.count = len(self.crops)

    @property
    def crops(self) -> Crops:
        """The crops of the current epoch."""
        epoch, fixed = (0 if self.fixed else self.epoch), self.fixed
        with self._drawing:
            if self._drawn[0] != epoch:
                drawn = draw_epoch(
                    self._sources, self.seed, epoch, self._samples, both_classes=not fixed, balance=self._balance
                )
                self._drawn = (epoch, drawn)
            return self._drawn[1]

    def fill_up(self) -> None:
        """Lengthen every epoch to whole batches, with some crops that are shown twice."""
        self.count = self._samples = len(self) * self.batch_size
        self._drawn = (-1, Crops.join([]))

    def parts(self, index: int) -> tuple[Crops, ...]:
        """The crops of a batch."""
        crops = self.crops
        chosen = np.arange(index * self.batch_size, min((index + 1) * self.batch_size, len(crops)))
        return (crops.take(chosen),)

    def inputs(self, index: int) -> np.ndarray:
        """The pixels of a batch alone."""
        return self.reader.read(Crops.join(self.parts(index)), self.augmentation_draws(index))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs(index), np.eye(2, dtype=np.float32)[self.parts(index)[0].label]

    def class_counts(self) -> dict[str, int]:
        """Crops of each class in the current epoch."""
        return class_counts(self.crops.label)


def class_counts(label: np.ndarray) -> dict[str, int]:
    """How many labels are tumour and how many not."""
    return {"tumour": int((label == 1).sum()), "non_tumour": int((label == 0).sum())}
