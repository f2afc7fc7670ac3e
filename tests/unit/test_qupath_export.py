"""GeoJSON that QuPath takes whole, and a QuPath project of a run."""

from __future__ import annotations

import gzip
import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
import shapely
from qupath_reader import read_as_qupath
from scipy import ndimage

from drunet.annotation.provenance import origin
from drunet.export.outline import polygons, probabilities, write_geojson, write_tiles
from drunet.export.qupath import write_project
from drunet.grid import Grid
from drunet.slide import Slide

ROOT = Path(__file__).parents[2]
ORIGIN = origin("drunet", {"dr_fused": "a" * 64})


def rough_mask(seed: int, shape: tuple[int, int]) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.0)
    return noise > 0.3 * noise.std()


def stars(count: int, seed: int) -> list[shapely.Polygon]:
    """Small valid polygons with deep dents, as simplified pixels have them."""
    rng = np.random.default_rng(seed)
    turn = np.sort(rng.uniform(0, 2 * np.pi, (count, 14)), axis=1)
    radius = rng.uniform(0.3, 4, turn.shape)
    corners = np.stack([np.cos(turn), np.sin(turn)], -1) * radius[..., None]
    found = shapely.polygons(corners + rng.uniform(10, 90_000, (count, 1, 2)))
    return list(found[shapely.is_valid(found)])


def rounded(shape: shapely.Polygon) -> shapely.Polygon:
    rings = [np.round(ring.coords, 1) for ring in (shape.exterior, *shape.interiors)]
    return shapely.Polygon(rings[0], rings[1:])


def write(path: Path, shapes: Any, **options: Any) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {"slide_id": "s1", "name": "Tumor", "colour": (200, 0, 0), "mpp": 0.25, **options}
    write_geojson(path, shapes, **settings)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(text)["features"]


def test_no_outline_becomes_invalid_when_qupath_rounds_it(tmp_path: Path) -> None:
    shapes = [*polygons(rough_mask(1, (150, 160)), (61_113, 83_217)), *stars(1800, seed=1)]
    # Rounding alone makes some of these cross themselves, and QuPath would take nothing of the file.
    assert sum(not rounded(shape).is_valid for shape in shapes) > 5
    features = write(tmp_path / "o.geojson", shapes, counted_from=(37, 1211))
    assert len(shapes) > 2000 and len(features) > 0.99 * len(shapes)
    written = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert all(shape.is_valid for shape in written)
    for shape in written:
        reduced = shapely.set_precision(shape, 0.01)
        assert reduced.symmetric_difference(shape).area < 1e-6
    expected = sum(shape.area for shape in shapes)
    assert sum(shape.area for shape in written) == pytest.approx(expected, rel=1e-3)
    (found,) = read_as_qupath(tmp_path / "o.geojson")
    assert found["types"] == {"annotation": len(features)} and found["ids"] == len(features)
    assert found["area"] == pytest.approx(sum(shape.area for shape in written))


def test_the_reader_of_these_tests_refuses_what_qupath_refuses(tmp_path: Path) -> None:
    (shape, *_) = [shape for shape in stars(4000, seed=1) if not rounded(shape).is_valid]
    features = write(tmp_path / "o.geojson", [shape])
    features[0]["geometry"] = json.loads(json.dumps(shapely.geometry.mapping(rounded(shape))))
    (tmp_path / "o.geojson").write_text(json.dumps({"features": features}))
    with pytest.raises(ValueError, match="invalid"):
        read_as_qupath(tmp_path / "o.geojson")


def test_outlines_thinner_than_the_grid_are_left_out_and_not_counted(tmp_path: Path) -> None:
    shapes = [shapely.box(0, 0, 50, 50), shapely.box(80, 80, 80.04, 120)]
    (feature,) = write(tmp_path / "o.geojson", shapes, origin=ORIGIN)
    assert feature["properties"]["metadata"]["drunet_outlines"] == "1"


