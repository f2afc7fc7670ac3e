"""XML of ASAP (https://computationalpathologygroup.github.io/ASAP), of Aperio ImageScope and of HALO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import defusedxml.ElementTree
import numpy as np
import shapely
from defusedxml.common import DefusedXmlException

from drunet.annotation.mended import NoAreaError
from drunet.annotation.outline import polygons_of
from drunet.annotation.region import Region, Source, without

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # noqa: TID251 (a type, parses nothing)

ASAP_AREAS = {"polygon", "spline", "rectangle"}
# What has no area, and what to count it as.
ASAP_STRAYS = {"dot": "point", "pointset": "point", "measurement": "ruler"}
# ImageScope numbers its types of regions, HALO names them.
OUTLINES, RECTANGLES, ELLIPSES = {"0", "polygon", "freehand"}, {"1", "rectangle"}, {"2", "ellipse"}
STRAYS = {
    "3": "arrow",
    "4": "ruler",
    "arrow": "arrow",
    "ruler": "ruler",
    "line": "line",
    "pin": "point",
    "point": "point",
}
ELLIPSE_CORNERS = 128
# Of a spline between two of its points.
SPLINE_CORNERS = 16


def read_xml(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read the regions of an ASAP, ImageScope or HALO file, distinguished by their elements.

    Points, rulers, arrows and hidden layers are passed over and counted.

    Raises AnnotationError for XML that is broken, declares entities or a document type, or is of none of the programs.
    """
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise source.error(
            "the XML declares a document type or entities, which annotations never need and attacks do",
            mend="Do not use this file before you know where it comes from; export the annotation again.",
        ) from None
    except (defusedxml.ElementTree.ParseError, ValueError, LookupError) as error:
        line, column = getattr(error, "position", (1, 0))
        found = f"line {line}, column {column}"
        raise source.error(
            "the file is not well-formed XML", found=found, mend="Export the annotation again."
        ) from None
    if root.tag == "ASAP_Annotations":
        return tuple(_read_asap(root, source))
    if root.tag == "Annotations" and (root.find("Annotation") is None or root.find("Annotation/Regions") is not None):
        return tuple(_read_aperio(root, source))
    mend = "Save it from one of these programs, or export GeoJSON from QuPath."
    raise source.error("the XML is neither ASAP's nor ImageScope's nor HALO's", mend=mend)


def _read_asap(root: Element, source: Source) -> list[Region]:
    """ASAP: one outline per Annotation, its class in PartOfGroup, rings closed by convention."""
    annotations = root.findall("Annotations/Annotation")
    parents = {g.get("Name", ""): g.get("PartOfGroup", "None") for g in root.findall("AnnotationGroups/Group")}
    regions = []
    for number, annotation in enumerate(annotations, start=1):
        item = f"annotation {number} of {len(annotations)}"
        try:
            kind = _checked_kind(annotation.get("Type", "Polygon"), ASAP_AREAS, ASAP_STRAYS, source, item)
            points = annotation.findall("Coordinates/Coordinate")
            ring = _ring(points, source, item)
            order = [_number(point, "Order", source, item) for point in points]
            ring = ring[np.argsort(order, kind="stable")]
            name = _asap_class(annotation.get("PartOfGroup"), parents, source)
            regions.append(source.region([[_spline(ring) if kind == "spline" else ring]], name, item))
        except NoAreaError as error:
            source.mended.pass_over(error)
    return regions


def _asap_class(group: str | None, parents: dict[str, str], source: Source) -> str | None:
    """The group, or where that is no class the next one above it that is."""
    above, seen = group, set()
    while above is not None and above != "None" and above not in seen:
        if source.knows(above):
            return above
        seen.add(above)
        above = parents.get(above)
    return None if group == "None" else group


def _spline(ring: np.ndarray) -> np.ndarray:
    """A closed curve through all points: Catmull and Rom's, centripetal, so without loops.

    It is what ASAP draws (`PolyQtAnnotation::catmullRomToBezier`) but beside its first point, where ASAP leaves out the
    neighbours on the other side.
    """
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    if len(ring) < 3 or not np.isfinite(ring).all():
        return ring
    step = np.roll(ring, -1, axis=0) - ring
    # A segment takes the time of the square root of its length.
    time = np.sqrt(np.hypot(step[:, 0], step[:, 1]))[:, None]
    speed, last, before = step / time, np.roll(step / time, 1, axis=0), np.roll(time, 1, axis=0)
    # The speed at a point, from those of the segments on either side.
    at_point = last + speed - (last * before + speed * time) / (before + time)
    leaving, arriving = at_point * time, np.roll(at_point, -1, axis=0) * time
    t = np.linspace(0, 1, SPLINE_CORNERS, endpoint=False)[:, None, None]
    curve = ring + t * (leaving + t * (3 * step - 2 * leaving - arriving + t * (leaving + arriving - 2 * step)))
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2))


