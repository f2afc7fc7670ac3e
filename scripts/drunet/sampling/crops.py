"""The crops of a training epoch.

Whole tumour annotation (WTA): every labelled tile of the grid, once per epoch. Partial selective annotation (PSA):
random crops inside every marked region, anew in every epoch; one of each in the paper ("Data augmentation"), as
`once_each` does, else as many as tiles fit into it, so that area decides, not the annotator's way of dividing it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from drunet.annotation import Annotation
from drunet.errors import TrainingDataError
from drunet.grid import Grid
from drunet.tiles import NON_TUMOUR, TUMOUR, UNLABELLED, TileRules

# Draws after which a region is taken at its reserve: thin regions hold few places that fulfil the rules.
_MAX_DRAWS = 24
# Draws in which a region's reserve is looked for; a region without one is not learnt from.
_RESERVE_DRAWS = 256
# Share of a crop below which an area is rounding.
_SLACK = 1e-9


@dataclass(frozen=True)
class Crops:
    """Crops to read: int arrays with one entry a crop.

    `slide` is the position in the list of slides, `x` and `y` level-0 px of the top left corner, `label` 1 tumour,
    0 non-tumour.
    """

    slide: np.ndarray
    x: np.ndarray
    y: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, order: np.ndarray) -> Crops:
        """The crops at the positions `order`."""
        return Crops(self.slide[order], self.x[order], self.y[order], self.label[order])

    @classmethod
    def join(cls, parts: Sequence[Crops]) -> Crops:
        """All crops of the parts, in their order."""
        none = [np.zeros(0, np.int64)]
        return cls(*(np.concatenate(none + [getattr(p, f) for p in parts]) for f in ("slide", "x", "y", "label")))


# Says which crops of a round are shown, and how often: (generator, crops) -> crops.
Balance: TypeAlias = Callable[[np.random.Generator, Crops], Crops]


class GridTiles:
    """The labelled tiles of one slide, the same in every epoch. Its areas are the tiles."""

    def __init__(self, slide: int, table: pd.DataFrame) -> None:
        labelled = table[table["label"] != UNLABELLED]
        self._crops = Crops(
            np.full(len(labelled), slide),
            labelled["x"].to_numpy(np.int64),
            labelled["y"].to_numpy(np.int64),
            labelled["label"].to_numpy(np.int64),
        )

    def draw(self, rng: np.random.Generator) -> Crops:
        """All labelled tiles; nothing is drawn."""
        return self._crops

    @property
    def labels(self) -> np.ndarray:
        """Label of each area, int (n,)."""
        return self._crops.label

    @property
    def corners(self) -> np.ndarray:
        """Level-0 px (x, y) of the top left corner of each area, int (n, 2)."""
        return np.stack([self._crops.x, self._crops.y], axis=1)

    def scores(self, tiles: pd.DataFrame) -> np.ndarray:
        """What a classifier said of each area: float (n,), NaN where it said nothing.

        `tiles` has x, y (level-0 px of the top left corner) and p_tumour.
        """
        own = pd.DataFrame({"x": self._crops.x, "y": self._crops.y})
        return own.merge(tiles, on=["x", "y"], how="left", validate="1:1")["p_tumour"].to_numpy(np.float64)

    def only(self, chosen: Iterable[int]) -> GridTiles:
        """The same slide with some of its areas."""
        other = copy.copy(self)
        other._crops = self._crops.take(np.asarray(list(chosen), np.int64))
        return other

    def once_each(self) -> GridTiles:
        """The same slide: a tile is one crop anyhow."""
        return self


class RegionCrops:
    """Random crops inside the marked regions of one slide, drawn anew for every epoch, always as many.

    Its areas are the regions. No crop touches what is to be ignored, and none of non-tumour holds more tumour than the
    rules allow: a region in which there is no such place is left out, for its label would be wrong. The grid gives the
    side of a tile in level-0 pixels. Of the rules count `min_annotated`, the share of a crop that lies inside its
    region where there is such a place, and `max_non_tumour`, the share of tumour that a non-tumour crop may hold.
    """

    def __init__(self, slide: int, annotation: Annotation, grid: Grid, rules: TileRules) -> None:
        self._slide, self._grid, self._rules, self._by_area = slide, grid, rules, True
        self._side = grid.size * grid.downsample
        self._tumour, self._ignore = annotation.tumour, annotation.ignore
        self._regions: list[tuple[BaseGeometry, int, tuple[int, int]]] = []
        for union, label in ((annotation.tumour, TUMOUR), (annotation.non_tumour, NON_TUMOUR)):
            for part in shapely.get_parts(union):
                shapely.prepare(part)
                reserve = self._reserve(part, label)
                if reserve is not None:
                    self._regions.append((part, label, reserve))

    def draw(self, rng: np.random.Generator) -> Crops:
        """As many crops of each region as tiles fit into its area, at least one; one of each after `once_each`."""
        crops = []
        for region, own, reserve in self._regions:
            for _ in range(max(1, round(region.area / self._side**2)) if self._by_area else 1):
                fitting = (c for c in self._corners(rng, region, _MAX_DRAWS) if self._fits(region, own, c))
                crops.append((*next(fitting, reserve), own))
        x, y, label = np.array(crops, np.int64).reshape(-1, 3).T
        return Crops(np.full(len(x), self._slide), x, y, label)

    @property
    def labels(self) -> np.ndarray:
        """Label of each area, int (n,)."""
        return np.array([label for _, label, _ in self._regions], np.int64)

    @property
    def corners(self) -> np.ndarray:
        """Level-0 px (x, y) of the top left corner of each area's bounding box, int (n, 2)."""
        return np.array([region.bounds[:2] for region, _, _ in self._regions]).reshape(-1, 2).astype(np.int64)

    def scores(self, tiles: pd.DataFrame) -> np.ndarray:
        """The highest probability of tumour in each area: float (n,), NaN where no tile says anything.

        Counted are tiles of which the share `min_annotated` lies inside the region; where none does, the tile that
        holds most of the region. `tiles` has x, y (level-0 px of the top left corner) and p_tumour.
        """
        known = tiles[tiles["p_tumour"].notna()]
        corner = known[["x", "y"]].to_numpy(np.float64)
        boxes = shapely.box(*corner.T, *(corner + self._side).T)
        probability, tree = known["p_tumour"].to_numpy(np.float64), shapely.STRtree(boxes)
        scores = np.full(len(self._regions), np.nan)
        for i, (region, _, _) in enumerate(self._regions):
            near = tree.query(region, predicate="intersects")
            inside = shapely.area(shapely.intersection(region, boxes[near]))
            counted = inside >= (self._rules.min_annotated - _SLACK) * self._side**2
            if inside.max(initial=0) > 0:
                scores[i] = probability[near][counted if counted.any() else inside == inside.max()].max()
        return scores

    def only(self, chosen: Iterable[int]) -> RegionCrops:
        """The same slide with some of its areas."""
        other = copy.copy(self)
        other._regions = [self._regions[i] for i in chosen]
        return other

    def once_each(self) -> RegionCrops:
        """The same slide, with one crop of each area an epoch, whatever its size (paper)."""
        other = copy.copy(self)
        other._by_area = False
        return other

    def _reserve(self, region: BaseGeometry, label: int) -> tuple[int, int] | None:
        """A crop for when none that is drawn fits: the first that fits, else the first that may bear the label."""
        middle = region.representative_point()
        rng = np.random.default_rng(0)
        reserve = None
        for corner in (self._corner(middle.x, middle.y), *self._corners(rng, region, _RESERVE_DRAWS)):
            if self._fits(region, label, corner):
                return corner
            if reserve is None and self._allowed(label, self._box(corner)):
                reserve = corner
        return reserve

    def _corners(self, rng: np.random.Generator, region: BaseGeometry, draws: int) -> Iterator[tuple[int, int]]:
        left, top, right, bottom = region.bounds
        x, y = rng.uniform((left, top), (right, bottom), size=(draws, 2)).T
        for i in np.flatnonzero(shapely.contains_xy(region, x, y)):
            yield self._corner(x[i], y[i])

    def _fits(self, region: BaseGeometry, label: int, corner: tuple[int, int]) -> bool:
        box = self._box(corner)
        # A region smaller than a tile cannot fill its share: it then has to be as much inside as it can be.
        wanted = min(self._rules.min_annotated * box.area, 0.9 * region.area)
        return shapely.intersection(region, box).area >= wanted and self._allowed(label, box)

    def _allowed(self, label: int, box: BaseGeometry) -> bool:
        if shapely.intersection(self._ignore, box).area > _SLACK * box.area:
            return False
        if label == TUMOUR:
            return True
        most = (self._rules.max_non_tumour + _SLACK) * box.area
        return bool(shapely.intersection(self._tumour, box).area <= most)

    def _box(self, corner: tuple[int, int]) -> BaseGeometry:
        return shapely.box(*corner, corner[0] + self._side, corner[1] + self._side)

    def _corner(self, x: float, y: float) -> tuple[int, int]:
        # The whole crop stays on the slide: beyond the border there is only white.
        half = self._side / 2
        last_x, last_y = max(int(self._grid.width - self._side), 0), max(int(self._grid.height - self._side), 0)
        return min(max(round(x - half), 0), last_x), min(max(round(y - half), 0), last_y)


