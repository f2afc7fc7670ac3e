"""Outlines for QuPath: masks to level-0 polygons, polygons to GeoJSON."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry

from drunet.annotation.outline import outline, polygons_of
from drunet.annotation.provenance import OUTLINE, OUTLINES, outline_digest
from drunet.files import whole_file

# QuPath offers to replace an object by another of the same id: the same slide, class and outline always get the same
# one, another run's or model's outline another.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "drunet/outline")


def polygons(mask: np.ndarray, slide_size: tuple[int, int]) -> list[Polygon]:
    """Outlines of a mask that covers the slide, bool (h, w), in level-0 pixels: valid, largest first, with holes.

    They lie within one mask pixel of the mask's edge: that much tolerance takes out the stairs and keeps the shape.
    `slide_size` is (width, height) in level-0 pixels.
    """
    scale_x, scale_y = slide_size[0] / mask.shape[1], slide_size[1] / mask.shape[0]
    stairs = outline(mask, scale_x, scale_y)
    smooth = shapely.make_valid(shapely.simplify(stairs, 0.75 * max(scale_x, scale_y)))
    return sorted(polygons_of(smooth).geoms, key=lambda p: -p.area)


def write_geojson(
    path: str | os.PathLike[str],
    outlines: Iterable[BaseGeometry],
    *,
    slide_id: str,
    name: str,
    colour: tuple[int, int, int],
    mpp: float,
    origin: Mapping[str, str] | None = None,
    counted_from: tuple[int, int] = (0, 0),
    unread_mm2: float = 0.0,
) -> None:
    """Write outlines as a FeatureCollection that QuPath reads.

    Every feature has a unique id, closed rings wound as RFC 7946 section 3.1.6 asks, a colour under ``classification``
    and ``measurements`` as a mapping with its area in mm². Features are written one by one, so that memory does not
    grow with their text.

    Parameters
    ----------
    origin : mapping, optional
        From `drunet.annotation.provenance.origin`: noted in each feature's ``metadata`` with a digest of the outline,
        so that the file, once corrected in QuPath, still says what it was made from.
    counted_from : (int, int)
        Level-0 pixel (x, y) from which the coordinates in the file count: `SlideProperties.geojson_origin`.
    unread_mm2 : float
        Tissue that could not be read; noted under ``properties`` of the collection if there is any.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        noted = f'"properties": {json.dumps({"unread_mm2": unread_mm2})}, ' if unread_mm2 else ""
        file.write(f'{{"type": "FeatureCollection", {noted}"features": [')
        shapes = list(outlines)
        times: Counter[str] = Counter()
        for index, shape in enumerate(shapes):
            placed = shapely.transform(shape, lambda xy: xy - counted_from) if any(counted_from) else shape
            geometry = _rounded(mapping(shapely.orient_polygons(placed)))
            rings = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
            digest = outline_digest(rings, name)
            times[digest] += 1
            feature = {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{slide_id}/{name}/{digest}/{times[digest]}")),
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": name, "color": list(colour)},
                    "isLocked": False,
                    "measurements": {"Area mm^2": round(shape.area * (mpp / 1000) ** 2, 6)},
                    **({"metadata": {**origin, OUTLINE: digest, OUTLINES: str(len(shapes))}} if origin else {}),
                },
            }
            file.write(("," if index else "") + "\n" + json.dumps(feature))
        file.write("\n]}\n")


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        return round(value, 1) if isinstance(value, float) else [walk(v) for v in value]

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}
