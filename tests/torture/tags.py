"""Slides that contradict themselves or hold what no reader expects (kinds `odd`, `levels`)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import tifffile
from pydicom.dataset import Dataset
from torture import intact, tiffs
from torture.corpus import REFUSED, Case, Damage, Member, Rng, members, on_slide
from torture.intact import NAME

INF, NAN = float("inf"), float("nan")


def tag(name: str, code: str, *values: Any, page: int = 0, **options: Any) -> Damage:
    return on_slide(tiffs.retag, name, code, *values, page=page, **options)


def both(code: str, *values: Any, page: int = 0) -> Damage:
    """Both resolutions."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        for name in ("XResolution", "YResolution"):
            tiffs.retag(case.slide, name, code, *values, page=page)

    return make


def in_dicom(change: Callable[[Dataset], Any], level: int = 0) -> Damage:
    """Edit the data set of a level; what does not fit the standard is written all the same."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        path = case.slide if level == 0 else case.slide.with_name(f"{case.slide.stem}-{level}.dcm")
        data = pydicom.dcmread(path)
        change(data)
        data.save_as(path, enforce_file_format=True)

    return make


def put(name: str, value: Any) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        with pydicom.config.disable_value_validation():
            setattr(data, name, value)

    return change


def lack(name: str) -> Callable[[Dataset], None]:
    return lambda data: delattr(data, name)


def content(data: bytes | Callable[[Path], bytes]) -> Damage:
    """Something else in the slide's place."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        case.slide.write_bytes(data if isinstance(data, bytes) else data(case.slide))

    return make


def picture(suffix: str) -> bytes:
    return cv2.imencode(suffix, intact.drawn()[:300, :300, ::-1])[1].tobytes()


