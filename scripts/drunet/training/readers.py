"""Readers of training data from slides: the annotated slide, its tiles, and where an epoch's crops come from."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from drunet.annotation import Annotation
from drunet.annotation.parsed import read_parsed, read_provenance
from drunet.annotation.provenance import Provenance
from drunet.augment.pipeline import Augmentation
from drunet.errors import SlideError, TrainingDataError
from drunet.grid import Grid
from drunet.outcome import without_failed
from drunet.sampling import Crops, GridTiles, RegionCrops, Source
from drunet.settings.stains import StainNormalisation
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import UNLABELLED, TileRules, read_table

# Bytes of decoded tiles that a reader keeps of all its slides: they stay open.
KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class SlideSource:
    """Where a slide's pixels come from, and what becomes of its stains."""

    path: str
    slide_id: str
    mpp: float | None = None
    density: np.ndarray | None = field(default=None, compare=False)

    def open(self) -> Slide:
        """Open the slide; the caller closes it."""
        return Slide(self.path, self.slide_id, self.mpp, density=self.density)


@dataclass(frozen=True)
class AnnotatedSlide:
    """A training slide: its pixels, its tile table and its parsed annotation (files)."""

    source: SlideSource
    tiles: str
    annotation: str

    @property
    def files(self) -> list[str]:
        """What training learns from besides pixels; partial annotations are cropped from directly."""
        return [self.tiles, self.annotation]

    @property
    def provenance(self) -> Provenance:
        """Where its annotation comes from."""
        return read_provenance(self.annotation)

    def read(self) -> tuple[pd.DataFrame, Grid, Annotation]:
        """Tile table, grid and annotation."""
        table, facts = read_table(self.tiles)
        grid = Grid.from_dict(facts["grid"])
        annotation = read_parsed(self.annotation, slide_id=self.source.slide_id, size=(grid.width, grid.height))
        if annotation is None:
            raise ValueError(f"{self.source.slide_id} has no annotation to learn from")
        return table, grid, annotation


def split_slides(
    slides: Sequence[Mapping[str, Any]],
    training: int,
    paths: Sequence[str],
    tiles: Sequence[str],
    annotations: Sequence[str],
    further: Sequence[str] = (),
) -> tuple[list[AnnotatedSlide], list[AnnotatedSlide], list[str]]:
    """Training and validation slides from parallel lists, without those that failed before training, which are said.

    One with an outcome in the place of a file teaches as little as a slide that inspection refused. A tile that cannot
    be read during training stops it: what was learnt would depend on which tiles had been drawn before. `slides` have
    slide_id and mpp, the first `training` of them to learn from; the `further` files, one more per slide if any, come
    back for the slides that are left, in their order.
    """
    files = paths, tiles, annotations, further
    kept, (paths, tiles, annotations, further) = without_failed(list(enumerate(slides)), *files)
    sources = [SlideSource(path, s["slide_id"], s["mpp"]) for (_, s), path in zip(kept, paths, strict=True)]
    joined = [AnnotatedSlide(*parts) for parts in zip(sources, tiles, annotations, strict=True)]
    count = sum(place < training for place, _ in kept)
    return joined[:count], joined[count:], further


def normalised(
    slides: Sequence[AnnotatedSlide], stains: Sequence[str], settings: StainNormalisation | None
) -> list[AnnotatedSlide]:
    """The slides with their stains normalised, where that is asked for, by a file with the stains of each."""
    if settings is None:
        return list(slides)
    changes = [density_change([file], settings) for file in stains]
    pairs = zip(slides, changes, strict=True)
    return [replace(slide, source=replace(slide.source, density=change)) for slide, change in pairs]


class CropReader(Protocol):
    """What a network is shown of crops, float32 (n, …); safe to share between threads."""

    def read(self, crops: Crops, rng: np.random.Generator | None = None) -> np.ndarray:
        """Read crops; what is random is drawn from the generator."""
        ...


