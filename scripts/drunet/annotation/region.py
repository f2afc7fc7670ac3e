"""What every annotation format comes down to: labelled polygons in level-0 pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from drunet.annotation.mended import Mended, NoAreaError
from drunet.annotation.outline import polygons_of, united
from drunet.errors import AnnotationError, spelt_alike

Kind = Literal["wta", "psa"]
Label = Literal["tumour", "non_tumour", "ignore"]
LABELS: tuple[Label, ...] = ("tumour", "non_tumour", "ignore")

# A brush dragged over the slide's edge is no mistake; an annotation of another slide is.
OVERHANG_PX = 8.0
OUTSIDE_SHARE = 0.01
# Of an outline that crosses itself, pieces below this share of the whole are crumbs that nobody drew.
CRUMB_SHARE = 0.01
MAX_UNTANGLED = 0.05
DRAW_ANEW = "Delete this region or draw it anew; points and lines have no area."
# Edges that meet others this often, beyond what neighbours do, are a scribble; untangling one takes memory without end.
MEETINGS, MEETINGS_PER_EDGE, AT_FIRST = 2_000, 16, 16
# Pairs of regions, one over another of other meaning, that are sorted out in seconds; regions that are met at once.
MAX_OVERLAPS, AT_ONCE = 1_000_000, 1000
# Corners that tell whether an outline has three different ones.
FIRST_CORNERS = 64
OTHER_FRAME = " The slide's scanned area does not begin at its corner: `cohort.geojson_frame` says from where to count."


@dataclass(frozen=True)
class Region:
    """One annotated area, valid and within the slide, in level-0 px; `name`: its class, as written or as a wildcard."""

    geometry: Polygon | MultiPolygon
    name: str
    label: Label


@dataclass(frozen=True)
class Annotation:
    """What a pathologist drew on one slide.

    Where regions of different meaning overlap, the smaller one counts, as QuPath shows it on top: necrosis drawn inside
    a tumour is non-tumour, a nest of tumour drawn inside that is tumour. Of two that are equally large both count. What
    is to be ignored is taken out of either, whatever its size. The kind is `wta`, whole tumour annotation (what is not
    tumour is non-tumour), or `psa`, partial slide annotation (what is not marked is unknown). `mended` says what was
    passed over or mended in reading it, in words.
    """

    kind: Kind
    regions: tuple[Region, ...]
    mended: str = ""

    @cached_property
    def ignore(self) -> MultiPolygon:
        """Union of what is neither learnt from nor measured; empty where nothing is."""
        return self._union("ignore")

    @cached_property
    def tumour(self) -> MultiPolygon:
        """Union of the tumour regions without smaller non-tumour regions and without what is to be ignored."""
        return self._without_ignored(self._union("tumour", under="non_tumour"))

    @cached_property
    def non_tumour(self) -> MultiPolygon:
        """Union of the regions marked as non-tumour without smaller tumour regions and what is to be ignored."""
        return self._without_ignored(self._union("non_tumour", under="tumour"))

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
        return united(_beneath(drawn, others))

    def _without_ignored(self, areas: MultiPolygon) -> MultiPolygon:
        return polygons_of(shapely.geometrycollections(without(areas.geoms, self.ignore.geoms)))


@dataclass(frozen=True)
class Source:
    """Where an annotation comes from and what it has to fit: the context of every check and message.

    `where` is the slide ID, `file` the file's name without its folder; width and height of the slide are level-0
    pixels; `classes` maps labels to class names, as `cohort.annotation_classes` in the configuration; the coordinates
    of GeoJSON count from the level-0 pixel `origin` (x, y). Outlines that cross themselves are untangled where at most
    the share `max_untangled` of the region is uncertain. What was passed over or mended is counted in `mended`.
    """

    where: str
    file: str
    width: int
    height: int
    classes: Mapping[str, Sequence[str]]
    origin: Sequence[int] = (0, 0)
    max_untangled: float = MAX_UNTANGLED
    mended: Mended = field(default_factory=Mended)

    def no_area(self, kind: str, what: str, *, item: str, found: object = None, mend: str = DRAW_ANEW) -> NoAreaError:
        """Build the message for something without an area, to be counted as `kind` where it is passed over."""
        error = NoAreaError(f"{self.file}, {item}: {what}", where=self.where, found=found, mend=mend)
        error.kind = kind
        return error

    def error(self, what: str, *, mend: str, found: object = None, item: str = "") -> AnnotationError:
        """Build the message for this file, and for one `item` of it where that is known."""
        place = f"{self.file}, {item}" if item else self.file
        return AnnotationError(f"{place}: {what}", where=self.where, found=found, mend=mend)

    def label_of(self, name: str | None, item: str) -> Label:
        """Look up what a class name means: without regard to case, exact names before wildcards.

        Raises AnnotationError if there is no name, or none of `classes` covers it.
        """
        return self._labelled(name, item)[0]

    def _labelled(self, name: str | None, item: str) -> tuple[Label, str]:
        """The label of a name, and what to call the class: what a wildcard stands for may be a patient's name."""
        if name is None or not name.strip():
            mend = "Give it one of the classes under cohort.annotation_classes, or delete it if it does not count."
            raise self.error("the region has no class", item=item, mend=mend)
        if (found := self._rule(name)) is not None:
            label, rule = found
            if label not in LABELS:
                raise ValueError(f"unknown annotation label {label!r}, expected one of {LABELS}")
            return label, name.strip() if _folded(name) == _folded(rule) else rule
        known = [rule for rules in self.classes.values() for rule in rules]
        close = spelt_alike(_folded(name), map(_folded, known))
        hint = f" Did you mean {close[0]}?" if close else ""
        mend = f"Rename it, or add it to cohort.annotation_classes, which knows: {', '.join(known)}.{hint}"
        # The name itself is not repeated: some name a region after the patient.
        raise self.error("the class is not one that the configuration knows", item=item, mend=mend)

    def check_overlaps(self, regions: Sequence[Region]) -> None:
        """Refuse regions that lie over one another more often than can be sorted out; raises AnnotationError."""
        tumour = [r.geometry for r in regions if r.label == "tumour"]
        others = shapely.STRtree([r.geometry for r in regions if r.label == "non_tumour"])
        met = 0
        for start in range(0, len(tumour) if len(others) else 0, AT_ONCE):
            met += others.query(tumour[start : start + AT_ONCE]).shape[1]
            if met > MAX_OVERLAPS:
                mend = "Merge regions of the same class, and export them again."
                raise self.error(f"more than {MAX_OVERLAPS:,} pairs of regions lie over one another", mend=mend)

    def knows(self, name: str) -> bool:
        """Whether a name is one of the classes."""
        return self._rule(name) is not None

    def _rule(self, name: str) -> tuple[str, str] | None:
        """The label of a name, and which rule of `classes` says so."""
        wanted = _folded(name)
        rules = [(label, rule) for label, rules in self.classes.items() for rule in rules]
        fitting = [(label, rule) for label, rule in rules if wanted == _folded(rule)]
        fitting = fitting or [(label, rule) for label, rule in rules if fnmatchcase(wanted, _folded(rule))]
        return fitting[0] if fitting else None

    def region(self, polygons: Iterable[Sequence[np.ndarray]], name: str | None, item: str) -> Region:
        """Check rings and build a Region from them.

        `polygons` has per polygon its outer ring and then its holes, float64 (n, 2), closed or not; `name` is the class
        as written, `item` what to call this region in a message. Raises AnnotationError for coordinates that are no
        numbers, crossings that leave too much uncertain, and regions outside the slide; NoAreaError for what has none.
        """
        label, called = self._labelled(name, item)
        return Region(self.area(polygons, item), called, label)

    def area(self, polygons: Iterable[Sequence[np.ndarray]], item: str) -> Polygon | MultiPolygon:
        """Check rings and build an area from them, as `region` does, for what needs no class."""
        parts = []
        empty = None
        for rings in polygons:
            try:
                parts.append(self._polygon(rings, item))
            except NoAreaError as error:
                empty = error
        if not parts:
            raise empty or self.error("the region has no outline", item=item, mend="Delete it or draw it anew.")
        drawn = MultiPolygon(parts)
        merged = drawn if drawn.is_valid else self._untangled(drawn, item)
        if merged.area <= 0:
            raise self.no_area(NoAreaError.kind, "the region has no area", item=item)
        if empty:
            self.mended.pass_over(empty)
        inside = self._clipped(merged, item)
        return inside.geoms[0] if len(inside.geoms) == 1 else inside

    def _polygon(self, rings: Sequence[np.ndarray], item: str) -> Polygon:
        if not rings:
            raise self.error("the region has no outline", item=item, mend="Delete it or draw it anew.")
        kept = []
        for ring in rings:
            if not np.isfinite(ring).all():
                bad = ring[~np.isfinite(ring).all(axis=1)][0]
                raise self.error(
                    "a coordinate is not a finite number", item=item, found=bad.tolist(), mend="Export the file again."
                )
            found = len(set(map(tuple, ring[:FIRST_CORNERS].tolist())))
            if found >= 3 or (len(ring) > FIRST_CORNERS and len(np.unique(ring, axis=0)) >= 3):
                kept.append(ring)
                continue
            error = self.no_area(
                NoAreaError.kind, "an outline needs at least three different corners", item=item, found=found
            )
            if not kept:
                raise error
            self.mended.pass_over(error)
        return Polygon(kept[0], kept[1:])

    def _untangled(self, drawn: MultiPolygon, item: str) -> MultiPolygon:
        """Untangle an outline that touches or crosses itself; refuse it where too much of its inside is not certain.

        Certain is what every rule calls inside. Where outlines only touch, nothing is uncertain and all pieces stay;
        where they cross, the crumbs that fall off are dropped: nobody drew them.
        """
        if _is_scribble(drawn):
            what = "the outline crosses itself thousands of times, so that its inside is not certain"
            raise self.error(what, item=item, mend="Draw the region anew without crossings.")
        merged = polygons_of(shapely.make_valid(drawn, method="structure"))
        area = sum(part.area for part in drawn.geoms)
        # What is wound round twice, or lies in a hole across the edge, is inside by one rule and outside by another.
        doubtful = merged.area - shapely.make_valid(drawn).area
        if max(abs(area - merged.area), doubtful) > 1e-9 * merged.area:
            pieces = MultiPolygon([piece for part in drawn.geoms for piece in _without_crumbs(part)])
            merged = pieces if pieces.is_valid else polygons_of(shapely.make_valid(pieces, method="structure"))
        if merged.area <= 0:
            return merged
        uncertain = max(abs(area - merged.area), doubtful) / max(area, merged.area)
        if uncertain > self.max_untangled:
            what = "the outline crosses itself, so that its inside is not certain"
            found = f"{area:.0f} px² as drawn, {merged.area:.0f} px² when untangled, {uncertain:.1%} uncertain"
            mend = "Draw the region anew without crossings, split it into several, or raise cohort.max_untangled."
            raise self.error(what, item=item, found=found, mend=mend)
        self.mended.untangled.append(uncertain)
        return merged

    def _clipped(self, geometry: MultiPolygon, item: str) -> MultiPolygon:
        left, top, right, bottom = geometry.bounds
        if left >= 0 and top >= 0 and right <= self.width and bottom <= self.height:
            return geometry
        inside = polygons_of(shapely.intersection(geometry, shapely.box(0, 0, self.width, self.height)))
        overhang = max(-left, -top, right - self.width, bottom - self.height)
        outside = 1.0 - inside.area / geometry.area
        if inside.is_empty or (overhang > OVERHANG_PX and outside > OUTSIDE_SHARE):
            found = f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; slide {self.width} x {self.height}"
            other_frame = OTHER_FRAME if any(self.origin) else ""
            mend = f"Check that the file belongs to this slide and holds full-resolution pixels, not µm.{other_frame}"
            if bottom <= 0 and right <= self.width:
                mend = f"Probably y was counted upwards (upside down). {mend}"
            elif left >= 0 and top >= 0:
                times = max(right / self.width, bottom / self.height)
                mend = (
                    f"It would fit if it was drawn at {2 ** math.ceil(math.log2(times))} times the resolution. {mend}"
                )
            raise self.error("the region lies outside the slide", item=item, found=found, mend=mend)
        return inside


