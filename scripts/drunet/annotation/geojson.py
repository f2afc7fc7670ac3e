"""GeoJSON as QuPath writes it (RFC 7946 geometry; https://qupath.readthedocs.io, "Exporting annotations")."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.annotation.mended import NoAreaError
from drunet.annotation.region import Region, Source

EXPORT_AGAIN = "Export it from QuPath with File > Export objects as GeoJSON."
# What has no area, and what to count it as.
NO_AREA = {"Point": "point", "MultiPoint": "point", "LineString": "line", "MultiLineString": "line"}
# QuPath objects that software made or that only organise others; nobody drew them as an annotation.
NOT_DRAWN = {"detection", "cell", "tile", "tmacore", "root"}
# In the metadata of the box that an export puts around a run's outlines.
PARENT = "drunet_parent"
# Up to version 0.2 an object's type stood in the feature's id (QuPath's PathObjectTypeAdapter).
OBJECT_IDS = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tma_core",
    "PathRootObject": "root",
}


@dataclass(frozen=True)
class Drawn:
    """One annotation as the file has it, not yet held against slide and classes.

    `item` is what to call it in a message, `metadata` what the program that wrote it noted beside. `polygons` holds per
    polygon its outer ring and its holes, closed: float64 (n, 2).
    """

    item: str
    polygons: list[list[np.ndarray]]
    name: str | None
    metadata: dict[str, Any]


def read_geojson(data: bytes, source: Source) -> tuple[Region, ...]:
    """Read the annotations of a FeatureCollection, a list of Features or one Feature, counted from `source.origin`.

    Points, lines and clicks are passed over and counted, detections, cells, tiles and cores passed over; a file that
    has nothing else is refused, because an empty annotation would call the whole slide free of tumour. Raises
    AnnotationError naming the feature, for everything that cannot be understood.
    """
    regions = []
    for drawn in drawn_features(data, source):
        polygons = drawn.polygons
        if any(source.origin):
            polygons = [[ring + source.origin for ring in rings] for rings in polygons]
        try:
            regions.append(source.region(polygons, drawn.name, drawn.item))
        except NoAreaError as error:
            source.mended.pass_over(error)
    return tuple(regions)


def drawn_features(data: bytes, source: Source) -> Iterator[Drawn]:
    """Yield the annotations of a file one by one, their coordinates as written; raises as `read_geojson` does."""
    features = list(_with_children(_features(_parse(data, source), source)))
    count = 0
    for number, feature in enumerate(features, start=1):
        # Its ID or name is not repeated: some call an object after the patient.
        item = f"feature {number} of {len(features)}"
        properties = _properties(feature, source, item)
        if _object_type(feature, properties) not in NOT_DRAWN:
            count += 1
            metadata = properties["metadata"] if isinstance(properties.get("metadata"), dict) else {}
            if PARENT in metadata and _class_name(properties) is None:
                continue
            try:
                polygons = _polygons(feature.get("geometry"), source, item)
            except NoAreaError as error:
                source.mended.pass_over(error)
                continue
            yield Drawn(item, polygons, _class_name(properties), metadata)
    if features and not count:
        found = f"{len(features)} detections or cores"
        mend = "Export the annotations, too, or an empty list if there are none."
        raise source.error("there are objects, but none of them is an annotation", found=found, mend=mend)


def _parse(data: bytes, source: Source) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise source.error("the file is not text in UTF-8", mend=EXPORT_AGAIN) from None
    except json.JSONDecodeError as error:
        found = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise source.error("the file is not JSON", found=found, mend=EXPORT_AGAIN) from None
    except (RecursionError, ValueError):
        # Nesting without end, or a whole number of thousands of digits.
        raise source.error("the file is not sensible JSON", mend=EXPORT_AGAIN) from None


def _features(document: Any, source: Source) -> list[Any]:
    if isinstance(document, list):
        return document
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "Feature":
        return [document]
    if kind == "FeatureCollection" and isinstance(document.get("features"), list):
        return list(document["features"])
    raise source.error("the file is JSON but not a GeoJSON FeatureCollection", mend=EXPORT_AGAIN)


def _with_children(features: list[Any]) -> Iterator[Any]:
    """Features, each with those below it in QuPath's hierarchy behind it."""
    waiting = features[::-1]
    while waiting:
        feature = waiting.pop()
        yield feature
        properties = feature.get("properties") if isinstance(feature, dict) else None
        below = properties.get("childObjects") if isinstance(properties, dict) else None
        waiting += below[::-1] if isinstance(below, list) else []