def test_measurements_are_those_of_the_outline(tmp_path: Path) -> None:
    field = np.random.default_rng(3).random((60, 80), np.float32)
    field[:8] = np.nan
    size = (800, 480)
    shapes = [shapely.Point(300, 240).buffer(70), shapely.box(401, 400, 402, 401), shapely.box(10, 3, 60, 30)]
    features = write(tmp_path / "o.geojson", shapes, measured=partial(probabilities, field, size))
    x, y = np.meshgrid((np.arange(80) + 0.5) * 10, (np.arange(60) + 0.5) * 8)
    inside = field[shapely.contains_xy(shapes[0], x, y)]
    whole, speck, unknown = (feature["properties"]["measurements"] for feature in features)
    assert len(inside) > 150
    assert whole["Mean probability"] == pytest.approx(float(inside.mean()), abs=1e-4)
    assert whole["Maximum probability"] == pytest.approx(float(inside.max()), abs=1e-4)
    assert whole["Area mm^2"] == pytest.approx(np.pi * 70**2 * 0.25**2 * 1e-6, rel=0.01)
    assert whole["Outline area µm^2"] == pytest.approx(np.pi * 70**2 * 0.25**2, rel=0.01)
    # Smaller than a pixel of the field, it has that pixel's value.
    assert speck["Mean probability"] == speck["Maximum probability"] == pytest.approx(float(field[50, 40]), abs=1e-4)
    assert set(unknown) == {"Area mm^2", "Outline area µm^2"}
    # A map of uncertainty on cells of its own, some of which are unknown.
    spread = np.full((6, 8), 0.25, np.float32)
    spread[:, 3:] = np.nan
    told = probabilities(field, size, shapes[0], spread=spread)
    assert told["Spread of the answers"] == 0.25 and told["Mean probability"] == whole["Mean probability"]
    assert probabilities(field, size, shapes[2], spread=spread) == {"Spread of the answers": 0.25}
    (found,) = read_as_qupath(tmp_path / "o.geojson")
    assert found["sums"]["Mean probability"] == pytest.approx(whole["Mean probability"] + speck["Mean probability"])


@pytest.mark.parametrize("corner", [(-3.0, -3.0), (797.0, 477.0)])
def test_an_outline_at_the_slides_edge_is_measured(corner: tuple[float, float]) -> None:
    field = np.arange(4800, dtype=np.float32).reshape(60, 80) / 4800
    shape = shapely.box(*corner, corner[0] + 5, corner[1] + 5)
    expected = field[0, 0] if corner[0] < 0 else field[-1, -1]
    assert probabilities(field, (800, 480), shape)["Mean probability"] == pytest.approx(float(expected), abs=1e-4)


def test_compressed_outlines_are_the_same_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    shapes = polygons(rough_mask(1, (60, 60)), (6000, 6000))
    plain = write(tmp_path / "o.geojson", shapes)
    assert write(tmp_path / "o.geojson.gz", shapes) == plain
    first = (tmp_path / "o.geojson.gz").read_bytes()
    write(tmp_path / "again.geojson.gz", shapes)
    assert (tmp_path / "again.geojson.gz").read_bytes() == first
    assert len(first) < 0.4 * (tmp_path / "o.geojson").stat().st_size
    one, other = read_as_qupath(tmp_path / "o.geojson", tmp_path / "o.geojson.gz")
    assert one == other