def _without_crumbs(part: Polygon) -> Sequence[Polygon]:
    """The polygon itself if it is valid; else its pieces, without those below `CRUMB_SHARE` of the whole."""
    if part.is_valid:
        return [part]
    pieces = polygons_of(shapely.make_valid(part, method="structure"))
    return [piece for piece in pieces.geoms if piece.area >= CRUMB_SHARE * pieces.area]


def _is_scribble(drawn: MultiPolygon) -> bool:
    """Whether edges meet so often that untangling them is out of all proportion: edges are drawn until that is seen."""
    xy, ring = shapely.get_coordinates(shapely.get_rings(drawn.geoms), return_index=True)
    edges = shapely.linestrings(np.stack([xy[:-1], xy[1:]], axis=1)[ring[:-1] == ring[1:]])
    edges = np.random.default_rng(0).permutation(edges)
    tree = shapely.STRtree(edges)
    limit, met, start, size = MEETINGS + MEETINGS_PER_EDGE * len(edges), 0, 0, 8
    while start < len(edges):
        met += tree.query(edges[start : start + size], predicate="intersects").shape[1]
        start, size = start + size, 2 * size
        # Edges come in any order: what some dozen meet on average all of them do.
        if met > limit or (size > AT_FIRST and met > max(MEETINGS, 2 * MEETINGS_PER_EDGE * start)):
            return True
    return False


