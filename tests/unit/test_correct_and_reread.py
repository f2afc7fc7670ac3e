"""A model's outline, corrected in QuPath, is read as annotation and still says where it comes from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import mapping, shape

import drunet
from drunet.annotation import read_annotation
from drunet.annotation.provenance import (
    origin,
    outline_digest,
    provenance_of,
    provenance_sentence,
    summarise_provenance,
)
from drunet.export.outline import polygons, write_geojson

SIZE = (1600, 800)
CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}
ORIGIN = origin("drunet", {"dr_fused": "068a089d2640" + "0" * 52, "unet": "b" * 64})
SOURCE = f"run drunet (dr_fused 068a089d2640, unet bbbbbbbbbbbb; drunet {drunet.__version__})"
Edit = Callable[[list[dict[str, Any]]], None]


def exported(folder: Path, parent: bool = False) -> Path:
    """Several outlines, one of them with a hole; if asked, under the annotation of their run."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((200, 400)), 12)
    mask = noise > 0.3 * noise.std()
    mask[:40, :60] = True
    mask[10:30, 20:40] = False
    path = folder / "segmentation.geojson"
    shapes = polygons(mask, SIZE)
    options = {"slide_id": "s1", "name": "Tumor", "colour": (200, 0, 0), "mpp": 0.5, "origin": ORIGIN}
    write_geojson(path, shapes, parent=parent, **options)
    return path


def through_qupath(path: Path, edit: Edit = lambda features: None, nested: bool = False) -> Path:
    """Rewrite a file as QuPath does after dragging it in and exporting the annotations.

    Written from QuPath's own adapters (PathObjectTypeAdapter, GsonTools): ids may be new, rings start anywhere and run
    either way, coordinates were single precision and have two decimals, `isLocked` is left out where false, the
    measurements come back, and what is in `metadata` is kept as text. An annotation that holds others is written beside
    them, or around them (`nested`).
    """
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    parents = [feature for feature in features if "childObjects" in feature["properties"]]
    features = [child for parent in parents for child in parent["properties"]["childObjects"]] or features
    edit(features)
    features = [*parents, *features]
    written = []
    for number, feature in enumerate(features):
        properties = feature["properties"]
        kept = {k: properties[k] for k in ("objectType", "classification", "measurements") if k in properties}
        if "metadata" in properties:
            kept["metadata"] = {k: str(v) for k, v in properties["metadata"].items()}
        geometry = feature["geometry"]
        parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        parts = [[turned(ring, number) for ring in part] for part in parts]
        geometry = {"type": geometry["type"], "coordinates": parts[0] if geometry["type"] == "Polygon" else parts}
        written.append({"type": "Feature", "id": f"{number:032x}", "geometry": geometry, "properties": kept})
    if nested and parents:
        written[0]["properties"]["childObjects"] = written[1:]
        del written[1:]
    target = path.with_name("corrected.geojson")
    target.write_text(json.dumps({"type": "FeatureCollection", "features": written}, indent=2), encoding="utf-8")
    return target


def turned(ring: list[list[float]], by: int) -> list[list[float]]:
    """The same ring from another corner, the other way round, in single precision."""
    corners = [[round(float(np.float32(v)), 2) for v in position] for position in ring[:-1]]
    by %= len(corners)
    corners = (corners[by:] + corners[:by])[::-1]
    return [*corners, corners[0]]


def read(path: Path) -> Any:
    return read_annotation(path, kind="wta", where="s1", width=SIZE[0], height=SIZE[1], classes=CLASSES)


def brushed(features: list[dict[str, Any]]) -> None:
    """The brush sets a new outline on the same object; a far stroke makes it a MultiPolygon."""
    stroke = shapely.box(1500, 700, 1560, 760)
    features[0]["geometry"] = mapping(shapely.union(shape(features[0]["geometry"]), stroke))


def cut_out(features: list[dict[str, Any]]) -> None:
    whole = shape(features[0]["geometry"])
    x, y = whole.representative_point().coords[0]
    features[0]["geometry"] = mapping(whole.difference(shapely.box(x - 4, y - 4, x + 4, y + 4)))


def added(features: list[dict[str, Any]]) -> None:
    drawn = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}}
    geometry = mapping(shapely.box(1400, 10, 1450, 60))
    features.append({"type": "Feature", "id": "new", "geometry": geometry, "properties": drawn})


def deleted(features: list[dict[str, Any]]) -> None:
    del features[-1]


def reclassified(features: list[dict[str, Any]]) -> None:
    features[-1]["properties"]["classification"] = {"name": "Ignore*", "color": [180, 180, 180]}


def doubled(features: list[dict[str, Any]]) -> None:
    features[-1] = copy.deepcopy(features[0])


def test_an_export_says_where_it_comes_from_and_reads_as_unedited(tmp_path: Path) -> None:
    path = exported(tmp_path)
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    for feature in features:
        metadata = feature["properties"]["metadata"]
        assert metadata["drunet_run"] == "drunet"
        # QuPath's metadata is a map of text to text.
        assert all(isinstance(value, str) for value in metadata.values())
    found = provenance_of(path, "s1")
    assert (found.how, found.sources) == ("unedited", (SOURCE,))


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = exported(tmp_path).read_bytes()
    assert exported(tmp_path).read_bytes() == first


def test_passing_through_qupath_alone_is_no_edit(tmp_path: Path) -> None:
    path = exported(tmp_path)
    rewritten = through_qupath(path)
    assert rewritten.read_bytes() != path.read_bytes()
    assert provenance_of(rewritten, "s1").how == "unedited"
    assert read(rewritten).tumour.symmetric_difference(read(path).tumour).area < 1e-6