def test_one_annotation_per_run_holds_the_outlines(tmp_path: Path) -> None:
    shapes = polygons(rough_mask(2, (40, 40)), (6000, 6000))
    flat = write(tmp_path / "flat.geojson", shapes, origin=ORIGIN)
    (parent,) = write(tmp_path / "o.geojson", shapes, origin=ORIGIN, parent=True)
    properties = parent["properties"]
    assert properties.pop("childObjects") == flat
    total = sum(shapely.geometry.shape(f["geometry"]).area for f in flat) * 0.25**2
    assert properties.pop("measurements") == {
        "Outlines": len(flat),
        "Area mm^2": pytest.approx(total / 1e6, rel=1e-4),
        "Outline area µm^2": pytest.approx(total, rel=1e-4),
    }
    metadata = {"drunet_parent": "drunet"}
    assert properties == {"objectType": "annotation", "name": "drunet", "isLocked": True, "metadata": metadata}
    bounds = shapely.MultiPolygon(shapes).bounds
    assert shapely.geometry.shape(parent["geometry"]).bounds == pytest.approx(bounds, abs=0.06)
    nested, plain = read_as_qupath(tmp_path / "o.geojson", tmp_path / "flat.geojson")
    assert (nested["depth"], plain["depth"]) == (2, 1)
    assert nested["types"] == {"annotation": len(flat) + 1} and nested["area"] == plain["area"]
    # No tumour, no annotation that would hold it.
    assert write(tmp_path / "none.geojson", [], origin=ORIGIN, parent=True) == []