def without(drawn: Sequence[shapely.Geometry], above: Sequence[shapely.Geometry]) -> list[shapely.Geometry]:
    """Each geometry of the first without all of the second that meet it, by their places."""
    one, other = shapely.STRtree(list(above)).query(np.array(drawn, object), predicate="intersects")
    return _cut(drawn, above, one, other)


def _beneath(drawn: Sequence[shapely.Geometry], others: Sequence[shapely.Geometry]) -> list[shapely.Geometry]:
    """Geometries without those of the others that are smaller and share more than a border with them."""
    if not len(others) or not len(drawn):
        return list(drawn)
    under, above = np.array(drawn, object), np.array(others, object)
    shapely.prepare(under)
    one, other = shapely.STRtree(above).query(under, predicate="intersects")
    smaller = shapely.area(above[other]) < shapely.area(under[one])
    one, other = one[smaller], other[smaller]
    over = ~shapely.touches(under[one], above[other])
    return _cut(drawn, others, one[over], other[over])


def _cut(
    drawn: Sequence[shapely.Geometry], others: Sequence[shapely.Geometry], one: np.ndarray, other: np.ndarray
) -> list[shapely.Geometry]:
    """Geometries without others, which are given by pairs of their places."""
    below, above = list(drawn), list(others)
    order = np.lexsort((other, one))
    changed, first = np.unique(one[order], return_index=True)
    # Untouched where nothing lies over it: a difference would reorder its corners.
    for place, covering in zip(changed, np.split(other[order], first[1:]), strict=False):
        below[place] = shapely.difference(below[place], united([above[at] for at in covering]))
    return below


def _connected_areas(geometry: Polygon | MultiPolygon) -> list[float]:
    """Areas of the groups of parts that touch."""
    # Jobs that only read annotations do not wait for it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts = shapely.get_parts(geometry)
    if len(parts) == 1:
        return [geometry.area]
    one, other = shapely.STRtree(parts).query(parts, predicate="intersects")
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(parts), len(parts)))
    group = connected_components(links, directed=False)[1]
    return np.bincount(group, shapely.area(parts)).tolist()


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()
