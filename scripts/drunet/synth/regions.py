"""Annotations of a demo slide, as a pathologist would draw them in QuPath."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, mapping

from drunet.synth.fields import enlarge, inside_distance
from drunet.synth.layout import LAYOUT_MPP, Kind, Layout

CLASSES = {
    Kind.TUMOUR: ("Tumor", (200, 0, 0)),
    Kind.STROMA: ("Stroma", (150, 200, 150)),
    Kind.ALVEOLI: ("Alveoli", (90, 170, 220)),
    Kind.FAT: ("Normal", (70, 150, 90)),
    Kind.EPITHELIUM: ("Normal", (70, 150, 90)),
    Kind.IMMUNE: ("Immune cells", (160, 90, 160)),
    Kind.VESSEL: ("Vessel", (220, 120, 40)),
    Kind.NECROSIS: ("Necrosis", (50, 50, 50)),
}
REGION_RADIUS_UM = (75.0, 150.0)
MIN_REGION_UM2 = 6000.0
# The painter roughens borders by some µm; regions keep clear of them.
MARGIN_UM = 9.0
FINER = 4


def trace(mask: NDArray[np.bool_], mpp: float, tolerance_um: float = 0.8) -> list[Polygon]:
    """Outline a mask of `LAYOUT_MPP`; polygons with holes, in px of a slide of `mpp` µm/px."""
    shape = (mask.shape[0] * FINER, mask.shape[1] * FINER)
    fine = (enlarge(inside_distance(mask), shape) > 0).astype(np.uint8)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A contour runs through pixel centres, half a pixel off the corner that coordinates count from.
    rings = [(contour[:, 0].astype(float) + 0.5) * LAYOUT_MPP / FINER / mpp for contour in contours]
    polygons: list[Polygon] = []
    for index, ring in enumerate(rings):
        if hierarchy[0][index][3] >= 0 or len(ring) < 4:
            continue
        holes = [
            rings[other] for other in range(len(rings)) if hierarchy[0][other][3] == index and len(rings[other]) > 3
        ]
        shape_ = Polygon(ring, holes).buffer(0).simplify(tolerance_um / mpp, preserve_topology=True)
        parts = shape_.geoms if isinstance(shape_, MultiPolygon) else [shape_]
        polygons.extend(part for part in parts if part.area * mpp**2 > 50.0)
    return polygons


def _blob(rng: np.random.Generator, shape: tuple[int, int], y: float, x: float, radius: float) -> NDArray[np.bool_]:
    """A hand-drawn closed curve round (y, x), filled."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones_like(turn)
    for wave in range(2, 5):
        reach += rng.normal(0, 0.07) * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    points = np.stack([x + radius * reach * np.cos(turn), y + radius * reach * np.sin(turn)], 1)
    filled = np.zeros(shape, np.uint8)
    cv2.fillPoly(filled, [np.rint(points).astype(np.int32)], 1)
    return filled > 0


def _regions(rng: np.random.Generator, area: NDArray[np.bool_], count: int) -> Iterator[NDArray[np.bool_]]:
    """Up to `count` separate regions within `area` (a mask of `LAYOUT_MPP`), roomy places first."""
    free = cv2.erode(area.astype(np.uint8), np.ones((3, 3)), iterations=round(MARGIN_UM / LAYOUT_MPP)) > 0
    for _ in range(count):
        # Glass lies beyond the border of the slide too.
        room = cv2.distanceTransform(np.pad(free, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        places = np.argwhere(room > 0.6 * room.max())
        if not len(places):
            return
        y, x = places[rng.integers(len(places))]
        blob = _blob(rng, area.shape, y, x, rng.uniform(*REGION_RADIUS_UM) / LAYOUT_MPP) & free
        _, labels = cv2.connectedComponents(blob.astype(np.uint8), connectivity=4)
        region = (labels == labels[y, x]) & blob
        free &= ~(cv2.dilate(region.astype(np.uint8), np.ones((7, 7))) > 0)
        free[y, x] = False
        if region.sum() * LAYOUT_MPP**2 >= MIN_REGION_UM2:
            yield region


def whole_tumour(layout: Layout, mpp: float) -> list[tuple[Kind, Polygon]]:
    """WTA: every outline of tumour, holes where necrosis or punches are left out."""
    return [(Kind.TUMOUR, polygon) for polygon in trace(layout.tumour, mpp)]


def partial_regions(
    rng: np.random.Generator, layout: Layout, mpp: float, counts: dict[Kind, int]
) -> list[tuple[Kind, Polygon]]:
    """PSA: small regions of known kind, up to `counts` of each; all between them stays unmarked."""
    found: list[tuple[Kind, Polygon]] = []
    for kind, count in counts.items():
        for region in _regions(rng, layout.kinds == kind, count):
            polygons = trace(region, mpp)
            if polygons:
                found.append((kind, max(polygons, key=lambda polygon: polygon.area)))
    return found


def feature_collection(regions: list[tuple[Kind, Polygon]], seed: str) -> dict[str, Any]:
    """QuPath's GeoJSON; the IDs of the annotations follow from `seed`."""
    features = []
    for index, (kind, polygon) in enumerate(regions):
        name, colour = CLASSES[kind]
        geometry = mapping(Polygon(*_rounded(polygon)))
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}/{index}")),
                "geometry": {"type": "Polygon", "coordinates": geometry["coordinates"]},
                "properties": {"objectType": "annotation", "classification": {"name": name, "color": list(colour)}},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _rounded(polygon: Polygon) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    rings = [np.round(np.asarray(ring.coords), 2) for ring in (polygon.exterior, *polygon.interiors)]
    return rings[0], rings[1:]
