"""An annotation lies on its slide's tissue, or is refused with the frame of reference that it was probably drawn in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from shapely.geometry import MultiPolygon, Polygon, box

from drunet.annotation import Annotation, Region
from drunet.annotation.fit import fit_to_tissue
from drunet.errors import AnnotationError
from drunet.inspection import COLUMNS, inspect
from drunet.settings.merging import read_yaml
from drunet.settings.tissue import TissueSettings
from drunet.tiles import covered_area

SIZE, MPP = (4000, 3200), 0.5
# Tissue in the lower right, at an eighth: x 2400 to 3600, y 2000 to 3000.
TISSUE = np.zeros((400, 500), bool)
TISSUE[250:375, 300:450] = True
DRAWN = Polygon([(2600, 2100), (3000, 2100), (3000, 2500), (2800, 2900), (2600, 2900)])


TISSUE_SETTINGS = TissueSettings.of(read_yaml(Path(__file__).parents[2] / "config.yaml")["tissue"], "tissue")


@pytest.fixture
def small_slide(tmp_path: Path) -> Any:
    """A slide of 1 µm/px, its height, and the box of the tissue in its upper half."""
    rng = np.random.default_rng(0)
    image = np.full((1024, 1024, 3), 243, np.uint8)
    image[150:400, 200:800] = rng.integers(90, 220, (25, 60, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", resolution=(10000, 10000), resolutionunit=3)
    return str(path), 1024, (200, 150, 800, 400)


def annotation(*geometries: Any, label: str = "tumour", mended: str = "", kind: str = "wta") -> Annotation:
    return Annotation(kind, tuple(Region(g, label, label) for g in geometries), mended)  # type: ignore[arg-type]


def fit(drawn: Annotation, tissue: np.ndarray = TISSUE, mpp: float = MPP) -> str:
    return fit_to_tissue(drawn, tissue, where="s1", size=SIZE, mpp=mpp)


def refusal(drawn: Annotation, **options: Any) -> str:
    with pytest.raises(AnnotationError) as caught:
        fit(drawn, **options)
    return str(caught.value)


@pytest.mark.parametrize("label", ["tumour", "non_tumour"])
def test_an_outline_on_tissue_fits(label: str) -> None:
    assert fit(annotation(DRAWN, label=label)) == ""
    assert fit(annotation(DRAWN, mended="1 point passed over", label=label)) == "1 point passed over"


def test_an_empty_annotation_fits_and_so_does_what_is_ignored_on_glass() -> None:
    assert fit(annotation()) == ""
    assert fit(annotation(box(10, 10, 300, 300), label="ignore")) == ""


def scaled(x: float, y: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda xy: xy * (x, y)


@pytest.mark.parametrize(
    ("mistake", "cause"),
    [
        (lambda xy: xy * (1, -1) + (0, SIZE[1]), "upside down"),
        (lambda xy: xy * (-1, 1) + (SIZE[0], 0), "mirrored"),
        (lambda xy: SIZE - xy, "turned by 180°"),
        (lambda xy: (xy - (2400, 2000))[:, ::-1] * 0.8 + (100, 2600), None),
        (scaled(0.5, 0.5), "1/2 of the full resolution"),
        (scaled(0.5, 0.5), "in µm"),
        (scaled(0.25, 0.25), "1/4"),
        (scaled(1 / 8, 1 / 8), "1/8"),
        (scaled(1 / 16, 1 / 16), "1/16"),
        (scaled(1 / 32, 1 / 32), "1/32"),
        (scaled(MPP / 1000, MPP / 1000), "in mm"),
        (scaled(1 / SIZE[0], 1 / SIZE[1]), "shares of the slide"),
    ],
)
@pytest.mark.parametrize("kind", ["wta", "psa"])
def test_an_outline_in_another_frame_is_refused_with_the_likely_cause(
    mistake: Any, cause: str | None, kind: str
) -> None:
    message = refusal(annotation(shapely.transform(DRAWN, mistake), kind=kind))
    assert "lie on glass (found: 0%" in message
    assert cause is None or ("Probably" in message and cause in message)


def test_an_outline_in_micrometres_is_told_from_one_at_another_scale() -> None:
    message = refusal(annotation(shapely.transform(DRAWN, scaled(0.263, 0.263))), mpp=0.263)
    assert "Probably it is in µm" in message and "1/8" not in message


def test_swapped_axes_and_quarter_turns_are_named() -> None:
    tissue = np.zeros((400, 500), bool)
    tissue[20:100, 250:375] = True
    drawn = box(2100, 200, 2900, 700)
    assert "x and y were swapped" in refusal(
        annotation(shapely.transform(drawn, lambda xy: xy[:, ::-1])), tissue=tissue
    )
    turned = shapely.transform(drawn, lambda xy: xy[:, ::-1] * (1, -1) + (0, SIZE[0]))
    assert "turned to the" in refusal(annotation(turned), tissue=tissue)


def test_a_part_on_glass_is_no_reason_to_refuse_but_nearly_all_of_it_is() -> None:
    assert fit(annotation(box(2000, 2100, 2800, 2900))) == ""
    assert "lie on glass" in refusal(annotation(box(1000, 1000, 2450, 2050)))


def test_an_outline_smaller_than_the_masks_pixels_is_held_against_it_too() -> None:
    assert fit(annotation(box(2601, 2101, 2603, 2103))) == ""
    assert "lie on glass" in refusal(annotation(box(301, 301, 303, 303)))


def test_outlines_that_touch_no_tissue_are_counted() -> None:
    far = [box(100, 100, 200, 200), box(400, 400, 500, 500)]
    assert fit(annotation(DRAWN, far[0])) == "1 outline on glass"
    assert fit(annotation(DRAWN, *far, mended="1 line passed over")) == "1 line passed over; 2 outlines on glass"


@pytest.mark.parametrize(
    "tumour",
    [
        box(0, 0, *SIZE) - DRAWN,  # a mask turned inside out
        box(0, 0, *SIZE),  # white all over
        MultiPolygon([box(0, 0, *SIZE) - box(2300, 1900, 3700, 3100), DRAWN]),
        box(0, 0, *SIZE) - box(2600, 2200, 2610, 2210),
    ],
)
def test_a_mask_turned_inside_out_is_refused(tumour: Any) -> None:
    message = refusal(annotation(tumour))
    assert "the glass is marked as tumour" in message or "lie on glass" in message


def test_air_within_tissue_and_a_generous_margin_are_no_glass() -> None:
    holes = np.ones((400, 500), bool)
    holes[::4] = False
    assert fit(annotation(box(0, 0, *SIZE)), holes) == ""
    assert fit(annotation(box(2300, 1900, 3700, 3100))) == ""


def test_a_polygon_of_many_corners_covers_tiles_as_before() -> None:
    angle = np.linspace(0, 2 * np.pi, 30_000, endpoint=False)
    radius = 900 + 50 * np.sin(40 * angle) + 5 * np.sin(6007 * angle)
    polygon = Polygon(np.stack([1000 + radius * np.cos(angle), 1000 + radius * np.sin(angle)], axis=1)) - box(
        700, 700, 1300, 1300
    )
    x, y = (a.ravel() for a in np.meshgrid(np.arange(0, 2000, 100), np.arange(0, 2000, 100)))
    boxes = np.stack([x, y, x + 100, y + 100], axis=1)
    expected = [polygon.intersection(box(*b)).area for b in boxes]
    assert covered_area(polygon, boxes) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("flipped", "status"), [(False, "ok"), (True, "annotation_unusable")])
def test_inspection_counts_what_was_mended_and_refuses_outlines_on_glass(
    tmp_path: Path, flipped: bool, status: str, capsys: pytest.CaptureFixture[str], small_slide: Any
) -> None:
    path, height, tissue = small_slide
    left, top, right, bottom = tissue
    if flipped:
        top, bottom = height - bottom, height - top
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometries = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": [5, 5]}]
    properties = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    features = [{"type": "Feature", "geometry": g, "properties": properties} for g in geometries]
    (tmp_path / "Nordmann.geojson").write_text(json.dumps(features))
    found = inspect(
        path,
        "s1",
        mpp=1.0,
        tissue=TISSUE_SETTINGS,
        annotation=str(tmp_path / "Nordmann.geojson"),
        kind="wta",
        classes={"tumour": ["tumor"], "non_tumour": [], "ignore": []},
        geojson_frame="slide",
    )
    assert found.report["status"] == status
    assert "annotation_mended" in COLUMNS
    if not flipped:
        assert found.report["annotation_mended"] == "1 point passed over"
        assert "NOTE  s1: in the annotation: 1 point passed over" in capsys.readouterr().err
    else:
        assert "upside down" in found.report["mend"]
    assert "Nordmann" not in str(found.report)