class TileReader:
    """Tiles of slides, which stay open between batches.

    `size` is the side of a tile in pixels, `mpp` its resolution in µm/px; the augmentation is of tiles that are read
    with a random generator.
    """

    def __init__(
        self, slides: Sequence[SlideSource], *, size: int, mpp: float, augmentation: Augmentation | None = None
    ) -> None:
        self.slides, self.size, self.mpp, self.augmentation = list(slides), size, mpp, augmentation
        self._open: dict[int, Slide] = {}
        self._opening = threading.Lock()

    def read(self, crops: Crops, rng: np.random.Generator | None = None) -> np.ndarray:
        """Pixels of crops, float32 (n, size, size, 3) in [0, 1], augmented with a generator; raises SlideError."""
        pixels = np.empty((len(crops), self.size, self.size, 3), np.float32)
        for k in range(len(crops)):
            corner = int(crops.x[k]), int(crops.y[k])
            try:
                tile = self._slide(int(crops.slide[k])).read(*corner, (self.size, self.size), self.mpp)
            except SlideError as error:
                error.mend += " Or take the slide out of the sheet: training does not go on without some of its tiles."
                raise
            seen = tile if rng is None or self.augmentation is None else self.augmentation(rng, tile)[0]
            np.divide(seen, np.float32(255), out=pixels[k])
        return pixels

    def _slide(self, index: int) -> Slide:
        with self._opening:
            if index not in self._open:
                self._open[index] = self.slides[index].open()
                self._open[index].keep_at_most(KEPT_BYTES // len(self.slides))
            return self._open[index]

    def close(self) -> None:
        """Close the slides that were opened for reading."""
        for slide in self._open.values():
            slide.close()
        self._open.clear()


def tile_shape(slides: Sequence[AnnotatedSlide]) -> dict[str, Any]:
    """Side (`size`, px) and resolution (`mpp`, µm/px) of the slides' tiles, which is one for all."""
    grid = Grid.from_dict(read_table(slides[0].tiles)[1]["grid"])
    return {"size": grid.size, "mpp": grid.tile_mpp}


def crop_sources(slides: Sequence[AnnotatedSlide], rules: TileRules) -> list[Source]:
    """Where crops come from: random ones in the regions of partially annotated slides, the labelled tiles of others."""
    sources: list[Source] = []
    for index, slide in enumerate(slides):
        table, grid, annotation = slide.read()
        if annotation.kind == "psa":
            sources.append(RegionCrops(index, annotation, grid, rules))
        else:
            sources.append(GridTiles(index, table))
    return sources


def tissue_tiles(tables: Sequence[pd.DataFrame], rules: TileRules) -> Crops:
    """List all tiles with at least `rules.min_tissue`, whatever the annotation says of them; every label is -1.

    To the labelled ones come those with too little tumour for a label, those outside marked regions, and those to be
    ignored: their labels are unknown or doubtful, their pixels are not. A tile's `slide` is the position of its table.
    """
    parts = []
    for slide, table in enumerate(tables):
        x, y = (table.loc[table["tissue_fraction"] >= rules.min_tissue, axis].to_numpy(np.int64) for axis in "xy")
        parts.append(Crops(np.full(len(x), slide), x, y, np.full(len(x), UNLABELLED)))
    return Crops.join(parts)


def stain_facts(slides: Sequence[AnnotatedSlide], settings: StainNormalisation | None) -> dict[str, Any]:
    """What to remember of the normalisation of stains, JSON values: nothing where there is none."""
    if settings is None:
        return {}
    unchanged = [s.source.slide_id for s in slides if s.source.density is None]
    return {"stain_normalisation": {**settings.model_dump(), "not_normalised": unchanged}}


def need_slides(training: Sequence[AnnotatedSlide], name: str) -> None:
    """Refuse to train classifier `name` on no slides; raises TrainingDataError."""
    if not training:
        what = "no usable slide to learn from"
        found = "no annotated training slide of these kinds with status ok"
        mend = (
            "See slides.tsv in the results for what was left out; mark slides `train` in the sheet, or set "
            "`annotation_kinds`."
        )
        raise TrainingDataError(what, where=f"classifiers.{name}.data", found=found, mend=mend)
