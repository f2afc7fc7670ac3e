"""Slides that lost a part, or contradict themselves: nothing vanishes in silence, and sound ones are left alone."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from shapely.geometry import box, mapping

from drunet import inspection
from drunet.errors import SlideError
from drunet.files import write_json
from drunet.inspection import inspect
from drunet.segment import _TISSUE
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tissue import check_brightfield
from drunet_demo.pyramid import write_pyramid

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT, TILE = 1792, 1280, 256
ROWS, COLUMNS = HEIGHT // TILE, WIDTH // TILE
GLASS = (243, 242, 244)
SETTINGS = TissueSettings.of(_TISSUE, "tissue")
CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}


@cache
def drawn(seed: int) -> Pixels:
    """Glass with a block of textured tissue over tile columns 1 to 4 and rows 1 to 3."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    grain = cv2.GaussianBlur(rng.normal(0, 260, (HEIGHT, WIDTH, 1)), (0, 0), 5)
    tissue = np.clip(np.array([205, 140, 180]) + grain[..., None] * np.array([1, 1.3, 0.9]), 0, 235).astype(np.uint8)
    cv2.ellipse(mask := np.zeros((HEIGHT, WIDTH), np.uint8), (800, 640), (600, 420), 0, 0, 360, 1, -1)
    image[mask > 0] = tissue[mask > 0]
    return image


def picture(seed: int = 0) -> Pixels:
    return drawn(seed).copy()


def slide(path: Path, levels: int = 3, image: Pixels | None = None, **options: Any) -> Path:
    write_pyramid(path, picture() if image is None else image, options.pop("mpp", 0.5), levels=levels, **options)
    return path


def forget(path: Path, level: int, tiles: Callable[[int, int], bool]) -> int:
    """Set the byte counts of tiles (row, column) of a level to 0, as a lost block of the index does; how many."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        tag, across = page.tags["TileByteCounts"], -(-page.imagewidth // page.tilewidth)
        kind = {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
        place = [tag.valueoffset + i * struct.calcsize(kind) for i in range(tag.count) if tiles(*divmod(i, across))]
    with path.open("r+b") as file:
        for offset in place:
            file.seek(offset)
            file.write(bytes(struct.calcsize(kind)))
    return len(place)


def edit(path: Path, level: int, **tags: int) -> Path:
    """Overwrite values of a level's tags in place."""
    with tifffile.TiffFile(path) as tiff:
        places = [(tiff.pages[level].tags[name], value) for name, value in tags.items()]
        places = [(t.valueoffset, {3: "<H", 4: "<I", 5: "<II"}[int(t.dtype)], v) for t, v in places]
    with path.open("r+b") as file:
        for offset, kind, value in places:
            file.seek(offset)
            file.write(struct.pack(kind, value, 1) if kind == "<II" else struct.pack(kind, value))
    return path


def look(path: Path, mpp: float | None = None, annotation: Path | None = None) -> inspection.Inspected:
    return inspect(
        str(path),
        "case_7",
        mpp=mpp,
        tissue=SETTINGS,
        annotation=annotation and str(annotation),
        kind="wta",
        classes=CLASSES,
        geojson_frame="qupath",
    )


# Missing tiles

