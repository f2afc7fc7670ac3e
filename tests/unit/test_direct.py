"""Tiles decoded without OpenSlide are those that OpenSlide gives, whatever the format and the place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_slides import REAL_SLIDES

from drunet import direct
from drunet import slide as slide_module
from drunet.direct import Box, DirectLevels
from drunet.slide import Slide
from drunet_demo.pyramid import aperio_description

SIZE = (700, 620)
# Name, compression, arguments of the encoder, further arguments of `write`, description.
FORMATS: dict[str, dict[str, Any]] = {
    "none": {},
    "deflate": {"compression": "deflate"},
    "deflate with predictor": {"compression": "deflate", "predictor": True},
    "lzw": {"compression": "lzw"},
    "jpeg in YCbCr, halved": {"compression": "jpeg", "compressionargs": {"level": 85}},
    "jpeg in YCbCr, whole": {"compression": "jpeg", "subsampling": (1, 1)},
    "jpeg in RGB": {"compression": "jpeg", "compressionargs": {"outcolorspace": "RGB"}},
    "aperio": {"compression": "jpeg", "description": aperio_description(*SIZE, 0.5, 20)},
}


def picture(seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (SIZE[1] // 5, SIZE[0] // 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def write(path: Path, tile: int = 128, **options: Any) -> Path:
    image = picture()
    with tifffile.TiffWriter(path) as tiff:
        for level in range(2):
            extra = {"subfiletype": 1} if level else {}
            shown = cv2.resize(image, (SIZE[0] // 2**level, SIZE[1] // 2**level), interpolation=cv2.INTER_AREA)
            resolution = (20_000 / 2**level,) * 2
            kept = {key: value for key, value in options.items() if key != "description" or not level}
            tiff.write(
                shown, tile=(tile, tile), photometric="rgb", metadata=None, resolution=resolution,
                resolutionunit="CENTIMETER", **extra, **kept,
            )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("formats")
    return {name: write(folder / f"{i}.tif", **options) for i, (name, options) in enumerate(FORMATS.items())}


def by_openslide(path: Path, x: int, y: int, level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    with openslide.OpenSlide(path) as slide:
        rgba = np.asarray(slide.read_region((x, y), level, size))
    return np.where(rgba[..., 3:] == 0, 255, rgba[..., :3]).astype(np.uint8)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-90, 700), st.integers(-90, 620), st.integers(0, 1), st.integers(1, 300), st.integers(1, 300))
def test_pixels_are_openslides_wherever_a_level_has_one(
    written: dict[str, Path], name: str, x: int, y: int, level: int, width: int, height: int
) -> None:
    with Slide(written[name], "s", None) as slide:
        factor = 2**level
        found, clear = slide.region(x * factor, y * factor, level, (width, height))
        assert slide._direct._trusted == {level: True}
    np.testing.assert_array_equal(found, by_openslide(written[name], x * factor, y * factor, level, (width, height)))
    rows, columns = np.arange(y, y + height), np.arange(x, x + width)
    inside = np.logical_and.outer(
        (rows >= 0) & (rows < SIZE[1] // factor), (columns >= 0) & (columns < SIZE[0] // factor)
    )
    np.testing.assert_array_equal(np.zeros((height, width), bool) if clear is None else clear, ~inside)


@pytest.mark.parametrize("x", [0, 1, 2, 3, 101])
def test_between_the_pixels_of_a_level_the_nearest_is_taken(written: dict[str, Path], x: int) -> None:
    with Slide(written["deflate"], "s", None) as slide:
        found = slide.region(x, 0, 1, (60, 60))[0]
    np.testing.assert_array_equal(found, by_openslide(written["deflate"], 2 * round(x / 2), 0, 1, (60, 60)))


def test_levels_of_ome_tiff_are_found_below_their_page(tmp_path: Path) -> None:
    path, image = tmp_path / "a.ome.tif", picture()
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
        tiff.write(image, subifds=1, metadata={"axes": "YXS"}, **options)
        tiff.write(image[::2, ::2].copy(), subfiletype=1, **options)
    with tifffile.TiffFile(path) as tiff:
        assert len(direct._pages(tiff)) == 2

    def compare(level: int, boxes: Sequence[Box]) -> list[tuple[NDArray[np.uint8], None]]:
        step, found = 2**level, []
        for x, y, (width, height) in boxes:
            found.append((image[::step, ::step][y // step : y // step + height, x // step : x // step + width], None))
        return found

    levels = DirectLevels(path, [SIZE, (350, 310)], [1.0, 2.0], compare)
    found = levels.region(1, 100, 50, (80, 90))
    assert found is not None
    np.testing.assert_array_equal(found[0], image[::2, ::2][50:140, 100:180])
    levels.close()


def test_a_level_that_openslide_shows_otherwise_is_left_to_it(written: dict[str, Path]) -> None:
    calls = []

    def bluer(level: int, boxes: Sequence[Box]) -> list[tuple[NDArray[np.uint8], None]]:
        calls.append(level)
        shown = [by_openslide(written["none"], x, y, level, size) for x, y, size in boxes]
        return [(np.minimum(region, (255, 255, 254)).astype(np.uint8), None) for region in shown]

    levels = DirectLevels(written["none"], [SIZE, (350, 310)], [1.0, 2.0], bluer)
    assert levels.region(0, 0, 0, (50, 50)) is None and levels.region(0, 9, 9, (50, 50)) is None
    assert calls == [0]
    levels.close()


def test_what_the_file_lacks_is_transparent_and_what_is_damaged_is_said_by_openslide(tmp_path: Path) -> None:
    path = write(tmp_path / "holed.tif", compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages[0]
        offset, counts = page.dataoffsets[7], list(page.databytecounts)
        counts[1] = 0
        page.tags["TileByteCounts"].overwrite(counts)
    with Slide(path, "s", None) as slide:
        rgb, clear = slide.region(0, 0, 0, (300, 100))
        assert slide._direct._trusted[0]
        assert clear is not None and clear[:, 128:256].all() and not clear[:, :128].any() and not clear[:, 256:].any()
        assert (rgb[:, 128:256] == 255).all()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 40)
    with Slide(path, "s", None) as slide, pytest.raises(Exception, match="cannot be read as a slide"):
        slide.region(128, 128, 0, (64, 64))


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2] + bytes(len(d) - len(d) // 2), lambda d: d[:-2] + b"ab"])
def test_a_jpeg_tile_that_is_cut_short_is_left_to_openslide(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / "cut.tif", compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[8], tiff.pages[0].databytecounts[8]
    data = path.read_bytes()
    path.write_bytes(data[:offset] + spoil(data[offset : offset + count]) + data[offset + count :])
    with Slide(path, "s", None) as slide:
        assert slide.region(0, 0, 0, (100, 100)) and slide._direct._trusted[0]
        # The ninth of six in a row.
        assert slide._direct.region(0, 2 * 128 + 9, 128 + 9, (30, 30)) is None
        assert slide._direct.region(0, 9, 9, (30, 30)) is not None


def test_decoded_tiles_are_kept_up_to_a_limit(written: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "KEPT_BYTES", 3 * 128 * 128 * 3)
    decoded = []
    with Slide(written["none"], "s", None) as slide:
        slide.region(0, 0, 0, (128, 128))
        page = slide._direct._pages[0]
        decode = page.decode
        monkeypatch.setattr(
            page, "decode", lambda *given, **more: (decoded.append(given[1]), decode(*given, **more))[1]
        )
        for x in (0, 30, 60, 90, 128):
            slide.region(x, 0, 0, (100, 100))
        # The two that all of them lie on, the first of which was kept.
        assert decoded == [1]
        slide.region(0, 0, 0, SIZE)
        assert slide._direct._held <= direct.KEPT_BYTES


def test_a_slide_is_opened_once_more_to_compare(written: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_file = [], slide_module.open_file
    monkeypatch.setattr(slide_module, "open_file", lambda *given: (opened.append(given), open_file(*given))[1])
    with Slide(written["none"], "s", None) as slide:
        slide.region(0, 0, 0, (30, 30))
        slide.region(90, 0, 0, (30, 30))
        assert slide._direct._trusted[0]
    assert len(opened) == 2


@pytest.mark.parametrize("name", ["lung_scc_2.tif", "CMU-1-Small-Region.svs"])
def test_real_slides_are_read_directly_to_the_bit(name: str) -> None:
    path = REAL_SLIDES / name
    if not path.is_file():
        pytest.skip("the real slides are not here")
    with Slide(path, "s", 0.25) as slide:
        middle = slide.properties.width // 2, slide.properties.height // 2
        found = slide.region(*middle, 0, (300, 200))[0]
        assert slide._direct._trusted == {0: True}
    np.testing.assert_array_equal(found, by_openslide(path, *middle, 0, (300, 200)))
