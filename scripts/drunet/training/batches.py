"""Training data as `keras.utils.PyDataset`: tiles read from slides, and slides with their heatmaps.

Every batch is drawn from (seed, epoch, index) alone, so that neither threads nor a restart change what is learnt from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.errors import SlideError
from drunet.sampling import Balance, Crops, Source, draw_epoch
from drunet.slide import Slide

# Keeps the draws of augmentation apart from those of sampling, which use the same seed and epoch.
_AUGMENTATION_STREAM = 7


@dataclass(frozen=True)
class SlideSource:
    """Where a slide's pixels come from."""

    path: str
    slide_id: str
    mpp: float | None = None

    def open(self) -> Slide:
        """Open the slide; the caller closes it."""
        return Slide(self.path, self.slide_id, self.mpp)


class _Epochs(keras.utils.PyDataset):
    """A dataset whose content depends on the epoch, which the training loop sets."""

    def __init__(self, seed: int, batch_size: int) -> None:
        # One reader beside the training step keeps the order of batches; more would gain nothing on a CPU.
        super().__init__(workers=1, use_multiprocessing=False)
        self.seed, self.batch_size = seed, batch_size
        self.epoch = 0

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, index, _AUGMENTATION_STREAM])


class TileReader(_Epochs):
    """What all data made of tiles have in common: how tiles are read, and that slides stay open between batches.

    Parameters
    ----------
    slides : list of SlideSource
    size, mpp : int, float
        Side of a tile in pixels, and its resolution in µm/px.
    batch_size : int
    seed : int
    augmentation : Augmentation or None
    """

    def __init__(
        self,
        slides: Sequence[SlideSource],
        *,
        size: int,
        mpp: float,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None,
    ) -> None:
        super().__init__(seed, batch_size)
        self._slides, self._size, self._mpp = list(slides), size, mpp
        self._augmentation = augmentation
        self._open: dict[int, Slide] = {}
        self.failure: SlideError | None = None

    def read(self, crops: Crops, rng: np.random.Generator) -> np.ndarray:
        """Pixels of crops, augmented: float32 (n, size, size, 3) in [0, 1].

        Raises
        ------
        SlideError
            If a tile cannot be read. It is kept as `failure`, for TensorFlow raises an error of its own in its place.
        """
        pixels = np.empty((len(crops), self._size, self._size, 3), np.float32)
        for k in range(len(crops)):
            corner = int(crops.x[k]), int(crops.y[k])
            try:
                tile = self._slide(int(crops.slide[k])).read(*corner, (self._size, self._size), self._mpp)
            except SlideError as error:
                self.failure = error
                error.mend += " Or take the slide out of the sheet: training does not go on without some of its tiles."
                raise
            pixels[k] = self._augmentation(rng, tile)[0] if self._augmentation else tile
        pixels /= 255
        return pixels

    def _slide(self, index: int) -> Slide:
        if index not in self._open:
            self._open[index] = self._slides[index].open()
        return self._open[index]

    def close(self) -> None:
        """Close the slides that were opened for reading."""
        for slide in self._open.values():
            slide.close()
        self._open.clear()


class TileBatches(TileReader):
    """Tiles for the patch-wise classifier.

    Parameters
    ----------
    slides, size, mpp, batch_size, seed, augmentation
        As in `TileReader`.
    sources : list of GridTiles or RegionCrops
        Where crops come from; their `slide` indexes `slides`.
    samples : int, optional
        Crops per epoch; by default each source once.
    fixed : bool
        Validation: the same crops in every epoch, nothing augmented.
    balance : callable, optional
        How the crops of an epoch are evened out; see `drunet.sampling.draw_epoch`.

    Yields
    ------
    (float32 (n, size, size, 3) in [0, 1], float32 (n, 2) one-hot)
    """

    def __init__(
        self,
        slides: Sequence[SlideSource],
        sources: Sequence[Source],
        *,
        size: int,
        mpp: float,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        samples: int | None = None,
        fixed: bool = False,
        balance: Balance | None = None,
    ) -> None:
        shown = None if fixed else augmentation
        super().__init__(slides, size=size, mpp=mpp, batch_size=batch_size, seed=seed, augmentation=shown)
        self._sources, self._samples, self._fixed = list(sources), samples, fixed
        self._balance = None if fixed else balance
        self._drawn: tuple[int, Crops] = (0, self._epoch_crops(0))

    @property
    def crops(self) -> Crops:
        """The crops of the current epoch."""
        epoch = 0 if self._fixed else self.epoch
        if self._drawn[0] != epoch:
            self._drawn = (epoch, self._epoch_crops(epoch))
        return self._drawn[1]

    def _epoch_crops(self, epoch: int) -> Crops:
        return draw_epoch(
            self._sources, self.seed, epoch, self._samples, both_classes=not self._fixed, balance=self._balance
        )

    def __len__(self) -> int:
        # Neither random crops nor a balance vary in number: an epoch has as many as the first.
        return math.ceil(len(self._drawn[1]) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        crops = self.crops
        chosen = np.arange(index * self.batch_size, min((index + 1) * self.batch_size, len(crops)))
        taken = crops.take(chosen)
        return self.read(taken, self._rng(index)), np.eye(2, dtype=np.float32)[taken.label]


class SlideBatches(_Epochs):
    """Whole slides with heatmaps for the refiner, held in memory at the refiner's size (6 MB each at 1120²).

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    heats : float32 (n, s, s)
        In [0, 1].
    truths : bool (n, s, s)
    batch_size, seed, augmentation, fixed
        As in `TileBatches`.
    steps : int, optional
        Batches per epoch; by default every slide once.

    Yields
    ------
    ({"input_image": float32 (n, s, s, 3), "input_pred": float32 (n, s, s, 1)}, float32 (n, s, s, 2) one-hot)
    """

    def __init__(
        self,
        images: np.ndarray,
        heats: np.ndarray,
        truths: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        steps: int | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__(seed, batch_size)
        self._images, self._heats, self._truths = images, heats, truths
        self._augmentation = None if fixed else augmentation
        self._fixed, self._steps = fixed, steps

    def __len__(self) -> int:
        return self._steps or math.ceil(len(self._images) / self.batch_size)

    def _order(self) -> np.ndarray:
        count, wanted = len(self._images), len(self) * self.batch_size
        if self._fixed:
            return np.arange(count)
        rng = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])
        return order[: wanted if self._steps else count]

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        chosen, rng = self._order()[index * self.batch_size : (index + 1) * self.batch_size], self._rng(index)
        samples = [self._sample(rng, i) for i in chosen]
        image, heat, truth = (np.stack(part) for part in zip(*samples, strict=True))
        inputs: dict[str, np.ndarray] = {
            "input_image": image.astype(np.float32) / 255,
            "input_pred": heat[..., None].astype(np.float32),
        }
        return inputs, np.stack([~truth, truth], axis=-1).astype(np.float32)

    def _sample(self, rng: np.random.Generator, i: int) -> tuple[Any, ...]:
        sample = (self._images[i], self._heats[i], self._truths[i])
        return tuple(self._augmentation(rng, *sample)) if self._augmentation else sample
