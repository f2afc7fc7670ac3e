from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from scipy import ndimage

from drunet.annotation import rasterise, read_annotation
from drunet.export.outline import polygons, write_geojson

SIZE = (1600, 800)  # of the slide in level-0 px
CLASSES = {"tumour": ["tumor"], "non_tumour": ["normal"], "ignore": []}


def blobs(seed: int, shape: tuple[int, int] = (200, 400)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 12)
    return noise > 0.3 * noise.std()


def export(path: Path, mask: np.ndarray, **options: Any) -> dict[str, Any]:
    settings = {"slide_id": "s1", "name": "Tumor", "colour": (200, 0, 0), "mpp": 0.5, **options}
    write_geojson(path, polygons(mask, SIZE), **settings)
    return json.loads(path.read_text(encoding="utf-8"))


def read_back(path: Path, shape: tuple[int, int]) -> np.ndarray:
    annotation = read_annotation(path, kind="wta", where="s1", width=SIZE[0], height=SIZE[1], classes=CLASSES)
    return rasterise(annotation.tumour, shape, slide_size=SIZE)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("seed", range(4))
def test_an_outline_read_back_covers_the_mask(tmp_path: Path, seed: int) -> None:
    mask = blobs(seed)
    export(tmp_path / "o.geojson", mask)
    assert iou(read_back(tmp_path / "o.geojson", mask.shape), mask) > 0.97


@pytest.mark.parametrize("shape", [(200, 400), (100, 400), (57, 133)])
def test_an_outline_stays_within_a_mask_pixel_of_the_masks_edge(shape: tuple[int, int]) -> None:
    mask = blobs(7, shape)
    side = float(np.hypot(SIZE[0] / shape[1], SIZE[1] / shape[0]))
    rows, columns = np.nonzero(mask)
    scale = np.array([SIZE[0] / shape[1], SIZE[1] / shape[0]] * 2)
    pixels = shapely.union_all(shapely.box(*(np.stack([columns, rows, columns + 1, rows + 1], 1) * scale).T))
    outline = shapely.MultiPolygon(polygons(mask, SIZE))
    assert outline.is_valid
    assert shapely.hausdorff_distance(outline.boundary, pixels.boundary) <= side
    assert outline.area == pytest.approx(pixels.area, rel=0.02)


def test_stairs_are_taken_out() -> None:
    rows, columns = np.indices((200, 400))
    disc = (rows - 100) ** 2 + (columns - 200) ** 2 <= 60**2
    (outline,) = polygons(disc, SIZE)
    # A circle's outline is 2 pi r long; its stairs would be 8 r, a quarter longer.
    assert outline.length < 1.1 * 2 * np.pi * 60 * 4
    assert len(outline.exterior.coords) < 120


def test_holes_and_islands_in_them_survive(tmp_path: Path) -> None:
    mask = np.zeros((200, 400), bool)
    mask[20:180, 50:350] = True
    mask[50:150, 100:300] = False
    mask[80:120, 150:250] = True
    outer, island = polygons(mask, SIZE)
    assert (len(outer.interiors), len(island.interiors)) == (1, 0)
    assert outer.area > island.area
    export(tmp_path / "o.geojson", mask)
    np.testing.assert_array_equal(read_back(tmp_path / "o.geojson", mask.shape), mask)


def test_the_file_keeps_to_rfc_7946_and_to_what_qupath_reads(tmp_path: Path) -> None:
    mask = blobs(1)
    mask[:40, :60] = True
    mask[10:30, 20:40] = False
    document = export(tmp_path / "o.geojson", mask)
    assert document["type"] == "FeatureCollection" and len(document["features"]) > 3
    for feature in document["features"]:
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        outer, *holes = feature["geometry"]["coordinates"]
        for ring in (outer, *holes):
            assert ring[0] == ring[-1] and len(ring) >= 4
        # Section 3.1.6: the outer ring runs against the clock, holes with it.
        assert shapely.LinearRing(outer).is_ccw and not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        properties = feature["properties"]
        assert properties["objectType"] == "annotation"
        assert properties["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
        area = shapely.geometry.shape(feature["geometry"]).area * 0.0005**2
        assert properties["measurements"]["Area mm^2"] == pytest.approx(area, rel=1e-3)
    assert any(len(f["geometry"]["coordinates"]) > 1 for f in document["features"]), "the example needs a hole"


def test_ids_are_unique_and_the_same_in_every_run_but_differ_between_slides_and_classes(tmp_path: Path) -> None:
    def ids(**options: Any) -> list[str]:
        return [feature["id"] for feature in export(tmp_path / "o.geojson", blobs(2), **options)["features"]]

    first = ids()
    assert first == ids()
    others = [*ids(slide_id="s2"), *ids(name="Stroma")]
    assert len({*first, *others}) == 3 * len(first)


def test_an_outline_keeps_its_id_beside_others_and_another_has_another(tmp_path: Path) -> None:
    def ids(*shapes: shapely.Geometry) -> list[str]:
        path = tmp_path / "o.geojson"
        write_geojson(path, shapes, slide_id="s1", name="Tumor", colour=(1, 2, 3), mpp=1.0)
        return [feature["id"] for feature in json.loads(path.read_text())["features"]]

    one, other, third = shapely.box(0, 0, 90, 90), shapely.box(100, 0, 150, 50), shapely.box(100, 0, 150, 51)
    # A second model finds the first outline again, and another in the other's place.
    first, second = ids(one, other), ids(third, one)
    assert first[0] == second[1]
    assert len({*first, *second}) == 3
    assert len(set(ids(one, one))) == 2


def test_an_empty_mask_is_a_collection_without_features(tmp_path: Path) -> None:
    empty = np.zeros((40, 80), bool)
    assert export(tmp_path / "o.geojson", empty) == {"type": "FeatureCollection", "features": []}
    assert not read_back(tmp_path / "o.geojson", empty.shape).any()


def test_a_mask_that_is_all_tumour_is_the_slide() -> None:
    (whole,) = polygons(np.ones((50, 100), bool), SIZE)
    assert whole.equals(shapely.box(0, 0, *SIZE))


def test_a_failure_half_way_leaves_no_file(tmp_path: Path) -> None:
    def shapes() -> Any:
        yield shapely.box(0, 0, 9, 9)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_geojson(tmp_path / "o.geojson", shapes(), slide_id="s1", name="Tumor", colour=(1, 2, 3), mpp=1.0)
    assert not list(tmp_path.iterdir())
