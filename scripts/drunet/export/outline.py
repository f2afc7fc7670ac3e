"""Outlines for QuPath: masks to level-0 polygons, polygons to GeoJSON."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry

from drunet.annotation.outline import outline, polygons_of
from drunet.atomic import whole_file

# QuPath matches annotations by id: the same slide and outline always get the same one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "drunet/outline")


def polygons(mask: np.ndarray, slide_size: tuple[int, int]) -> list[Polygon]:
    """Outlines of a mask that covers the slide, in level-0 pixels, largest first, with holes.

    Parameters
    ----------
    mask : bool (h, w)
    slide_size : (width, height)
        Level-0 size of the slide.

    Returns
    -------
    list of valid Polygon
        Within one mask pixel of the mask's edge: that much tolerance takes out the stairs and keeps the shape.
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
    measurements: Mapping[str, float] | None = None,
) -> None:
    """Write outlines as a FeatureCollection that QuPath reads.

    Every feature has a unique id, closed rings wound as RFC 7946 section 3.1.6 asks, a colour under ``classification``
    and ``measurements`` as a mapping with its area in mm². Features are written one by one, so that memory does not
    grow with their number.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for index, shape in enumerate(outlines):
            feature = {
                "type": "Feature",
                "id": str(uuid.uuid5(_NAMESPACE, f"{slide_id}/{name}/{index}")),
                "geometry": _rounded(mapping(shapely.orient_polygons(shape))),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": name, "color": list(colour)},
                    "isLocked": False,
                    "measurements": {"Area mm^2": round(shape.area * (mpp / 1000) ** 2, 6), **(measurements or {})},
                },
            }
            file.write(("," if index else "") + "\n" + json.dumps(feature))
        file.write("\n]}\n")


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        return round(value, 1) if isinstance(value, float) else [walk(v) for v in value]

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}
