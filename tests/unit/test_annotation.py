"""Annotations: what is read is what was drawn, and what cannot be understood is refused in plain words."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon, box

from drunet.annotation import Annotation, Region, outline, rasterise, read_annotation
from drunet.errors import AnnotationError

CLASSES = {
    "tumour": ["tumor", "Invasive Tumor"],
    "non_tumour": ["non-tumor", "stroma"],
    "ignore": ["ignore*", "artefact"],
}
SQUARE = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 100]]
WIDTH, HEIGHT = 1000, 800


def read(path: Path, kind: str = "wta", width: int = WIDTH, height: int = HEIGHT) -> Annotation:
    return read_annotation(path, kind=kind, where="slide_1", width=width, height=height, classes=CLASSES)


def feature(rings: Any, name: Any = "Tumor", kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    classification = {"name": name, "color": [200, 0, 0]} if isinstance(name, str) else name
    return {
        "type": "Feature",
        "id": "f00d",
        "geometry": {"type": kind, "coordinates": rings},
        "properties": {"objectType": "annotation", "classification": classification, **properties},
    }


def geojson(tmp_path: Path, *features: Any) -> Path:
    path = tmp_path / "drawn.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def written(tmp_path: Path, text: str | bytes, suffix: str = ".geojson") -> Path:
    path = tmp_path / f"drawn{suffix}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, *words: str, kind: str = "wta", **size: int) -> str:
    with pytest.raises(AnnotationError) as caught:
        read(path, kind, **size)
    message = str(caught.value)
    for word in ("slide_1", path.name, *words):
        assert word in message
    assert str(path.parent) not in message
    return message


# GeoJSON -------------------------------------------------------------------------------------------------------------


def test_a_polygon_with_a_hole_keeps_its_hole(tmp_path: Path) -> None:
    hole = [[150, 150], [150, 200], [200, 200], [200, 150], [150, 150]]
    annotation = read(geojson(tmp_path, feature([SQUARE, hole])))
    assert annotation.tumour.area == 200 * 200 - 50 * 50
    assert annotation.regions[0].name == "Tumor"
    assert annotation.regions[0].label == "tumour"


def test_a_multipolygon_is_one_region_and_its_smallest_part_is_the_smallest_tumour(tmp_path: Path) -> None:
    small = [[500, 500], [520, 500], [520, 510], [500, 510], [500, 500]]
    annotation = read(geojson(tmp_path, feature([[SQUARE], [small]], kind="MultiPolygon")))
    assert len(annotation.regions) == 1
    assert annotation.smallest_tumour_px2 == 200


def test_classes_are_known_without_regard_to_case_or_spacing_and_by_wildcard(tmp_path: Path) -> None:
    names = ["TUMOR", "invasive  tumor", "Stroma", "Ignore*", "IGNORED fold"]
    annotation = read(geojson(tmp_path, *(feature([SQUARE], name) for name in names)))
    assert [r.label for r in annotation.regions] == ["tumour", "tumour", "non_tumour", "ignore", "ignore"]


def test_an_exact_class_name_wins_over_a_wildcard(tmp_path: Path) -> None:
    path = geojson(tmp_path, feature([SQUARE], "Ignored tumor"))
    classes = {"ignore": ["ignore*"], "tumour": ["ignored tumor"], "non_tumour": []}
    annotation = read_annotation(path, kind="wta", where="s", width=WIDTH, height=HEIGHT, classes=classes)
    assert annotation.regions[0].label == "tumour"


@pytest.mark.parametrize("wrap", [lambda f: [f], lambda f: f, lambda f: {"type": "FeatureCollection", "features": [f]}])
def test_a_list_a_single_feature_and_a_collection_read_alike(tmp_path: Path, wrap: Any) -> None:
    path = written(tmp_path, "\ufeff" + json.dumps(wrap(feature([SQUARE]))), ".json")
    assert read(path).tumour.equals(box(100, 100, 300, 300))


@pytest.mark.parametrize("name", ["Tumor", {"names": ["Tumor"]}, {"name": "Tumor", "colorRGB": -3670016}])
def test_old_and_new_forms_of_a_classification_read_alike(tmp_path: Path, name: Any) -> None:
    drawn = feature([SQUARE])
    drawn["properties"]["classification"] = name
    assert read(geojson(tmp_path, drawn)).regions[0].label == "tumour"


def test_a_third_coordinate_is_dropped(tmp_path: Path) -> None:
    assert read(geojson(tmp_path, feature([[[x, y, 0] for x, y in SQUARE]]))).tumour.area == 40_000


def test_detections_beside_annotations_are_passed_over(tmp_path: Path) -> None:
    cell = feature([SQUARE], None, objectType="detection")
    assert len(read(geojson(tmp_path, cell, feature([SQUARE]))).regions) == 1


@pytest.mark.parametrize(("name", "drawn"), [("PathAnnotationObject", 2), ("PathCellObject", 1), ("TMACoreObject", 1)])
def test_files_of_qupath_02_say_in_the_id_what_an_object_is(tmp_path: Path, name: str, drawn: int) -> None:
    old = {**feature([SQUARE]), "id": name}
    del old["properties"]["objectType"]
    assert len(read(geojson(tmp_path, old, feature([SQUARE]))).regions) == drawn
    # What is said in the properties counts.
    assert len(read(geojson(tmp_path, {**feature([SQUARE]), "id": name})).regions) == 1


def test_detections_alone_are_refused_because_they_would_read_as_no_tumour(tmp_path: Path) -> None:
    refused(geojson(tmp_path, feature([SQUARE], objectType="cell")), "none of them is an annotation")


def test_what_is_ignored_is_taken_out_of_both_others(tmp_path: Path) -> None:
    left = [[100, 400], [300, 400], [300, 500], [100, 500], [100, 400]]
    ignored = [[200, 0], [400, 0], [400, 800], [200, 800], [200, 0]]
    annotation = read(
        geojson(tmp_path, feature([SQUARE]), feature([left], "Stroma"), feature([ignored], "Ignore*")), "psa"
    )
    assert annotation.tumour.equals(box(100, 100, 200, 300))
    assert annotation.non_tumour.equals(box(100, 400, 200, 500))
    assert annotation.ignore.area == 200 * 800


def ring(left: float, top: float, side: float) -> list[list[float]]:
    return [[float(x), float(y)] for x, y in box(left, top, left + side, top + side).exterior.coords]


@pytest.mark.parametrize("kind", ["wta", "psa"])
def test_of_regions_that_overlap_the_smaller_counts(tmp_path: Path, kind: str) -> None:
    # Necrosis in a tumour, a nest of tumour in the necrosis; and a tumour that reaches over the edge of larger stroma.
    drawn = [
        feature([ring(100, 100, 20)]),
        feature([ring(90, 90, 60)], "Stroma"),
        feature([ring(50, 50, 200)]),
        feature([ring(400, 400, 200)], "Stroma"),
        feature([ring(350, 450, 100)]),
    ]
    for order in (drawn, drawn[::-1]):
        annotation = read(geojson(tmp_path, *order), kind)
        assert annotation.tumour.area == 200**2 - 60**2 + 20**2 + 100**2
        assert annotation.non_tumour.area == 60**2 - 20**2 + 200**2 - 50 * 100
        assert annotation.tumour.intersection(annotation.non_tumour).area == 0
    ignored = read(geojson(tmp_path, *drawn, feature([ring(0, 0, 120)], "Ignore*")), kind)
    for label in ("tumour", "non_tumour"):
        expected = getattr(annotation, label).area - getattr(annotation, label).intersection(box(0, 0, 120, 120)).area
        assert getattr(ignored, label).area == pytest.approx(expected)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(2, 30)),
        min_size=1,
        max_size=8,
        unique_by=lambda v: v[2],
    ),
    st.integers(0, 255),
)
def test_every_place_has_the_meaning_of_the_smallest_region_over_it(
    squares: list[tuple[int, int, int]], labels: int
) -> None:
    names = ["tumour" if labels >> i & 1 else "non_tumour" for i in range(len(squares))]
    shapes = [box(x, y, x + side, y + side) for x, y, side in squares]
    regions = [Region(s, n, n) for s, n in zip(shapes, names, strict=True)]  # type: ignore[arg-type]
    painted = np.full((72, 72), "", object)
    for (x, y, side), name in sorted(zip(squares, names, strict=True), key=lambda v: -v[0][2]):
        painted[y : y + side, x : x + side] = name
    annotation = Annotation("psa", tuple(regions))
    for label, geometry in (("tumour", annotation.tumour), ("non_tumour", annotation.non_tumour)):
        assert np.array_equal(rasterise(geometry, (72, 72), slide_size=(72, 72)), painted == label)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(1, 30))
def test_areas_united_in_groups_are_those_of_one_union(seed: int, count: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    regions = []
    for _ in range(count):
        disc = shapely.Point(rng.integers(0, 200, 2)).buffer(rng.uniform(1, reach), quad_segs=3)
        # On a grid many touch along a border, and no two are equally large.
        shape = disc if rng.random() < 0.5 else shapely.box(*np.floor(disc.bounds))
        regions.append(Region(shape, "any", rng.choice(["tumour", "non_tumour", "ignore"])))
    found = Annotation("wta", tuple(regions))
    label = {name: [r.geometry for r in regions if r.label == name] for name in ("tumour", "non_tumour", "ignore")}
    for own, other in (("tumour", "non_tumour"), ("non_tumour", "tumour")):
        seen = [a - shapely.union_all([b for b in label[other] if b.area < a.area]) for a in label[own]]
        expected = shapely.union_all(seen) - shapely.union_all(label["ignore"])
        area = getattr(found, own)
        assert area.is_valid
        assert shapely.symmetric_difference(area, expected).area < 1e-6


def test_regions_that_only_touch_stay_as_they_were_drawn() -> None:
    # Neighbours with corners on each other's sides, where a difference would add corners.
    tumour, stroma = box(0, 0, 10, 10), MultiPolygon([box(10, 2, 15, 5), box(3, 10, 4, 12), box(50, 50, 51, 51)])
    alone = Annotation("psa", (Region(tumour, "t", "tumour"),)).tumour
    both = Annotation("psa", (Region(tumour, "t", "tumour"), Region(stroma, "s", "non_tumour")))
    assert shapely.to_wkb(both.tumour) == shapely.to_wkb(alone)
    assert both.non_tumour.area == stroma.area


def test_a_whole_tumour_annotation_without_features_means_no_tumour(tmp_path: Path) -> None:
    annotation = read(geojson(tmp_path))
    assert annotation.regions == ()
    assert annotation.tumour.is_empty and annotation.non_tumour.is_empty and annotation.ignore.is_empty
    assert annotation.smallest_tumour_px2 is None


def test_a_partial_annotation_without_features_is_refused(tmp_path: Path) -> None:
    refused(geojson(tmp_path), "no regions", kind="psa")


def test_an_unclosed_ring_is_refused_with_its_feature(tmp_path: Path) -> None:
    refused(geojson(tmp_path, feature([SQUARE]), feature([SQUARE[:-1]])), "feature 2 of 2", "not closed")


@pytest.mark.parametrize("corner", ["NaN", "Infinity", "1e999", "1" + "0" * 400])
def test_coordinates_that_are_no_finite_numbers_are_refused(tmp_path: Path, corner: str) -> None:
    text = json.dumps(feature([[[7777, 100], *SQUARE[1:]]])).replace("7777", corner)
    refused(written(tmp_path, text), "feature 1 of 1", "not a finite number")


@pytest.mark.parametrize("position", ["x", [1], ["1", "2"], [True, False], None])
def test_positions_that_are_no_pairs_of_numbers_are_refused(tmp_path: Path, position: Any) -> None:
    refused(geojson(tmp_path, feature([[SQUARE[0], position, *SQUARE[1:]]])), "[x, y]")


@pytest.mark.parametrize(
    ("ring", "word"),
    [
        (SQUARE[:2] + SQUARE[:1], "at least four positions"),
        ([SQUARE[0], SQUARE[1], SQUARE[1], SQUARE[0]], "three different corners"),
        ([[0, 0], [100, 0], [200, 0], [0, 0]], "no area"),
    ],
)
def test_outlines_without_an_area_are_refused(tmp_path: Path, ring: Any, word: str) -> None:
    refused(geojson(tmp_path, feature([ring])), "feature 1", word)


@pytest.mark.parametrize("kind", ["Point", "LineString", "GeometryCollection"])
def test_points_and_lines_are_refused(tmp_path: Path, kind: str) -> None:
    refused(geojson(tmp_path, feature([1, 2], kind=kind)), "only polygons", kind)


@pytest.mark.parametrize("broken", [None, {"type": "Polygon"}, {"type": "MultiPolygon", "coordinates": []}])
def test_features_without_a_geometry_are_refused(tmp_path: Path, broken: Any) -> None:
    drawn = feature([SQUARE])
    drawn["geometry"] = broken
    refused(geojson(tmp_path, drawn), "feature 1")


@pytest.mark.parametrize("name", [None, {}, {"name": None}, {"name": " "}])
def test_an_unclassified_feature_is_refused_by_name(tmp_path: Path, name: Any) -> None:
    refused(geojson(tmp_path, feature([SQUARE]), feature([SQUARE], name)), "feature 2 of 2", "no class")


def test_an_unknown_class_is_refused_with_what_was_probably_meant(tmp_path: Path) -> None:
    message = refused(geojson(tmp_path, feature([SQUARE], "Tumro")), "feature 1 of 1", "artefact")
    assert "Did you mean tumor?" in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{oops", "not JSON"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("[" * 100_000, "not sensible JSON"),
        ("1" * 5_000, "not sensible JSON"),
        ('{"type": "Topology"}', "not a GeoJSON"),
        ('{"type": "FeatureCollection"}', "not a GeoJSON"),
        ("42", "not a GeoJSON"),
        ("[1]", "not a GeoJSON Feature"),
        ('[{"type": "Feature", "properties": 3}]', "properties"),
        (" \n", "empty"),
        ("", "empty"),
    ],
)
def test_files_that_are_no_geojson_are_refused(tmp_path: Path, text: str | bytes, word: str) -> None:
    refused(written(tmp_path, text), word)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "gone.geojson", "cannot be opened")
    refused(written(tmp_path, "x", ".docx"), ".docx", ".geojson")


def test_an_unknown_kind_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind"):
        read(geojson(tmp_path), "both")


# Geometry against the slide ------------------------------------------------------------------------------------------


def test_a_few_pixels_of_overhang_are_clipped_however_small_the_region(tmp_path: Path) -> None:
    ring = [[-5, 0], [20, 0], [20, 20], [-5, 20], [-5, 0]]
    assert read(geojson(tmp_path, feature([ring]))).tumour.equals(box(0, 0, 20, 20))


def test_a_share_outside_below_one_percent_is_clipped(tmp_path: Path) -> None:
    ring = [[0, 0], [WIDTH + 9, 0], [WIDTH + 9, HEIGHT], [0, HEIGHT], [0, 0]]
    assert read(geojson(tmp_path, feature([ring]))).tumour.equals(box(0, 0, WIDTH, HEIGHT))


@pytest.mark.parametrize("shift", [(850, 0), (0, 2000), (-150, 0), (-301, 0), (0, 700)])
def test_a_region_outside_the_slide_is_refused_with_its_box(tmp_path: Path, shift: tuple[int, int]) -> None:
    ring = [[x + shift[0], y + shift[1]] for x, y in SQUARE]
    refused(geojson(tmp_path, feature([ring])), "outside the slide", f"x {100 + shift[0]} to {300 + shift[0]}")


def test_a_strip_wholly_beyond_the_edge_is_refused_though_it_is_narrow(tmp_path: Path) -> None:
    ring = [[-6, 0], [-1, 0], [-1, 100], [-6, 100], [-6, 0]]
    refused(geojson(tmp_path, feature([ring])), "outside the slide")


def test_a_slip_of_the_hand_is_untangled(tmp_path: Path) -> None:
    # A loop of 2 x 2 px at the corner of a 200 px square.
    ring = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 102], [98, 100], [98, 102], [100, 100]]
    assert not Polygon(ring).is_valid
    geometry = read(geojson(tmp_path, feature([ring]))).regions[0].geometry
    assert geometry.is_valid
    assert geometry.area == pytest.approx(40_000, rel=0.01)


def test_a_crumb_of_an_untangled_outline_is_no_annotated_area_but_small_parts_beside_it_are(tmp_path: Path) -> None:
    # The same loop of 2 px²; beside it an island of 16 px², which somebody drew.
    loop = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 102], [98, 100], [98, 102], [100, 100]]
    island = ring(500, 500, 4)
    # And a thin hole across a corner, which leaves a triangle of 8 px² apart from the rest.
    cut = [[96, 108], [98, 110], [110, 98], [108, 96], [96, 108]]
    for rings in ([loop], [SQUARE, cut]):
        annotation = read(geojson(tmp_path, feature(rings)))
        assert annotation.smallest_tumour_px2 == pytest.approx(40_000, rel=0.01)
    annotation = read(geojson(tmp_path, feature([[loop], [island]], kind="MultiPolygon")))
    assert annotation.smallest_tumour_px2 == 16


@pytest.mark.parametrize(
    "ring",
    [
        [[100, 100], [300, 300], [300, 100], [100, 300], [100, 100]],  # a bow tie
        SQUARE[:-1] + SQUARE,  # twice around
    ],
)
def test_an_outline_with_no_certain_inside_is_refused(tmp_path: Path, ring: Any) -> None:
    refused(geojson(tmp_path, feature([ring])), "crosses itself")


def test_parts_of_a_multipolygon_that_overlap_much_are_refused(tmp_path: Path) -> None:
    other = [[x + 100, y] for x, y in SQUARE]
    refused(geojson(tmp_path, feature([[SQUARE], [other]], kind="MultiPolygon")), "crosses itself")


def test_where_an_outline_overlaps_its_own_start_is_inside(tmp_path: Path) -> None:
    ring = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 95], [110, 95], [110, 105], [101, 105], [100, 100]]
    tumour = read(geojson(tmp_path, feature([ring]))).tumour
    assert shapely.contains_xy(tumour, 106, 102)


def test_parts_that_overlap_a_little_become_their_union(tmp_path: Path) -> None:
    other = [[x + 199, y] for x, y in SQUARE]
    tumour = read(geojson(tmp_path, feature([[SQUARE], [other]], kind="MultiPolygon"))).tumour
    assert tumour.equals(box(100, 100, 499, 300))


# XML -----------------------------------------------------------------------------------------------------------------

ASAP = """<?xml version="1.0"?><ASAP_Annotations><Annotations>{}</Annotations>
<AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#64FE2E"/></AnnotationGroups></ASAP_Annotations>"""
CORNERS = [(0, 100, 100), (2, 300, 300), (1, 300, 100), (3, 100, 300)]


