"""Batches for a refiner: whole slides stretched to its square, or windows of them at a physical scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.refine import padded, window_starts
from drunet.training.batches import EpochBatches


@dataclass(frozen=True)
class Field:
    """A slide as a refiner sees it, on one raster: at its physical scale, or stretched to the square.

    `image` is uint8 (h, w, 3), `heat` float32 (h, w) in [0, 1], `truth` bool (h, w), and `looked`, bool (h, w), is
    where tiles were classified.
    """

    image: np.ndarray
    heat: np.ndarray
    truth: np.ndarray
    looked: np.ndarray

    def padded(self, side: int) -> Field:
        """With at least `side` rows and columns: glass goes on."""
        return Field(*(padded(array, side) for array in (self.image, self.heat, self.truth, self.looked)))

    def at(self, y: int, x: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, heat and truth of a window."""
        window = np.s_[y : y + side, x : x + side]
        return self.image[window], self.heat[window], self.truth[window]


class SlideBatches(EpochBatches):
    """Whole slides, held in memory at the refiner's size (6 MB each at 1120²); further arguments as `EpochBatches`.

    Yields ({"input_image": float32 (n, s, s, 3), "input_pred": float32 (n, s, s, 1)}, float32 (n, s, s, 2) one-hot).
    """

    def __init__(self, fields: Sequence[Field], *, augmentation: Augmentation | None = None, **batches: Any) -> None:
        super().__init__(len(fields), **batches)
        self._fields, self._augmentation = list(fields), augmentation

    def samples(self, index: int, rng: np.random.Generator | None) -> list[tuple[np.ndarray, ...]]:
        """Image, heat and truth of each sample of a batch, before they are changed."""
        return [(f.image, f.heat, f.truth) for f in (self._fields[i] for i in self.chosen(index))]

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rng = self.augmentation_draws(index)
        samples = self.samples(index, rng)
        if rng is not None and self._augmentation is not None:
            samples = [self._augmentation(rng, *sample) for sample in samples]
        image, heat, truth = (np.stack(part) for part in zip(*samples, strict=True))
        inputs: dict[str, np.ndarray] = {
            "input_image": image.astype(np.float32) / 255,
            "input_pred": heat[..., None].astype(np.float32),
        }
        return inputs, np.stack([~truth, truth], axis=-1).astype(np.float32)


class WindowBatches(SlideBatches):
    """Square windows of slides, held in memory at the refiner's scale (a resection of 20 mm at 8 µm/px: 50 MB).

    A slide gives as many windows an epoch as cover its tissue twice; each has a pixel that was looked at, drawn
    uniformly, in its middle, or as near to it as the slide's edge lets it be. A fixed dataset has the windows that
    cover the slides once.
    """

    def __init__(self, fields: Sequence[Field], side: int, **batches: Any) -> None:
        super().__init__([field.padded(side) for field in fields], **batches)
        self.side, self._looked = side, [np.flatnonzero(field.looked) for field in self._fields]
        if self.fixed:
            self._windows = [(i, y, x) for i, f in enumerate(self._fields) for y, x in self._cover(f)]
            self.count = len(self._windows)
        else:
            numbers = [max(1, round(2 * len(pixels) / side**2)) if len(pixels) else 0 for pixels in self._looked]
            self._slides = np.repeat(np.arange(len(fields)), numbers)
            self.count = len(self._slides)

    def _cover(self, field: Field) -> list[tuple[int, int]]:
        starts = [window_starts(length, self.side, overlap=0.0) for length in field.heat.shape]
        corners = [(y, x) for y in starts[0] for x in starts[1]]
        return [(y, x) for y, x in corners if field.looked[y : y + self.side, x : x + self.side].any()]

    def _drawn(self, index: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """Slide and corner of each window of a batch."""
        windows = []
        for slide in self._slides[self.chosen(index)]:
            height, width = self._fields[slide].heat.shape
            y, x = divmod(int(rng.choice(self._looked[slide])), width)
            y, x = (int(np.clip(c - self.side // 2, 0, n - self.side)) for c, n in ((y, height), (x, width)))
            windows.append((int(slide), y, x))
        return windows

    def samples(self, index: int, rng: np.random.Generator | None) -> list[tuple[np.ndarray, ...]]:
        """As `SlideBatches.samples`."""
        chosen = [self._windows[i] for i in self.chosen(index)] if rng is None else self._drawn(index, rng)
        return [self._fields[slide].at(y, x, self.side) for slide, y, x in chosen]
