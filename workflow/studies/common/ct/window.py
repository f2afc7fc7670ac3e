"""From Hounsfield units to grey: the window through which a slice is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """A range of Hounsfield units that is spread over the greys.

    `centre`, `width`: HU. Usual ones: lung -600 and 1500, soft tissue 40 and 400.
    """

    centre: float
    width: float

    def grey(self, hu: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Grey of each value, uint8, by the function LINEAR of DICOM (PS3.3, C.11.2.1.2.1).

        0 below the window, 255 above it, in between ((hu - (centre - 1/2)) / (width - 1) + 1/2) · 255, rounded.
        """
        offset = np.asarray(hu, np.float64) - (self.centre - 0.5)
        half = (self.width - 1) / 2
        # A window of 1 HU is a threshold, of which the formula's middle part is empty.
        level = np.clip(offset / (2 * half) + 0.5, 0, 1) if half else (offset > 0).astype(np.float64)
        return np.floor(level * 255 + 0.5).astype(np.uint8)
