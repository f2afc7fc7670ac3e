"""Outlines for QuPath: masks to level-0 polygons, polygons to GeoJSON."""

import gzip
import io
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

import numpy as np
import shapely
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry

from drunet.annotation.geojson import PARENT
from drunet.annotation.outline import outline, polygons_of
from drunet.annotation.provenance import OUTLINE, OUTLINES, RUN, outline_digest
from drunet.annotation.raster import rasterise
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid

# QuPath offers to replace an object by another of the same id: the same slide, class and outline always get the same
# one, another run's or model's outline another.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "drunet/outline")
# Coordinates are multiples of this, in level-0 px. QuPath rounds to hundredths and refuses a whole file for one ring
# that crosses itself then: rounding a valid outline can make it do so, laying it on a grid first cannot.
GRID_PX = 0.1


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
    path: AnyPath,
    outlines: Iterable[BaseGeometry],
    *,
    slide_id: str,
    name: str,
    colour: tuple[int, int, int],
    mpp: float,
    origin: Mapping[str, str] | None = None,
    counted_from: tuple[int, int] = (0, 0),
    unread_mm2: float = 0.0,
    measured: Callable[[BaseGeometry], Mapping[str, float]] | None = None,
    parent: bool = False,
    audit: Mapping[str, float] | None = None,
) -> None:
    """Write outlines as a FeatureCollection that QuPath reads, compressed if the path ends in ``.gz``.

    Every feature has a unique id, closed rings on a grid of `GRID_PX` wound as RFC 7946 section 3.1.6 asks, a colour
    under ``classification`` and ``measurements`` as a mapping with its area in mm² and µm². What is thinner than the
    grid is left out. Features are written one by one, so that memory does not grow with their text.

    `origin`, from `drunet.annotation.provenance.origin`, is noted in each feature's ``metadata`` with a digest of the
    outline, so that the file, once corrected in QuPath, still says what it was made from. Coordinates count from the
    level-0 px (x, y) `counted_from` (`SlideProperties.geojson_origin`). `unread_mm2` is tissue that could not be read,
    noted under the collection's ``properties``. `measured` gives further measurements of an outline (level-0 px from
    the slide's corner) by name. `parent` puts the outlines as ``childObjects`` under one annotation, the box around
    them, named after the run of `origin`, locked and without a class: `drunet.annotation` passes it over. `audit`, from
    `audited`: measurements of the parent, and ``properties`` of the collection.
    """
    with whole_text(path) as file:
        properties = {**({"unread_mm2": unread_mm2} if unread_mm2 else {}), **(audit or {})}
        noted = f'"properties": {json.dumps(properties)}, ' if properties else ""
        file.write(f'{{"type": "FeatureCollection", {noted}"features": [')
        pairs = [(shape, _on_grid(shape, counted_from)) for shape in outlines]
        pairs = [(shape, placed) for shape, placed in pairs if not placed.is_empty]
        under = (
            _parent([placed for _, placed in pairs], slide_id, origin[RUN], mpp, audit or {})
            if parent and origin
            else ""
        )
        file.write(under)
        times: Counter[str] = Counter()
        for index, (shape, placed) in enumerate(pairs):
            geometry = _rounded(mapping(placed))
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
                    "measurements": {**_areas(placed.area, mpp), **(measured(shape) if measured else {})},
                    **({"metadata": {**origin, OUTLINE: digest, OUTLINES: str(len(pairs))}} if origin else {}),
                },
            }
            file.write(("," if index else "") + "\n" + json.dumps(feature))
        file.write(("\n]}}" if under else "") + "\n]}\n")


def write_tiles(path: AnyPath, heatmap: np.ndarray, grid: Grid, counted_from: tuple[int, int] = (0, 0)) -> None:
    """Write a heatmap's cells as tile objects, for QuPath's measurement maps; compressed if the path ends in ``.gz``.

    The heatmap is float32 (rows, columns) of `grid`; cells without a value (NaN) are left out. `counted_from` is as for
    `write_geojson`.
    """
    with whole_text(path) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        known = zip(*np.nonzero(np.isfinite(heatmap)), strict=True)
        ends = np.arange(max(grid.shape) + 1) * grid.cell
        x, y = (
            np.minimum(ends, end) - start for end, start in zip((grid.width, grid.height), counted_from, strict=True)
        )
        x, y = x.round(1).tolist(), y.round(1).tolist()
        for index, (row, column) in enumerate(known):
            left, right, top, bottom = x[column], x[column + 1], y[row], y[row + 1]
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            feature = {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "tile",
                    "measurements": {"Tumour probability": round(float(heatmap[row, column]), 5)},
                },
            }
            file.write(("," if index else "") + "\n" + json.dumps(feature))
        file.write("\n]}\n")


