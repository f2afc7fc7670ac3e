"""Pictures of the report, looked at pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import shapely
from PIL import Image

from drunet.annotation import Annotation, Region, measured_region, rasterise
from drunet.grid import Grid
from drunet.report import overlay
from drunet.report.slide_pictures import write_pictures
from drunet.slide import Slide


def four_classes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A glass-white picture in quadrants: true positive, false positive, false negative, neither."""
    image = np.full((80, 80, 3), 245, np.uint8)
    predicted, truth = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    predicted[:40] = True
    truth[:, :40] = True
    return image, predicted, truth


def test_an_overlay_tells_hits_false_alarms_and_misses_apart() -> None:
    image, predicted, truth = four_classes()
    picture = overlay.overlay(image, predicted, truth).astype(int)
    hit, alarm, miss, nothing = picture[20, 20], picture[20, 60], picture[60, 20], picture[60, 60]
    assert hit[1] > hit[0] + 40 and hit[1] > hit[2]  # green
    assert np.ptp(alarm) <= 3 and alarm.min() > nothing.max() + 50  # white, and seen as such beside glass
    assert miss[0] > miss[1] + 40 and miss[0] > miss[2] + 40  # red
    assert nothing.max() < 160  # glass is dimmed


def test_an_outline_is_two_pixels_of_the_full_colour_and_not_along_the_frame() -> None:
    image, predicted, truth = four_classes()
    picture = overlay.overlay(image, predicted, truth)
    green = (picture == overlay.TRUE_POSITIVE).all(axis=2)
    assert green[20, 38:40].all() and not green[20, 37] and not green[20, 40]
    assert not green[20, 0] and not green[0, 20]


def test_without_a_truth_there_is_one_colour_and_nothing_is_called_wrong() -> None:
    image, predicted, _ = four_classes()
    picture = overlay.overlay(image, predicted)
    assert (picture[39, 20] == overlay.PREDICTED).all()
    assert not (picture == overlay.FALSE_POSITIVE).all(axis=2).any()


def test_outside_a_partial_annotation_a_prediction_is_no_false_positive() -> None:
    image, predicted, truth = four_classes()
    region = np.zeros_like(truth)
    region[:, 10:50] = True
    picture = overlay.overlay(image, predicted, truth, region=region)
    np.testing.assert_array_equal(picture[60, 5], picture[60, 70])  # nor a missed pixel a false negative
    assert (picture[39, 70] == overlay.PREDICTED).all()
    assert (picture[39, 45] == overlay.FALSE_POSITIVE).all()


@pytest.mark.parametrize("wrong", [np.zeros((80, 80), np.uint8), np.zeros((40, 80), bool)])
def test_a_mask_that_does_not_fit_its_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="predicted must be bool"):
        overlay.overlay(four_classes()[0], wrong)


def test_a_heatmap_is_transparent_where_nothing_was_looked_at_and_cropped_to_the_slide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overlay, "_OPACITY", 1.0)
    image = np.full((90, 150, 3), (230, 150, 200), np.uint8)
    grid = Grid(width=1500, height=900, mpp=1.0, tile_mpp=1.0, size=400, step=400)  # 4 x 3 cells, the last ones cut
    heatmap = np.full(grid.shape, np.nan, np.float32)
    heatmap[0, 3], heatmap[2, 0] = 1.0, 0.0
    picture = overlay.heatmap_picture(image, heatmap, grid)
    np.testing.assert_array_equal(picture[10, 50], image[0, 0])
    top, bottom = (np.rint(np.array(matplotlib.colormaps["viridis"](v)[:3]) * 255) for v in (1.0, 0.0))
    np.testing.assert_allclose(picture[10, 120], top, atol=1)  # column 3 begins at 1200 of 1500 px, not at 3/4
    np.testing.assert_array_equal(picture[10, 119], image[0, 0])
    np.testing.assert_allclose(picture[85, 5], bottom, atol=1)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    image = np.full((700, 1000, 3), 255, np.uint8)
    picture = overlay.add_scale_bar(image, mpp=5.2)  # a fifth of the width is 1040 µm: the bar is 1 mm, 192 px
    assert (image == 255).all()
    rows = (picture[500:].max(axis=2) < 60).sum(axis=1)
    assert rows.max() == round(1000 / 5.2)


@pytest.mark.parametrize(
    ("longest", "expected"), [(1040, 1000), (999, 500), (499, 200), (0.35, 0.2), (1000, 1000), (5, 5)]
)
def test_a_scale_bar_has_a_round_length(longest: float, expected: float) -> None:
    assert overlay.round_length(longest) == pytest.approx(expected)


