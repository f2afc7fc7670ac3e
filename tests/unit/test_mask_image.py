from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from scipy import ndimage

from drunet.export.mask_image import read_mask_image, write_mask_image

RESOLUTION = (2.0, 2.1)  # µm/px in x and y


def blobs(shape: tuple[int, int] = (1100, 2300)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape), 9)
    return noise > 0.5 * noise.std()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mask") / "segmentation.tif"
    write_mask_image(path, blobs(), RESOLUTION, "tumour of s1")
    return path


def test_a_mask_comes_back_as_it_was(written: Path, tmp_path: Path) -> None:
    mask = read_mask_image(written)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, blobs())
    for shape in [(1, 1), (3, 700), (512, 512), (513, 2)]:
        small = np.random.default_rng(1).random(shape) > 0.5
        write_mask_image(tmp_path / "small.tif", small, RESOLUTION, "")
        np.testing.assert_array_equal(read_mask_image(tmp_path / "small.tif"), small)


def test_openslide_opens_it_with_its_levels_and_its_resolution(written: Path) -> None:
    with openslide.OpenSlide(written) as slide:
        assert slide.level_dimensions == ((2300, 1100), (1150, 550), (575, 275), (287, 137))
        assert slide.level_downsamples == pytest.approx((1, 2, 4, 8), rel=0.01)
        stated = [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        assert stated == pytest.approx(RESOLUTION)
        grey = np.asarray(slide.read_region((600, 300), 0, (400, 300)))[..., 0]
    np.testing.assert_array_equal(grey, blobs()[300:600, 600:1000] * 255)


def test_every_level_states_its_own_resolution(written: Path) -> None:
    with tifffile.TiffFile(written) as tiff:
        assert [page.is_tiled for page in tiff.pages] == [True] * 4
        assert [int(page.subfiletype) for page in tiff.pages] == [0, 1, 1, 1]
        assert tiff.pages.first.description == "tumour of s1"
        for page in tiff.pages:
            across, down = (np.divide(*page.tags[f"{axis}Resolution"].value) for axis in "XY")
            # The level covers the whole slide: µm/px times pixels is the slide's extent.
            assert 10_000 / across * page.imagewidth == pytest.approx(2300 * RESOLUTION[0], rel=1e-5)
            assert 10_000 / down * page.imagelength == pytest.approx(1100 * RESOLUTION[1], rel=1e-5)


def test_coarser_levels_keep_the_share_of_tumour_and_hold_two_values(written: Path) -> None:
    share = blobs().mean()
    with tifffile.TiffFile(written) as tiff:
        for page in tiff.pages:
            level = page.asarray()
            assert set(np.unique(level)) == {0, 255}
            assert (level > 0).mean() == pytest.approx(share, rel=0.05)


def test_a_level_is_the_majority_of_the_one_before(tmp_path: Path) -> None:
    mask = np.kron(np.random.default_rng(2).random((300, 400)) > 0.5, np.ones((2, 2), bool))
    mask[::2, ::2] ^= np.random.default_rng(3).random((300, 400)) > 0.7  # one pixel of four: no majority changes
    write_mask_image(tmp_path / "m.tif", mask, RESOLUTION, "")
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        halved = tiff.pages[1].asarray() > 0
    np.testing.assert_array_equal(halved, mask.reshape(300, 2, 400, 2).mean((1, 3)) >= 0.5)


def test_a_small_mask_has_one_level(tmp_path: Path) -> None:
    write_mask_image(tmp_path / "m.tif", np.ones((512, 300), bool), RESOLUTION, "")
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        assert len(tiff.pages) == 1
