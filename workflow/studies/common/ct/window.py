"""From Hounsfield units to grey: the window through which a slice is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drunet.errors import CtError, check_keys


@dataclass(frozen=True)
class Window:
    """A range of Hounsfield units that is spread over the greys.

    `centre`, `width`: HU. Usual ones: lung -600 and 1500, soft tissue 40 and 400.
    """

    centre: float
    width: float

    @classmethod
    def from_config(cls, block: Mapping[str, Any], where: str) -> Window:
        """Take a window from the configuration.

        Raises ConfigError for missing or unknown keys. Raises CtError for what is no number, and a width below 1 HU,
        which the standard does not allow.
        """
        check_keys(cls, block, where)
        for key in ("centre", "width"):
            value = block[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                mend = "Give Hounsfield units, -600 for the centre of a lung window, say."
                raise CtError("a window needs numbers", where=f"{where}.{key}", found=value, mend=mend)
        if block["width"] < 1:
            mend = "Give 1 HU or more: a lung window is some 1500 wide, one for soft tissue some 400."
            raise CtError("a window needs a width", where=f"{where}.width", found=block["width"], mend=mend)
        return cls(float(block["centre"]), float(block["width"]))

    def grey(self, hu: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Grey of each value: 0 below the window, 255 above it, in between

            ((hu - (centre - 1/2)) / (width - 1) + 1/2) · 255, rounded,

        which is the function LINEAR of DICOM (PS3.3, C.11.2.1.2.1). Its window begins at
        centre - 1/2 - (width - 1) / 2 and ends at centre - 1/2 + (width - 1) / 2.

        `hu`: of any shape.
        """
        offset = np.asarray(hu, np.float64) - (self.centre - 0.5)
        half = (self.width - 1) / 2
        # A window of 1 HU is a threshold, of which the formula's middle part is empty.
        level = np.clip(offset / (2 * half) + 0.5, 0, 1) if half else (offset > 0).astype(np.float64)
        return np.floor(level * 255 + 0.5).astype(np.uint8)
