"""Grad-CAM maps of one network and the annotated boxes that they cover, without what needs Keras.

Source: Chu et al., section 3.2, who call a tumour detected where the highlighted region covers more than half of
it, by eye. They do not say from which strength on a place is highlighted: that is a threshold here.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.files import whole_file
from studies.common.images.view import View

COVERAGE = ("file", "group", "box", "layer", "right", "share", "highlighted", "found")


@dataclass(frozen=True, eq=False)
class ArmMaps:
    """Maps of one network of the images that are shown, in the network's own view, as maps.npz holds them.

    Maps are in [0, 1]. Means over the convolutions of each group (`studies.ct_pneumonia.attention.GROUPS`) are of the
    first image alone, since every convolution is explained for them; NaN where a group has no layer.
    """

    images: NDArray[np.uint8]  # (k, side, side, 3)
    boxes: NDArray[np.float64]  # (m, 4), px of the view
    owner: NDArray[np.int64]  # (m,), which image each box is of
    last: NDArray[np.float32]  # (k, side, side), of the layer that is explained
    last_name: NDArray[np.str_]  # (), what it is called
    layers: NDArray[np.float32]  # (layers, k, side, side)
    layer_names: NDArray[np.str_]  # (layers,)
    groups: NDArray[np.float32]  # (3, side, side)
    group_names: NDArray[np.str_]  # (3,)
    group_sizes: NDArray[np.int64]  # (3,), convolutions in each

    def write(self, path: str | Path) -> None:
        """Write the arrays, whole or not at all."""
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what `write` wrote; nothing in it is run."""
        with np.load(path, allow_pickle=False) as found:
            return cls(**{f.name: found[f.name] for f in fields(cls)})

    def boxes_of(self, image: int) -> NDArray[np.float64]:
        """Boxes (m, 4) of one image."""
        return self.boxes[self.owner == image]


def read_coverage(path: str | Path) -> pd.DataFrame:
    """Read a coverage.tsv: `COVERAGE`, a row per box."""
    return pd.read_csv(path, sep="\t", dtype={"file": str, "group": str, "layer": str, "right": bool, "found": bool})


def seen_box(view: View, box: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes (..., 4), px of an image of `size` (height, width), as the test view shows them, maybe cut."""
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
    return (found >= threshold * float(found.max())) & (found > 0)


def covered_share(mask: NDArray[np.bool_], box: NDArray[np.float64]) -> float:
    """Share of a box (xmin, ymin, xmax, ymax; px, as edges) that is highlighted (h, w), pixels counting in part."""
    left, top, right, bottom = (float(v) for v in box)
    if not (right > left and bottom > top):
        raise ValueError("a box without area cannot be covered")
    across, down = _inside(mask.shape[1], left, right), _inside(mask.shape[0], top, bottom)
    return min(float(down @ mask.astype(np.float64) @ across) / ((right - left) * (bottom - top)), 1.0)


def coverage(found: NDArray[np.float32], box: NDArray[np.float64], *, threshold: float, least: float) -> dict[str, Any]:
    """How a map (h, w) meets a box: share of the box that is covered, share of the map that is highlighted, found.

    The second is what a box anywhere would have of it on average; found is more than `least` (published: 0.5).
    """
    mask = highlighted(found, threshold)
    share = covered_share(mask, box)
    return {"share": share, "highlighted": float(mask.mean()), "found": share > least}


def _inside(count: int, low: float, high: float) -> NDArray[np.float64]:
    """Length of each unit interval [i, i + 1] that lies in [low, high]; float64 (count,)."""
    edges = np.arange(count, dtype=np.float64)
    return np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, 1)
