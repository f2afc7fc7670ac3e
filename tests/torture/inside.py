"""Slides that are damaged inside: in their tiles' bytes, which are met late, or in the index (kind `inside`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torture import intact, tiffs
from torture.corpus import Case, Damage, Member, Rng, members, on_slide
from torture.lost import LOST

VALID = "the damaged JPEG is one that decoders take, and OpenSlide passes no warning on"
SHARED = "some writers store an empty tile once, and let the index name it wherever the slide is empty"
Change = Callable[[bytes, Rng], bytes]


def zeroed(data: bytes, rng: Rng) -> bytes:
    return bytes(len(data))


def noise(data: bytes, rng: Rng) -> bytes:
    return rng.bytes(len(data))


def second_half(data: bytes, rng: Rng) -> bytes:
    """As a file that was copied in part: the rest of the block is empty."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def first_bytes(data: bytes, rng: Rng) -> bytes:
    return bytes(min(64, len(data))) + data[64:]


def flipped(data: bytes, rng: Rng) -> bytes:
    """Single bits in what is neither header nor end."""
    held = bytearray(data)
    for place in rng.integers(len(held) // 4, max(len(held) - 4, len(held) // 4 + 1), 6):
        held[place] ^= 1 << int(rng.integers(8))
    return bytes(held)


def shifted(data: bytes, rng: Rng) -> bytes:
    return data[17:] + data[:17]


def other_jpeg(data: bytes, rng: Rng) -> bytes:
    """Another valid picture of the same size, filled up behind its end."""
    flat = np.full((intact.TILE, intact.TILE, 3), (244, 242, 243), np.uint8)
    made = cv2.imencode(".jpg", flat, [cv2.IMWRITE_JPEG_QUALITY, 5])[1].tobytes()
    return made.ljust(len(data), b"\0") if len(made) <= len(data) else bytes(len(data))


CHANGES: dict[str, Change] = {
    "zeroed": zeroed, "noise": noise, "second-half": second_half, "first-bytes": first_bytes, "shifted": shifted,
}  # fmt: skip
PLACES: dict[str, tiffs.Chosen] = {k: LOST[k] for k in ("in-tumour", "row", "all")}
PLACES["on-glass"] = lambda u, v, r, c: u > 0.9 and v > 0.85


def in_tiles(chosen: tiffs.Chosen, change: Change, level: int = 0) -> Damage:
    return on_slide(partial_of(chosen, change, level))


def partial_of(chosen: tiffs.Chosen, change: Change, level: int) -> Callable[..., None]:
    def damage(path: Path, rng: Rng) -> None:
        tiffs.tile_bytes(path, chosen, change, rng, level)

    return damage


def index(chosen: tiffs.Chosen, value: Callable[[int, list[int]], int] | int, tag: str) -> Damage:
    return on_slide(tiffs.set_index, chosen, value=value, tag=tag)


def in_dicom_file(change: Callable[[bytes, Rng], bytes], level: int = 0) -> Damage:
    def make(_: Path, case: Case, rng: Rng) -> None:
        path = case.slide if level == 0 else case.slide.with_name(f"{case.slide.stem}-{level}.dcm")
        path.write_bytes(change(path.read_bytes(), rng))

    return make


def hole(start: float, length: int, fill: Callable[[int, Rng], bytes] = lambda n, rng: bytes(n)) -> Change:
    def change(data: bytes, rng: Rng) -> bytes:
        place = int(len(data) * start)
        return data[:place] + fill(length, rng) + data[place + length :]

    return change


def members_inside() -> Iterator[Member]:
    every = {f"{p}-{c}": in_tiles(chosen, change) for p, chosen in PLACES.items() for c, change in CHANGES.items()}
    yield from members("inside", ("generic", "svs"), every)
    some = {k: v for k, v in every.items() if k.split("-")[-1] in ("zeroed", "noise", "half")}
    yield from members("inside", ("ome", "single"), some)
    bits = {f"{p}-flipped": in_tiles(PLACES[p], flipped) for p in ("in-tumour", "row", "all")}
    yield from members("inside", ("ome", "single", "deflate"), bits)
    yield from members("inside", ("generic", "svs"), bits, undetectable=VALID)
    other = {
        "in-tumour-other-jpeg": in_tiles(PLACES["in-tumour"], other_jpeg),
        "row-other-jpeg": in_tiles(PLACES["row"], other_jpeg),
    }
    yield from members("inside", ("generic", "svs"), other, undetectable=VALID)
    coarse = {f"level-1-{c}": in_tiles(PLACES["row"], change, 1) for c, change in CHANGES.items()}
    yield from members("inside", "generic", coarse)
    # The index: tiles of another place, past the end, too short and too long.
    held: dict[str, Any] = {}
    for place in ("in-tumour", "row"):
        chosen = PLACES[place]
        held |= {
            f"{place}-offset-past-the-end": index(chosen, 2**31 - 9, "TileOffsets"),
            f"{place}-offset-plus-1": index(chosen, lambda i, v: v[i] + 1, "TileOffsets"),
            f"{place}-offset-of-first": index(chosen, lambda i, v: v[0], "TileOffsets"),
            f"{place}-offset-of-next": index(chosen, lambda i, v: v[(i + 1) % len(v)], "TileOffsets"),
            f"{place}-count-half": index(chosen, lambda i, v: v[i] // 2, "TileByteCounts"),
            f"{place}-count-1": index(chosen, 1, "TileByteCounts"),
            f"{place}-count-of-a-gigabyte": index(chosen, 2**30, "TileByteCounts"),
        }
    yield from members("inside", ("generic", "svs"), held)
    shared = {k: (v, {"undetectable": SHARED}) if k.endswith("of-first") else v for k, v in held.items()}
    yield from members("inside", "single", shared)
    files: dict[str, Any] = {f"hole-at-{s}": hole(s / 100, 5000) for s in (5, 20, 40, 60, 80)}
    files |= {f"noise-at-{s}": hole(s / 100, 5000, lambda n, rng: rng.bytes(n)) for s in (15, 35, 55, 75)}
    files |= {f"cut-at-{s}": (lambda data, rng, s=s: data[: len(data) * s // 100]) for s in (10, 30, 50, 70, 90, 99)}
    whole = {k: in_dicom_file(v) for k, v in files.items()}
    yield from members("inside", ("dicom", "ome"), whole)
    cut = {k: v for k, v in whole.items() if k.startswith("cut")}
    yield from members("inside", ("generic", "svs", "single", "sparse"), cut)
    of_level = {
        f"level-1-{k}": in_dicom_file(v, level=1)
        for k, v in files.items()
        if k.split("-")[-1] in ("30", "40", "55", "60")
    }
    yield from members("inside", "dicom", of_level)
