"""Slides that cannot be used end in one line without a path, and what is private in a slide stays in it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

import drunet
from drunet.errors import SlideError
from drunet.slide import Slide, SlideProperties

MakeImage = Callable[..., NDArray[np.uint8]]
MakeSlide = Callable[..., Path]


# Bad files


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_unreadable(colours: MakeImage, jpeg_slide: MakeSlide, share: float) -> None:
    path = jpeg_slide(colours(600, 600), 0.25)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideError) as caught, Slide(path, "case_7") as slide:
        slide.read(0, 0, (600, 600), 0.25)
    check_message(caught.value, path, "unreadable")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.tif", b""),
        ("text.svs", b"two lines\nof text"),
        ("picture.tif", b"II*\x00\x08\x00\x00\x00"),
        ("none", b"x"),
    ],
)
def test_a_file_that_is_no_slide_is_unreadable(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SlideError) as caught:
        Slide(path, "case_7")
    check_message(caught.value, path, "unreadable")


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.tif", tmp_path):
        with pytest.raises(SlideError) as caught:
            Slide(path, "case_7")
        check_message(caught.value, path, "missing")


def test_an_error_while_reading_is_one_line_without_the_path(
    colours: MakeImage, lossless_slide: MakeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lossless_slide(colours(300, 300))

    def broken(*_: object) -> Any:
        raise openslide.OpenSlideError(f"Cannot decode {path}\nand more")

    monkeypatch.setattr(openslide.OpenSlide, "read_region", broken)
    with Slide(path, "case_7") as slide:
        for read in (lambda: slide.read(0, 0, (9, 9), 0.25), lambda: slide.read_whole((9, 9))):
            with pytest.raises(SlideError) as caught:
                read()
            check_message(caught.value, path, "unreadable")


def check_message(error: SlideError, path: Path, status: str) -> None:
    assert error.status == status
    message = str(error)
    assert message.startswith("case_7: ")
    assert "\n" not in message
    assert str(path.parent) not in message
    assert error.mend.endswith(".")


# Privacy


def test_only_a_whitelist_of_properties_leaves_and_no_associated_image_is_touched(
    real_slide: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real_slide("CMU-1-Small-Region.svs")
    with openslide.OpenSlide(path) as plain:
        assert {"label", "macro"} <= set(plain.associated_images)
        private = {plain.properties[f"aperio.{key}"] for key in ("Filename", "User", "ImageID", "ScanScope ID")}

    def touched(_: object) -> Any:
        raise AssertionError("an associated image was touched")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(touched))
    with Slide(path, "s") as slide:
        slide.read(0, 0, (64, 64), 1.0)
        slide.read_whole((30, 22))
        values = {str(getattr(slide.properties, f.name)) for f in fields(SlideProperties)}
        assert not [p for p in private if any(p in v for v in values)]
        assert not any(hasattr(slide, name) for name in ("associated_images", "label", "macro", "thumbnail"))


def test_no_module_of_the_library_names_associated_images() -> None:
    for source in Path(drunet.__file__).parent.rglob("*.py"):
        names = {n.attr for n in ast.walk(ast.parse(source.read_text("utf-8"))) if isinstance(n, ast.Attribute)}
        assert "associated_images" not in names, source.name
