"""GeoJSON as QuPath writes it (RFC 7946 geometry; https://qupath.readthedocs.io, "Exporting annotations")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from drunet.annotation.region import Region, Source

EXPORT_AGAIN = "Export it from QuPath with File > Export objects as GeoJSON."
# QuPath objects that software made or that only organise others; nobody drew them as an annotation.
NOT_DRAWN = {"detection", "cell", "tile", "tma_core", "root"}
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
    """Read the annotations of a FeatureCollection, a list of Features or a single Feature.

    Detections, cells, tiles and cores are passed over; a file that has nothing else is refused, because an empty
    annotation would call the whole slide free of tumour. Coordinates count from `source.origin`.

    Raises AnnotationError naming the feature, for everything that cannot be understood.
    """
    regions = []
    for drawn in drawn_features(data, source):
        polygons = drawn.polygons
        if any(source.origin):
            polygons = [[ring + source.origin for ring in rings] for rings in polygons]
        regions.append(source.region(polygons, drawn.name, drawn.item))
    return tuple(regions)


def drawn_features(data: bytes, source: Source) -> Iterator[Drawn]:
    """Yield the annotations of a file one by one, their coordinates as written; raises as `read_geojson` does."""
    features = _features(_parse(data, source), source)
    count = 0
    for number, feature in enumerate(features, start=1):
        item = _item(number, len(features), feature)
        properties = _properties(feature, source, item)
        if _object_type(feature, properties) not in NOT_DRAWN:
            count += 1
            metadata = properties["metadata"] if isinstance(properties.get("metadata"), dict) else {}
            yield Drawn(item, _polygons(feature, source, item), _class_name(properties), metadata)
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
    found = kind if isinstance(kind, str) else type(document).__name__
    raise source.error("the file is JSON but not a GeoJSON FeatureCollection", found=found, mend=EXPORT_AGAIN)


def _item(number: int, count: int, feature: Any) -> str:
    name = feature.get("id") if isinstance(feature, dict) else None
    return f"feature {number} of {count}" + (f" ({name})" if isinstance(name, str | int) else "")


def _properties(feature: Any, source: Source, item: str) -> dict[str, Any]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        found = feature.get("type") if isinstance(feature, dict) else type(feature).__name__
        raise source.error("not a GeoJSON Feature", item=item, found=found, mend=EXPORT_AGAIN)
    properties = feature.get("properties")
    if properties is None:
        return {}
    if not isinstance(properties, dict):
        raise source.error("properties is not an object", item=item, found=type(properties).__name__, mend=EXPORT_AGAIN)
    return properties


def _object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    stated = properties.get("objectType") or properties.get("object_type")
    return str(stated or OBJECT_IDS.get(str(feature.get("id")), "annotation")).casefold()


def _class_name(properties: dict[str, Any]) -> str | None:
    """The class: an object with `name`, or with `names` (derived classes), or in older exports a string."""
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else None
        classification = classification.get("name", joined)
    return classification if isinstance(classification, str) else None


def _polygons(feature: dict[str, Any], source: Source, item: str) -> list[list[np.ndarray]]:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        mend = "Delete points and lines in QuPath, or close them to areas, and export again."
        raise source.error("only polygons can be learnt from and measured", item=item, found=kind, mend=mend)
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons or not all(isinstance(p, list) for p in polygons):
        raise source.error("the region has no outline", item=item, mend=EXPORT_AGAIN)
    return [[_ring(ring, source, item) for ring in polygon] for polygon in polygons]


def _ring(positions: Any, source: Source, item: str) -> np.ndarray:
    """One linear ring as float64 (n, 2); a third coordinate is dropped."""
    if not isinstance(positions, list) or not all(_is_position(p) for p in positions):
        raise source.error("an outline is not a list of [x, y] positions", item=item, mend=EXPORT_AGAIN)
    if len(positions) < 4:
        what = "a closed outline needs at least four positions, the last equal to the first"
        mend = "Draw the region anew; points and lines have no area."
        raise source.error(what, item=item, found=len(positions), mend=mend)
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