def asap(kind: str = "Polygon", group: str = "Tumor", corners: Any = CORNERS) -> str:
    points = "".join(f'<Coordinate Order="{o}" X="{x}" Y="{y}"/>' for o, x, y in corners)
    return ASAP.format(
        f'<Annotation Name="A 0" Type="{kind}" PartOfGroup="{group}"><Coordinates>{points}</Coordinates></Annotation>'
    )


def aperio(*regions: tuple[dict[str, str], list[Any]], name: str = "Tumor") -> str:
    body = ""
    for attributes, corners in regions:
        given = " ".join(f'{k}="{v}"' for k, v in attributes.items())
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
        body += f"<Region {given}><Attributes/><Vertices>{vertices}</Vertices></Region>"
    return (
        f'<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="{name}"><Attributes>'
        f'<Attribute Name="Description" Value=""/></Attributes><Regions>{body}</Regions></Annotation></Annotations>'
    )


def test_asap_corners_are_taken_in_their_order(tmp_path: Path) -> None:
    assert read(written(tmp_path, asap(), ".xml")).tumour.equals(box(100, 100, 300, 300))


def test_asap_decimal_commas_are_understood(tmp_path: Path) -> None:
    corners = [(0, "100,5", 100), (1, 300, 100), (2, 300, 300)]
    bounds = read(written(tmp_path, asap(corners=corners), ".xml")).tumour.bounds
    assert bounds == (100.5, 100, 300, 300)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (asap("Dot"), "only areas"),
        (asap("PointSet"), "PointSet"),
        (asap(group="None"), "no class"),
        (asap(group="Tumour?"), "Did you mean"),
        (asap(corners=[(0, 1, 1), (1, 2, 2)]), "three different corners"),
        (asap(corners=[(0, "left", 1), *CORNERS]), "annotation 1 of 1: X of a corner is not a number"),
        (asap(corners=[(0, "nan", 1), *CORNERS]), "not a finite number"),
        (aperio(({"Type": "3"}, [(0, 0), (9, 9)])), "only areas"),
        (aperio(({"Id": "7"}, [(0, 0), (9, 9), (9, 0)]), name=""), "layer 1, region 1"),
        ("<Annotations><Annotation/></Annotations>", "neither"),
        ("<html/>", "neither"),
        ("<ASAP_Annotations>", "well-formed"),
        ("no xml", "well-formed"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "well-formed"),
        ('<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><ASAP_Annotations/>', "entities"),
        ('<!DOCTYPE a [<!ENTITY b "bbb">]><ASAP_Annotations>&b;</ASAP_Annotations>', "entities"),
    ],
)
def test_xml_that_cannot_be_used_is_refused(tmp_path: Path, text: str, word: str) -> None:
    refused(written(tmp_path, text, ".xml"), word)


