"""XML of ASAP (https://computationalpathologygroup.github.io/ASAP) and of Aperio ImageScope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import defusedxml.ElementTree
import numpy as np
import shapely
from defusedxml.common import DefusedXmlException

from drunet.annotation.outline import polygons_of
from drunet.annotation.region import Region, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # noqa: TID251 (a type, parses nothing)

ASAP_AREAS = {"polygon", "spline", "rectangle"}
# Region types of ImageScope: a free-hand outline, a rectangle and an ellipse; the others are arrows and rulers.
APERIO_OUTLINES, APERIO_ELLIPSE = {"0", "1"}, "2"
ELLIPSE_CORNERS = 128


def read_xml(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read the regions of an ASAP or ImageScope file, distinguished by their elements.

    Raises AnnotationError for XML that is broken, declares entities or a document type, or is of neither program.
    """
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise source.error(
            "the XML declares a document type or entities, which annotations never need and attacks do",
            mend="Do not use this file before you know where it comes from; export the annotation again.",
        ) from None
    except (defusedxml.ElementTree.ParseError, ValueError, LookupError) as error:
        raise source.error(
            "the file is not well-formed XML", found=error, mend="Export the annotation again."
        ) from None
    if root.tag == "ASAP_Annotations":
        return tuple(_read_asap(root, source))
    if root.tag == "Annotations" and (root.find("Annotation") is None or root.find("Annotation/Regions") is not None):
        return tuple(_read_aperio(root, source))
    mend = "Save it from one of these programs, or export GeoJSON from QuPath."
    raise source.error("the XML is neither ASAP's nor Aperio ImageScope's", found=f"<{root.tag}>", mend=mend)


def _read_asap(root: Element, source: Source) -> list[Region]:
    """ASAP: one outline per Annotation, its class in PartOfGroup, rings closed by convention."""
    annotations = root.findall("Annotations/Annotation")
    regions = []
    for number, annotation in enumerate(annotations, start=1):
        item = f"annotation {number} of {len(annotations)} ({annotation.get('Name', 'without a name')})"
        if annotation.get("Type", "Polygon").casefold() not in ASAP_AREAS:
            raise _no_area(source, item, annotation.get("Type"))
        points = annotation.findall("Coordinates/Coordinate")
        ring = _ring(points, source, item)
        order = [_number(point, "Order", source, item) for point in points]
        ring = ring[np.argsort(order, kind="stable")]
        group = annotation.get("PartOfGroup")
        regions.append(source.region([[ring]], None if group == "None" else group, item))
    return regions


def _read_aperio(root: Element, source: Source) -> list[Region]:
    """ImageScope: layers (Annotation) of regions; one with NegativeROA is cut out of its layer and needs no class."""
    regions = []
    for layer_number, layer in enumerate(root.findall("Annotation"), start=1):
        drawn: list[Region] = []
        holes: list[shapely.Geometry] = []
        for number, element in enumerate(layer.findall("Regions/Region"), start=1):
            item = f"layer {layer_number}, region {element.get('Id', number)}"
            polygons = [[_aperio_ring(element, source, item)]]
            if element.get("NegativeROA", "0").casefold() in ("1", "true"):
                holes.append(source.area(polygons, item))
            else:
                drawn.append(source.region(polygons, _aperio_class(layer, element), item))
        cut = shapely.union_all(holes)
        for region in drawn:
            left = polygons_of(shapely.difference(region.geometry, cut))
            if not left.is_empty:
                regions.append(Region(left, region.name, region.label))
    return regions


def _aperio_class(layer: Element, region: Element) -> str | None:
    """The layer's name; where it is blank its description, then the region's own text."""
    described = [a.get("Value", "") for a in layer.findall("Attributes/Attribute") if a.get("Name") == "Description"]
    names = [layer.get("Name", ""), *described, region.get("Text", "")]
    return next((name for name in names if name.strip()), None)


def _aperio_ring(region: Element, source: Source, item: str) -> np.ndarray:
    kind = region.get("Type", "0")
    if kind not in APERIO_OUTLINES and kind != APERIO_ELLIPSE:
        raise _no_area(source, item, f"type {kind}")
    ring = _ring(region.findall("Vertices/Vertex"), source, item)
    if kind != APERIO_ELLIPSE or len(ring) < 2:
        return ring
    # An ellipse is stored as corners of the box around it.
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)
    centre, radius = (ring.max(axis=0) + ring.min(axis=0)) / 2, np.ptp(ring, axis=0) / 2
    return np.asarray(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


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
            f"{name} of a corner is not a number", item=item, found=repr(text), mend="Export the annotation again."
        ) from None


def _no_area(source: Source, item: str, found: object) -> Exception:
    mend = "Delete points, arrows and rulers, or draw them as outlines."
    return source.error("only areas can be learnt from and measured", item=item, found=found, mend=mend)
