"""Connected components of masks."""

import cv2
import numpy as np
from numpy.typing import NDArray


def filter_components(
    mask: NDArray[np.bool_],
    *,
    min_area: float = 0.0,
    touching: NDArray[np.bool_] | None = None,
    connectivity: int = 8,
) -> NDArray[np.bool_]:
    """Keep some connected components of a mask, bool (h, w).

    Those with fewer pixels than `min_area`, or without a pixel in `touching` (bool (h, w)), are dropped. With
    `connectivity` 8, not 4, pixels that meet at a corner are connected.

    >>> filter_components(np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool), min_area=2).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 0, 0]])
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    if touching is not None:
        kept &= np.isin(np.arange(len(kept)), labels[touching])
    kept[0] = False
    return np.asarray(kept[labels])


def at_edge(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The outermost pixels of a picture: bool (h, w)."""
    edge = np.ones(shape, bool)
    edge[1:-1, 1:-1] = False
    return edge