def test_imagescope_negative_regions_are_cut_out_of_their_layer(tmp_path: Path) -> None:
    corners = [(100, 100), (300, 100), (300, 300), (100, 300)]
    inner = [(150, 150), (200, 150), (200, 200), (150, 200)]
    text = aperio(({"Id": "1", "NegativeROA": "0"}, corners), ({"Id": "2", "NegativeROA": "1"}, inner))
    annotation = read(written(tmp_path, text, ".xml"))
    assert len(annotation.regions) == 1
    assert annotation.tumour.equals(box(100, 100, 300, 300) - box(150, 150, 200, 200))


def test_a_hole_needs_no_class(tmp_path: Path) -> None:
    corners = [(100, 100), (300, 100), (300, 300), (100, 300)]
    inner = [(150, 150), (200, 150), (200, 200), (150, 200)]
    for text in ("", "no class of ours"):
        hole = {"Id": "2", "NegativeROA": "1", "Text": text}
        drawn = written(tmp_path, aperio(({"Id": "1", "Text": "Tumor"}, corners), (hole, inner), name=""), ".xml")
        assert read(drawn).tumour.equals(box(100, 100, 300, 300) - box(150, 150, 200, 200))


def test_imagescope_ellipses_fill_their_box(tmp_path: Path) -> None:
    text = aperio(({"Type": "2"}, [(100, 100), (300, 200)]))
    tumour = read(written(tmp_path, text, ".xml")).tumour
    assert tumour.area == pytest.approx(np.pi * 100 * 50, rel=1e-3)
    assert tumour.bounds == pytest.approx((100, 100, 300, 200))


