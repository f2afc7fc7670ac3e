"""What is left of an image where a network is not to see what it should decide by: its rim alone, or a blur of it.

A network that distinguishes classes by what is left may do so by the whole image too, without looking at any lesion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.errors import ConfigError
from studies.common.errors import check_keys

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Degradation:
    """One way of taking the lesion out of an image; keys as under `sees` of an arm. Exactly one is a number.

    `border`: share of each side that is kept along it, in (0, 0.5); all inside is black. Of a chest slice the outer
    tenth is mostly air, table, skin and what a journal adds: but it holds what it holds, and in a picture cropped to
    the lungs that may be lung. `blur`: standard deviation of a Gaussian blur, as a share of the side, in (0, 1]. At
    0.06 a lesion narrower than an eighth of the picture (2.355 sigma: the blur's full width at half its height) is
    spread beyond itself; one that is larger, and the outline of the body, still show.
    """

    border: float | None = None
    blur: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str) -> Degradation:
        """Read a `sees` block; `where` is its key, for messages.

        Raises ConfigError for an unknown key, none or both, or a share out of range.
        """
        check_keys(cls, config, where, optional=("border", "blur"))
        found = cls(**config)
        if (found.border is None) == (found.blur is None):
            mend = "Use one of border and blur; two arms may have one each."
            raise ConfigError("an image is degraded in one way", where=where, found=dict(config), mend=mend)
        if found.border is not None and not 0 < found.border < 0.5:
            mend = "Use a share above 0 and below 0.5."
            raise ConfigError("out of range", where=f"{where}.border", found=found.border, mend=mend)
        if found.blur is not None and not 0 < found.blur <= 1:
            mend = "Use a share above 0, up to 1."
            raise ConfigError("out of range", where=f"{where}.blur", found=found.blur, mend=mend)
        return found

    def settings(self) -> dict[str, float]:
        """The block that `from_config` reads."""
        return {key: value for key in ("border", "blur") if (value := getattr(self, key)) is not None}

    def __call__(self, image: Image) -> Image:
        """Degrade an image.

        `image`: uint8 (h, w, c). Returns uint8 (h, w, c): a new array.
        """
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
    sigma = share * min(image.shape[:2])
    soft = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(soft, dtype=np.uint8).reshape(image.shape)
