"""From Hounsfield units to grey: the window through which a slice is looked at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from drunet.settings.base import Block


class Window(Block):
    """A range of Hounsfield units that is spread over the greys: of a lung -600 and 1500, of soft tissue 40 and 400."""

    centre: float = Field(ge=-2000, le=4000)
    """HU of the middle grey"""
    # The standard allows none below 1 HU.
    width: float = Field(ge=1, le=8000)
    """HU from black to white"""

    def grey(self, hu: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Grey of each value, uint8, by the function LINEAR of DICOM (PS3.3, C.11.2.1.2.1).

        0 below the window, 255 above it, in between ((hu - (centre - 1/2)) / (width - 1) + 1/2) · 255, rounded.
        """
        offset = np.asarray(hu, np.float64) - (self.centre - 0.5)
        half = (self.width - 1) / 2
        # A window of 1 HU is a threshold, of which the formula's middle part is empty.
        level = np.clip(offset / (2 * half) + 0.5, 0, 1) if half else (offset > 0).astype(np.float64)
        return np.floor(level * 255 + 0.5).astype(np.uint8)