def test_imagescope_regions_of_nameless_layers_are_named_by_their_text(tmp_path: Path) -> None:
    text = aperio(({"Text": "stroma"}, [(0, 0), (9, 9), (9, 0)]), name="")
    assert read(written(tmp_path, text, ".xml")).regions[0].label == "non_tumour"


@pytest.mark.parametrize("text", ["<Annotations/>", ASAP.format("")])
def test_xml_without_regions_means_no_tumour(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, text, ".xml")).regions == ()


# Mask images ---------------------------------------------------------------------------------------------------------


def painted(tmp_path: Path, image: Image.Image, suffix: str = ".png") -> Path:
    path = tmp_path / f"mask{suffix}"
    image.save(path)
    return path


def as_images(mask: np.ndarray) -> list[Image.Image]:
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    labels = Image.fromarray(mask.astype(np.uint8))
    palette = labels.copy()
    palette.putpalette([0, 0, 0, 200, 0, 0])
    red = Image.fromarray(np.stack([mask * 255, mask * 0, mask * 0], axis=2).astype(np.uint8))
    deep = Image.fromarray(mask.astype(np.uint16) * 65535)
    soft = Image.fromarray(np.where(mask, 230, 90).astype(np.uint8))
    return [grey, labels, palette, red, red.convert("RGBA"), grey.convert("1"), grey.convert("LA"), deep, soft]


