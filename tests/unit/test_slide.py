"""Slides: what resolution they have, what a read gives back, and what a bad file is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from drunet import slide as slide_module
from drunet.errors import SlideError
from drunet.slide import Slide
from drunet_demo.pyramid import aperio_description

Pixels = NDArray[np.uint8]
MakeImage = Callable[..., Pixels]
MakeSlide = Callable[..., Path]

WITH_MPP = aperio_description(600, 400, 0.25, 40)
WITHOUT_MPP = WITH_MPP.split("|MPP")[0]


def area_average(image: Pixels, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Mean colour of the image, white outside it, in each rectangle between the edges x (n + 1) and y (m + 1)."""

    def shares(edges: NDArray[Any], length: int) -> NDArray[np.float64]:
        start, stop, pixel = edges[:-1, None], edges[1:, None], np.arange(length)
        return np.clip(np.minimum(stop, pixel + 1) - np.maximum(start, pixel), 0, None) / (stop - start)

    across, down = shares(x, image.shape[1]), shares(y, image.shape[0])
    covered = down.sum(1)[:, None] * across.sum(1)[None, :]
    mean = np.einsum("yi,ijc,xj->yxc", down, image.astype(np.float64), across, optimize=True)
    return np.asarray(mean + 255 * (1 - covered)[..., None])


