"""Damage to TIFF files, made in place: tiles that are lost or changed, tags of other types and values, cut files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

# Struct codes of a TIFF's types.
TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "2I": 5, "b": 6, "u": 7, "h": 8, "i": 9, "2i": 10, "f": 11, "d": 12, "Q": 16}
CODES = {number: code for code, number in TYPES.items()}
# Whether a tile is meant, by where its centre lies, as shares of the slide, and its row and column.
Chosen = Callable[[float, float, int, int], bool]


def levels_of(path: Path) -> list[tifffile.TiffPage]:
    """Tiled pages, the finest first."""
    with tifffile.TiffFile(path) as tiff:
        return [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]


def index_of(page: tifffile.TiffPage, chosen: Chosen) -> list[int]:
    rows, columns = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
    return [
        r * columns + c
        for r in range(rows)
        for c in range(columns)
        if chosen((c + 0.5) * page.tilewidth / page.imagewidth, (r + 0.5) * page.tilelength / page.imagelength, r, c)
    ]


def poke(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def append(path: Path, data: bytes) -> int:
    """Add to the end; gives where, at an even place."""
    with path.open("r+b") as file:
        place = file.seek(0, 2)
        if place % 2:
            place += file.write(b"\0")
        file.write(data)
    return place


def set_index(
    path: Path,
    chosen: Chosen,
    *,
    level: int = 0,
    tag: str = "TileByteCounts",
    value: int | Callable[[int, list[int]], int] = 0,
) -> int:
    """Overwrite the index's entries of chosen tiles: with a value, or what is made of a tile's place and all entries."""
    page = levels_of(path)[level]
    entry = page.tags[tag]
    code = CODES[int(entry.dtype)]
    held = list(entry.value) if isinstance(entry.value, tuple) else [entry.value]
    places = index_of(page, chosen)
    for place in places:
        new = value(place, held) if callable(value) else value
        poke(path, entry.valueoffset + place * struct.calcsize(code), struct.pack("<" + code, new))
    return len(places)


def forget(path: Path, chosen: Chosen, level: int = 0, tag: str = "TileByteCounts") -> None:
    """Lose tiles, as a lost block of the index does."""
    if not set_index(path, chosen, level=level, tag=tag):
        raise AssertionError("no tile is meant")


def forget_in_all(path: Path, chosen: Chosen) -> None:
    for level in range(len(levels_of(path))):
        set_index(path, chosen, level=level)


def tile_bytes(
    path: Path,
    chosen: Chosen,
    change: Callable[[bytes, np.random.Generator], bytes],
    rng: np.random.Generator,
    level: int = 0,
) -> None:
    """Change the stored bytes of chosen tiles, whose number stays."""
    page = levels_of(path)[level]
    for place in index_of(page, chosen):
        offset, count = page.dataoffsets[place], page.databytecounts[place]
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(count)
        new = change(data, rng)
        if len(new) != count:
            raise AssertionError("the number of bytes would change")
        poke(path, offset, new)


def retag(path: Path, tag: str, code: str, *values: Any, page: int = 0, count: int | None = None) -> None:
    """Give a tag of a page another type, count and value."""
    with tifffile.TiffFile(path) as tiff:
        big = tiff.is_bigtiff
        entry = tiff.pages[page].tags[tag]
    text = b"".join(v if isinstance(v, bytes) else v.encode() for v in values) + b"\0" if code == "s" else b""
    data = text or b"".join(struct.pack("<" + code, *(v if isinstance(v, tuple) else (v,))) for v in values)
    number = len(text) if code == "s" else len(values)
    room, offset, size = (8, "<Q", "<Q") if big else (4, "<I", "<I")
    value = data.ljust(room, b"\0") if len(data) <= room else struct.pack(offset, append(path, data))
    poke(path, entry.offset + 2, struct.pack("<H", TYPES[code]) + struct.pack(size, number if count is None else count))
    poke(path, entry.offset + 4 + room, value)


def next_ifd(path: Path, value: int | None, page: int = 0) -> None:
    """Point a page's successor elsewhere; None is itself."""
    with tifffile.TiffFile(path) as tiff:
        own, big = tiff.pages[page].offset, tiff.is_bigtiff
        entries = len(tiff.pages[page].tags)
    place = own + (8 + 20 * entries if big else 2 + 12 * entries)
    poke(path, place, struct.pack("<Q" if big else "<I", own if value is None else value))


def rename_tag(path: Path, tag: str, code: int, page: int = 0) -> None:
    """Give a tag another number: it is then missing."""
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[page].tags[tag].offset
    poke(path, place, struct.pack("<H", code))


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def overwrite(path: Path, start: float, length: int, fill: bytes = b"\0") -> None:
    """Overwrite bytes from a share of the file on, as a bad block does."""
    size = path.stat().st_size
    place = int(size * start)
    length = min(length, size - place)
    poke(path, place, (fill * length)[:length])


def replace_text(path: Path, old: bytes, new: bytes) -> None:
    """Replace text everywhere by one of the same length."""
    data = path.read_bytes()
    if old not in data or len(old) != len(new):
        raise AssertionError(f"{old!r} is not there, or of another length")
    path.write_bytes(data.replace(old, new))
