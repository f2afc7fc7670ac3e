"""Tissue masks: stained tissue counts, and glass, ink, borders and dust do not."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from drunet.annotation import outline, rasterise, read_annotation
from drunet.errors import SlideError
from drunet.settings.tissue import TissueSettings
from drunet.tissue import METHODS, check_brightfield, tissue_mask

MPP = 8.0
SLIDES = Path(__file__).parents[2] / ".." / "shared" / "data" / "slides"
CLASSES = {"tumour": ["tumor"], "non_tumour": ["non-tumor"], "ignore": []}

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def glass(h: int = 200, w: int = 240, level: int = 243, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).integers(-3, 4, (h, w, 3))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def stained(h: int, w: int, seed: int = 1) -> Image:
    """Pink stroma with blots of haematoxylin about a cell cluster wide."""
    rng = np.random.default_rng(seed)
    share = cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), 1.0)[..., None] * 0.9 + 0.4
    colour = (1 - share.clip(0, 1)) * (225, 170, 205) + share.clip(0, 1) * (120, 75, 150)
    return colour.clip(0, 255).astype(np.uint8)


def with_tissue() -> tuple[Image, Mask]:
    image, truth = glass(), np.zeros((200, 240), bool)
    truth[60:140, 80:180] = True
    image[truth] = stained(200, 240)[truth]
    return image, truth


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_every_method_can_be_named_in_the_configuration() -> None:
    assert get_args(TissueSettings.model_fields["method"].annotation) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_a_sharp_edged_patch_on_noisy_glass_is_tissue_and_the_glass_is_not(method: str) -> None:
    image, truth = with_tissue()
    assert iou(tissue_mask(image, MPP, method=method), truth) > 0.95


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (5, 40), (64, 64)])
def test_all_white_gives_an_empty_mask_at_any_size(method: str, shape: tuple[int, int]) -> None:
    mask = tissue_mask(np.full((*shape, 3), 255, np.uint8), MPP, method=method)
    assert mask.shape == shape
    assert mask.dtype == bool
    assert not mask.any()


@pytest.mark.parametrize("method", METHODS)
def test_any_tiny_image_gives_a_mask_of_its_size(method: str) -> None:
    for shape in [(1, 1), (2, 3), (1, 9)]:
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        assert tissue_mask(image, MPP, method=method).shape == shape


@pytest.mark.parametrize("method", METHODS)
def test_noisy_glass_alone_gives_an_empty_mask(method: str) -> None:
    assert not tissue_mask(glass(), MPP, method=method).any()


def test_a_crop_without_glass_is_tissue_all_over() -> None:
    image = stained(120, 150)
    assert tissue_mask(image, MPP).mean() > 0.98
    check_brightfield(image, where="crop")


def test_a_smooth_lake_of_red_cells_inside_tissue_is_tissue() -> None:
    image, truth = with_tissue()
    cv2.circle(image, (130, 100), 30, (190, 50, 75), -1)
    assert tissue_mask(image, MPP, max_hole_um2=0.0)[truth].mean() > 0.97


def test_dark_lymphocytes_and_speckled_carbon_are_tissue_not_ink() -> None:
    image, truth = with_tissue()
    cv2.circle(image, (110, 100), 20, (75, 45, 110), -1)
    cv2.circle(image, (110, 100), 10, (144, 146, 246), -1)  # a blueish batch of haematoxylin
    rng = np.random.default_rng(2)
    carbon = (rng.random(truth.shape) < 0.4) & truth
    carbon[:, :140] = False
    image[carbon] = (25, 22, 24)
    assert tissue_mask(image, MPP)[truth].mean() > 0.97


INKS = {
    "blue": (30, 60, 180),
    "navy": (25, 30, 110),
    "light blue": (110, 150, 220),
    "green": (20, 130, 60),
    "teal": (20, 130, 130),
    "red": (215, 30, 38),
    "black": (20, 20, 25),
    "faded black": (75, 75, 80),
}


def inked(image: Image, ink: tuple[int, int, int]) -> tuple[Image, Mask]:
    """A stroke 240 µm wide that multiplies what lies under it."""
    cover = np.zeros(image.shape[:2], np.float32)
    cv2.polylines(cover, [np.array([[20, 180], [60, 20], [225, 30]], np.int32)], False, 1.0, 30)
    soft = np.asarray(cv2.GaussianBlur(cover, (0, 0), 1.0))
    through = 1 - soft[..., None] * (1 - np.array(ink) / 243.0)
    return (image * through).clip(0, 255).astype(np.uint8), soft > 0.02


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_pen_stroke_is_not_tissue_and_costs_none(method: str, ink: str) -> None:
    image, truth = with_tissue()
    drawn, stroke = inked(image, INKS[ink])
    assert not (stroke & truth).any()
    assert iou(tissue_mask(drawn, MPP, method=method), truth) > 0.93


def test_a_dot_of_ink_on_tissue_is_taken_out_though_holes_are_filled() -> None:
    image, truth = with_tissue()
    cv2.circle(image, (130, 100), 9, (20, 20, 25), -1)
    mask = tissue_mask(image, MPP, max_hole_um2=1e6)
    assert not mask[92:109, 122:139].any()
    assert 0.9 < mask[truth].mean() < 0.97


def test_ink_counts_when_it_is_not_to_be_excluded() -> None:
    image, _ = with_tissue()
    drawn, stroke = inked(image, INKS["green"])
    assert tissue_mask(drawn, MPP, exclude_pen=False)[stroke].mean() > 0.8


def test_black_borders_are_not_tissue_and_cost_none() -> None:
    image, truth = with_tissue()
    image[:30] = 0
    image[:, 215:] = 4
    image[-5:] = 0
    image[:, :2] = 0
    for exclude_pen in (True, False):
        assert iou(tissue_mask(image, MPP, exclude_pen=exclude_pen), truth) > 0.93


def test_steps_between_a_scanners_fields_of_view_are_not_tissue() -> None:
    image = np.full((200, 240, 3), 255, np.uint8)
    image[50:150, 60:200] = (240, 233, 239)
    assert not tissue_mask(image, MPP).any()


def test_dust_is_dropped_by_area_and_holes_are_filled_by_area() -> None:
    image, _ = with_tissue()
    cv2.circle(image, (30, 30), 2, (150, 80, 160), -1)
    cv2.circle(image, (130, 100), 15, (243, 243, 243), -1)
    speck_um2, hole_um2 = 13 * 64.0, 709 * 64.0
    mask = tissue_mask(image, MPP, min_area_um2=5 * speck_um2, max_hole_um2=0.3 * hole_um2)
    assert not mask[:50, :50].any()
    assert not mask[100, 130]
    mask = tissue_mask(image, MPP, min_area_um2=0.0, max_hole_um2=1.5 * hole_um2)
    assert mask[30, 30]
    assert mask[100, 130]


def test_the_least_area_is_in_square_micrometres() -> None:
    image, truth = with_tissue()
    assert tissue_mask(image, MPP, min_area_um2=0.9 * truth.sum() * 64).any()
    assert not tissue_mask(image, MPP, min_area_um2=1.2 * truth.sum() * 64).any()


@pytest.mark.parametrize("mpp", [2.0, 4.0, 8.0])
def test_the_gradient_threshold_is_in_grey_levels_per_10_um(mpp: float) -> None:
    # Stripes of period 100 µm and amplitude 40: the mean of the absolute gradient is 4 · 40 / 100 per µm, and a
    # Gaussian of 10 µm leaves exp(-2 (10 π / 100)²) of it.
    x = np.arange(int(1600 / mpp)) * mpp
    stripes = np.rint(120 + 40 * np.sin(2 * np.pi * x / 100)).astype(np.uint8)
    image = np.repeat(np.repeat(stripes[None, :, None], 100, axis=0), 3, axis=2)
    by_hand = 10 * 1.6 * np.exp(-2 * (10 * np.pi / 100) ** 2)
    assert tissue_mask(image, mpp, gradient_threshold=0.88 * by_hand, exclude_pen=False).mean() > 0.9
    assert tissue_mask(image, mpp, gradient_threshold=1.12 * by_hand, exclude_pen=False).mean() < 0.1


def test_the_mask_covers_the_same_area_at_other_resolutions() -> None:
    image, truth = with_tissue()
    for factor in (0.5, 2.0):
        other = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        area = tissue_mask(np.asarray(other), MPP / factor).mean()
        assert area == pytest.approx(truth.mean(), rel=0.06)


def test_a_higher_threshold_never_finds_more() -> None:
    image, _ = with_tissue()
    areas = [tissue_mask(image, MPP, gradient_threshold=t).sum() for t in (1.0, 3.0, 6.0, 12.0, 1000.0)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0


def test_distance_from_white_is_fasts_rule_before_the_closing() -> None:
    image, _ = with_tissue()
    image[10, 10] = (0, 0, 0)  # pure black is excluded there
    away = ((255.0 - image) ** 2).sum(axis=2) > 85.0**2
    away &= (image > 0).any(axis=2)
    box9 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    expected = cv2.erode(cv2.dilate(away.astype(np.uint8), box9), box9) > 0
    mask = tissue_mask(image, MPP, method="distance_from_white", min_area_um2=0, max_hole_um2=0, exclude_pen=False)
    assert np.array_equal(mask, expected)
    assert not mask[10, 10]


def test_wrong_arguments_are_programming_errors() -> None:
    image = glass(8, 8)
    with pytest.raises(ValueError, match="method"):
        tissue_mask(image, MPP, method="magic")
    with pytest.raises(ValueError, match="mpp"):
        tissue_mask(image, 0.0)
    for bad in (image[..., 0], image[..., :2], image.astype(np.float32), image[:0]):
        with pytest.raises(ValueError, match="uint8"):
            tissue_mask(bad, MPP)  # type: ignore[arg-type]


def fluorescence(colour: tuple[int, int, int]) -> Image:
    rng = np.random.default_rng(3)
    glow = cv2.GaussianBlur(rng.normal(size=(200, 240)), (0, 0), 3.0)
    glow = (glow / glow.max()).clip(0, 1) ** 2
    return (glow[..., None] * colour + rng.integers(0, 4, (200, 240, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30, 3), np.uint8),
        np.full((1, 1, 3), 5, np.uint8),
        fluorescence((200, 10, 10)),
        fluorescence((40, 60, 255)),
        fluorescence((120, 255, 120)),
        np.where(glass(200, 240)[..., :1] > 245, np.array([20, 255, 60], np.uint8), np.uint8(0)),  # bright and sparse
    ],
)
def test_light_on_black_is_refused_with_its_slide(image: Image) -> None:
    with pytest.raises(SlideError, match="slide_7") as caught:
        check_brightfield(image, where="slide_7")
    assert caught.value.status == "not_brightfield"


def test_glass_tissue_borders_and_big_black_marks_are_brightfield() -> None:
    image, _ = with_tissue()
    check_brightfield(image, where="s")
    check_brightfield(np.full((4, 4, 3), 255, np.uint8), where="s")
    bordered = image.copy()
    bordered[:50], bordered[:, 185:] = 0, 0
    check_brightfield(bordered, where="s")
    framed = np.zeros((600, 700, 3), np.uint8)
    framed[200:400, 200:440] = image
    check_brightfield(framed, where="s")
    marked = image.copy()
    cv2.circle(marked, (200, 40), 60, (15, 15, 18), -1)
    check_brightfield(marked, where="s")
    dense = np.full((50, 50, 3), (80, 40, 105), np.uint8)
    check_brightfield(dense, where="s")


def test_a_tissue_outline_in_level_0_pixels_paints_the_mask_again() -> None:
    mask = tissue_mask(with_tissue()[0], MPP)
    drawn = outline(mask, 32.0, 31.5)
    assert drawn.area == pytest.approx(mask.sum() * 32.0 * 31.5)
    assert drawn.bounds[2] <= 240 * 32
    again = rasterise(drawn, mask.shape, slide_size=(240 * 32, 6300))
    assert np.array_equal(again, mask)


# Real slides ---------------------------------------------------------------------------------------------------------


def low_resolution(name: str, mpp: float) -> tuple[Image, tuple[int, int]]:
    """A real slide at about 8 µm/px and its level-0 size."""
    if not (SLIDES / name).exists():
        pytest.skip(f"the real slide {name} is not here")
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(SLIDES / name) as slide:
        width, height = slide.dimensions
        factor = MPP / mpp
        level = slide.get_best_level_for_downsample(factor * 1.01)
        pixels = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))
        size = (round(width / factor), round(height / factor))
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8), (width, height)


@pytest.mark.parametrize(("number", "low", "high"), [("2", 0.09, 0.12), ("3", 0.18, 0.22)])
def test_what_was_annotated_on_real_slides_is_tissue_and_most_of_the_slide_is_not(
    number: str, low: float, high: float
) -> None:
    image, size = low_resolution(f"lung_scc_{number}.tif", 0.25)
    check_brightfield(image, where="real")
    mask = tissue_mask(image, MPP)
    path = SLIDES / f"lung_scc_{number}.geojson"
    drawn = read_annotation(path, kind="psa", where="real", width=size[0], height=size[1], classes=CLASSES)
    for geometry in (drawn.tumour, drawn.non_tumour):
        # The outlines were drawn coarsely and cross some gaps.
        assert mask[rasterise(geometry, mask.shape, slide_size=size)].mean() > 0.93
    assert low < mask.mean() < high
    assert mask[:10].sum() + mask[-10:].sum() == 0


def test_a_real_fluorescence_slide_is_not_brightfield() -> None:
    image, _ = low_resolution("hamamatsu_fluorescence.ndpi", 0.228)
    with pytest.raises(SlideError) as caught:
        check_brightfield(image, where="real")
    assert caught.value.status == "not_brightfield"


@pytest.mark.parametrize(
    ("name", "mpp", "low", "high"),
    [("CMU-1-Small-Region.svs", 0.499, 0.35, 0.5), ("TCGA-CR-7395-01A-01-TS1.svs", 0.5, 0.6, 0.72)],
)
def test_small_crops_of_real_slides_give_their_tissue(name: str, mpp: float, low: float, high: float) -> None:
    image, _ = low_resolution(name, mpp)
    check_brightfield(image, where="real")
    mask = tissue_mask(image, MPP)
    assert low < mask.mean() < high
    assert shapely.is_valid(outline(mask, 16.0, 16.0))