@pytest.fixture
def levels_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The levels that are read, in order."""
    asked: list[int] = []
    original = Slide.region

    def noting(self: Slide, x: int, y: int, level: int, size: tuple[int, int]) -> Any:
        asked.append(level)
        return original(self, x, y, level, size)

    monkeypatch.setattr(Slide, "region", noting)
    yield asked


# Resolution


@pytest.mark.parametrize(
    ("sheet", "description", "tags", "expected", "source"),
    [
        (0.4, WITH_MPP, 0.3, 0.4, "sheet"),
        (0.4, None, None, 0.4, "sheet"),
        (None, WITH_MPP, 0.3, 0.25, "openslide"),
        (None, None, 0.3, 0.3, "openslide"),
        (None, WITHOUT_MPP, 0.3, 0.3, "tiff tags"),
    ],
)
def test_resolution_comes_from_the_sheet_then_openslide_then_the_tiff_tags(
    colours: MakeImage,
    jpeg_slide: MakeSlide,
    sheet: float | None,
    description: str | None,
    tags: float | None,
    expected: float,
    source: str,
) -> None:
    path = jpeg_slide(colours(400, 600), tags, description=description, levels=1)
    with Slide(path, "s", sheet) as slide:
        assert slide.properties.mpp == pytest.approx(expected, rel=1e-4)
        assert slide.properties.mpp_source == source


def test_resolution_is_the_mean_of_axes_that_nearly_agree(colours: MakeImage, lossless_slide: MakeSlide) -> None:
    with Slide(lossless_slide(colours(300, 300), (0.250, 0.254)), "s") as slide:
        assert slide.properties.mpp == pytest.approx(0.252, rel=1e-4)


@pytest.mark.parametrize("description", [None, WITHOUT_MPP])
def test_pixels_that_are_not_square_are_a_status_until_the_sheet_decides(
    colours: MakeImage, tmp_path: Path, description: str | None
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        # OpenSlide states the tags' resolution itself, but for Aperio, where the tags are read here.
        tiff.write(
            colours(300, 300),
            tile=(128, 128),
            photometric="rgb",
            compression="jpeg" if description else "deflate",
            description=description,
            resolution=(40_000, 20_000),
            resolutionunit="CENTIMETER",
            metadata=None,
        )
    with pytest.raises(SlideError, match=r"0\.25 µm/px across, 0\.5 µm/px down, from .*column `mpp`") as caught:
        Slide(path, "s")
    assert caught.value.status == "resolution_missing"
    assert ("tiff tags" in str(caught.value)) == bool(description)
    with Slide(path, "s", 0.25) as slide:
        assert slide.properties.mpp == 0.25


def test_objective_power_is_shown_and_never_turned_into_a_resolution(colours: MakeImage, jpeg_slide: MakeSlide) -> None:
    path = jpeg_slide(colours(400, 600), None, description=WITHOUT_MPP, levels=1)
    with pytest.raises(SlideError, match="objective power 40") as caught:
        Slide(path, "s")
    assert caught.value.status == "resolution_missing"
    with Slide(path, "s", 0.5) as slide:
        assert slide.properties.objective_power == "40"


@pytest.mark.parametrize(
    ("sheet", "description", "tags"),
    [
        (None, None, None),
        (None, None, 352.8),
        (None, None, 0.01),
        (None, WITHOUT_MPP, None),
        (None, WITHOUT_MPP, 352.8),
        (None, WITHOUT_MPP, 0.01),
        (250.0, None, 0.25),
        (0.001, None, 0.25),
        (float("nan"), None, 0.25),
    ],
)
def test_a_missing_or_implausible_resolution_is_a_status_with_a_way_to_mend_it(
    colours: MakeImage,
    jpeg_slide: MakeSlide,
    sheet: float | None,
    description: str | None,
    tags: float | None,
) -> None:
    path = jpeg_slide(colours(400, 600), tags, description=description, levels=1)
    with pytest.raises(SlideError, match="column `mpp`") as caught:
        Slide(path, "s", sheet)
    assert caught.value.status == "resolution_missing"
    assert "\n" not in str(caught.value)


def test_the_resolution_that_image_editors_write_is_no_statement(colours: MakeImage, jpeg_slide: MakeSlide) -> None:
    # 72 dpi, a default, would be 353 µm/px.
    with pytest.raises(SlideError, match="does not say its resolution"):
        Slide(jpeg_slide(colours(400, 600), 352.8, description=WITHOUT_MPP, levels=1), "s")


# Reading


@pytest.mark.parametrize(
    ("x", "y", "size"), [(0, 0, (64, 48)), (131, 67, (100, 33)), (127, 127, (2, 2)), (5, 9, (1, 1))]
)
def test_a_read_at_the_slides_own_resolution_is_the_crop_to_the_bit(
    colours: MakeImage, lossless_slide: MakeSlide, x: int, y: int, size: tuple[int, int]
) -> None:
    image = colours(300, 400)
    with Slide(lossless_slide(image), "s") as slide:
        read = slide.read(x, y, size, 0.25)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image[y : y + size[1], x : x + size[0]])


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("mpp", [0.5, 0.75, 1.0, 1.5, 2.0])
def test_a_read_at_a_coarser_resolution_is_the_area_average_of_the_crop(
    colours: MakeImage, lossless_slide: MakeSlide, levels: int, mpp: float
) -> None:
    image = colours(512, 768)
    with Slide(lossless_slide(image, levels=levels), "s") as slide:
        read = slide.read(64, 32, (40, 24), mpp)
    factor = mpp / 0.25
    expected = area_average(image, 64 + np.arange(41) * factor, 32 + np.arange(25) * factor)
    assert read.shape == (24, 40, 3)
    difference = np.abs(read - expected)
    if levels == 1:
        assert difference.max() <= 0.51
    elif mpp in (0.5, 1.0, 2.0):
        # Rounded to whole grey levels twice: in the pyramid and here.
        assert difference.max() <= 1.01
    else:
        # A border of the result divides a pixel of the level, which knows no more than its mean.
        assert difference.mean() < 2


@pytest.mark.parametrize("mpp", [0.27, 0.33, 0.4, 0.45, 0.61, 0.9])
def test_at_odd_resolutions_nothing_is_displaced_by_more_than_half_a_source_pixel(
    lossless_slide: MakeSlide, mpp: float
) -> None:
    slope = 4  # grey levels per pixel: one pixel of displacement is four of them
    ramp = np.clip(np.arange(96) * slope - 64, 0, 255).astype(np.uint8)
    image = np.stack([np.tile(ramp, (96, 1)), np.tile(ramp[:, None], (1, 96)), np.full((96, 96), 9, np.uint8)], -1)
    n = int(60 * 0.25 / mpp)
    with Slide(lossless_slide(image), "s") as slide:
        read = slide.read(17, 17, (n, n), mpp)
    edges = 17 + np.arange(n + 1) * mpp / 0.25
    difference = np.abs(read - area_average(image, edges, edges))
    assert difference.max() <= 0.5 * slope + 0.6
    assert difference.mean() < 0.3 * slope


def test_a_read_finer_than_the_slide_is_interpolated(colours: MakeImage, lossless_slide: MakeSlide) -> None:
    image = colours(200, 200)
    with Slide(lossless_slide(image), "s") as slide:
        read = slide.read(50, 60, (80, 40), 0.125)
    crop = image[60:80, 50:90].astype(np.float64)
    assert read.shape == (40, 80, 3)
    # Averaged two by two it is the crop again, but for what bilinear weights take from the neighbours.
    assert np.abs(read.reshape(20, 2, 40, 2, 3).mean((1, 3)) - crop).mean() < 2


def test_a_jpeg_pyramid_reads_within_the_error_of_jpeg(colours: MakeImage, jpeg_slide: MakeSlide) -> None:
    image = colours(1024, 1024, softness=12.0)
    with Slide(jpeg_slide(image, 0.25), "s") as slide:
        assert len(slide.properties.downsamples) == 3
        for mpp in (0.25, 0.5, 1.0):
            factor = mpp / 0.25
            read = slide.read(128, 256, (64, 64), mpp)
            expected = area_average(image, 128 + np.arange(65) * factor, 256 + np.arange(65) * factor)
            assert np.abs(read - expected).mean() < 4


def test_a_level_a_hair_coarser_than_asked_for_serves(
    colours: MakeImage, lossless_slide: MakeSlide, levels_read: list[int]
) -> None:
    with Slide(lossless_slide(colours(1025, 1025), levels=3), "s") as slide:
        assert slide.properties.downsamples[2] > 4
        slide.read(0, 0, (64, 64), 1.0)
        slide.read(0, 0, (64, 64), 0.99)
        slide.read(0, 0, (64, 64), 0.9)
        slide.read(0, 0, (64, 64), 8.0)
    assert levels_read == [2, 2, 1, 2]


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_what_lies_outside_the_slide_is_white_and_the_rest_keeps_its_place(
    colours: MakeImage, lossless_slide: MakeSlide, levels: int, mpp: float
) -> None:
    image = colours(512, 512) // 2
    factor = mpp / 0.25
    with Slide(lossless_slide(image, levels=levels), "s") as slide:
        for x, y in [(-64, -32), (480, 496), (-64, 496), (480, -32)]:
            expected = area_average(image, x + np.arange(41) * factor, y + np.arange(33) * factor)
            assert np.abs(slide.read(x, y, (40, 32), mpp) - expected).max() <= 1.01
        for x, y in [(-5000, 0), (0, -5000), (5000, 5000)]:
            assert (slide.read(x, y, (40, 32), mpp) == 255).all()


def test_half_transparent_pixels_are_laid_on_white(
    colours: MakeImage, lossless_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lossless_slide(colours(200, 200))
    pixels = np.array([[[0, 100, 255, 0], [0, 100, 255, 51], [0, 100, 255, 255]]], np.uint8)
    monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda *_: Image.fromarray(pixels, "RGBA"))
    with Slide(path, "s") as slide:
        assert slide.read(0, 0, (3, 1), 0.25).tolist() == [[[255, 255, 255], [204, 224, 255], [0, 100, 255]]]


def test_a_read_that_would_fill_the_memory_is_refused(
    colours: MakeImage, lossless_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide_module, "MAX_READ_PX", 10_000)
    with Slide(lossless_slide(colours(400, 400)), "s") as slide:
        assert slide.read(0, 0, (100, 100), 0.25).shape == (100, 100, 3)
        with pytest.raises(SlideError, match="too much memory") as caught:
            slide.read(0, 0, (90, 90), 0.5)
    assert caught.value.status == "unreadable"


# The whole slide


@pytest.mark.parametrize("shape", [(64, 96), (57, 83), (100, 30), (7, 3), (1, 1), (256, 384)])
def test_the_whole_slide_is_its_area_average_from_one_level_or_from_several(
    colours: MakeImage, lossless_slide: MakeSlide, shape: tuple[int, int]
) -> None:
    image = colours(512, 768)
    expected = area_average(image, np.linspace(0, 768, shape[1] + 1), np.linspace(0, 512, shape[0] + 1))
    for levels in (1, 3):
        with Slide(lossless_slide(image, levels=levels, name=f"{levels}.tif"), "s") as slide:
            whole = slide.read_whole(shape)
        assert whole.shape == (*shape, 3)
        assert whole.dtype == np.uint8
        assert np.abs(whole - expected).mean() < 1
        if levels == 1:
            assert np.abs(whole - expected).max() <= 0.51


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("shape", [(64, 96), (57, 83), (3, 5), (300, 300)])
def test_the_whole_slide_read_in_strips_is_the_same_picture(
    colours: MakeImage, lossless_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], levels: int
) -> None:
    image = colours(600, 400)
    with Slide(lossless_slide(image, levels=levels), "s") as slide:
        at_once = slide.read_whole(shape).astype(int)
        monkeypatch.setattr(slide_module, "MAX_READ_PX", 400 * 13 * 16)
        in_strips = slide.read_whole(shape).astype(int)
    assert in_strips.shape == at_once.shape
    # A strip ends on whole pixels of the level, up to half of one beside the border of the result's row.
    assert np.abs(in_strips - at_once).mean() < 2


def test_a_stretched_picture_of_the_whole_is_read_from_a_level_fine_enough_for_both_axes(
    colours: MakeImage, lossless_slide: MakeSlide, levels_read: list[int]
) -> None:
    with Slide(lossless_slide(colours(512, 768), levels=3), "s") as slide:
        slide.read_whole((64, 768))
        slide.read_whole((256, 96))
        slide.read_whole((128, 192))
    assert levels_read == [0, 1, 2]


def test_the_picture_of_an_odd_sized_pyramid_does_not_drift(colours: MakeImage, lossless_slide: MakeSlide) -> None:
    image = colours(911, 1303)
    with Slide(lossless_slide(image, levels=3), "s") as slide:
        whole = slide.read_whole((90, 130))
    expected = area_average(image, np.linspace(0, 1303, 131), np.linspace(0, 911, 91))
    corner = np.abs(whole - expected)[-20:, -20:]
    # Floored levels lose up to three of the slide's 911 rows: a third of a pixel here.
    assert corner.mean() < 3


@pytest.mark.parametrize(("mpp", "shape"), [(0.25, (301, 402)), (1.0, (75, 100)), (1000.0, (1, 1))])
def test_shape_at_a_resolution_is_rounded_and_never_empty(
    colours: MakeImage, lossless_slide: MakeSlide, mpp: float, shape: tuple[int, int]
) -> None:
    with Slide(lossless_slide(colours(301, 402)), "s") as slide:
        assert slide.shape_at(mpp) == shape


# Real slides


def test_a_real_slide_of_odd_levels_reads_from_the_level_of_four(
    real_slide: Callable[[str], Path], levels_read: list[int]
) -> None:
    with Slide(real_slide("lung_scc_2.tif"), "s") as slide:
        assert slide.properties.downsamples[2] == pytest.approx(4.0003, abs=1e-4)
        whole = slide.read_whole(slide.shape_at(32.0))
        row, column = np.unravel_index(whole.astype(int).sum(2).argmin(), whole.shape[:2])
        x, y = int(column) * 128 - 448, int(row) * 128 - 448
        levels_read.clear()
        tile = slide.read(x, y, (224, 224), 1.0)
        fine = slide.read(x, y, (896, 896), 0.25)
    assert levels_read == [2, 0]
    assert whole.shape == (170, 182, 3)
    expected = cv2.resize(fine, (224, 224), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(tile - expected).mean() < 6
    assert np.corrcoef(tile.ravel(), expected.ravel())[0, 1] > 0.95


def test_real_vendor_files_say_their_resolution_or_are_missing_it(real_slide: Callable[[str], Path]) -> None:
    with Slide(real_slide("CMU-1-Small-Region.svs"), "s") as slide:
        assert (slide.properties.width, slide.properties.height) == (2220, 2967)
        assert slide.properties.mpp == pytest.approx(0.499)
        assert slide.properties.vendor == "aperio"
        with openslide.OpenSlide(real_slide("CMU-1-Small-Region.svs")) as plain:
            crop = np.asarray(plain.read_region((700, 900), 0, (400, 300)))[..., :3]
        read = slide.read(700, 900, (100, 75), 4 * 0.499)
        assert np.abs(read - area_average(crop, np.arange(0, 401, 4), np.arange(0, 301, 4))).max() <= 0.51
    with pytest.raises(SlideError) as caught:
        Slide(real_slide("TCGA-CR-7395-01A-01-TS1.svs"), "s")
    assert caught.value.status == "resolution_missing"
    with Slide(real_slide("hamamatsu_fluorescence.ndpi"), "s") as slide:
        assert slide.properties.mpp == pytest.approx(0.2282, abs=1e-4)
        assert slide.properties.objective_power == "40"
