"""Batches of slices with a box each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.common.images.epoch_batches import EpochBatches, GivenOrder, Shown
from studies.common.images.folder import read_image
from studies.common.images.view import resized
from studies.ct_boxes.view import BoxView

# Keeps the draws of views apart from those of the order, which use the same seed and epoch.
_VIEW_STREAM = 29

Seen = tuple[NDArray[np.uint8], NDArray[np.float64]]


def read_slice(path: str | os.PathLike[str], size: int) -> NDArray[np.uint8]:
    """A grey image stretched to a square, reduced by area: uint8 (size, size); raises ImageSetError if undecodable."""
    return resized(read_image(path)[..., 0], (size, size))


class BoxBatches(EpochBatches):
    """Training slices, in an order and with views that are drawn for every epoch.

    Parameters
    ----------
    files : list of str
    boxes : float (n, 4)
        xmin, ymin, xmax, ymax, px of what `originals` gives.
    originals : callable
        File to uint8 (size, size).
    unit : float
        Divisor of the boxes: 1 yields px, the size shares of the sides.
    view : BoxView or None
    **batches
        batch_size, seed, steps, threads; see `EpochBatches`.

    Yields
    ------
    (float32 (batch, size, size, 1) in [0, 1], float32 (batch, 4))
    """

    def __init__(
        self,
        files: Sequence[str],
        boxes: NDArray[np.float64],
        *,
        originals: Callable[[str], NDArray[np.uint8]],
        unit: float = 1.0,
        view: BoxView | None = None,
        **batches: Any,
    ) -> None:
        super().__init__(len(files), **batches)
        self.files, self._boxes = list(files), np.asarray(boxes, dtype=np.float64)
        self._originals, self._unit, self._view = originals, unit, view

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        seen = self._gathered(self._shown(index))
        return _pixels(seen), (np.stack([box for _, box in seen]) / self._unit).astype(np.float32)

    def inputs(self, index: int) -> NDArray[np.float32]:
        """The slices of a batch, float32 (batch, size, size, 1) in [0, 1]."""
        return _pixels(self._gathered(self._shown(index)))

    def _seen(self, picture: Shown) -> Seen:
        image, box = self._originals(self.files[picture[0]]), self._boxes[picture[0]]
        return (image, box) if self._view is None else self._view.training(self._rng(picture, _VIEW_STREAM), image, box)


class FixedBoxBatches(GivenOrder, BoxBatches):
    """Validation and test slices, unchanged and in the order given; parameters as of `BoxBatches`.

    The last batch is padded with slices whose boxes and weights are zero. Metrics without weights must leave out what
    has no box, as `MeanBoxIou` does.

    Yields
    ------
    (float32 (batch, size, size, 1), float32 (batch, 4), float32 (batch,))
        Slices, boxes and weights.
    """

    def __init__(self, *slices: Any, **options: Any) -> None:
        super().__init__(*slices, **{**options, "view": None, "steps": None})

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], ...]:
        images, boxes = super().__getitem__(index)
        return images, boxes * self.counts(index)[:, None].astype(np.float32), self.weights(index)


def _pixels(seen: Sequence[Seen]) -> NDArray[np.float32]:
    """Slices as a network takes them: float32 (n, size, size, 1)."""
    return np.stack([image for image, _ in seen])[..., None].astype(np.float32) / np.float32(255)
