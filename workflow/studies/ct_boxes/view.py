"""Augmentation of slices and their boxes: mirrored, enlarged and shifted."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from drunet.settings.base import Block
from studies.ct_boxes import geometry

_Most = Annotated[float, Field(ge=0, le=0.5)]

Image = NDArray[np.uint8]


class BoxView(Block):
    """How slices vary while a network learns."""

    flip: bool
    """mirrored left to right with probability one half"""
    shift: _Most
    """shifted along each side by up to this share of it"""
    zoom: _Most
    """enlarged or reduced about the middle by up to this share"""

    def training(
        self, rng: np.random.Generator, image: Image, box: NDArray[np.float64]
    ) -> tuple[Image, NDArray[np.float64]]:
        """Draw a view of an image, uint8 (h, w), and its box, float64 (4,), px; new arrays.

        Pixels from outside the image are black. A box that fits into the image is never shifted out of it.
        """
        # Here, for the settings of the study are read with this module.
        import cv2

        height, width = image.shape
        if self.flip and rng.random() < 0.5:
            image, box = image[:, ::-1], geometry.mirror(box, width)[0]
        factor = 1 + rng.uniform(-self.zoom, self.zoom)
        sides = np.array([width, height], dtype=np.float64)
        moved = (1 - factor) * sides / 2 + rng.uniform(-self.shift, self.shift, 2) * sides
        # The nearest move that leaves the box inside, along each side where it has room.
        low, high = -factor * box[:2], sides - factor * box[2:]
        moved = np.where(low <= high, np.clip(moved, low, np.maximum(low, high)), moved)
        # Coordinates of boxes are those of edges; warpAffine counts from the middle of the first pixel.
        affine = np.column_stack([np.eye(2) * factor, moved + (factor - 1) / 2])
        # A copy, for a mirrored view of an array is none that OpenCV takes.
        seen = cv2.warpAffine(np.ascontiguousarray(image), affine, (width, height), flags=cv2.INTER_LINEAR)
        box = factor * box + np.tile(moved, 2)
        return np.asarray(seen, dtype=np.uint8), geometry.clip(box, width, height)[0]
