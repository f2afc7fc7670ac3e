"""Batches of slices with a box each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from drunet.training.batches import EpochBatches
from studies.common.images.batches import PictureBatches, Shown
from studies.common.images.folder import read_image
from studies.common.images.view import resized
from studies.ct_boxes.view import BoxView

Seen = tuple[NDArray[np.uint8], NDArray[np.float64]]


def read_slice(path: str | os.PathLike[str], size: int) -> NDArray[np.uint8]:
    """A grey image stretched to a square, reduced by area: uint8 (size, size); raises ImageSetError if undecodable."""
    return resized(read_image(path)[..., 0], (size, size))


class BoxBatches(PictureBatches):
    """Slices with views that are drawn anew for every epoch; fixed, or without a `view`: each as it is.

    `boxes` are float (n, 4), xmin, ymin, xmax, ymax, px of what `originals` gives, uint8 (size, size); they are divided
    by the `unit`: 1 yields px, the size shares of the sides. The rest is as of `PictureBatches`.

    Yields slices, float32 (batch, size, size, 1) in [0, 1], boxes, float32 (batch, 4), and weights, float32 (batch,),
    of a fixed dataset.
    """

    streams: ClassVar = {**EpochBatches.streams, "augmentation": (29,)}

    def __init__(
        self,
        files: Sequence[str],
        boxes: NDArray[np.float64],
        *,
        unit: float = 1.0,
        view: BoxView | None = None,
        **pictures: Any,
    ) -> None:
        super().__init__(files, **pictures)
        self._boxes, self._unit = np.asarray(boxes, dtype=np.float64), unit
        self._view = None if self.fixed else view

    def _pair(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen = self.gathered(index)
        return _pixels(seen), (np.stack([box for _, box in seen]) / self._unit).astype(np.float32)

    def inputs(self, index: int) -> NDArray[np.float32]:
        """The slices of a batch alone, float32 (batch, size, size, 1) in [0, 1]."""
        return _pixels(self.gathered(index))

    def _seen(self, picture: Shown) -> Seen:
        image, box = self._originals(self.files[picture[0]]), self._boxes[picture[0]]
        if self._view is None:
            return image, box
        return self._view.training(self.draws("augmentation", *picture), image, box)


def _pixels(seen: Sequence[Seen]) -> NDArray[np.float32]:
    """Slices as a network takes them: float32 (n, size, size, 1)."""
    return np.stack([image for image, _ in seen])[..., None].astype(np.float32) / np.float32(255)
