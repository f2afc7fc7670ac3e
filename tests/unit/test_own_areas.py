"""The sheet's columns `region` and `tissue`: what they change, and what they are held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping

from drunet.annotation import read_area
from drunet.cohort import REQUIRED, check_files, read_sheets
from drunet.errors import AnnotationError, SheetError
from drunet.inspection import Inspected, inspect
from drunet.segment import _TISSUE
from drunet.settings.tissue import TissueSettings
from drunet_demo.pyramid import write_pyramid

SIZE = 1200
# Two pieces of tissue on glass, in level-0 px of 1 µm.
LEFT, RIGHT = box(100, 300, 500, 900), box(700, 300, 1100, 900)
NAME = "Nordmann"


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = np.full((SIZE, SIZE, 3), 243, np.uint8)
    for left in (100, 700):
        noise = np.random.default_rng(left).integers(90, 200, (60, 40, 3), dtype=np.uint8)
        image[300:900, left : left + 400] = cv2.resize(noise, (400, 600), interpolation=cv2.INTER_LINEAR)
    path = tmp_path_factory.mktemp("areas") / "slide.tif"
    write_pyramid(path, image, 1.0)
    return path


def drawn(path: Path, *shapes: Any, name: str | None = None) -> str:
    """A file of QuPath; what has no class is drawn, too."""
    properties = {"objectType": "annotation", **({"classification": {"name": name}} if name else {})}
    features = [{"type": "Feature", "geometry": mapping(s), "properties": properties} for s in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(path)


def look(slide: Path, **options: Any) -> Inspected:
    wanted = {"annotation": None, "kind": "wta", "classes": {"tumour": ["tumor"]}, "geojson_frame": "slide", **options}
    return inspect(str(slide), "s1", mpp=None, tissue=TissueSettings.of(_TISSUE, "tissue"), **wanted)


def painted(shape: Any, size: tuple[int, int]) -> np.ndarray:
    """OpenCV's own filling."""
    ring = np.array(shape.exterior.coords) * (size[1] / SIZE, size[0] / SIZE)
    return cv2.fillPoly(np.zeros(size, np.uint8), [np.round(ring).astype(np.int32)], 1) > 0


def test_only_the_region_is_looked_at_and_measured(slide: Path, tmp_path: Path) -> None:
    whole = look(slide).tissue
    region = box(0, 0, 600, SIZE)
    tumour = drawn(tmp_path / "t.geojson", box(200, 400, 400, 600), box(800, 400, 1000, 600), name="Tumor")
    found = look(slide, region=drawn(tmp_path / f"{NAME}.geojson", region), annotation=tumour)
    assert found.report["status"] == "ok", found.report
    assert whole is not None and found.tissue is not None and found.annotation is not None
    half = whole.shape[1] // 2
    np.testing.assert_array_equal(found.tissue[:, :half], whole[:, :half])
    assert not found.tissue[:, half:].any() and whole[:, half:].any()
    # Tumour outside of it is neither learnt nor missed.
    assert found.annotation.ignore.equals(box(0, 0, SIZE, SIZE) - region)
    assert found.annotation.tumour.equals(box(200, 400, 400, 600))
    assert "looked at in its region alone: 50% of the tissue" in found.report["noted"]
    assert NAME not in str(found.report)


def test_tissue_that_was_drawn_is_the_tissue(slide: Path, tmp_path: Path) -> None:
    edited = box(150, 350, 450, 850)
    found = look(slide, own_tissue=drawn(tmp_path / "edited.geojson", edited, name="Tissue"))
    assert found.report["status"] == "ok" and found.tissue is not None
    expected = painted(edited, found.tissue.shape)
    assert (found.tissue != expected).mean() < 0.01 and found.tissue.any()
    assert "the tissue is as drawn; it holds 3" in found.report["noted"]
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), painted(edited, (SIZE, SIZE)).astype(np.uint8) * 255)
    by_mask = look(slide, own_tissue=str(mask)).tissue
    assert by_mask is not None and (by_mask != found.tissue).mean() < 0.01


def test_pale_tissue_that_would_not_be_found_can_be_drawn(tmp_path: Path) -> None:
    image = np.full((800, 800, 3), 243, np.uint8)
    image[200:600, 200:600] = (238, 226, 233)
    path = tmp_path / "pale.tif"
    write_pyramid(path, image, 1.0)
    strict = {**_TISSUE, "method": "distance_from_white", "white_distance": 85.0}
    wanted = {"annotation": None, "kind": "", "classes": {}, "geojson_frame": "slide", "mpp": None}
    settings = TissueSettings.of(strict, "tissue")
    assert inspect(str(path), "s1", tissue=settings, **wanted).report["status"] == "no_tissue"
    own = drawn(tmp_path / "own.geojson", box(200, 200, 600, 600))
    found = inspect(str(path), "s1", tissue=settings, own_tissue=own, **wanted)
    assert found.report["status"] == "ok", found.report
    assert found.report["noted"] == "the tissue is as drawn; nothing would have been found"
    assert found.tissue is not None and found.tissue.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("column", ["region", "own_tissue"])
@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([box(10, 10, 80, 80)], "glass"),
        ([shapely.affinity.scale(LEFT, 1, 1), box(5000, 5000, 9000, 9000)], "outside the slide"),
        ([], "nothing is drawn"),
        ([shapely.Point(3, 4)], "polygon"),
    ],
)
def test_what_lies_on_glass_outside_or_nowhere_is_refused(
    slide: Path, tmp_path: Path, column: str, shapes: list[Any], said: str
) -> None:
    found = look(slide, **{column: drawn(tmp_path / f"{NAME}.geojson", *shapes)})
    assert found.report["status"] == "annotation_unusable" and found.failure
    assert said in found.report["reason"], found.report
    assert column.removeprefix("own_") in found.report["reason"] and NAME not in str(found.report)


def test_several_pieces_are_one_area_and_other_formats_are_refused(tmp_path: Path) -> None:
    frame = {"where": "s1", "width": SIZE, "height": SIZE}
    overlapping = box(400, 300, 800, 900)
    area = read_area(drawn(tmp_path / "a.geojson", LEFT, overlapping, RIGHT), **frame)
    assert area.area == pytest.approx(LEFT.union(overlapping).union(RIGHT).area)
    moved = read_area(tmp_path / "a.geojson", **{**frame, "width": 1500}, origin=(100, 0))
    assert moved.bounds == (200, 300, 1200, 900)
    (tmp_path / "a.xml").write_text("<Annotations/>")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_area(tmp_path / "a.xml", **frame)


def test_the_sheet_names_them_and_says_what_is_not_there(tmp_path: Path) -> None:
    header = "\t".join((*REQUIRED, "region", "tissue"))
    rows = ["a\tp\ta.tif\t\t\t\tr.geojson\t", "b\tq\tb.tif\t\t\t\t\tt.png"]
    sheet = tmp_path / "slides.tsv"
    sheet.write_text("\n".join([header, *rows]) + "\n")
    read = read_sheets(str(sheet))
    assert (read["a"].region, read["a"].tissue) == (str(tmp_path / "r.geojson"), "")
    for name in ("a.tif", "b.tif", "r.geojson"):
        (tmp_path / name).write_text(name)
    with pytest.raises(SheetError, match=r"1 file of the sheet cannot be found \(found: b: .*t\.png\)"):
        check_files(read.values())
    twice = rows[0], rows[1].replace("\t\tt.png", "\tr.geojson\t")
    sheet.write_text("\n".join([header, *twice]) + "\n")
    with pytest.raises(SheetError, match="a region stands in two rows"):
        read_sheets(str(sheet))