def test_tiles_for_measurement_maps_are_the_heatmaps_cells(tmp_path: Path) -> None:
    grid = Grid(10_007, 6_013, mpp=0.2523, tile_mpp=1.0, size=448, step=224)
    heatmap = np.random.default_rng(4).random(grid.shape, np.float32)
    heatmap[np.random.default_rng(5).random(grid.shape) < 0.3] = np.nan
    write_tiles(tmp_path / "tiles.geojson.gz", heatmap, grid, counted_from=(100, 50))
    features = json.loads(gzip.decompress((tmp_path / "tiles.geojson.gz").read_bytes()))["features"]
    read = np.full(grid.shape, np.nan)
    boxes = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    for box, feature in zip(boxes, features, strict=True):
        assert feature["properties"]["objectType"] == "tile"
        column, row = int((box.centroid.x + 100) // grid.cell), int((box.centroid.y + 50) // grid.cell)
        assert np.isnan(read[row, column])
        read[row, column] = feature["properties"]["measurements"]["Tumour probability"]
    np.testing.assert_allclose(read, heatmap, atol=6e-6)
    # They share their edges and end with the slide.
    looked = grid.resample_to_slide(np.isfinite(heatmap).astype(np.float32), (601, 1000)).mean() * 10_007 * 6_013
    assert shapely.union_all(boxes).area == pytest.approx(sum(b.area for b in boxes)) == pytest.approx(looked, rel=2e-3)
    assert shapely.total_bounds(boxes) == pytest.approx([-100, -50, 9_907, 5_963], abs=300)
    assert max(box.bounds[2] for box in boxes) <= 9_907 and max(box.bounds[3] for box in boxes) <= 5_963
    (found,) = read_as_qupath(tmp_path / "tiles.geojson.gz")
    assert found["types"] == {"tile": int(np.isfinite(heatmap).sum())}
    assert found["sums"]["Tumour probability"] == pytest.approx(float(np.nansum(heatmap)), abs=0.05)


def test_a_project_opens_the_slides_and_keeps_their_numbers(tmp_path: Path) -> None:
    place = tmp_path / "runs/drunet/qupath"
    slides = {"s 2": ("slides/a b.svs", 0.25), "s1": (str(tmp_path / "slides/c.mrxs"), 0.2431)}
    write_project(place / "project.qpproj", slides)
    project = json.loads((place / "project.qpproj").read_text(encoding="utf-8"))
    # What DefaultProject reads without asking whether it is there.
    assert project["version"] == "0.6.0" and project["createTimestamp"] == project["modifyTimestamp"] > 1.7e12
    first, second = project["images"]
    assert [image["imageName"] for image in (first, second)] == list(slides)
    assert first["serverBuilder"]["builderType"] == "uri" and first["serverBuilder"]["args"] == []
    assert first["metadata"] == {"mpp": "0.25"}
    for image, (path, _) in zip((first, second), slides.values(), strict=True):
        uri = urlsplit(image["serverBuilder"]["uri"])
        assert uri.scheme == "file" and Path(unquote(uri.path)) == Path(path).absolute()
    # Moved together with its slides: QuPath takes the way from the old place to the slide, from the new place on.
    old = Path(unquote(urlsplit(project["uri"]).path)).parent
    way = os.path.relpath(unquote(urlsplit(second["serverBuilder"]["uri"]).path), old)
    assert old == place and Path(os.path.normpath(Path("/other/runs/drunet/qupath", way))) == Path(
        "/other/slides/c.mrxs"
    )
    numbers = [image["entryID"] for image in (first, second)]
    # Longs in Java, exact as doubles too; QuPath counts on from the last.
    assert len(set(numbers)) == 2 and min(numbers) > 0 and project["lastID"] == max(numbers) < 2**53
    # Another slide before it changes no number: under it QuPath keeps what was drawn.
    write_project(place / "project.qpproj", {"s0": ("x.svs", 1.0), "s1": slides["s1"]})
    again = json.loads((place / "project.qpproj").read_text(encoding="utf-8"))
    assert again["images"][1]["entryID"] == numbers[1]


def test_the_projects_script_imports_the_files_of_the_run_once(tmp_path: Path) -> None:
    script = (ROOT / "resources/viewers/import_run.groovy").read_text(encoding="utf-8").replace("@RUN@", "by_colour")
    code = "\n".join(line for line in script.splitlines() if not line.startswith("//"))
    # Methods of QP in QuPath 0.6, 0.7 and 0.8, and of what they return; nothing else is called.
    known = (
        "getProjectEntry buildFilePath getOriginalImageName getAnnotationObjects any getMetadata exists "
        "importObjectsFromFile getPath getDetectionObjects isTile getCurrentServer getPixelCalibration "
        "hasPixelSizeMicrons parseDouble setPixelSizeMicrons File if"
    )
    assert set(re.findall(r"([A-Za-z]+)\s?[({]", code)) <= set(known.split())
    assert code.count("(") == code.count(")") and code.count("{") == code.count("}") and "@" not in code
    assert code.count("'by_colour'") == 2 and "segmentation.geojson'" in code and "tiles.geojson.gz'" in code
    # The keys are those that the outlines carry.
    write(tmp_path / "o.geojson", [shapely.box(0, 0, 9, 9)], origin=origin("by_colour", {"m": "a" * 64}), parent=True)
    text = (tmp_path / "o.geojson").read_text(encoding="utf-8")
    for key in re.findall(r"'(drunet_\w+)'", code):
        assert f'"{key}": "by_colour"' in text


@pytest.mark.parametrize("name", ["lung_scc_2.tif", "lung_scc_3.tif"])
@pytest.mark.slow
def test_outlines_and_tiles_of_a_biopsy_are_taken_whole(tmp_path: Path, real_slide: Any, name: str) -> None:
    with Slide(real_slide(name), "s1") as slide:
        size = slide.properties.width, slide.properties.height
        grid = Grid(*size, mpp=slide.properties.mpp, tile_mpp=1.0, size=64, step=64)
        shape = grid.raster(8.0)
        green = slide.read_whole(shape)[..., 1].astype(np.float32)
    heatmap = cv2.resize(1 - green / 255, grid.shape[::-1], interpolation=cv2.INTER_AREA)
    heatmap[heatmap < 0.1] = np.nan
    # Dark tissue as it is, ragged.
    shapes = polygons(green < 150, size)
    features = write(tmp_path / "o.geojson", shapes, measured=partial(probabilities, 1 - green / 255, size))
    write_tiles(tmp_path / "tiles.geojson.gz", heatmap, grid)
    outlines, tiles = read_as_qupath(tmp_path / "o.geojson", tmp_path / "tiles.geojson.gz")
    assert outlines["types"] == {"annotation": len(features)} and len(features) > 50
    assert outlines["area"] == pytest.approx(sum(shape.area for shape in shapes), rel=1e-3)
    assert all(f["properties"]["measurements"]["Mean probability"] > 0.3 for f in features)
    assert tiles["types"] == {"tile": int(np.isfinite(heatmap).sum())}
