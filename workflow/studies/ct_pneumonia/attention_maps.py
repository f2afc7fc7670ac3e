"""What mapping one network of the CT study leaves: its maps of the images shown, and how its map meets the boxes.

Apart from what makes them, so that reading them needs no Keras.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.files import whole_file

COVERAGE = ("file", "group", "box", "right", "share", "highlighted", "found")


@dataclass(frozen=True, eq=False)
class ArmMaps:
    """Maps of one network of the images that are shown, in the network's own view, as maps.npz holds them.

    Attributes
    ----------
    images : uint8 (k, side, side, 3)
    boxes : float64 (m, 4)
        px of the view.
    owner : int64 (m,)
        Which image each box is of.
    last : float32 (k, side, side)
        Of the last convolution, in [0, 1].
    last_name : str array ()
    layers : float32 (layers, k, side, side)
        Of the layers over the depth that are shown; none for a network of which none are asked for.
    layer_names : str array (layers,)
    groups : float32 (3, side, side)
        Averages over the convolutions of each group, of the first image alone, since every convolution is explained
        for them; NaN where a group has no layer.
    group_names : str array (3,)
        `studies.ct_pneumonia.layer_groups.GROUPS`: those held fixed, those that learn, all.
    group_sizes : int64 (3,)
        Convolutions in each.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    owner: NDArray[np.int64]
    last: NDArray[np.float32]
    last_name: NDArray[np.str_]
    layers: NDArray[np.float32]
    layer_names: NDArray[np.str_]
    groups: NDArray[np.float32]
    group_names: NDArray[np.str_]
    group_sizes: NDArray[np.int64]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays, whole or not at all."""
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ArmMaps:
        """Read what `write` wrote; nothing in it is run."""
        with np.load(path, allow_pickle=False) as found:
            return cls(**{f.name: found[f.name] for f in fields(cls)})

    def boxes_of(self, image: int) -> NDArray[np.float64]:
        """Boxes (m, 4) of one image."""
        return self.boxes[self.owner == image]


def read_coverage(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a coverage.tsv: `COVERAGE`, a row per box."""
    return pd.read_csv(path, sep="\t", dtype={"file": str, "group": str, "right": bool, "found": bool})