Source: TypeAlias = GridTiles | RegionCrops


def draw_epoch(
    sources: Sequence[Source],
    seed: int,
    epoch: int,
    samples: int | None = None,
    *,
    both_classes: bool = True,
    balance: Balance | None = None,
) -> Crops:
    """The crops of one epoch in random order; the same seed and epoch give the same crops.

    Of an epoch of `samples` fewer crops are drawn without replacement, more by further rounds of drawing. `balance` is
    applied to every round; without it every crop is shown once a round. Raises TrainingDataError if there is no crop,
    or only one class, unless `both_classes` is False: nothing can be learnt from them, but a model can be validated on
    them.
    """
    rng = np.random.default_rng([seed, epoch])

    def drawn(check: bool) -> Crops:
        crops = Crops.join([s.draw(rng) for s in sources])
        if check:
            check_classes(crops.label)
        return balance(rng, crops) if balance else crops

    rounds = [drawn(both_classes)]
    while samples is not None and sum(map(len, rounds)) < samples:
        rounds.append(drawn(False))
    orders = [crops.take(rng.permutation(len(crops))) for crops in rounds]
    epoch_crops = Crops.join(orders)
    return epoch_crops if samples is None else epoch_crops.take(np.arange(samples))


def check_classes(label: np.ndarray) -> None:
    """Refuse a training set in which a class is missing; raises TrainingDataError."""
    tumour, non_tumour = int(np.sum(label == TUMOUR)), int(np.sum(label == NON_TUMOUR))
    if tumour == 0 or non_tumour == 0:
        one = "the training slides give tiles of one class only"
        what = one if tumour or non_tumour else "there are no labelled tiles"
        found = f"{tumour} tumour and {non_tumour} non-tumour tiles"
        mend = "Annotate the missing class, list its names under `cohort.annotation_classes`, or loosen `tiles`."
        raise TrainingDataError(what, where="training set", found=found, mend=mend)