def _properties(feature: Any, source: Source, item: str) -> dict[str, Any]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise source.error("not a GeoJSON Feature", item=item, mend=EXPORT_AGAIN)
    properties = feature.get("properties")
    if properties is None:
        return {}
    if not isinstance(properties, dict):
        raise source.error("properties is not an object", item=item, found=type(properties).__name__, mend=EXPORT_AGAIN)
    return properties


def _object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    stated = properties.get("objectType") or properties.get("object_type")
    # Forms differ in case and underscores: tma_core, tmaCore.
    return str(stated or OBJECT_IDS.get(str(feature.get("id")), "annotation")).casefold().replace("_", "")


def _class_name(properties: dict[str, Any]) -> str | None:
    """The class: an object with `name`, or with `names` (derived classes), or in older exports a string."""
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else None
        classification = classification.get("name") or joined
    return classification if isinstance(classification, str) else None


def _polygons(geometry: Any, source: Source, item: str) -> list[list[np.ndarray]]:
    """The rings of each polygon; raises NoAreaError for points and lines, and for what has no geometry at all."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        return _of_collection(geometry.get("geometries"), source, item)
    if kind not in ("Polygon", "MultiPolygon"):
        what = "only polygons can be learnt from and measured"
        mend = "Delete points and lines in QuPath, or close them to areas, and export again."
        if kind in NO_AREA or geometry is None:
            counted = NO_AREA[kind] if kind else "object without an outline"
            raise source.no_area(counted, what, item=item, found=kind, mend=mend)
        raise source.error(what, item=item, mend=mend)
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons or not all(isinstance(p, list) for p in polygons):
        raise source.error("the region has no outline", item=item, mend=EXPORT_AGAIN)
    return [[_ring(ring, source, item) for ring in polygon] for polygon in polygons]


def _of_collection(geometries: Any, source: Source, item: str) -> list[list[np.ndarray]]:
    """The polygons of a collection; the points and lines beside them are passed over."""
    polygons: list[list[np.ndarray]] = []
    strays = []
    for geometry in geometries if isinstance(geometries, list) else []:
        if isinstance(geometry, dict) and geometry.get("type") == "GeometryCollection":
            raise source.error("a collection of geometries holds another", item=item, mend=EXPORT_AGAIN)
        try:
            polygons += _polygons(geometry, source, item)
        except NoAreaError as error:
            strays.append(error)
    if not polygons:
        what = "only polygons can be learnt from and measured"
        raise source.no_area("object without an outline", what, item=item, found="GeometryCollection")
    for stray in strays:
        source.mended.pass_over(stray)
    return polygons


def _ring(positions: Any, source: Source, item: str) -> np.ndarray:
    """One linear ring as float64 (n, 2); a third coordinate is dropped."""
    if not isinstance(positions, list) or not all(_is_position(p) for p in positions):
        raise source.error("an outline is not a list of [x, y] positions", item=item, mend=EXPORT_AGAIN)
    if len(positions) < 4:
        what = "a closed outline needs at least four positions, the last equal to the first"
        raise source.no_area(NoAreaError.kind, what, item=item, found=len(positions))
    try:
        ring = np.array([position[:2] for position in positions], dtype=np.float64)
    except OverflowError:
        raise source.error("a coordinate is not a finite number", item=item, mend=EXPORT_AGAIN) from None
    if np.isfinite(ring).all() and not np.array_equal(ring[0], ring[-1]):
        what = "the outline is not closed: its last position differs from its first"
        mend = "Close the outline, or export the file again; a part of it may be missing."
        raise source.error(what, item=item, found=f"{ring[0].tolist()} and {ring[-1].tolist()}", mend=mend)
    return ring


def _is_position(position: Any) -> bool:
    # A bool is a kind of int, but no coordinate.
    return isinstance(position, list) and len(position) >= 2 and all(type(v) in (int, float) for v in position[:2])
