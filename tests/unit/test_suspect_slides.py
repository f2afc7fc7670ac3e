"""A slide's resolution, size, names and odd values: refused or mended in one line, and no end of a cohort."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from drunet import inspection
from drunet import slide as slide_module
from drunet.errors import SlideError
from drunet.inspection import find_tissue, inspect
from drunet.segment import _TISSUE
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet_demo.pyramid import aperio_description, write_pyramid

NAME = "Nordmann"
SETTINGS = TissueSettings.of(_TISSUE, "tissue")


def slide(path: Path, mpp: float | None = 0.5, power: float | None = None, size: int = 600) -> Path:
    image = np.full((size, size, 3), 243, np.uint8)
    image[150:450, 150:450] = np.random.default_rng(0).integers(120, 200, (300, 300, 3), dtype=np.uint8)
    text = None if power is None else aperio_description(size, size, mpp or 1, power)  # type: ignore[arg-type]
    write_pyramid(path, image, mpp, text, levels=1)
    return path


def look(path: Path, mpp: float | None = None, **options: Any) -> dict[str, Any]:
    wanted = {"annotation": None, "kind": "wta", "classes": {}, "geojson_frame": "qupath", **options}
    return inspect(str(path), "case_7", mpp=mpp, tissue=SETTINGS, **wanted).report


# Resolutions


@pytest.mark.parametrize(
    ("sheet", "own", "power", "status"),
    [
        (20, 0.5, None, "resolution_missing"),
        (10, 0.5, None, "resolution_missing"),
        (40, 0.5, None, "resolution_missing"),
        (5, 0.5, None, "resolution_missing"),
        (2.5, 0.25, None, "resolution_missing"),
        (0.05, 0.5, None, "resolution_missing"),
        (-0.5, 0.5, None, "resolution_missing"),
        (0.0, 0.5, None, "resolution_missing"),
        (float("inf"), 0.5, None, "resolution_missing"),
        (None, 5.0, 40, "resolution_missing"),
        (None, 2.5, 20, "resolution_missing"),
        (None, 0.05, 20, "resolution_missing"),
        (20, None, None, "resolution_missing"),
        (1.0, 0.5, None, "ok"),
        (2.0, 0.25, None, "ok"),
        (0.25, 2.5, 40, "ok"),
        (0.25, 0.5, None, "ok"),
        (0.2, 0.5, 40, "ok"),
        (2.0, 0.5, None, "ok"),
        (0.5, None, None, "ok"),
        (None, 0.5, 20, "ok"),
        (None, 0.2428, 20, "ok"),
        (None, 1.0, 40, "ok"),
        (None, 2.0, 5, "ok"),
    ],
)
def test_resolutions_that_contradict_each_other_are_refused_and_corrections_are_not(
    tmp_path: Path, sheet: float | None, own: float | None, power: float | None, status: str
) -> None:
    path = slide(tmp_path / "a.tif", own, power, size=8000 if (sheet, own) == (20, None) else 600)
    report = look(path, sheet)
    assert (report["status"] == "resolution_missing") == (status != "ok"), report
    assert status == "ok" or "`mpp`" in report["mend"]


@pytest.mark.parametrize(
    ("size", "mpp", "fits"),
    [
        ((48000, 32000), 2.5, False),
        ((320_000, 100_000), 0.5, False),
        ((8000, 6000), 20.0, False),
        ((100_000, 350_000), 0.25, False),
        ((300_000, 300_000), 0.25, False),
        ((30_000, 20_000), 2.0, True),
        ((110_000, 230_000), 0.25, True),
        ((300_000, 200_000), 0.25, True),
        ((160_000, 100_000), 0.25, True),
        ((50_000, 150_000), 0.5, True),
    ],
)
def test_no_slide_is_larger_than_glass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], mpp: float, fits: bool
) -> None:
    class Claimed(openslide.OpenSlide):
        dimensions = property(lambda _: size)  # type: ignore[assignment]
        level_dimensions = property(lambda _: (size,))  # type: ignore[assignment]
        properties = property(lambda self: {**super().properties, "openslide.vendor": "hamamatsu"})  # type: ignore[assignment]

    path = slide(tmp_path / "a.tif", mpp)
    monkeypatch.setattr(slide_module.openslide, "OpenSlide", Claimed)
    if fits:
        Slide(path, "s").close()
    else:
        with pytest.raises(SlideError, match="larger than a glass slide") as caught:
            Slide(path, "s")
        assert caught.value.status == "resolution_missing"


@pytest.mark.parametrize(
    ("kind", "value", "mpp"),
    [
        ("H", 20_000, 0.5),
        ("f", 20_000.0, 0.5),
        ("d", 20_000.0, 0.5),
        ("I", 20_000, 0.5),
        ("s", "20000", None),
        ("s", "twenty", None),
        ("2I", (20_000, 0), None),
        ("2I", (0, 1), None),
        ("4I", (20_000, 1, 20_000, 1), None),
        ("B", 200, None),
        ("f", float("nan"), None),
        ("f", float("-inf"), None),
    ],
)
def test_a_resolution_of_odd_type_is_read_or_missing(tmp_path: Path, kind: str, value: Any, mpp: float | None) -> None:
    code = {"H": 3, "f": 11, "d": 12, "I": 4, "s": 2, "2I": 5, "4I": 5, "B": 1}[kind]
    # An Aperio file without µm/px: OpenSlide does not look at the tags.
    path = slide(tmp_path / "a.tif", 0.5, 20)
    data = path.read_bytes().replace(b"|MPP = 0.5000", b"|XYZ = 0.5000")
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tiff:
        tags = [tiff.pages.first.tags[name] for name in ("XResolution", "YResolution")]
    values = value if isinstance(value, tuple) else (value,)
    packed = value.encode() + b"\0" if kind == "s" else struct.pack(f"<{kind}", *values)
    with path.open("r+b") as file:
        for tag in tags:
            place = tag.offset + 8
            if len(packed) > 4:
                place = file.seek(0, 2)
                file.write(packed)
                file.seek(tag.offset + 8)
                file.write(struct.pack("<I", place))
            else:
                file.seek(place)
                file.write(packed.ljust(4, b"\0"))
            file.seek(tag.offset + 2)
            file.write(struct.pack("<HI", code, len(packed) if kind == "s" else 2 if kind == "4I" else 1))
    report = look(path)
    assert report["status"] == ("ok" if mpp else "resolution_missing"), report
    assert mpp is None or report["mpp"] == pytest.approx(mpp)


# Strange errors


@pytest.mark.parametrize(
    "error",
    [
        ValueError(NAME), MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, NAME), ZeroDivisionError(),
        RecursionError(NAME), OSError(5, NAME), KeyError(NAME), OverflowError(NAME), IndexError(), AssertionError(NAME),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
@pytest.mark.parametrize(
    ("place", "status"),
    [("find_tissue", "unreadable"), ("compare_levels", "unreadable"), ("read_annotation", "annotation_unusable")],
)
def test_any_error_is_this_slides_status_and_its_text_stays_inside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    place: str,
    status: str,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(inspection, place, broken)
    report = look(slide(tmp_path / "a.tif"), annotation=f"{NAME}.geojson")
    assert report["status"] == status
    assert type(error).__name__ in report["reason"] and "log" in report["mend"]
    said = capfd.readouterr().err
    assert "in broken" in said and type(error).__name__ in said
    assert NAME not in said + str(report)


# Names


@pytest.mark.parametrize(
    "said",
    [
        f"Couldn't open ark {NAME}-Ark/{NAME}-Mappe/{NAME}-Mirax/Index.dat: No such file or directory",
        f"Can't open JPEG 1: {NAME}.jpg",
        f"Couldn't open {NAME}(1,0).jpg: Permission denied",
        f"{NAME}",
        f"Cannot decode tile in /archive/{NAME}/1.tif",
        f'TIFF error: "{NAME}"',
        f"Slidedat.ini of {NAME} is invalid",
        f"short read: {NAME}\tJPEG",
        f"C:\\{NAME}\\x.vms",
        f"error in {NAME.upper()}",
        "",
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_no_word_of_a_companion_file_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, late: bool
) -> None:
    path = slide(tmp_path / "a.tif")

    def broken(*_: object) -> Any:
        raise openslide.OpenSlideError(said)

    monkeypatch.setattr(slide_module.openslide.OpenSlide, "read_region" if late else "__init__", broken)
    with pytest.raises(SlideError) as caught, Slide(path, "s") as opened:
        opened.read(0, 0, (9, 9), 0.5)
    message = str(caught.value)
    assert NAME.lower() not in message.lower() and "Index" not in message
    # Python prints what an error was raised from.
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize(
    "name", [f"S1.{NAME}", f"a.tif.{NAME}", f".{NAME}", f"S.{NAME} 1950", f"{NAME}", f"a.sv{NAME}"]
)
def test_what_follows_a_dot_in_a_files_name_is_not_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no slide")
    for found in (look(tmp_path / name), look(tmp_path / f"absent{name}")):
        assert found["status"] in ("unreadable", "missing") and NAME not in str(found)


def test_a_name_in_the_description_or_the_magnification_is_not_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    image = np.full((300, 300, 3), 243, np.uint8)
    options: Any = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    text = f"Aperio Image Library v12\r\n{NAME} \xe6|AppMag = {NAME}".encode("latin-1")
    tifffile.imwrite(path, image, extratags=[(270, 2, len(text) + 1, text + b"\0", True)], **options)
    report = look(path)
    assert report["status"] == "resolution_missing"
    assert NAME not in str(report) + "".join(capfd.readouterr())
    with Slide(path, "s", 0.5) as opened:
        assert opened.properties.objective_power == ""


# Memory and time


@pytest.mark.parametrize("side", [16_384, 65_536, 262_144])
def test_a_file_that_claims_more_than_it_holds_is_refused_at_once(tmp_path: Path, side: int) -> None:
    path = slide(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages.first.tags[t].valueoffset for t in ("ImageWidth", "ImageLength")]
        kinds = [int(tiff.pages.first.tags[t].dtype) for t in ("ImageWidth", "ImageLength")]
    assert set(kinds) <= {3, 4}
    with path.open("r+b") as file:
        for place in places:
            file.seek(place - 6)
            file.write((4).to_bytes(2, "little") + (1).to_bytes(4, "little") + side.to_bytes(4, "little"))
    report = look(path)
    assert report["status"] in ("unreadable", "resolution_missing"), report


def test_a_stored_tile_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Claimed(openslide.OpenSlide):
        properties = property(  # type: ignore[assignment]
            lambda self: {
                **super().properties,
                **{f"openslide.level[0].tile-{s}": "40000" for s in ("width", "height")},
            }
        )

    path = slide(tmp_path / "a.tif")
    monkeypatch.setattr(slide_module.openslide, "OpenSlide", Claimed)
    with pytest.raises(SlideError, match="tiles that are too large"):
        Slide(path, "s")


def test_a_mask_of_a_large_slide_is_made_coarser_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_MASK_PX", 200)
    with Slide(slide(tmp_path / "a.tif"), "s") as opened:
        mask, _ = find_tissue(opened, SETTINGS)
        assert mask.size <= 220 and mask.any() and "tissue mask" in opened.notes[0]


def test_a_mask_shows_no_more_detail_than_its_slide(tmp_path: Path) -> None:
    with Slide(slide(tmp_path / "a.tif", mpp=16.0), "s") as opened:
        mask, _ = find_tissue(opened, SETTINGS)
    assert mask.shape == (600, 600)
