"""OME-TIFF of mask and probability: other readers see the same pixels, with their µm/px, and the schema holds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import ome_types
import openslide
import pytest
import tifffile

from drunet.errors import FailedSlideError
from drunet.export.mask_image import write_mask_image
from drunet.export.ome_tiff import write_mask, write_probability
from drunet.grid import Grid
from drunet.outcome import write_outcome

# 2.0 by 1.96 µm/px on a mask of 1300 x 1000: not square, as rounding makes it.
GRID = Grid(5200, 3920, mpp=0.5, tile_mpp=1.0, size=64, step=64)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.GaussianBlur(rng.normal(size=(1000, 1300)), (0, 0), 9) > 0.02


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("ome")
    write_mask_image(folder / "segmentation.tif", mask, (2.0, 1.96), "tumour of s1")
    write_mask(folder / "segmentation.ome.tif", folder / "segmentation.tif", GRID, "s1 run")
    square = np.random.default_rng(1).random((1120, 1120), dtype=np.float32)
    square[:300] = np.nan
    np.save(folder / "square.npy", square)
    write_probability(folder / "probability.ome.tif", square, GRID, "s1 run")
    return folder


@pytest.mark.parametrize("file", ["segmentation.ome.tif", "probability.ome.tif"])
def test_the_schema_holds_and_the_pixels_have_their_size(written: Path, file: str) -> None:
    with tifffile.TiffFile(written / file) as tiff:
        assert tiff.is_ome and len(tiff.series) == 1 and tiff.pages.first.is_tiled
        text = tiff.ome_metadata
    # Its models are made from the schema, and refuse what the schema does not know.
    ome = ome_types.from_xml(text, validate=False)
    (image,) = ome.images
    pixels = image.pixels
    assert image.name == "s1 run" and pixels.type.value == "uint8"
    assert pixels.physical_size_x * pixels.size_x == pytest.approx(2600)
    assert pixels.physical_size_y * pixels.size_y == pytest.approx(1960)
    assert pixels.physical_size_x_unit.value == pixels.physical_size_y_unit.value == "µm"


def test_a_mask_is_the_same_on_every_level_in_tifffile_and_openslide(written: Path, mask: np.ndarray) -> None:
    with (
        tifffile.TiffFile(written / "segmentation.ome.tif") as tiff,
        tifffile.TiffFile(written / "segmentation.tif") as plain,
    ):
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [page.shape for page in plain.pages] and len(levels) == 3
        for level, page in zip(levels, plain.pages, strict=True):
            np.testing.assert_array_equal(level.asarray(), page.asarray())
        np.testing.assert_array_equal(levels[0].asarray(), mask * 255)
    with openslide.OpenSlide(written / "segmentation.ome.tif") as slide:
        assert slide.dimensions == (1300, 1000)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(2.0)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(1.96)
        seen = np.asarray(slide.read_region((200, 100), 0, (900, 800)))
    np.testing.assert_array_equal(seen[..., 0], mask[100:900, 200:1100] * 255)
    assert (seen[..., 3] == 255).all()


def test_a_probability_has_the_aspect_of_the_slide_and_is_seen_as_grey(written: Path) -> None:
    square = np.nan_to_num(np.load(written / "square.npy"))
    with openslide.OpenSlide(written / "probability.ome.tif") as slide:
        assert slide.dimensions == (1120, 844)
        seen = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., 0]
    assert (seen[:220] == 0).all()
    assert seen.max() > 230 and seen[240:].std() > 30
    np.testing.assert_allclose(seen, cv2.resize(square, (1120, 844)) * 255, atol=0.51)
    with tifffile.TiffFile(written / "probability.ome.tif") as tiff:
        shapes = [level.shape for level in tiff.series[0].levels]
    assert shapes == [(844, 1120), (422, 560), (211, 280)]


def test_the_same_slide_and_run_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_mask(tmp_path / "again.ome.tif", written / "segmentation.tif", GRID, "s1 run")
    assert (tmp_path / "again.ome.tif").read_bytes() == (written / "segmentation.ome.tif").read_bytes()


def test_memory_does_not_grow_with_the_mask(tmp_path: Path) -> None:
    side = 4096
    with tifffile.TiffWriter(tmp_path / "large.tif") as tiff:
        for _ in range(2):
            tiff.write(
                (np.full((256, 256), 255, np.uint8) for _ in range((side // 256) ** 2)),
                shape=(side, side),
                dtype=np.uint8,
                tile=(256, 256),
                compression="deflate",
            )
    tracemalloc.start()
    try:
        grid = Grid(side, side, mpp=1.0, tile_mpp=1.0, size=64, step=64)
        write_mask(tmp_path / "large.ome.tif", tmp_path / "large.tif", grid, "large")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6 < side**2
    assert tifffile.imread(tmp_path / "large.ome.tif").min() == 255


def test_a_slide_without_a_mask_has_no_file(tmp_path: Path) -> None:
    failure = FailedSlideError("no", stage="classify_tiles", status="unreadable", where="s1", mend="Copy it again.")
    write_outcome([tmp_path / "segmentation.tif"], failure)
    with pytest.raises(FailedSlideError):
        write_mask(tmp_path / "m.ome.tif", tmp_path / "segmentation.tif", GRID, "s1")
    assert [p.name for p in tmp_path.iterdir()] == ["segmentation.tif"]
