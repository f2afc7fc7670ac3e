"""What every annotation format comes down to: labelled polygons in level-0 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal, cast

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon, Polygon

from drunet.annotation.outline import polygons_of
from drunet.errors import AnnotationError, spelt_alike

Kind = Literal["wta", "psa"]
Label = Literal["tumour", "non_tumour", "ignore"]
LABELS: tuple[Label, ...] = ("tumour", "non_tumour", "ignore")

# A brush dragged over the slide's edge is no mistake; an annotation of another slide is.
OVERHANG_PX = 8.0
OUTSIDE_SHARE = 0.01
# A self-crossing that changes the area by less than this is a slip of the hand.
REPAIR_SHARE = 0.01
OTHER_FRAME = " The slide's scanned area does not begin at its corner: `cohort.geojson_frame` says from where to count."


@dataclass(frozen=True)
class Region:
    """One annotated area: valid, within the slide, in level-0 pixels; `name` is the class as written in the file."""

    geometry: Polygon | MultiPolygon
    name: str
    label: Label


@dataclass(frozen=True)
class Annotation:
    """What a pathologist drew on one slide.

    Where regions of different meaning overlap, the smaller one counts, as QuPath shows it on top: necrosis drawn inside
    a tumour is non-tumour, a nest of tumour drawn inside that is tumour. Of two that are equally large both count. What
    is to be ignored is taken out of either, whatever its size. The kind is `wta`, whole tumour annotation (what is not
    tumour is non-tumour), or `psa`, partial slide annotation (what is not marked is unknown).
    """

    kind: Kind
    regions: tuple[Region, ...]

    @cached_property
    def ignore(self) -> shapely.Geometry:
        """Union of what is neither learnt from nor measured; empty where nothing is."""
        return self._union("ignore")

    @cached_property
    def tumour(self) -> shapely.Geometry:
        """Union of the tumour regions without smaller non-tumour regions and without what is to be ignored."""
        return polygons_of(shapely.difference(self._union("tumour", under="non_tumour"), self.ignore))

    @cached_property
    def non_tumour(self) -> shapely.Geometry:
        """Union of the regions marked as non-tumour without smaller tumour regions and what is to be ignored."""
        return polygons_of(shapely.difference(self._union("non_tumour", under="tumour"), self.ignore))

    @property
    def smallest_tumour_px2(self) -> float | None:
        """Area of the smallest single outline drawn as tumour, in level-0 px²; None without tumour.

        Parts of a region that touch are one, as pixels of a mask that meet at a corner are one fragment to
        post-processing.
        """
        tumours = [region.geometry for region in self.regions if region.label == "tumour"]
        return min((area for tumour in tumours for area in _connected_areas(tumour)), default=None)

    def _union(self, label: Label, under: Label | None = None) -> MultiPolygon:
        """Union of a label's regions, each without the smaller regions of another label that lie over it."""
        drawn = [r.geometry for r in self.regions if r.label == label]
        others = [r.geometry for r in self.regions if r.label == under]
        return polygons_of(shapely.union_all([_beneath(geometry, others) for geometry in drawn]))


