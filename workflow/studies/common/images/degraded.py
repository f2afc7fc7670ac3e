"""What is left of an image where a network is not to see what it should decide by: its rim alone, or a blur of it.

A network that distinguishes classes by what is left may do so by the whole image too, without looking at any lesion.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from drunet.settings.base import Block, refusal

Image = NDArray[np.uint8]


class Degradation(Block):
    """One way of taking the lesion out of an image. Exactly one is a number."""

    border: float | None = Field(default=None, gt=0, lt=0.5)
    """share of each side that is kept along it; all inside is black. Of a chest slice the outer tenth is mostly air,
    table, skin and what a journal adds: but it holds what it holds, and in a picture cropped to the lungs that may be
    lung"""
    blur: float | None = Field(default=None, gt=0, le=1)
    """standard deviation of a Gaussian blur, as a share of the side. At 0.06 a lesion narrower than an eighth of the
    picture (2.355 sigma: the blur's full width at half its height) is spread beyond itself; one that is larger, and the
    outline of the body, still show"""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.border is None) == (self.blur is None):
            mend = "Use one of border and blur; two arms may have one each."
            raise refusal("an image is degraded in one way", found=self.model_dump(exclude_none=True), mend=mend)
        return self

    def __call__(self, image: Image) -> Image:
        """Degrade an image, uint8 (h, w, c), into a new array."""
        return rim_of(image, self.border) if self.border is not None else blurred(image, self.blur or 0.0)


def rim_of(image: Image, share: float) -> Image:
    """An image whose inside is black, but for the outer `share` of the height above and below and of the width aside.

    The rim is a whole number of pixels, rounded, and at least one.
    """
    rim = image.copy()
    down, across = (max(1, round(share * side)) for side in image.shape[:2])
    rim[down:-down, across:-across] = 0
    return rim


def blurred(image: Image, share: float) -> Image:
    """An image under a Gaussian blur with a standard deviation of `share` of its shorter side, mirrored at its edge."""
    # Here, for the settings of studies are read with this module.
    import cv2

    sigma = share * min(image.shape[:2])
    soft = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(soft, dtype=np.uint8).reshape(image.shape)
