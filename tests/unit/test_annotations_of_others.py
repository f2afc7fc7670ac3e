"""Annotations as other programs and tired hands leave them: mended and counted where it is plain, refused where not."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from PIL import Image
from shapely.geometry import Polygon, box

from drunet.annotation import Annotation, outline, read_annotation
from drunet.annotation.outline import _traced
from drunet.errors import AnnotationError

CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}
WIDTH, HEIGHT = 1000, 800
SQUARE = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 100]]
INNER = [[150, 150], [200, 150], [200, 200], [150, 200], [150, 150]]
CLICK = [[50, 50]] * 4
PATIENT = "Nordmann"


def read(path: Path, kind: str = "wta", width: int = WIDTH, height: int = HEIGHT, **options: Any) -> Annotation:
    return read_annotation(path, kind=kind, where="s1", width=width, height=height, classes=CLASSES, **options)


def written(tmp_path: Path, content: str | bytes, suffix: str) -> Path:
    path = tmp_path / f"drawn{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(AnnotationError) as caught:
        read(path, **options)
    return str(caught.value)


def feature(geometry: Any, name: Any = "Tumor", **properties: Any) -> dict[str, Any]:
    if isinstance(geometry, list):
        geometry = {"type": "Polygon", "coordinates": geometry}
    classification = {"name": name} if isinstance(name, str) else name
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": classification, **properties},
    }


def geojson(tmp_path: Path, *features: Any) -> Path:
    return written(tmp_path, json.dumps({"type": "FeatureCollection", "features": features}), ".geojson")


# Points, lines, rulers and clicks ------------------------------------------------------------------------------------


def shape(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": kind, "coordinates": coordinates}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "GeometryCollection", "geometries": list(geometries)}


@pytest.mark.parametrize(
    ("stray", "counted"),
    [
        (feature(shape("Point", [5, 5])), "1 point passed over"),
        (feature(shape("MultiPoint", [[300, 250], [310, 260]]), "Positive"), "1 point passed over"),
        (feature(shape("LineString", [[10, 10], [400, 300]]), None), "1 line passed over"),
        (feature(shape("MultiLineString", [[[10, 10], [400, 300]]])), "1 line passed over"),
        (feature(None), "1 object without an outline passed over"),
        (feature([CLICK]), "1 outline without an area passed over"),
        (feature([[[5, 5], [9, 9], [5, 5]]]), "1 outline without an area passed over"),
        (feature([[[0, 0], [100, 0], [200, 0], [0, 0]]]), "1 outline without an area passed over"),
        (feature([[[0, 0], [100, 0], [0, 0], [100, 0], [0, 0]]]), "1 outline without an area passed over"),
        (feature(collection(shape("Point", [1, 1]))), "1 object without an outline passed over"),
        (feature(collection()), "1 object without an outline passed over"),
    ],
)
def test_what_has_no_area_is_passed_over_beside_what_has_and_refused_alone(
    tmp_path: Path, stray: Any, counted: str
) -> None:
    annotation = read(geojson(tmp_path, feature([SQUARE]), stray))
    assert annotation.tumour.equals(box(100, 100, 300, 300))
    assert annotation.mended == counted
    # A file of nothing else would say that there is no tumour.
    assert "feature 1 of 1" in refusal(geojson(tmp_path, stray))


def test_clicks_inside_a_region_are_passed_over_and_counted_together(tmp_path: Path) -> None:
    parts = shape("MultiPolygon", [[SQUARE, CLICK], [CLICK]])
    point = feature(shape("Point", [1, 1]))
    annotation = read(geojson(tmp_path, feature(parts), point, point))
    assert annotation.tumour.equals(box(100, 100, 300, 300))
    assert annotation.mended == "2 outlines without an area passed over; 2 points passed over"


@pytest.mark.parametrize(
    ("geometry", "name", "properties"),
    [
        ([SQUARE], {"name": None, "names": ["Tumor"]}, {}),
        ([SQUARE], {"names": ["Tumor"], "color": [1, 2, 3]}, {}),
        ([SQUARE], "Tumor", {"isLocked": True, "measurements": [{"name": "a", "value": float("nan")}]}),
        (collection(shape("Polygon", [SQUARE])), "Tumor", {}),
        ({"type": "Polygon", "coordinates": [SQUARE], "isEllipse": True}, "Tumor", {}),
    ],
)
def test_newer_forms_of_qupath_read_alike(tmp_path: Path, geometry: Any, name: Any, properties: Any) -> None:
    annotation = read(geojson(tmp_path, feature(geometry, name, **properties)))
    assert annotation.tumour.equals(box(100, 100, 300, 300))
    assert not annotation.mended


@pytest.mark.parametrize("kind", ["tmaCore", "tma_core", "TMA_CORE", "detection", "cell"])
def test_objects_that_nobody_drew_are_no_annotations_however_they_are_spelt(tmp_path: Path, kind: str) -> None:
    assert len(read(geojson(tmp_path, feature([SQUARE]), feature([INNER], None, objectType=kind))).regions) == 1


# Outlines that touch or cross themselves -----------------------------------------------------------------------------


def loop(size: float) -> list[list[float]]:
    """A square of 40,000 px² with a loop of `size`²/2 px² at its corner, walked the other way round."""
    return [*SQUARE[:3], [100, 300], [100, 100 + size], [100 - size, 100], [100 - size, 100 + size], [100, 100]]


@pytest.mark.parametrize(
    ("rings", "area"),
    [
        # A tail there and back; islands that meet at a corner; an edge walked twice; a hole that touches the outside.
        ([[*SQUARE[:-1], [100, 100], [50, 50], [100, 100]]], 40_000),
        ([[*SQUARE[:3], [310, 300], [310, 310], [300, 300], [100, 300], [100, 100]]], 40_050),
        ([[*SQUARE[:3], [400, 300], [300, 300], [100, 300], [100, 100]]], 40_000),
        ([SQUARE, [[100, 100], [200, 150], [150, 200], [100, 100]], [[100, 100], [110, 150], [105, 150], [100, 100]]],
         40_000 - 3_750 - 125),
        # A whisker of two pixels' width to an island of a few.
        ([[[100, 100], [300, 100], [300, 200], [320, 200], [325, 200], [325, 205], [320, 205], [320, 200], [300, 200],
           [300, 300], [100, 300], [100, 100]]], 40_025),
    ],
)  # fmt: skip
def test_outlines_that_only_touch_themselves_lose_nothing_and_are_counted(
    tmp_path: Path, rings: Any, area: float
) -> None:
    annotation = read(geojson(tmp_path, feature(rings)))
    assert annotation.tumour.is_valid
    assert annotation.tumour.area == pytest.approx(area)
    # Some of them are valid by the standard, and need nothing.
    assert annotation.mended in ("", "1 outline untangled, under 0.1 %")


def test_what_may_be_uncertain_is_a_setting(tmp_path: Path) -> None:
    # The loop counts against the square as drawn, and falls off it: 882 of 40,000 px².
    path = geojson(tmp_path, feature([loop(42)]))
    annotation = read(path)
    assert annotation.mended == "1 outline untangled, 2.2 %"
    assert annotation.tumour.area == pytest.approx(40_000, rel=0.025)
    assert "2.2% uncertain" in refusal(path, max_untangled=0.02)
    assert "cohort.max_untangled" in refusal(geojson(tmp_path, feature([loop(90)])))


@pytest.mark.parametrize(
    "rings",
    [
        [[[100, 100], [300, 300], [300, 100], [100, 300], [100, 100]]],  # a bow tie
        [SQUARE[:-1] + SQUARE],  # twice around
        [SQUARE, [[x + 100, y] for x, y in SQUARE]],  # a hole across the edge
        # What is walked backwards and what is walked twice cancel in the sum of areas.
        [[[0, 0], [100, 0], [100, 100], [0, 100], [0, 0], [100, 0], [100, 100], [0, 100], [0, 0],
          [0, 170], [-0.0, 0], [50, 0], [0, 0]]],
        [np.random.default_rng(1).integers(0, 800, (300, 2)).tolist()],
    ],
)  # fmt: skip
def test_outlines_of_which_much_is_uncertain_are_refused(tmp_path: Path, rings: Any) -> None:
    rings = [ring if ring[0] == ring[-1] else [*ring, ring[0]] for ring in rings]
    assert "crosses itself" in refusal(geojson(tmp_path, feature(rings)))


@pytest.mark.parametrize("seed", range(5))
def test_outlines_traced_pixel_by_pixel_are_usable(tmp_path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).random((200, 250)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 2) > 0.5).astype(np.uint8)
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    features = []
    for number, contour in enumerate(contours):
        if tree[0][number][3] < 0 and len(contour) >= 8:
            holes = [c for c, links in zip(contours, tree[0], strict=True) if links[3] == number and len(c) >= 4]
            rings = [c[:, 0].tolist() for c in [contour, *holes]]
            features.append(feature([[*ring, ring[0]] for ring in rings]))
    assert any(not Polygon(f["geometry"]["coordinates"][0]).is_valid for f in features)
    annotation = read(geojson(tmp_path, *features), width=250, height=200)
    assert annotation.mended.endswith("untangled, under 0.1 %")
    drawn = sum(abs(Polygon(rings[0], rings[1:]).area) for rings in (f["geometry"]["coordinates"] for f in features))
    assert annotation.tumour.area == pytest.approx(drawn, rel=1e-3)


# XML -----------------------------------------------------------------------------------------------------------------


def asap(*annotations: tuple[str, str, list[Any]], groups: str = "") -> str:
    body = ""
    for kind, group, corners in annotations:
        points = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners))
        body += f'<Annotation Name="{PATIENT}" Type="{kind}" PartOfGroup="{group}"><Coordinates>{points}</Coordinates>'
        body += "</Annotation>"
    groups = f"<AnnotationGroups>{groups}</AnnotationGroups>"
    return f"<ASAP_Annotations><Annotations>{body}</Annotations>{groups}</ASAP_Annotations>"


def group(name: str, within: str) -> str:
    return f'<Group Name="{name}" PartOfGroup="{within}"/>'


def layers(*parts: tuple[str, str], vertex: str = "Vertex") -> str:
    """ImageScope and HALO: per layer its attributes and its regions."""
    body = "".join(f"<Annotation {given}><Regions>{regions}</Regions></Annotation>" for given, regions in parts)
    return f"<Annotations>{body}</Annotations>".replace("<Vertex ", f"<{vertex} ")


def region(corners: Any, given: str = 'Type="0"') -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners)
    return f"<Region {given}><Vertices>{vertices}</Vertices></Region>"


TUMOR = ("Polygon", "Tumor", SQUARE)
WHOLE, RING = box(100, 100, 300, 300), box(100, 100, 300, 300) - box(150, 150, 200, 200)


@pytest.mark.parametrize(
    ("text", "expected", "mended"),
    [
        (asap(TUMOR, ("Dot", "Tumor", [[1, 1]])), WHOLE, "1 point passed over"),
        (asap(TUMOR, ("PointSet", "cells", [[1, 1], [2, 2]])), WHOLE, "1 point passed over"),
        (asap(TUMOR, ("Measurement", "None", [[1, 1], [2, 2]])), WHOLE, "1 ruler passed over"),
        (asap(TUMOR, ("Polygon", "Tumor", [[1, 1], [2, 2]])), WHOLE, "1 outline without an area passed over"),
        (asap(("Polygon", "nests", SQUARE), groups=group("nests", "Tumor")), WHOLE, ""),
        (asap(("Polygon", "a", SQUARE), groups=group("a", "b") + group("b", "Tumor")), WHOLE, ""),
        (layers(('Name="Tumor"', region(SQUARE) + region([[1, 1], [9, 9]], 'Type="4"'))), WHOLE, "1 ruler passed over"),
        (layers(('Name="Tumor"', region(SQUARE) + region([[1, 1], [9, 9]], 'Type="3"'))), WHOLE, "1 arrow passed over"),
        (layers(('Name="Tumor"', region(SQUARE)), ('Name=""', region(INNER, 'NegativeROA="1"'))), RING, ""),
        (layers(('Name=""', region(INNER, 'NegativeROA="1"')), ('Name="Tumor"', region(SQUARE))), RING, ""),
        (layers(('Name="Tumor"', region(SQUARE)), ('Name="Tumor" Visible="0"', region(INNER))), WHOLE,
         "1 region of a hidden layer passed over"),
        (layers(('Name="Tumor"', region(SQUARE)), ('Name="x" Visible="False"', region(INNER) * 2)), WHOLE,
         "2 regions of a hidden layer passed over"),
        (layers(('Name="Tumor" Visible="True"', region(SQUARE, 'Type="Polygon"')), vertex="V"), WHOLE, ""),
        (layers(('Name="Tumor"', region(SQUARE[::2][:2], 'Type="Rectangle"')), vertex="V"), WHOLE, ""),
        (layers(('Name="Tumor"', region(SQUARE, 'Type="Polygon"') + region([[1, 1], [9, 9]], 'Type="Ruler"')),
                vertex="V"), WHOLE, "1 ruler passed over"),
        (layers(('Name="Tumor"', region(SQUARE) + region(INNER, 'Type="Polygon" NegativeROA="1"')), vertex="V"),
         RING, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".xml", ".annotations"])
def test_xml_of_asap_imagescope_and_halo(
    tmp_path: Path, text: str, expected: shapely.Geometry, mended: str, suffix: str
) -> None:
    annotation = read(written(tmp_path, text, suffix))
    assert annotation.tumour.equals(expected)
    assert annotation.mended == mended


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (layers(('Name="Tumor"', region(SQUARE[::2][:2], 'Type="1"'))), "two corners"),
        (layers(('Name="Tumor"', region(SQUARE, 'Type="7"'))), "only areas"),
        (layers(('Name="Tumor" Visible="0"', region(SQUARE))), "hidden"),
        (layers(('Name="Tumor"', region(SQUARE, 'NegativeROA="1"'))), "holes"),
        (layers(('Name="Tumor"', region(INNER) + region(SQUARE, 'NegativeROA="1"'))), "holes"),
        (asap(("Blob", "Tumor", SQUARE), TUMOR), "only areas"),
        (asap(("Polygon", "a", SQUARE), groups=group("a", "b") + group("b", "a")), "not one that"),
        (asap(("Polygon", "a", SQUARE), groups=group("a", "None")), "not one that"),
        (asap(("Measurement", "None", [[1, 1], [2, 2]])), "only areas"),
        ("<a>&nordmann;</a>", "line 1"),
    ],
)
def test_xml_that_is_not_plain_is_refused(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(written(tmp_path, text, ".xml"))


def test_a_spline_is_a_curve_through_its_points(tmp_path: Path) -> None:
    angle = np.arange(6) * np.pi / 3
    points = np.round(np.stack([300 + 100 * np.cos(angle), 250 + 100 * np.sin(angle)], axis=1), 1)
    for corners in (points, [*points, points[0]], np.repeat(points, 2, axis=0)):
        curve = read(written(tmp_path, asap(("Spline", "Tumor", list(corners))), ".xml")).tumour
        # A hexagon has 17 % less than the circle, the curve 2.6 %.
        assert curve.area == pytest.approx(np.pi * 100**2, rel=0.03)
        assert shapely.MultiPoint(points).distance(curve.boundary) < 1e-9
    # Even where points lie close together beside a long stretch it makes no loops.
    uneven = [[100, 100], [700, 100], [704, 104], [700, 108], [100, 300]]
    assert not read(written(tmp_path, asap(("Spline", "Tumor", uneven)), ".xml")).mended


# Masks ---------------------------------------------------------------------------------------------------------------


PAINTED = np.zeros((80, 100), np.uint8)
PAINTED[10:20, 30:50] = 1


def palette(colours: list[int], indices: np.ndarray = PAINTED) -> Image.Image:
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours)
    return image


def rgba(colour: Any, elsewhere: Any) -> Image.Image:
    return Image.fromarray(np.where(PAINTED[..., None] > 0, colour, elsewhere).astype(np.uint8), "RGBA")


def see_through(image: Image.Image, index: int) -> Image.Image:
    image.info["transparency"] = index
    return image


USED = [
    rgba([255, 255, 255, 255], [255, 255, 255, 0]),
    rgba([200, 0, 0, 255], [200, 0, 0, 0]),
    rgba([255, 255, 255, 128], [255, 255, 255, 0]),
    rgba([255, 255, 255, 128], [0, 0, 0, 128]),
    rgba([1, 1, 1, 255], [0, 0, 0, 0]),
    Image.fromarray(np.stack([PAINTED * 0 + 255, PAINTED * 255], axis=2), "LA"),
    palette([255, 255, 255, 0, 0, 0], 1 - PAINTED),
    palette([0, 0, 0, 255, 255, 255]),
    palette([0, 0, 0, 90, 0, 0]),
    see_through(palette([255, 255, 255, 255, 0, 0]), 0),
    palette([0, 0, 0, 128, 0, 0], PAINTED),
    Image.fromarray(PAINTED.astype(np.float32)),
    Image.fromarray(PAINTED.astype(np.int32) * 255),
]


@pytest.mark.parametrize("number", range(len(USED)))
def test_what_is_seen_as_white_is_tumour(tmp_path: Path, number: int) -> None:
    path = tmp_path / ("mask.tif" if USED[number].mode in "FI" else "mask.png")
    USED[number].save(path)
    assert read(path).tumour.equals(box(300, 100, 500, 200))


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (rgba([0, 0, 0, 255], [0, 0, 0, 0]), "black all over"),
        (rgba([0, 0, 0, 255], [255, 255, 255, 0]), "black all over"),
        (rgba([255, 255, 255, 0], [0, 0, 0, 0]), "transparent all over"),
        (palette([90, 90, 90, 0, 0, 0]), "palette"),
        (palette([255, 255, 255, 255, 0, 0]), "several classes"),
        (Image.fromarray(PAINTED * 55 + 200), "several classes"),
        (Image.fromarray(np.where(PAINTED, np.nan, 0).astype(np.float32)), "say nothing"),
        (Image.fromarray(np.where(PAINTED, np.inf, 0).astype(np.float32)), "say nothing"),
        (Image.fromarray(-PAINTED.astype(np.int32)), "say nothing"),
        (Image.fromarray(PAINTED * np.linspace(0, 1, 100, dtype=np.float32)), "several classes"),
    ],
)
def test_masks_that_do_not_say_what_is_tumour_are_refused(tmp_path: Path, image: Image.Image, word: str) -> None:
    path = tmp_path / ("mask.tif" if image.mode in "FI" else "mask.png")
    image.save(path)
    assert word in refusal(path)


@pytest.mark.parametrize("kind", ["EPS", "GIF", "BMP", "PPM", "JPEG", "PDF", "TGA", "ICO"])
def test_no_other_format_is_opened_whatever_the_suffix(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("a foreign program was run"))
    for suffix in (".png", ".tif"):
        path = tmp_path / f"mask{suffix}"
        Image.fromarray(PAINTED * 255).save(path, format=kind)
        assert "not an image in PNG or TIFF" in refusal(path)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        (json.dumps({**feature([SQUARE], PATIENT), "id": PATIENT}), ".geojson"),
        (json.dumps({**feature([SQUARE], None), "id": PATIENT}), ".geojson"),
        (json.dumps({**feature([SQUARE[:-1]]), "id": PATIENT, "name": PATIENT}), ".geojson"),
        (json.dumps(feature({"type": PATIENT})), ".geojson"),
        (json.dumps({**feature([SQUARE]), "type": PATIENT}), ".geojson"),
        (json.dumps({"type": PATIENT}), ".geojson"),
        (json.dumps(feature([SQUARE], "\x1b]0;" + PATIENT)), ".geojson"),
        (asap(("Polygon", PATIENT, SQUARE)), ".xml"),
        (asap((PATIENT, "Tumor", SQUARE)), ".xml"),
        (asap(("Polygon", "Tumor", [[PATIENT, 1], *SQUARE])), ".xml"),
        (layers((f'Name="{PATIENT}"', region(SQUARE, f'Id="{PATIENT}"'))), ".xml"),
        (layers(('Name="Tumor"', region(SQUARE, f'Type="{PATIENT}"'))), ".xml"),
        (f"<{PATIENT}/>", ".xml"),
        (f"<a>&{PATIENT};</a>", ".xml"),
        (f'<?xml version="1.0" encoding="{PATIENT}"?><a/>', ".xml"),
        ("x", f".{PATIENT}"),
    ],
)
def test_no_message_repeats_a_name_from_the_file(tmp_path: Path, text: str, suffix: str) -> None:
    path = written(tmp_path, text, suffix)
    # The file's own name stands there until the report puts the slide's ID in its place.
    message = refusal(path).replace(path.name, "")
    assert PATIENT.casefold() not in message.casefold()
    assert "\x1b" not in message


def test_a_name_that_a_wildcard_stands_for_is_not_kept(tmp_path: Path) -> None:
    drawn = geojson(tmp_path, feature([SQUARE], f"Ignore {PATIENT}"), feature([SQUARE], "Ignore*"))
    assert [r.name for r in read(drawn).regions] == ["ignore*", "Ignore*"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x, y: [x, -y], "upside down"),
        (lambda x, y: [4 * x, 4 * y], "2 times the resolution"),
        (lambda x, y: [16 * x, 16 * y], "8 times the resolution"),
    ],
)
def test_a_region_outside_the_slide_is_refused_with_the_likely_cause(tmp_path: Path, change: Any, cause: str) -> None:
    message = refusal(geojson(tmp_path, feature([[change(*corner) for corner in SQUARE]])))
    assert "outside the slide" in message and cause in message


# Time and memory -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_seconds() -> Any:
    start = time.process_time()
    yield
    # A hundred times less than it took; several times more than it takes.
    assert time.process_time() - start < 20


def squares(count: int, *names: str) -> list[dict[str, Any]]:
    side = int(count**0.5) + 1
    corners = [(8 * (i % side), 8 * (i // side)) for i in range(count)]
    return [feature([[list(p) for p in box(x, y, x + 5, y + 5).exterior.coords]], names[i % len(names)])
            for i, (x, y) in enumerate(corners)]  # fmt: skip


@pytest.mark.usefixtures("in_seconds")
def test_a_scribble_is_refused_before_it_is_untangled(tmp_path: Path) -> None:
    ring = (np.random.default_rng(0).random((5000, 2)) * 700).round(1).tolist()
    assert "thousands of times" in refusal(geojson(tmp_path, feature([[*ring, ring[0]]])))
    there_and_back = [[float(x), 10 + x % 2] for x in range(900)] * 6
    assert "crosses itself" in refusal(geojson(tmp_path, feature([[*there_and_back, [5, 700], [0, 10]]])))


@pytest.mark.usefixtures("in_seconds")
@pytest.mark.slow
def test_many_regions_of_two_classes_are_sorted_out_in_time_that_grows_with_them(tmp_path: Path) -> None:
    annotation = read(geojson(tmp_path, *squares(6000, "Tumor", "Stroma")))
    assert annotation.tumour.area == annotation.non_tumour.area == 3000 * 25
    assert annotation.smallest_tumour_px2 == 25


@pytest.mark.usefixtures("in_seconds")
def test_regions_nested_without_end_are_refused(tmp_path: Path) -> None:
    nested = [list(p) for i in range(1) for p in SQUARE]
    drawn = [
        feature([[[x + i / 100, y + i / 100] if x < 200 else [x - i / 100, y - i / 100] for x, y in nested]], name)
        for i in range(1100)
        for name in ("Tumor", "Stroma")
    ]
    assert "lie over one another" in refusal(geojson(tmp_path, *drawn))


@pytest.mark.usefixtures("in_seconds")
@pytest.mark.slow
def test_a_mask_of_noise_is_outlined_and_one_without_end_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((600, 800)) < 0.5
    traced = outline(noise)
    assert traced.is_valid
    assert traced.area == noise.sum()
    path = tmp_path / "mask.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (2400, 3000), np.uint8) * 255).save(path)
    assert "too many pieces" in refusal(path)


@pytest.mark.parametrize("seed", range(60))
def test_an_outline_is_the_same_by_both_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 16, 2)) < rng.random()
    if mask.any():
        assert shapely.normalize(_traced(mask)).equals(shapely.normalize(outline(mask)))
        assert shapely.to_wkb(shapely.normalize(_traced(mask))) == shapely.to_wkb(shapely.normalize(outline(mask)))


def test_a_file_beyond_all_measure_is_refused_unread(tmp_path: Path) -> None:
    most = 128 << 20
    for suffix, size in ((".geojson", most), (".geojson", most + 1), (".xml", most + 1), (".png", (1 << 30) + 1)):
        path = tmp_path / f"large{suffix}"
        with path.open("wb") as file:
            file.truncate(size)
        assert ("too large to be read safely" in refusal(path)) == (size > most)


def barry_and_goldman(points: np.ndarray, count: int) -> np.ndarray:
    """A closed centripetal Catmull-Rom curve by their pyramid of interpolations, float (count x points, 2)."""
    curve = []
    for i in range(len(points)):
        p = [points[(i + k) % len(points)] for k in (-1, 0, 1, 2)]
        t = np.concatenate([[0], np.cumsum([np.hypot(*(b - a)) ** 0.5 for a, b in itertools.pairwise(p)])])
        for now in np.linspace(t[1], t[2], count, endpoint=False):
            level = p
            for spans in (((0, 1), (1, 2), (2, 3)), ((0, 2), (1, 3)), ((1, 2),)):
                level = [
                    (t[late] - now) / (t[late] - t[early]) * a + (now - t[early]) / (t[late] - t[early]) * b
                    for (early, late), a, b in zip(spans, level[:-1], level[1:], strict=True)
                ]
            curve.append(level[0])
    return np.array(curve)


@pytest.mark.parametrize("seed", range(4))
def test_a_spline_is_the_centripetal_curve_of_catmull_and_rom(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9 + seed))
    points = (300 + rng.uniform(80, 160, (len(angle), 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)).round(1)
    curve = read(written(tmp_path, asap(("Spline", "Tumor", points.tolist())), ".xml")).tumour
    expected = shapely.Polygon(barry_and_goldman(points, 16))
    assert curve.symmetric_difference(expected).area < 1e-6 * expected.area


def test_a_spline_through_six_points_of_a_circle_has_the_area_by_hand(tmp_path: Path) -> None:
    turn = np.arange(6) * np.pi / 3
    points = np.stack([300 + 100 * np.cos(turn), 250 + 100 * np.sin(turn)], axis=1)
    curve = read(written(tmp_path, asap(("Spline", "Tumor", points.tolist())), ".xml")).tumour
    # By Green's theorem a cubic with chord d and speeds m, n adds (d x n - d x m) / 10 - m x n / 60 to the chord's
    # side: here, radius 1, 7 sqrt(3) / 160 for each of six.
    caps = 6 * 7 * 3**0.5 / 160
    assert curve.area == pytest.approx((1.5 * 3**0.5 + caps) * 100**2, rel=2e-3)
