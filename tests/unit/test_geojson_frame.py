"""On slides of which a part was scanned, GeoJSON is read and written in the frame that QuPath shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scanned_slide import write_scanned
from shapely.geometry import box, mapping

from drunet import slide as slide_module
from drunet.annotation import read_annotation
from drunet.annotation.parsed import read_parsed, write_parsed
from drunet.annotation.provenance import origin as provenance
from drunet.annotation.provenance import provenance_of
from drunet.errors import AnnotationError
from drunet.export.outline import write_geojson
from drunet.inspection import inspect
from drunet.slide import Slide, SlideProperties

SIZE, ORIGIN = (640, 480), (96, 160)
CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}
FEATURE = {"type": "Feature", "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}}}
# Bounds of a slide of 640 x 480 px that say nothing usable, and those of the whole slide.
NO_BOUNDS: list[dict[str, str]] = [
    {},
    {"x": "96", "y": "160"},
    {"x": "96", "y": "160", "width": "256"},
    {"x": "96", "y": "160", "width": "wide", "height": "192"},
    {"x": "-96", "y": "160", "width": "256", "height": "192"},
    {"x": "96", "y": "160", "width": "600", "height": "192"},
    {"x": "96", "y": "160", "width": "256", "height": "0"},
    {"x": "640", "y": "480", "width": "256", "height": "192"},
    {"x": "0", "y": "0", "width": "640", "height": "480"},
]


@pytest.fixture
def scanned(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A slide and its scanned part."""
    pixels = np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    return write_scanned(tmp_path / "slide.scn", pixels, SIZE, ORIGIN), pixels


def drawn(path: Path, shape: shapely.Geometry) -> Path:
    path.write_text(json.dumps({**FEATURE, "geometry": mapping(shape)}))
    return path


def read(path: Path, **options: Any) -> Any:
    return read_annotation(path, kind="wta", where="s", width=SIZE[0], height=SIZE[1], classes=CLASSES, **options)


def test_the_origin_is_where_the_scanned_pixels_begin(scanned: tuple[Path, np.ndarray]) -> None:
    path, pixels = scanned
    with Slide(path, "s") as slide:
        properties = slide.properties
        x, y = properties.bounds_origin
        np.testing.assert_array_equal(slide.read(x, y, (256, 192), 1.0), pixels)
        assert (slide.read(0, 0, (x, y), 1.0) == 255).all()
    assert (properties.width, properties.height) == SIZE
    assert properties.geojson_origin("qupath") == (x, y) == ORIGIN
    assert properties.geojson_origin("slide") == (0, 0)
    with pytest.raises(ValueError, match="frame"):
        properties.geojson_origin("bounds")


@pytest.mark.parametrize("bounds", NO_BOUNDS)
def test_bounds_that_are_incomplete_or_not_within_the_slide_move_nothing(
    colours: Callable[..., np.ndarray],
    lossless_slide: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    bounds: dict[str, str],
) -> None:
    class Stated(openslide.OpenSlide):
        @property
        def properties(self) -> Any:
            return {**super().properties, **{f"openslide.bounds-{k}": v for k, v in bounds.items()}}

    monkeypatch.setattr(slide_module.openslide, "OpenSlide", Stated)
    with Slide(lossless_slide(colours(480, 640)), "s") as slide:
        assert slide.properties.geojson_origin("qupath") == (0, 0)


offset = st.tuples(st.integers(0, 200_000), st.integers(0, 200_000))
tenths = st.integers(0, 6390).map(lambda v: v / 10)
boxes = st.tuples(tenths, tenths, st.integers(2, 900), st.integers(2, 900)).map(
    lambda v: box(v[0], v[1], v[0] + v[2] / 10, v[1] + v[3] / 10)
)


