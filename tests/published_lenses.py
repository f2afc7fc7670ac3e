"""Multi-lens distortion as its listing has it, for the fast form to be held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drunet.augment.multi_lens import Lenses


def distort_reference(image: NDArray, lenses: Lenses) -> NDArray:
    """Algorithm 1 as published, over the whole image once per lens: slow, and what `distort` is held against."""
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    distorted = image.copy()
    for row, column, radius, strength in lenses:
        distance = np.sqrt((rows - row) ** 2 + (columns - column) ** 2)
        scaling = np.maximum(1 - distance / radius, 0)
        source_rows = (rows - row) * (1 - strength * scaling) + row
        source_columns = (columns - column) * (1 - strength * scaling) + column
        source_rows = np.clip(source_rows, 0, height - 1).astype(np.intp)
        source_columns = np.clip(source_columns, 0, width - 1).astype(np.intp)
        distorted = distorted[source_rows, source_columns]
    return distorted
