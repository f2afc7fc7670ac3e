"""Augmentation of slices and their boxes: mirrored, enlarged and shifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.errors import ConfigError
from studies.common.errors import check_keys
from studies.ct_boxes import geometry

_MOST = 0.5

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class BoxView:
    """How slices vary; keys as under an arm's `augment` in the study's settings.

    Attributes
    ----------
    flip : bool
        Mirrored left to right with probability one half.
    shift : float
        Shifted along each side by up to this share of it.
    zoom : float
        Enlarged or reduced about the middle by up to this share.
    """

    flip: bool = False
    shift: float = 0.0
    zoom: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None, where: str) -> BoxView | None:
        """Read an `augment` block; None stays None. `where` is its key, for messages.

        Raises
        ------
        ConfigError
            For a key missing or unknown, or a value out of range.
        """
        if config is None:
            return None
        check_keys(cls, config, where)
        view = cls(**config)
        if not isinstance(view.flip, bool):
            raise ConfigError("out of range", where=f"{where}.flip", found=view.flip, mend="Use true or false.")
        for key in ("shift", "zoom"):
            if not 0 <= getattr(view, key) <= _MOST:
                mend = f"Use a share from 0 to {_MOST}."
                raise ConfigError("out of range", where=f"{where}.{key}", found=getattr(view, key), mend=mend)
        return view

    def training(
        self, rng: np.random.Generator, image: Image, box: NDArray[np.float64]
    ) -> tuple[Image, NDArray[np.float64]]:
        """Draw a view of an image, uint8 (h, w), and its box, float64 (4,), px; new arrays.

        Pixels from outside the image are black. A box that fits into the image is never shifted out of it.
        """
        height, width = image.shape
        if self.flip and rng.random() < 0.5:
            image, box = image[:, ::-1], geometry.mirror(box, width)[0]
        factor = 1 + rng.uniform(-self.zoom, self.zoom)
        sides = np.array([width, height], dtype=np.float64)
        moved = (1 - factor) * sides / 2 + rng.uniform(-self.shift, self.shift, 2) * sides
        moved = _kept_inside(moved, factor * box, sides)
        # Coordinates of boxes are those of edges; warpAffine counts from the middle of the first pixel.
        affine = np.column_stack([np.eye(2) * factor, moved + (factor - 1) / 2])
        # A copy, for a mirrored view of an array is none that OpenCV takes.
        seen = cv2.warpAffine(np.ascontiguousarray(image), affine, (width, height), flags=cv2.INTER_LINEAR)
        box = factor * box + np.tile(moved, 2)
        return np.asarray(seen, dtype=np.uint8), geometry.clip(box, width, height)[0]


def _kept_inside(
    moved: NDArray[np.float64], box: NDArray[np.float64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The move (2,) nearest to the one given that leaves the box inside, along each side where it has room."""
    low, high = -box[:2], sides - box[2:]
    return np.where(low <= high, np.clip(moved, low, np.maximum(low, high)), moved)