@given(offset, st.lists(boxes, min_size=1, max_size=4), st.sampled_from(["qupath", "slide"]))
def test_what_is_written_is_read_back_in_the_same_place_whatever_the_frame(
    tmp_path_factory: pytest.TempPathFactory, corner: tuple[int, int], shapes: list[Any], frame: str
) -> None:
    properties = SlideProperties(400_000, 400_000, 0.25, "sheet", "mirax", (1.0,), "20", corner)
    origin = properties.geojson_origin(frame)
    placed = [shapely.transform(shape, lambda xy: xy + corner) for shape in shapes]
    path = tmp_path_factory.mktemp("frame") / "o.geojson"
    settings: Any = {"slide_id": "s", "name": "Tumor", "colour": (1, 2, 3), "mpp": 0.25}
    write_geojson(path, placed, origin=provenance("r", {"m": "a" * 64}), counted_from=origin, **settings)
    features = json.loads(path.read_text())["features"]
    for feature, shape, place in zip(features, shapes, placed, strict=True):
        # As QuPath lays it on what it shows; or as others do on the whole slide.
        expected = shape if frame == "qupath" else place
        assert shapely.geometry.shape(feature["geometry"]).bounds == pytest.approx(expected.bounds, abs=0.06)
    size = {"width": properties.width, "height": properties.height}
    back = read_annotation(path, kind="wta", where="s", classes=CLASSES, origin=origin, **size)
    for region, place in zip(back.regions, placed, strict=True):
        assert region.geometry.bounds == pytest.approx(place.bounds, abs=0.06)
    assert provenance_of(path, "s").how in ("unedited", "corrected")
    assert (provenance_of(path, "s").how == "unedited") == (len({s.wkt for s in placed}) == len(placed))


def test_masks_and_xml_are_of_the_whole_slide(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 5:15] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    corners = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate([(0, 0), (9, 0), (9, 9)]))
    (tmp_path / "a.xml").write_text(
        '<ASAP_Annotations><Annotations><Annotation Type="Polygon" PartOfGroup="tumor"><Coordinates>'
        f"{corners}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )
    assert read(tmp_path / "m.png", origin=ORIGIN).tumour.bounds == (50, 100, 150, 200)
    assert read(tmp_path / "a.xml", origin=ORIGIN).tumour.bounds == (0, 0, 9, 9)


def test_a_region_that_leaves_the_slide_by_its_frame_is_told_of_the_setting(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.geojson", box(560, 330, 620, 470))
    assert read(path).tumour.bounds == (560, 330, 620, 470)
    with pytest.raises(AnnotationError, match=r"cohort\.geojson_frame"):
        read(path, origin=ORIGIN)
    with pytest.raises(AnnotationError) as caught:
        read(drawn(path, box(900, 900, 990, 990)))
    assert "geojson_frame" not in str(caught.value)


@pytest.mark.parametrize(("frame", "status"), [("qupath", "ok"), ("slide", "annotation_unusable")])
def test_the_first_look_holds_an_annotation_against_the_slide_in_its_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: str, status: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    slide = write_scanned(tmp_path / "slide.scn", pixels, SIZE, ORIGIN)
    monkeypatch.setattr("drunet.inspection.find_tissue", lambda *_: (np.ones((4, 4), bool), np.zeros((4, 4), bool)))
    # Left of what was scanned, which is still on the slide.
    path = drawn(tmp_path / "a.geojson", box(-90, 10, -30, 60))
    found = inspect(
        str(slide), "s", mpp=None, tissue={}, annotation=str(path), kind="wta", classes=CLASSES, geojson_frame=frame
    )
    assert found.report["status"] == status
    if found.annotation:
        # What later stages read counts from the corner of the slide.
        write_parsed(tmp_path / "a.parquet", found.annotation, found.provenance, slide_id="s", size=SIZE)
        back = read_parsed(tmp_path / "a.parquet", slide_id="s", size=SIZE)
        assert back is not None
        left, top = -90 + ORIGIN[0], 10 + ORIGIN[1]
        assert back.tumour.bounds == (left, top, left + 60, top + 50)
        assert found.report["geojson_origin"] == list(ORIGIN)
    else:
        assert found.failure is not None and found.failure.status == status and found.tissue is None