ODD: dict[str, Any] = {
    "resolution-short": tag("XResolution", "H", 20_000),
    "resolution-ascii": tag("XResolution", "s", "20000"),
    "resolution-three": tag("XResolution", "2I", (20_000, 1), (1, 1), (1, 1)),
    "resolution-nought": both("2I", (0, 0)),
    "resolution-float": both("f", NAN),
    "unit-ascii": tag("ResolutionUnit", "s", "cm"),
    "unit-strange": tag("ResolutionUnit", "H", 77),
    "subfile-type-strange": tag("NewSubfileType", "I", 2**31),
    "width-nought": tag("ImageWidth", "I", 0),
    "length-nought": tag("ImageLength", "I", 0),
    "width-negative": tag("ImageWidth", "i", -5),
    "width-ascii": tag("ImageWidth", "s", "wide"),
    "width-of-65536": tag("ImageWidth", "I", 65_536),
    "size-of-a-million": (lambda f, c, r: [tiffs.retag(c.slide, t, "I", 10**6) for t in ("ImageWidth", "ImageLength")] and None),
    "tile-width-nought": tag("TileWidth", "I", 0),
    "tile-width-100": tag("TileWidth", "I", 100),
    "tile-length-2^20": tag("TileLength", "I", 2**20),
    "tile-of-65536": (lambda f, c, r: [tiffs.retag(c.slide, t, "I", 65_536) for t in ("TileWidth", "TileLength")] and None),
    "bits-1": tag("BitsPerSample", "H", 1, 1, 1),
    "bits-16": tag("BitsPerSample", "H", 16, 16, 16),
    "bits-one-value": tag("BitsPerSample", "H", 8),
    "samples-1": tag("SamplesPerPixel", "H", 1),
    "samples-4": tag("SamplesPerPixel", "H", 4),
    "samples-2000": tag("SamplesPerPixel", "H", 2000),
    "compression-strange": tag("Compression", "H", 34_999),
    "compression-lzw": tag("Compression", "H", 5),
    "photometric-mask": tag("PhotometricInterpretation", "H", 4),
    "photometric-cielab": tag("PhotometricInterpretation", "H", 8),
    "photometric-palette": tag("PhotometricInterpretation", "H", 3),
    "offsets-one": tag("TileOffsets", "I", 8),
    "offsets-count-2^30": tag("TileOffsets", "I", 8, count=2**30),
    "counts-2^31": on_slide(tiffs.set_index, lambda u, v, r, c: True, value=2**31),
    "counts-short": tag("TileByteCounts", "H", 9, 9, 9),
    "description-binary": tag("ImageDescription", "s", bytes(range(1, 256))),
    "description-megabyte": tag("ImageDescription", "s", b"|".join([b"A = B"] * 170_000)),
    "description-latin-1": tag("ImageDescription", "s", f"{NAME} \xe6\xf8 = {NAME}".encode("latin-1")),
    "software-of-a-strange-type": tag("Software", "d", NAN, INF),
    "ifd-loop": on_slide(tiffs.next_ifd, None, page=1),
    "ifd-loop-at-first": on_slide(tiffs.next_ifd, None),
    "ifd-past-the-end": on_slide(tiffs.next_ifd, 2**31, page=1),
    "ifd-in-the-pixels": on_slide(tiffs.next_ifd, 1000, page=1),
}  # fmt: skip
FILES: dict[str, Any] = {
    "empty": content(b""),
    "text": content(f"{NAME} was here".encode()),
    "png": content(lambda path: picture(".png")),
    "jpeg": content(lambda path: picture(".jpg")),
    "zip": content(b"PK\x05\x06" + bytes(18)),
    "header-alone": content(b"II*\0\x08\0\0\0"),
    "header-of-bigtiff": content(lambda path: b"II+\0\x08\0\0\0" + path.read_bytes()[8:]),
    "other-byte-order": content(lambda path: b"MM\0*" + path.read_bytes()[4:]),
    "noise": content(np.random.default_rng(4).bytes(100_000)),
    "zeroes": content(lambda path: bytes(path.stat().st_size)),
    "striped": on_slide(lambda path: tifffile.imwrite(path, intact.drawn(), photometric="rgb", metadata=None)),
    "grey": on_slide(lambda path: tifffile.imwrite(path, intact.drawn()[..., 1], tile=(256, 256), metadata=None)),
    "16-bit": on_slide(lambda path: tifffile.imwrite(path, intact.drawn().astype(np.uint16) << 8, tile=(256, 256), photometric="rgb")),
    "folder": lambda f, c, r: (c.slide.unlink(), c.slide.mkdir()) and None,
    "link-to-itself": lambda f, c, r: (c.slide.unlink(), c.slide.symlink_to(c.slide)) and None,
    "link-to-nothing": lambda f, c, r: (c.slide.unlink(), c.slide.symlink_to(f / f"{NAME}.gone")) and None,
    "device": lambda f, c, r: (c.slide.unlink(), c.slide.symlink_to("/dev/zero")) and None,
    "not-there": lambda f, c, r: c.slide.unlink(),
}  # fmt: skip
DICOM: dict[str, Any] = {
    "rows-nought": in_dicom(put("Rows", 0)),
    "rows-65535": in_dicom(put("Rows", 65_535)),
    "matrix-of-a-million": in_dicom(lambda d: (put("TotalPixelMatrixColumns", 10**6)(d), put("TotalPixelMatrixRows", 10**6)(d))),
    "no-matrix": in_dicom(lack("TotalPixelMatrixColumns")),
    "frames-nought": in_dicom(put("NumberOfFrames", 0)),
    "frames-too-many": in_dicom(put("NumberOfFrames", 10**6)),
    "frames-too-few": in_dicom(put("NumberOfFrames", 20)),
    "samples-1": in_dicom(put("SamplesPerPixel", 1)),
    "bits-16": in_dicom(put("BitsAllocated", 16)),
    "monochrome": in_dicom(put("PhotometricInterpretation", "MONOCHROME2")),
    "no-photometric": in_dicom(lack("PhotometricInterpretation")),
    "no-series": in_dicom(lack("SeriesInstanceUID")),
    "other-series": in_dicom(put("SeriesInstanceUID", "1.2.3"), level=1),
    "other-class": in_dicom(put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")),
    "no-image-type": in_dicom(lack("ImageType")),
    "label-type": in_dicom(put("ImageType", ["ORIGINAL", "PRIMARY", "LABEL", "NONE"])),
    "no-shared-groups": in_dicom(lack("SharedFunctionalGroupsSequence")),
    "raw-syntax": in_dicom(lambda d: setattr(d.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.1")),
    "strange-syntax": in_dicom(lambda d: setattr(d.file_meta, "TransferSyntaxUID", "1.2.3.4")),
    "no-pixels": in_dicom(lack("PixelData")),
    "level-twice": lambda f, c, r: shutil.copy(c.slide, f / "again.dcm") and None,
    "level-1-gone": lambda f, c, r: c.slide.with_name(f"{c.slide.stem}-1.dcm").unlink(),
    "level-1-empty": lambda f, c, r: c.slide.with_name(f"{c.slide.stem}-1.dcm").write_bytes(b"") and None,
    "level-1-cut": lambda f, c, r: tiffs.cut(c.slide.with_name(f"{c.slide.stem}-1.dcm"), 0.5),
    "sparse-stated-full": (in_dicom(put("DimensionOrganizationType", "TILED_FULL")), {"twin": "sparse"}),
    "full-stated-sparse": in_dicom(put("DimensionOrganizationType", "TILED_SPARSE")),
    "frames-outside": (in_dicom(lambda d: [setattr(p.PlanePositionSlideSequence[0], "ColumnPositionInTotalImagePixelMatrix", 10**6) for p in d.PerFrameFunctionalGroupsSequence]), {"twin": "sparse"}),
    "frames-negative": (in_dicom(lambda d: [setattr(p.PlanePositionSlideSequence[0], "RowPositionInTotalImagePixelMatrix", -255) for p in d.PerFrameFunctionalGroupsSequence]), {"twin": "sparse"}),
    "frames-off-the-grid": (in_dicom(lambda d: [setattr(p.PlanePositionSlideSequence[0], "RowPositionInTotalImagePixelMatrix", p.PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix + 37) for p in d.PerFrameFunctionalGroupsSequence]), {"twin": "sparse"}),
}  # fmt: skip


def odd() -> Iterator[Member]:
    in_tags = {k: v for k, v in ODD.items() if not k.startswith("resolution") and not k.startswith("unit")}
    yield from members("odd", "generic", ODD)
    # Aperio states no resolution in its tags.
    yield from members("odd", "svs", in_tags)
    yield from members("odd", "single", {k: ODD[k] for k in ("resolution-short", "resolution-ascii", "ifd-loop-at-first",
                                                              "size-of-a-million", "tile-of-65536", "description-binary")})  # fmt: skip
    yield from members("odd", "generic", FILES, allowed=REFUSED)
    yield from members(
        "odd",
        "dicom",
        {k: FILES[k] for k in ("empty", "text", "noise", "zeroes", "folder", "not-there")},
        allowed=REFUSED,
    )
    yield from members("odd", "dicom", DICOM)


# Levels, sizes and colours


def size_of(level: int, width: float, height: float) -> Damage:
    """State other sizes than a level has, as shares of them."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        page = tiffs.levels_of(case.slide)[level]
        for name, value, share in (("ImageWidth", page.imagewidth, width), ("ImageLength", page.imagelength, height)):
            if share != 1:
                tiffs.retag(case.slide, name, "I", round(value * share), page=level)

    return make


def redrawn(change: Callable[[intact.Pixels, int], intact.Pixels], **options: Any) -> Damage:
    """Write the generic slide anew, its levels changed one by one: `change(pixels, level)`."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        kept = intact.levels
        try:
            intact.levels = lambda image, count, factor: [
                change(p, i) for i, p in enumerate(kept(image, count, factor))
            ]  # type: ignore[assignment]
            writer = intact.aperio if case.slide.suffix == ".svs" else intact.generic
            writer(case.slide, intact.drawn(), **options)
        finally:
            intact.levels = kept  # type: ignore[assignment]

    return make


def of_level(level: int, change: Callable[[intact.Pixels], intact.Pixels]) -> Damage:
    return redrawn(lambda pixels, index: np.ascontiguousarray(change(pixels)) if index >= level else pixels)


def recoloured(code: int) -> Callable[[intact.Pixels], intact.Pixels]:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _other(pixels: intact.Pixels) -> intact.Pixels:
    return cv2.resize(intact.drawn(9)[::-1], pixels.shape[1::-1], interpolation=cv2.INTER_AREA)


LEVELS: dict[str, Any] = {
    "level-0-narrow": size_of(0, 0.75, 1),
    "level-0-low": size_of(0, 1, 0.8),
    "level-0-wide": size_of(0, 1.2, 1),
    "level-0-half": size_of(0, 0.5, 0.5),
    "level-0-smaller": size_of(0, 0.85, 0.85),
    "level-1-narrow": size_of(1, 0.8, 1),
    "level-1-low": size_of(1, 1, 0.6),
    "level-1-smaller": size_of(1, 0.6, 0.6),
    "level-2-smaller": size_of(2, 0.5, 0.5),
    "level-2-wide": size_of(2, 2, 1),
    "levels-1-and-2-swapped": redrawn(lambda p, i: p if i == 0 else cv2.resize(p, None, fx=(0.5, 2.0)[i - 1], fy=(0.5, 2.0)[i - 1])),
    "turned": of_level(1, lambda p: p[::-1, ::-1]),
    "turned-level-2": of_level(2, lambda p: p[::-1, ::-1]),
    "mirrored": of_level(1, lambda p: p[:, ::-1]),
    "of-another-slide": of_level(1, _other),
    "level-2-of-another-slide": of_level(2, _other),
    "moved": of_level(1, lambda p: np.roll(p, p.shape[1] // 5, axis=1)),
    "white": of_level(1, lambda p: np.full_like(p, 243)),
    "level-2-white": of_level(2, lambda p: np.full_like(p, 243)),
    "black": of_level(1, lambda p: np.zeros_like(p)),
    "level-0-white": redrawn(lambda p, i: p if i else np.full_like(p, 243)),
    "level-0-black": redrawn(lambda p, i: p if i else np.zeros_like(p)),
    "all-black": of_level(0, lambda p: np.zeros_like(p)),
    "all-white": of_level(0, lambda p: np.full_like(p, 243)),
    "ycbcr": of_level(0, recoloured(cv2.COLOR_RGB2YCrCb)),
    "ycbcr-level-1": of_level(1, recoloured(cv2.COLOR_RGB2YCrCb)),
    "lab": of_level(0, recoloured(cv2.COLOR_RGB2Lab)),
    "inverted": of_level(0, lambda p: 255 - p),
    "fluorescence": of_level(0, lambda p: np.clip(2 * (230 - p.astype(int)), 0, 255).astype(np.uint8)),
}  # fmt: skip


def levels() -> Iterator[Member]:
    yield from members("levels", ("generic", "svs"), LEVELS)
    # A JPEG states its colours itself, and libtiff goes by the tag.
    yield from members(
        "levels",
        "generic",
        {
            "photometric-ycbcr": tag("PhotometricInterpretation", "H", 6),
            "photometric-white-is-zero": tag("PhotometricInterpretation", "H", 0),
        },
    )
    yield from members(
        "levels",
        "deflate",
        {
            "photometric-ycbcr": tag("PhotometricInterpretation", "H", 6),
            "planar": tag("PlanarConfiguration", "H", 2),
            "predictor": on_slide(
                lambda path: tiffs.retag(path, "Software", "H", 2) or tiffs.rename_tag(path, "Software", 317)
            ),
        },
    )
    matrix = {"matrix-wide": lambda d: put("TotalPixelMatrixColumns", 2100)(d), "matrix-low": lambda d: put("TotalPixelMatrixRows", 1024)(d),
              "matrix-narrow": lambda d: put("TotalPixelMatrixColumns", 1536)(d)}  # fmt: skip
    yield from members("levels", ("dicom", "sparse"), {k: in_dicom(v) for k, v in matrix.items()})
    yield from members("levels", "dicom", {f"level-1-{k}": in_dicom(v, level=1) for k, v in matrix.items()})