LOST: dict[str, Callable[[int, int], bool]] = {
    "one": lambda r, c: (r, c) == (2, 3),
    "two apart": lambda r, c: (r, c) in ((2, 3), (1, 2)),
    "at the tissue's edge": lambda r, c: (r, c) == (1, 1),
    "a row": lambda r, _: r == 2,
    "a column": lambda _, c: c == 3,
    "the first row with tissue": lambda r, _: r <= 1,
    "the first half": lambda r, c: r * COLUMNS + c < ROWS * COLUMNS // 2,
    "the last half": lambda r, c: r * COLUMNS + c >= ROWS * COLUMNS // 2,
    "every fourth": lambda r, c: (r * COLUMNS + c) % 4 == 0,
    "all with tissue but one": lambda r, c: 1 <= r <= 3 and c <= 5 and (r, c) != (2, 2),
}


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("tiles", LOST.values(), ids=LOST.keys())
def test_tissue_that_the_file_lost_is_counted_or_the_slide_is_refused(
    tmp_path: Path, tiles: Callable[[int, int], bool], levels: int
) -> None:
    whole = look(slide(tmp_path / "whole.tif", levels))
    path = slide(tmp_path / "a.tif", levels)
    forget(path, 0, tiles)
    found = look(path)
    area = found.report["unread_mm2"]
    lost = np.zeros((HEIGHT, WIDTH), bool)
    for r in range(ROWS):
        for c in range(COLUMNS):
            lost[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE] = tiles(r, c)
    stained = picture().astype(int).min(2) < 225
    truth = (lost & stained).sum() * 0.5**2 / 1e6
    # With no level to look at, what was lost is told from its rim.
    low, high = (0.85, 1.25) if levels > 1 else (0.5, 2.6)
    assert truth * low < area < truth * high
    share = truth / (stained.sum() * 0.25 / 1e6)
    assert found.report["status"] == ("unreadable" if share > 0.25 else found.report["status"])
    if found.tissue is not None and whole.tissue is not None:
        # Nothing of the tissue mask is lost.
        assert (whole.tissue & ~found.tissue).sum() < 0.02 * whole.tissue.sum()


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("tiles", LOST.values(), ids=LOST.keys())
def test_a_read_of_lost_tissue_is_refused_and_others_are_as_they_were(
    tmp_path: Path, tiles: Callable[[int, int], bool], levels: int
) -> None:
    path = slide(tmp_path / "a.tif", levels)
    forget(path, 0, tiles)
    tissue = np.ones((HEIGHT // 16, WIDTH // 16), bool)
    with Slide(path, "s", tissue=tissue) as damaged, Slide(slide(tmp_path / "b.tif", levels), "s") as sound:
        for r in range(ROWS):
            for c in range(COLUMNS):
                place: Any = (c * TILE, r * TILE, (TILE, TILE), 0.5)
                if tiles(r, c):
                    with pytest.raises(SlideError, match="tissue is missing in the file"):
                        damaged.read(*place)
                else:
                    np.testing.assert_array_equal(damaged.read(*place), sound.read(*place))


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("margin", [0, 1])
def test_sparse_glass_stays_glass(tmp_path: Path, levels: int, margin: int) -> None:
    image = picture()
    if margin:
        # A hole in the tissue as large as a tile, as alveoli are.
        image[2 * TILE - 6 : 3 * TILE + 6, 3 * TILE - 6 : 4 * TILE + 6] = GLASS
    whole = look(slide(tmp_path / "whole.tif", levels, image))
    path = slide(tmp_path / "a.tif", levels, image)
    for level in range(levels):
        side = TILE * 2**level

        def empty(r: int, c: int, side: int = side) -> bool:
            return bool(image[r * side : (r + 1) * side, c * side : (c + 1) * side].min() > 230)

        assert forget(path, level, empty) or level == 2
    found = look(path)
    assert (found.report["status"], found.report["unread_mm2"], found.report["noted"]) == ("ok", 0.0, "")
    assert found.tissue is not None and whole.tissue is not None
    assert (found.tissue != whole.tissue).mean() < 0.01
    with Slide(path, "s", tissue=found.tissue) as sparse:
        assert (sparse.read(6 * TILE, 0, (TILE, TILE), 0.5) > 230).all()


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("tiles", [lambda r, c: True, lambda r, c: c <= 1, lambda r, c: r == 0])
def test_a_coarser_level_that_lacks_tiles_is_read_from_a_finer_one(
    tmp_path: Path, level: int, tiles: Callable[[int, int], bool]
) -> None:
    path = slide(tmp_path / "a.tif")
    forget(path, level, tiles)
    with Slide(path, "s") as damaged, Slide(slide(tmp_path / "b.tif"), "s") as sound:
        mpp = 0.5 * 2**level
        assert (
            np.abs(damaged.read(600, 500, (100, 100), mpp).astype(int) - sound.read(600, 500, (100, 100), mpp)).mean()
            < 5
        )
        shape = HEIGHT // 16, WIDTH // 16
        assert np.abs(damaged.read_whole(shape).astype(int) - sound.read_whole(shape)).mean() < 3
    report = look(path).report
    assert (report["status"], report["unread_mm2"]) == ("ok", 0.0)


def test_tiles_of_nothing_but_black_are_lost_too(tmp_path: Path) -> None:
    image = picture()
    image[512:768, 512:768] = 0
    with Slide(slide(tmp_path / "a.tif", 1, image), "s", tissue=np.ones((9, 9), bool)) as damaged:
        damaged.read(256, 512, (256, 256), 0.5)
        with pytest.raises(SlideError, match="tissue is missing"):
            damaged.read(520, 520, (240, 240), 0.5)


@pytest.mark.parametrize("change", [lambda d: d[: len(d) // 2] + bytes(len(d) - len(d) // 2), lambda d: d[:-1] + b"x"])
def test_tiles_that_do_not_match_their_check_sum_are_unread(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = levelled(tmp_path / "a.tif", picture(), [picture(), picture()])
    assert look(path).report["unread_mm2"] == 0
    with tifffile.TiffFile(path) as tiff:
        place, count = (
            tiff.pages.first.tags[name].value[2 * COLUMNS + 3] for name in ("TileOffsets", "TileByteCounts")
        )
    data = path.read_bytes()
    path.write_bytes(data[:place] + change(data[place : place + count]) + data[place + count :])
    assert look(path).report["unread_mm2"] == pytest.approx((TILE * 0.5) ** 2 / 1e6, rel=0.1)


@pytest.mark.parametrize(("change", "told"), [("other", "of their area"), ("same", "")])
def test_a_level_of_a_few_pixels_is_compared_as_a_whole(tmp_path: Path, change: str, told: str) -> None:
    def write(path: Path) -> Path:
        with tifffile.TiffWriter(path) as tiff:
            for index, factor in enumerate((1, 4, 16)):
                pixels = cv2.resize(picture(), (WIDTH // factor, HEIGHT // factor), interpolation=cv2.INTER_AREA)
                # Turned over, in a window of this size it looks alike.
                pixels = np.ascontiguousarray(pixels[::-1, ::-1]) if index == 2 and change == "other" else pixels
                scale = {"resolution": (20_000 / factor,) * 2, "resolutionunit": "CENTIMETER", "metadata": None}
                tiff.write(pixels, tile=(256, 256), photometric="rgb", subfiletype=index > 0, **scale)
        return path

    report = look(write(tmp_path / "a.tif")).report
    assert (told in report["reason"]) and (report["status"] == "ok") == (not told)


def test_bounds_that_come_from_missing_tiles_move_no_annotation(tmp_path: Path) -> None:
    path = slide(tmp_path / "a.tif")
    for level in range(3):
        forget(path, level, lambda r, _: r == 0)
    assert look(path).report["geojson_origin"] == [0, 0]


def test_nothing_is_learnt_or_measured_where_tissue_was_lost(tmp_path: Path) -> None:
    path = slide(tmp_path / "a.tif")
    forget(path, 0, LOST["one"])
    feature = {"type": "Feature", "geometry": mapping(box(500, 400, 1100, 900))}
    feature["properties"] = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    write_json(tmp_path / "a.geojson", feature)
    found = look(path, annotation=tmp_path / "a.geojson")
    assert found.annotation is not None
    lost = box(3 * TILE, 2 * TILE, 4 * TILE, 3 * TILE)
    assert found.annotation.ignore.symmetric_difference(lost).area < 0.15 * lost.area
    assert found.annotation.tumour.intersection(lost).area < 0.15 * lost.area


# Levels that contradict each other


def other(image: Pixels) -> Pixels:
    return np.ascontiguousarray(image[::-1, ::-1])


def swapped(image: Pixels) -> Pixels:
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)


def stretched(image: Pixels) -> Pixels:
    small = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    return np.pad(small, [(0, HEIGHT - small.shape[0]), (0, WIDTH - small.shape[1]), (0, 0)], constant_values=243)


def moved(image: Pixels) -> Pixels:
    return np.roll(image, 200, axis=(0, 1))


def levelled(path: Path, fine: Pixels, coarse: Sequence[Pixels]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for index, level in enumerate([fine, *coarse]):
            scale = {"resolution": (20_000 / 2**index,) * 2, "resolutionunit": "CENTIMETER", "metadata": None}
            size = (WIDTH // 2**index, HEIGHT // 2**index)
            pixels = cv2.resize(level, size, interpolation=cv2.INTER_AREA) if index else level
            tiff.write(
                pixels, tile=(256, 256), photometric="rgb", compression="deflate", subfiletype=index > 0, **scale
            )
    return path


@pytest.mark.parametrize(
    "change", [other, swapped, stretched, moved, lambda i: picture(1), lambda i: np.full_like(i, 128)]
)
def test_levels_that_show_different_things_are_refused(tmp_path: Path, change: Callable[[Pixels], Pixels]) -> None:
    image = picture()
    for coarse in ([image, change(image)], [change(image), change(image)]):
        report = look(levelled(tmp_path / "a.tif", image, coarse)).report
        assert report["status"] in ("unreadable", "no_tissue"), report


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i,
        lambda i: cv2.addWeighted(i, 1.8, cv2.GaussianBlur(i, (0, 0), 2), -0.8, 0),
        lambda i: cv2.GaussianBlur(i, (0, 0), 3),
        lambda i: cv2.imdecode(cv2.imencode(".jpg", i, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
        lambda i: np.roll(i, 4, axis=(0, 1)),
        lambda i: cv2.convertScaleAbs(i, alpha=0.95, beta=8),
    ],
)
def test_levels_that_were_sharpened_blurred_or_compressed_are_not(
    tmp_path: Path, change: Callable[[Pixels], Pixels]
) -> None:
    image = picture()
    report = look(levelled(tmp_path / "a.tif", image, [change(image), change(image)])).report
    assert (report["status"], report["noted"]) == ("ok", "")


@pytest.mark.parametrize("name", ["lung_scc_2.tif", "lung_scc_3.tif", "CMU-1-Small-Region.svs"])
def test_real_slides_are_sound(real_slide: Callable[[str], Path], name: str) -> None:
    report = look(real_slide(name)).report
    assert (report["status"], report["unread_mm2"], report["noted"]) == ("ok", 0.0, "")


@pytest.mark.parametrize(
    ("level", "tags", "status"),
    [
        (0, {"ImageWidth": 1600}, "unreadable"),
        (0, {"ImageLength": 1100}, "unreadable"),
        (0, {"ImageWidth": 2000}, "unreadable"),
        (1, {"ImageWidth": 700}, "ok"),
        (2, {"ImageLength": 200}, "ok"),
        (2, {"ImageWidth": 900}, "unreadable"),
        (0, {"XResolution": 2000, "YResolution": 2000}, "resolution_missing"),
        (0, {"XResolution": 200_000, "YResolution": 200_000}, "resolution_missing"),
        (0, {"XResolution": 5000, "YResolution": 5000}, "resolution_missing"),
        (0, {"XResolution": 2000}, "resolution_missing"),
        (1, {"XResolution": 20_000, "YResolution": 20_000}, "ok"),
    ],
)
def test_sizes_and_resolutions_that_contradict_the_levels(
    tmp_path: Path, level: int, tags: dict[str, int], status: str
) -> None:
    report = look(edit(slide(tmp_path / "a.tif"), level, **tags)).report
    assert report["status"] == status, report
    if status == "ok" and "ImageWidth" in str(tags) + "ImageLength":
        whole = look(slide(tmp_path / "b.tif")).tissue
        mask = look(tmp_path / "a.tif").tissue
        assert whole is not None and mask is not None and (whole != mask).mean() < 0.01


@pytest.mark.parametrize("code", [cv2.COLOR_RGB2YCrCb, cv2.COLOR_YCrCb2RGB, cv2.COLOR_RGB2Lab, cv2.COLOR_RGB2HLS])
def test_a_slide_in_another_colour_space_than_it_states_is_refused(code: int) -> None:
    check_brightfield(picture(), where="s")
    with pytest.raises(SlideError):
        check_brightfield(cv2.cvtColor(picture(), code), where="s")
