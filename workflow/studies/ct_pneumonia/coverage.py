"""How much of an annotated box a map highlights.

Source: paper 002, section 3.2, which calls a tumour detected where the highlighted region covers more than half of it,
by eye. It does not say from which strength on a place is highlighted: that is a threshold here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.common.images.view import View


def seen_box(view: View, box: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """A box of the whole image as the test view shows it.

    Parameters
    ----------
    view : View
    box : float (4,) or (n, 4)
        xmin, ymin, xmax, ymax; px of the image, as edges.
    size : (int, int)
        Height and width of the image, px.

    Returns
    -------
    float64, shape of `box`
        px of the view; outside [0, size] where the view cuts the image away.
    """
    height, width = size
    if view.fit == "stretch":
        sides, cut = (view.size, view.size), (0, 0)
    else:
        short = min(height, width)
        sides = view.short_side * height // short, view.short_side * width // short
        cut = round((sides[0] - view.size) / 2), round((sides[1] - view.size) / 2)
    scale = np.array([sides[1] / width, sides[0] / height] * 2)
    return np.asarray(box, np.float64) * scale - np.array([cut[1], cut[0]] * 2)


def highlighted(found: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Places of a map (h, w) at `threshold` times its own maximum or above; none where the map is 0 all over."""
    top = float(found.max())
    return (found >= threshold * top) & (found > 0) if top > 0 else np.zeros(found.shape, bool)


def covered_share(mask: NDArray[np.bool_], box: NDArray[np.float64]) -> float:
    """Share of a box's area that lies in the highlighted region.

    Parameters
    ----------
    mask : bool (h, w)
        Each place a square of 1 px.
    box : float (4,)
        xmin, ymin, xmax, ymax; px of the mask, as edges. What lies outside the mask counts as not covered.

    Returns
    -------
    float
        In [0, 1]; pixels that the box cuts count by the part inside.

    Raises
    ------
    ValueError
        If the box has no area.
    """
    left, top, right, bottom = (float(v) for v in box)
    if not (right > left and bottom > top):
        raise ValueError("a box without area cannot be covered")
    across, down = _inside(mask.shape[1], left, right), _inside(mask.shape[0], top, bottom)
    area = float(down @ mask.astype(np.float64) @ across)
    return min(area / ((right - left) * (bottom - top)), 1.0)


def coverage(
    found: NDArray[np.float32], box: NDArray[np.float64], *, threshold: float, least: float
) -> Mapping[str, Any]:
    """How a map meets a box.

    Parameters
    ----------
    found : float (h, w)
        The map.
    box : float (4,)
        See `covered_share`.
    threshold : float
        See `highlighted`.
    least : float
        The box is found if more than this share is covered (published: 0.5).

    Returns
    -------
    mapping
        share (of the box that is covered), highlighted (share of the whole map: what a box anywhere would have of it on
        average), found (bool).
    """
    mask = highlighted(found, threshold)
    share = covered_share(mask, box)
    return {"share": share, "highlighted": float(mask.mean()), "found": share > least}


def _inside(count: int, low: float, high: float) -> NDArray[np.float64]:
    """Length of each unit interval [i, i + 1] that lies in [low, high]; float64 (count,)."""
    edges = np.arange(count, dtype=np.float64)
    return np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, 1)