@pytest.mark.parametrize("number", range(9))
def test_every_usual_kind_of_mask_image_reads_alike(tmp_path: Path, number: int) -> None:
    mask = np.zeros((80, 100), bool)
    mask[10:20, 30:50] = True
    tumour = read(painted(tmp_path, as_images(mask)[number])).tumour
    assert tumour.equals(box(300, 100, 500, 200))


def test_a_black_mask_means_no_tumour(tmp_path: Path) -> None:
    assert read(painted(tmp_path, Image.new("L", (100, 80)), ".tif")).tumour.is_empty


def test_a_mask_of_several_classes_is_refused(tmp_path: Path) -> None:
    refused(painted(tmp_path, Image.fromarray(np.repeat([[0, 1, 2, 2, 1]], 4, 0).astype(np.uint8))), "several classes")


def three_tones(*values: Any) -> np.ndarray:
    """Uint8 (80, 100) or (80, 100, 3): two areas of other tones on the first."""
    image = np.zeros((80, 100, *np.shape(values[0])), np.uint8) + np.array(values[0], np.uint8)
    image[10:30, 10:50], image[50:70, 40:90] = values[1], values[2]
    return image


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0, 128, 255), "0, 128, 255"),
        ((0, 127, 254), "0, 127, 254"),
        ((0, 200, 240), "0, 200, 240"),
        (((0, 0, 0), (255, 0, 0), (0, 255, 0)), "colours"),
        (((0, 0, 0), (200, 0, 0), (200, 200, 0)), "colours"),
        (((255, 255, 255), (255, 0, 0), (255, 0, 0)), "colours"),
        (((0, 0, 0), (90, 0, 0), (0, 90, 0)), "#5a0000"),
    ],
)
def test_stretched_labels_and_label_colours_are_refused(tmp_path: Path, values: Any, word: str) -> None:
    image = Image.fromarray(three_tones(*values))
    refused(painted(tmp_path, image), "several classes", word)
    if image.mode == "L" and min(np.diff(values)) > 60:
        refused(painted(tmp_path, Image.fromarray(three_tones(*values).astype(np.uint16) * 257)), "several classes")