def probabilities(
    field: np.ndarray, slide_size: tuple[int, int], shape: BaseGeometry, *, spread: np.ndarray | None = None
) -> dict[str, float]:
    """Mean and highest probability inside an outline, as QuPath's measurements; none where nothing is known there.

    `field` is float32 (h, w) over the whole slide, whose `slide_size` is (width, height) in level-0 px, as is `shape`.
    A pixel counts if its centre is inside; of an outline without any, the pixel under a point in it. With `spread`, a
    map of the classifier's uncertainty (`drunet.uncertainty.views`) over the whole slide, also its mean there.
    """
    values, measured = _inside(field, slide_size, shape), dict[str, float]()
    if values.size:
        measured = {"Mean probability": float(values.mean()), "Maximum probability": float(values.max())}
    if spread is not None and (answers := _inside(spread, slide_size, shape)).size:
        measured["Spread of the answers"] = float(answers.mean())
    return {name: round(value, 4) for name, value in measured.items()}


def _inside(field: np.ndarray, slide_size: tuple[int, int], shape: BaseGeometry) -> np.ndarray:
    scale = np.array([field.shape[1] / slide_size[0], field.shape[0] / slide_size[1]])
    low = np.clip(np.floor(np.array(shape.bounds[:2]) * scale).astype(int), 0, np.array(field.shape[::-1]) - 1)
    high = np.clip(np.ceil(np.array(shape.bounds[2:]) * scale).astype(int), low + 1, field.shape[::-1])
    window = field[low[1] : high[1], low[0] : high[0]]
    moved = shapely.transform(shape, lambda xy: xy * scale - low)
    inside = rasterise(moved, window.shape, slide_size=window.shape[::-1])
    if not inside.any():
        point = shapely.get_coordinates(shapely.point_on_surface(moved))[0].astype(int)
        inside[tuple(np.minimum(point[::-1], np.array(window.shape) - 1))] = True
    return window[inside & np.isfinite(window)]


def audited(cascade: Mapping[str, Any] | None) -> dict[str, float]:
    """What the facts of a heatmap say of a cascade's audit, as QuPath's measurements; nothing without an audit."""
    if not cascade or cascade["bound"] is None:
        return {}
    return {
        "Tiles audited": cascade["audited"],
        "Audited tiles differing": cascade["differing"],
        "Tiles differing at most %": round(100 * cascade["bound"], 3),
        "Done in full": int(cascade["in_full"]),
    }


@contextmanager
def whole_text(path: AnyPath) -> Iterator[TextIO]:
    """A text file to write to, whole or not at all; compressed if its path ends in ``.gz``."""
    with whole_file(path) as temporary, temporary.open("wb") as raw:
        # Without name and time in its head, the same results are the same bytes.
        packing = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if temporary.suffix == ".gz" else nullcontext(raw)
        with packing as stream, io.TextIOWrapper(stream, encoding="utf-8") as file:
            yield file


def _on_grid(shape: BaseGeometry, counted_from: tuple[int, int]) -> BaseGeometry:
    """An outline as it is written: counted from there, on the grid, valid, wound as RFC 7946 asks; may be empty."""
    placed = shapely.set_precision(shapely.transform(shape, lambda xy: xy - counted_from), GRID_PX)
    parts = polygons_of(shapely.orient_polygons(placed))
    return parts.geoms[0] if len(parts.geoms) == 1 else parts


def _areas(px2: float, mpp: float) -> dict[str, float]:
    return {"Area mm^2": round(px2 * (mpp / 1000) ** 2, 6), "Outline area µm^2": round(px2 * mpp**2, 1)}


def _parent(shapes: list[BaseGeometry], slide_id: str, run: str, mpp: float, audit: Mapping[str, float]) -> str:
    """The annotation that holds the others, up to where they begin; nothing where there are none."""
    if not shapes:
        return ""
    box = shapely.box(*shapely.total_bounds(np.array(shapes)))
    feature = {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, f"{slide_id}/{run}")),
        "geometry": _rounded(mapping(shapely.orient_polygons(box))),
        "properties": {
            "objectType": "annotation",
            "name": run,
            "isLocked": True,
            "measurements": {"Outlines": len(shapes), **_areas(sum(s.area for s in shapes), mpp), **audit},
            "metadata": {PARENT: run},
        },
    }
    return "\n" + json.dumps(feature)[:-2] + ', "childObjects": ['


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        return round(value, 1) if isinstance(value, float) else [walk(v) for v in value]

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}