@dataclass(frozen=True)
class Source:
    """Where an annotation comes from and what it has to fit: the context of every check and message.

    `where` is the slide ID, `file` the file's name without its folder; width and height of the slide are level-0
    pixels; `classes` maps labels to class names, as `cohort.annotation_classes` in the configuration; the coordinates
    of GeoJSON count from the level-0 pixel `origin` (x, y).
    """

    where: str
    file: str
    width: int
    height: int
    classes: Mapping[str, Sequence[str]]
    origin: Sequence[int] = (0, 0)

    def error(self, what: str, *, mend: str, found: object = None, item: str = "") -> AnnotationError:
        """Build the message for this file, and for one `item` of it where that is known."""
        place = f"{self.file}, {item}" if item else self.file
        return AnnotationError(f"{place}: {what}", where=self.where, found=found, mend=mend)

    def label_of(self, name: str | None, item: str) -> Label:
        """Look up what a class name means: without regard to case, exact names before wildcards.

        Raises AnnotationError if there is no name, or none of `classes` covers it.
        """
        if name is None or not name.strip():
            mend = "Give it one of the classes under cohort.annotation_classes, or delete it if it does not count."
            raise self.error("the region has no class", item=item, mend=mend)
        wanted = _folded(name)
        rules = [(label, _folded(rule)) for label, rules in self.classes.items() for rule in rules]
        fitting = [label for label, rule in rules if wanted == rule]
        if fitting := fitting or [label for label, rule in rules if fnmatchcase(wanted, rule)]:
            return _checked_label(fitting[0])
        known = [rule for rules in self.classes.values() for rule in rules]
        close = spelt_alike(wanted, map(_folded, known))
        hint = f" Did you mean {close[0]}?" if close else ""
        mend = f"Rename it, or add it to cohort.annotation_classes, which knows: {', '.join(known)}.{hint}"
        raise self.error("the class is not one that the configuration knows", item=item, found=repr(name), mend=mend)

    def region(self, polygons: Iterable[Sequence[np.ndarray]], name: str | None, item: str) -> Region:
        """Check rings and build a Region from them.

        `polygons` has per polygon its outer ring and then its holes, float64 (n, 2), closed or not; `name` is the class
        as written, `item` what to call this region in a message. Raises AnnotationError for too few positions,
        coordinates that are no numbers, crossings that cannot be repaired, no area, and regions outside the slide.
        """
        label = self.label_of(name, item)
        return Region(self.area(polygons, item), cast(str, name).strip(), label)

    def area(self, polygons: Iterable[Sequence[np.ndarray]], item: str) -> Polygon | MultiPolygon:
        """Check rings and build an area from them, as `region` does, for what needs no class.

        Where an outline that crosses itself is untangled, the crumbs that fall off it are dropped: nobody drew them.
        """
        parts = [self._polygon(rings, item) for rings in polygons]
        untangled = MultiPolygon([piece for part in parts for piece in _untangled(part)])
        merged = untangled if untangled.is_valid else polygons_of(shapely.make_valid(untangled, method="structure"))
        self._check_repair(sum(part.area for part in parts), merged.area, item)
        inside = self._clipped(merged, item)
        return inside.geoms[0] if len(inside.geoms) == 1 else inside

    def _polygon(self, rings: Sequence[np.ndarray], item: str) -> Polygon:
        if not rings:
            raise self.error("the region has no outline", item=item, mend="Delete it or draw it anew.")
        for ring in rings:
            if not np.isfinite(ring).all():
                bad = ring[~np.isfinite(ring).all(axis=1)][0]
                raise self.error(
                    "a coordinate is not a finite number", item=item, found=bad.tolist(), mend="Export the file again."
                )
            found = len(np.unique(ring, axis=0))
            if found < 3:
                mend = "Delete this region or draw it anew; points and lines have no area."
                raise self.error("an outline needs at least three different corners", item=item, found=found, mend=mend)
        return Polygon(rings[0], list(rings[1:]))

    def _check_repair(self, drawn: float, repaired: float, item: str) -> None:
        larger = max(drawn, repaired)
        if repaired <= 0:
            raise self.error("the region has no area", item=item, mend="Delete it or draw it anew.")
        if abs(drawn - repaired) > REPAIR_SHARE * larger:
            what = "the outline crosses itself, so that its inside is not certain"
            found = f"{drawn:.0f} px² as drawn, {repaired:.0f} px² when untangled"
            mend = "Draw the region anew without crossings, or split it into several."
            raise self.error(what, item=item, found=found, mend=mend)

    def _clipped(self, geometry: MultiPolygon, item: str) -> MultiPolygon:
        slide = shapely.box(0, 0, self.width, self.height)
        if slide.covers(geometry):
            return geometry
        inside = polygons_of(shapely.intersection(geometry, slide))
        left, top, right, bottom = geometry.bounds
        overhang = max(-left, -top, right - self.width, bottom - self.height)
        outside = 1.0 - inside.area / geometry.area
        if inside.is_empty or (overhang > OVERHANG_PX and outside > OUTSIDE_SHARE):
            found = f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; slide {self.width} x {self.height}"
            other_frame = OTHER_FRAME if any(self.origin) else ""
            mend = f"Check that the file belongs to this slide and holds full-resolution pixels, not µm.{other_frame}"
            raise self.error("the region lies outside the slide", item=item, found=found, mend=mend)
        return inside


def _untangled(part: Polygon) -> Sequence[Polygon]:
    """The polygon itself if it is valid; else its pieces, without those below `REPAIR_SHARE` of the whole."""
    if part.is_valid:
        return [part]
    pieces = polygons_of(shapely.make_valid(part, method="structure"))
    return [piece for piece in pieces.geoms if piece.area >= REPAIR_SHARE * pieces.area]


def _beneath(geometry: Polygon | MultiPolygon, others: Sequence[shapely.Geometry]) -> shapely.Geometry:
    """A geometry without those of the others that are smaller and share more than a border with it."""
    over = [o for o in others if o.area < geometry.area and shapely.relate_pattern(geometry, o, "T********")]
    # Untouched where nothing lies over it: a difference would reorder its corners.
    return shapely.difference(geometry, shapely.union_all(over)) if over else geometry


def _connected_areas(geometry: Polygon | MultiPolygon) -> list[float]:
    """Areas of the groups of parts that touch."""
    parts = shapely.get_parts(geometry)
    one, other = shapely.STRtree(parts).query(parts, predicate="intersects")
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(parts), len(parts)))
    group = connected_components(links, directed=False)[1]
    return np.bincount(group, shapely.area(parts)).tolist()


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _checked_label(label: str) -> Label:
    if label not in LABELS:
        raise ValueError(f"unknown annotation label {label!r}, expected one of {LABELS}")
    return label