def test_a_palette_of_labels_with_one_to_be_ignored_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(three_tones(0, 1, 255)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, *[0] * 759, 224, 224, 192])
    refused(painted(tmp_path, image), "several classes")


def test_a_dark_16_bit_mask_is_refused_instead_of_read_as_no_tumour(tmp_path: Path) -> None:
    deep = Image.fromarray((three_tones(0, 1, 1).astype(np.uint16)) * 4095)
    refused(painted(tmp_path, deep), "neither labels nor black and white", "4095")


@pytest.mark.parametrize("way", ["smooth", "blurred", "jpeg", "worst jpeg", "red", "red jpeg", "sheer"])
def test_soft_edges_and_jpeg_are_no_classes(tmp_path: Path, way: str) -> None:
    large = np.zeros((1600, 2000), np.uint8)
    cv2.ellipse(large, (800, 700), (500, 300), 30, 0, 360, 255, -1)
    cv2.circle(large, (1500, 1200), 90, 255, -1)
    mask = cv2.resize(large, (500, 400), interpolation=cv2.INTER_AREA)
    if way == "blurred":
        mask = cv2.GaussianBlur(mask, (0, 0), 12)
    if way == "sheer":
        mask = np.rint(90 + mask * (140 / 255)).astype(np.uint8)
    picture = np.stack([mask, mask * 0, mask * 0], axis=2) if "red" in way else mask
    if "jpeg" in way:
        flag, quality = cv2.IMWRITE_JPEG_QUALITY, 20 if "worst" in way else 75
        coded = cv2.imencode(".jpg", picture[..., ::-1] if picture.ndim == 3 else picture, [flag, quality])[1]
        picture = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
        picture = picture[..., ::-1] if picture.ndim == 3 else picture
    tumour = read(painted(tmp_path, Image.fromarray(np.ascontiguousarray(picture)))).tumour
    expected = (large > 127).mean() * WIDTH * HEIGHT
    assert tumour.area == pytest.approx(expected, rel=0.05)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.6))
