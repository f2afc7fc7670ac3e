"""Which crops a training epoch sees.

Whole tumour annotation (WTA): every labelled tile of the grid, once per epoch. Partial selective annotation (PSA): a
random crop inside every marked region, once per epoch (paper, "Data augmentation"); a region that holds several tiles
counts as that many samples, so that area, not the annotator's way of dividing it, decides its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from drunet.annotation import Annotation
from drunet.errors import TrainingDataError
from drunet.grid import Grid
from drunet.tiles import NON_TUMOUR, TUMOUR, UNLABELLED, TileRules

# Draws after which a region is taken at its middle: thin regions hold few places that fulfil the rules.
_MAX_DRAWS = 24


@dataclass(frozen=True)
class Crops:
    """Crops to read: all arrays have one entry a crop.

    Attributes
    ----------
    slide : int array
        Position in the list of slides.
    x, y : int arrays
        Level-0 px of the top left corner.
    label : int array
        1 tumour, 0 non-tumour.
    """

    slide: np.ndarray
    x: np.ndarray
    y: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, order: np.ndarray) -> Crops:
        return Crops(self.slide[order], self.x[order], self.y[order], self.label[order])

    @classmethod
    def join(cls, parts: Sequence[Crops]) -> Crops:
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("slide", "x", "y", "label")))


class GridTiles:
    """The labelled tiles of one slide, the same in every epoch."""

    def __init__(self, slide: int, table: pd.DataFrame) -> None:
        labelled = table[table["label"] != UNLABELLED]
        self._crops = Crops(
            np.full(len(labelled), slide),
            labelled["x"].to_numpy(np.int64),
            labelled["y"].to_numpy(np.int64),
            labelled["label"].to_numpy(np.int64),
        )

    def draw(self, rng: np.random.Generator) -> Crops:
        return self._crops


class RegionCrops:
    """Random crops inside the marked regions of one slide, drawn anew for every epoch.

    Parameters
    ----------
    slide : int
        Position in the list of slides.
    annotation : Annotation
    grid : Grid
        For the side of a tile in level-0 pixels.
    rules : TileRules
        `min_annotated`: share of a crop that must lie inside regions of its class; `max_non_tumour`: share of tumour
        that a non-tumour crop may hold.
    """

    def __init__(self, slide: int, annotation: Annotation, grid: Grid, rules: TileRules) -> None:
        self._slide, self._grid, self._rules = slide, grid, rules
        self._side = grid.size * grid.downsample
        self._tumour = annotation.tumour
        self._regions: list[tuple[BaseGeometry, int]] = []
        for union, label in ((annotation.tumour, TUMOUR), (annotation.non_tumour, NON_TUMOUR)):
            for part in shapely.get_parts(union):
                shapely.prepare(part)
                self._regions.append((part, label))

    def draw(self, rng: np.random.Generator) -> Crops:
        """One crop per region, or as many as tiles fit into its area."""
        crops = [
            (*self._crop(rng, region, label), label)
            for region, label in self._regions
            for _ in range(max(1, round(region.area / self._side**2)))
        ]
        x, y, label = (np.array(v, dtype=np.int64) for v in zip(*crops, strict=True)) if crops else (np.zeros(0, int),) * 3
        return Crops(np.full(len(x), self._slide), x, y, label)

    def _crop(self, rng: np.random.Generator, region: BaseGeometry, label: int) -> tuple[int, int]:
        left, top, right, bottom = region.bounds
        x, y = rng.uniform((left, top), (right, bottom), size=(_MAX_DRAWS, 2)).T
        for u, v in zip(x, y, strict=True):
            if shapely.contains_xy(region, u, v) and self._fits(region, label, u, v):
                return self._corner(u, v)
        middle = region.representative_point()
        return self._corner(middle.x, middle.y)

    def _fits(self, region: BaseGeometry, label: int, x: float, y: float) -> bool:
        half = self._side / 2
        box = shapely.box(x - half, y - half, x + half, y + half)
        # A region smaller than a tile cannot fill its share: it then has to be as much inside as it can be.
        wanted = min(self._rules.min_annotated * box.area, 0.9 * region.area)
        if shapely.intersection(region, box).area < wanted:
            return False
        if label == TUMOUR:
            return True
        return shapely.intersection(self._tumour, box).area <= self._rules.max_non_tumour * box.area

    def _corner(self, x: float, y: float) -> tuple[int, int]:
        # The whole crop stays on the slide: beyond the border there is only white.
        half = self._side / 2
        last_x, last_y = max(self._grid.width - self._side, 0), max(self._grid.height - self._side, 0)
        return round(min(max(x - half, 0), last_x)), round(min(max(y - half, 0), last_y))


def draw_epoch(
    sources: Sequence[GridTiles | RegionCrops], seed: int, epoch: int, samples: int | None = None
) -> Crops:
    """The crops of one epoch in random order; the same seed and epoch give the same crops.

    Parameters
    ----------
    samples : int, optional
        Length of the epoch: fewer are drawn without replacement, more by further rounds of drawing.

    Raises
    ------
    TrainingDataError
        If there is no crop, or only one class.
    """
    rng = np.random.default_rng([seed, epoch])
    rounds = [Crops.join([s.draw(rng) for s in sources])]
    check_classes(rounds[0].label)
    while samples is not None and sum(map(len, rounds)) < samples:
        rounds.append(Crops.join([s.draw(rng) for s in sources]))
    orders = [crops.take(rng.permutation(len(crops))) for crops in rounds]
    epoch_crops = Crops.join(orders)
    return epoch_crops if samples is None else epoch_crops.take(np.arange(samples))


def check_classes(label: np.ndarray) -> None:
    """Refuse a training set in which a class is missing.

    Raises
    ------
    TrainingDataError
    """
    tumour, non_tumour = int(np.sum(label == TUMOUR)), int(np.sum(label == NON_TUMOUR))
    if tumour == 0 or non_tumour == 0:
        raise TrainingDataError(
            "the training slides give tiles of one class only" if tumour or non_tumour else "there are no labelled tiles",
            where="training set",
            found=f"{tumour} tumour and {non_tumour} non-tumour tiles",
            mend="Annotate the missing class, list its names under `cohort.annotation_classes`, or loosen `tiles`.",
        )