@pytest.mark.parametrize("edit", [brushed, cut_out, added, deleted, reclassified, doubled])
def test_every_kind_of_correction_is_accepted_and_told_from_none(tmp_path: Path, edit: Edit) -> None:
    path = exported(tmp_path)
    corrected = through_qupath(path, edit)
    found = provenance_of(corrected, "s1")
    assert (found.how, found.sources) == ("corrected", (SOURCE,))
    assert str(found) == f"corrected from {SOURCE}"
    # The next round's annotation is what the pathologist left, holes and parts and all.
    expected = json.loads(path.read_text(encoding="utf-8"))["features"]
    edit(expected)
    tumours = [shape(f["geometry"]) for f in expected if f["properties"]["classification"]["name"] == "Tumor"]
    ignored = [shape(f["geometry"]) for f in expected if f["properties"]["classification"]["name"] != "Tumor"]
    wanted = shapely.union_all(tumours).difference(shapely.union_all(ignored))
    assert read(corrected).tumour.symmetric_difference(wanted).area < 1.0


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("edit", [lambda features: None, brushed, added, deleted])
def test_outlines_under_the_annotation_of_their_run_are_read_as_those_without(
    tmp_path: Path, edit: Edit, nested: bool
) -> None:
    flat = through_qupath(exported(tmp_path), edit).rename(tmp_path / "flat.geojson")
    held = through_qupath(exported(tmp_path, parent=True), edit, nested)
    assert provenance_of(held, "s1") == provenance_of(flat, "s1")
    assert read(held).tumour.equals(read(flat).tumour) and not read(held).tumour.is_empty
    # As it was written, too.
    path = exported(tmp_path, parent=True)
    assert provenance_of(path, "s1").how == "unedited"
    assert read(path).smallest_tumour_px2 == read(exported(tmp_path)).smallest_tumour_px2


def test_the_annotation_of_a_run_counts_once_it_has_been_given_a_class(tmp_path: Path) -> None:
    path = exported(tmp_path, parent=True)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["features"][0]["properties"]["classification"] = {"name": "Tumor"}
    path.write_text(json.dumps(document), encoding="utf-8")
    box = shape(document["features"][0]["geometry"])
    assert read(path).tumour.symmetric_difference(box).area < 1e-6
    assert provenance_of(path, "s1").how == "corrected"


def test_what_was_drawn_has_no_source_and_neither_have_other_formats(tmp_path: Path) -> None:
    path = exported(tmp_path)

    def anew(features: list[dict[str, Any]]) -> None:
        for feature in features:
            del feature["properties"]["metadata"]

    assert str(provenance_of(through_qupath(path, anew), "s1")) == "drawn"
    (tmp_path / "a.xml").write_text("<ASAP_Annotations/>", encoding="utf-8")
    assert provenance_of(tmp_path / "a.xml", "s1").how == "drawn"


@pytest.mark.parametrize("lie", ["../../etc", "Kari Nordmann", "<b>x</b>", "", "a\nb"])
def test_metadata_that_no_export_writes_is_not_passed_on(tmp_path: Path, lie: str) -> None:
    def forged(features: list[dict[str, Any]]) -> None:
        for feature in features:
            feature["properties"]["metadata"]["drunet_run"] = lie

    assert provenance_of(through_qupath(exported(tmp_path), forged), "s1").sources == ()


def test_the_summary_counts_slides_and_names_the_unedited(tmp_path: Path) -> None:
    path = exported(tmp_path)
    corrected = through_qupath(path, brushed)
    (tmp_path / "drawn.geojson").write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    files = {"a": path, "b": corrected, "c": tmp_path / "drawn.geojson", "d": corrected}
    summary = summarise_provenance({slide: provenance_of(path, slide) for slide, path in files.items()})
    assert summary == {
        "drawn": 1,
        "corrected": 2,
        "unedited": 1,
        "sources": {SOURCE: 3},
        "unedited_slides": ["a"],
    }
    sentence = provenance_sentence(summary)
    assert "Of 4 annotations 1 were drawn and 2 corrected" in sentence
    assert "1 are a model's own outline, unedited (a)" in sentence and SOURCE in sentence
    drawn = summarise_provenance({"c": provenance_of(files["c"], "c")})
    assert "All 1 annotations were drawn" in provenance_sentence(drawn)


corner = st.tuples(st.integers(0, 4000), st.integers(0, 4000))


@given(st.lists(corner, min_size=3, max_size=8, unique=True), st.integers(0, 7), st.booleans())
def test_a_digest_knows_an_outline_however_it_is_written(corners: list[Any], start: int, back: bool) -> None:
    hull = shapely.convex_hull(shapely.MultiPoint(corners))
    if hull.geom_type != "Polygon":
        return
    ring = np.array(hull.exterior.coords[:-1]) / 10
    again = np.roll(ring, start, axis=0)[:: -1 if back else 1]
    middle = (again[0] + again[-1]) / 2
    first, second = (np.concatenate([r, r[:1]]) for r in (ring, again))
    digest = outline_digest([[first]], "Tumor")
    assert outline_digest([[second]], "tumor") == digest
    assert outline_digest([[second + 0.04]], "Tumor") == digest
    assert outline_digest([[second + 0.1]], "Tumor") != digest
    assert outline_digest([[second]], "Stroma") != digest
    # A corner on a straight line, where one falls on a tenth of a pixel.
    if np.allclose(middle * 10, np.rint(middle * 10)):
        assert outline_digest([[np.concatenate([[middle], again, [middle]])]], "Tumor") == digest