def test_the_smallest_tumour_of_a_mask_is_its_smallest_fragment_to_postprocessing(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((12, 15)) < share
    if not mask.any():
        return
    areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    annotation = Annotation("wta", (Region(outline(mask, 4.0, 2.5), "tumour", "tumour"),))
    assert annotation.smallest_tumour_px2 == pytest.approx(10.0 * areas.min())


def test_a_mask_of_another_aspect_is_refused(tmp_path: Path) -> None:
    refused(painted(tmp_path, Image.new("L", (80, 100))), "80 x 100", "aspect")


def test_an_aspect_within_one_percent_is_stretched(tmp_path: Path) -> None:
    tumour = read(painted(tmp_path, Image.new("L", (1009, 800), 255))).tumour
    assert tumour.bounds == pytest.approx((0, 0, WIDTH, HEIGHT))


def test_a_huge_mask_is_refused_from_its_header_alone(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    for side in (13_400, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        path = written(tmp_path, b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""), ".png")
        refused(path, "too large", width=side, height=side)


def test_damaged_images_and_other_files_are_refused(tmp_path: Path) -> None:
    path = painted(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 100)).astype(np.uint8)))
    path.write_bytes(path.read_bytes()[:2000])
    refused(path, "damaged")
    refused(written(tmp_path, "hello", ".png"), "not an image")