def test_lengths_are_written_in_the_unit_that_suits() -> None:
    assert [overlay.length_label(v) for v in (200.0, 1000.0, 2000.0)] == ["200 µm", "1 mm", "2 mm"]


@pytest.mark.parametrize("width", [60, 300, 1400])
def test_strips_are_added_beneath_and_leave_the_picture_alone(width: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, width, 3), dtype=np.uint8)
    for strip in (overlay.add_legend(image, overlay.TRUTH_LEGEND), overlay.add_colour_bar(image)):
        assert strip.shape[0] > 50 and strip.shape[1] == width
        np.testing.assert_array_equal(strip[:50], image)
    legend = overlay.add_legend(image, overlay.TRUTH_LEGEND)[50:]
    assert all((legend == colour).all(axis=2).any() for _, colour in overlay.TRUTH_LEGEND)


def test_the_pictures_of_a_slide_judge_where_it_is_measured(
    colours: Callable[..., np.ndarray], lossless_slide: Callable[..., Path], tmp_path: Path
) -> None:
    grid = Grid(width=320, height=160, mpp=0.25, tile_mpp=0.25, size=40, step=40)
    heatmap, everywhere = np.zeros(grid.shape, np.float32), np.ones((160, 320), bool)
    tumour, ignored = shapely.box(0, 0, 100, 160), shapely.box(200, 0, 320, 160)
    shown = {}
    with Slide(lossless_slide(colours(160, 320)), "s") as slide:
        for name, regions in (
            ("without", [Region(tumour, "t", "tumour")]),
            ("with", [Region(tumour, "t", "tumour"), Region(ignored, "i", "ignore")]),
        ):
            paths = {"heatmap_path": tmp_path / "h.png", "overlay_path": tmp_path / f"{name}.png"}
            annotation = Annotation("wta", tuple(regions))
            write_pictures(slide, everywhere, heatmap, grid, annotation, longest=320, **paths)
            shown[name] = np.asarray(Image.open(paths["overlay_path"])).astype(int)
    # Everything is called tumour: false but for the tumour, and neither where nothing is measured.
    false, unknown = np.array(overlay.FALSE_POSITIVE), np.array(overlay.PREDICTED)
    assert np.abs(shown["without"][80, 100:102] - false).max() < 40
    assert np.abs(shown["with"][80, 100:102] - false).max() < 40
    assert np.abs(shown["with"][80, 200:202] - unknown).max() < 40
    np.testing.assert_array_equal(shown["with"][:160, 110:190], shown["without"][:160, 110:190])
    assert shown["with"].shape[0] > shown["without"].shape[0]  # a legend of one entry more


def test_the_scale_of_the_pictures_is_the_slides_over_their_own_pixels(
    colours: Callable[..., np.ndarray],
    lossless_slide: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[float] = []
    add = overlay.add_scale_bar
    monkeypatch.setattr(overlay, "add_scale_bar", lambda image, mpp: said.append(mpp) or add(image, mpp))
    grid = Grid(width=320, height=160, mpp=0.25, tile_mpp=0.25, size=40, step=40)
    with Slide(lossless_slide(colours(160, 320)), "s") as slide:
        paths = {"heatmap_path": tmp_path / "h.png", "overlay_path": tmp_path / "o.png"}
        nothing = np.zeros(grid.shape, np.float32)
        write_pictures(slide, np.zeros((160, 320), bool), nothing, grid, None, longest=80, **paths)
    # 320 px of 0.25 µm on 80 px.
    assert said == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["wta", "psa"])
@pytest.mark.parametrize("ignored", [True, False])
def test_the_measured_region_holds_what_an_annotation_speaks_of(kind: Any, ignored: bool) -> None:
    boxes = {"tumour": shapely.box(0, 0, 10, 10), "non_tumour": shapely.box(10, 0, 20, 10)}
    if ignored:
        boxes["ignore"] = shapely.box(8, 0, 12, 30)
    annotation = Annotation(kind, tuple(Region(g, n, n) for n, g in boxes.items()))  # type: ignore[arg-type]
    truth = rasterise(annotation.tumour, (30, 30), slide_size=(30, 30))
    found = measured_region(annotation, truth, slide_size=(30, 30))
    expected = np.ones((30, 30), bool) if kind == "wta" else np.zeros((30, 30), bool)
    expected[:10, :20] = True
    if ignored:
        expected[:, 8:12] = False
    assert (found is None) == (kind == "wta" and not ignored)
    assert found is None or np.array_equal(found, expected)