def _read_aperio(root: Element, source: Source) -> list[Region]:
    """ImageScope and HALO: layers (Annotation) of regions.

    One with NegativeROA is cut out of its layer and needs no class; where its layer has nothing else, out of all.
    """
    layers: list[tuple[list[Region], list[shapely.Geometry]]] = []
    for layer_number, layer in enumerate(root.findall("Annotation"), start=1):
        drawn: list[Region] = []
        holes: list[shapely.Geometry] = []
        for number, element in enumerate(layer.findall("Regions/Region"), start=1):
            item = f"layer {layer_number}, region {number}"
            try:
                if layer.get("Visible", "1").casefold() in ("0", "false"):
                    mend = "Show the layer and save the file again, if it counts."
                    raise source.no_area("region of a hidden layer", "the layer is hidden", item=item, mend=mend)
                polygons = [[_aperio_ring(element, source, item)]]
                if element.get("NegativeROA", "0").casefold() in ("1", "true"):
                    holes.append(source.area(polygons, item))
                else:
                    drawn.append(source.region(polygons, _aperio_class(layer, element), item))
            except NoAreaError as error:
                source.mended.pass_over(error)
        layers.append((drawn, holes))
    of_all = [hole for drawn, holes in layers if not drawn for hole in holes]
    regions = []
    for drawn, holes in layers:
        for region, cut in zip(drawn, without([r.geometry for r in drawn], [*holes, *of_all]), strict=True):
            left = polygons_of(cut)
            if not left.is_empty:
                regions.append(Region(left, region.name, region.label))
    if not regions and any(drawn or holes for drawn, holes in layers):
        mend = "Draw what they are cut out of, too, or delete them."
        raise source.error("the file has holes (NegativeROA) and nothing that is left beside them", mend=mend)
    return regions


def _aperio_class(layer: Element, region: Element) -> str | None:
    """The layer's name; where it is blank its description, then the region's own text."""
    described = [a.get("Value", "") for a in layer.findall("Attributes/Attribute") if a.get("Name") == "Description"]
    names = [layer.get("Name", ""), *described, region.get("Text", "")]
    return next((name for name in names if name.strip()), None)


def _aperio_ring(region: Element, source: Source, item: str) -> np.ndarray:
    kind = _checked_kind(region.get("Type", "0"), OUTLINES | RECTANGLES | ELLIPSES, STRAYS, source, item)
    ring = _ring([*region.findall("Vertices/Vertex"), *region.findall("Vertices/V")], source, item)
    if len(ring) < 2 or kind in OUTLINES or (kind in RECTANGLES and len(ring) > 2):
        return ring
    low, high = ring.min(axis=0), ring.max(axis=0)
    if kind in RECTANGLES:
        if kind == "1":
            raise source.error("a rectangle has two corners only", item=item, mend="Draw it anew and save it again.")
        # HALO stores two opposite corners.
        return np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    # An ellipse is stored as corners of the box around it.
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    return np.asarray((high + low) / 2 + np.ptp(ring, axis=0) / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def _checked_kind(kind: str, areas: set[str], strays: dict[str, str], source: Source, item: str) -> str:
    folded = kind.casefold()
    if folded in areas:
        return folded
    what, mend = (
        "only areas can be learnt from and measured",
        "Delete points, arrows and rulers, or draw them as areas.",
    )
    if folded in strays:
        raise source.no_area(strays[folded], what, item=item, found=kind, mend=mend)
    raise source.error(what, item=item, mend=mend)


def _ring(points: list[Element], source: Source, item: str) -> np.ndarray:
    xy = [[_number(point, "X", source, item), _number(point, "Y", source, item)] for point in points]
    return np.array(xy, dtype=np.float64).reshape(-1, 2)


def _number(point: Element, name: str, source: Source, item: str) -> float:
    text = point.get(name, "0" if name == "Order" else "")
    try:
        # Programs set to a European locale write a decimal comma.
        return float(text.replace(",", "."))
    except ValueError:
        raise source.error(
            f"{name} of a corner is not a number", item=item, mend="Export the annotation again."
        ) from None