# Rasters and outlines ------------------------------------------------------------------------------------------------


def star(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(8, 25)))
    reach = radius * rng.uniform(0.6, 1.0, len(angle))
    return np.asarray(centre + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_a_pixel_is_set_exactly_where_its_centre_is_inside(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = rng.integers(50, 5000, 2).tolist()
    shapes = [star(rng, rng.uniform(-0.1, 1.1, 2) * (width, height), rng.uniform(0.05, 0.6) * width) for _ in range(3)]
    geometry = shapely.make_valid(Polygon(shapes[0])) | shapely.make_valid(Polygon(shapes[1]))
    geometry -= shapely.make_valid(Polygon(shapes[2]))
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    expected = shapely.contains_xy(geometry, *np.meshgrid(x, y))
    assert np.array_equal(rasterise(geometry, (rows, columns), slide_size=(width, height)), expected)


def test_holes_and_parts_are_honoured_and_touching_regions_leave_no_gap() -> None:
    ring = box(0, 0, 8, 8) - box(2, 2, 6, 6)
    mask = rasterise(MultiPolygon([ring, box(3, 3, 5, 5)]), (8, 8), slide_size=(8, 8))
    expected = np.ones((8, 8), bool)
    expected[2:6, 2:6] = False
    expected[3:5, 3:5] = True
    assert np.array_equal(mask, expected)
    left = rasterise(Polygon([(0, 0), (8, 8), (0, 8)]), (8, 8), slide_size=(8, 8))
    right = rasterise(Polygon([(0, 0), (8, 8), (8, 0)]), (8, 8), slide_size=(8, 8))
    assert np.array_equal(left ^ right, np.ones((8, 8), bool))


def test_an_empty_geometry_paints_nothing() -> None:
    assert not rasterise(MultiPolygon(), (3, 4), slide_size=(8, 8)).any()
    assert rasterise(Polygon(), (3, 4), slide_size=(8, 8)).shape == (3, 4)
    with pytest.raises(ValueError, match="positive"):
        rasterise(Polygon(), (0, 4), slide_size=(8, 8))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.floats(0.05, 0.95))
def test_an_outline_has_the_pieces_holes_and_area_of_its_mask(seed: int, h: int, w: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < share
    traced = outline(mask, 4.0, 2.5)
    assert traced.is_valid
    assert traced.area == pytest.approx(mask.sum() * 10.0)
    pieces, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(traced.geoms) == pieces - 1
    assert np.array_equal(rasterise(traced, (h, w), slide_size=(4 * w, h * 2.5)), mask)  # type: ignore[arg-type]


def test_an_outline_has_no_corners_along_its_straight_sides() -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:40, 5:55] = True
    assert len(outline(mask).geoms[0].exterior.coords) == 5
    assert outline(np.zeros((5, 5), bool)).is_empty


# Real files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size", "tumours"), [("2", (23241, 21754), 13), ("3", (17883, 16091), 2)])
def test_outlines_drawn_on_real_slides_are_read_whole(name: str, size: tuple[int, int], tumours: int) -> None:
    path = Path(__file__).parents[2] / ".." / "shared" / "data" / "slides" / f"lung_scc_{name}.geojson"
    if not path.exists():
        pytest.skip("the real slides' outlines are not here")
    annotation = read(path, "psa", *size)
    assert sum(r.label == "tumour" for r in annotation.regions) == tumours
    drawn = [shapely.geometry.shape(f["geometry"]) for f in json.loads(path.read_text())["features"]]
    assert sum(r.geometry.area for r in annotation.regions) == pytest.approx(sum(d.area for d in drawn), rel=0.01)


def test_regions_and_annotations_cannot_be_changed() -> None:
    region = Region(box(0, 0, 1, 1), "Tumor", "tumour")
    with pytest.raises(AttributeError):
        region.label = "ignore"  # type: ignore[misc]
    assert Annotation("wta", (region,)).tumour.area == 1
