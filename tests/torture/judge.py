"""What became of a member, against its intact twin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely
from torture.intact import needles
from torture.rules import Found

# A result is another one if more than this differs. Everything is held against the twin's tissue (its area, its count
# of tiles): against the tumour, a single tile at its edge would be more, and an intact slide read from another level
# would count. What a slide lost at random differs by far more.
LIMIT = 0.01
# Probabilities of glass, tissue and tumour are 0, 0.35 and 0.95: half a step is no resampling.
STEP = 0.15
# What is counted as unknown may blur what lies beside it: masks are smoothed, and tiles reach over its edge.
BESIDE = 1.6
# Longest line of a log or a message.
LONGEST = 10_000


def differences(twin: Found, found: Found) -> dict[str, float]:
    """Shares of the twin's tissue that are another result, beyond what is counted as unknown."""
    assert twin.tissue is not None and found.tissue is not None
    there = _resized(found.tissue, twin.tissue.shape)
    area = float(twin.tissue.sum())
    unit = twin.size[0] * twin.size[1] / twin.tissue.size
    whole = area * unit
    unread = BESIDE * found.unread_mm2 / (whole * (twin.mpp / 1000) ** 2)
    # Unreadable tiles are counted, and what the mask's smoothing takes from around them.
    unknown = unread + BESIDE * found.unreadable / max(1, len(twin.tiles))
    mm2 = [f.tissue.mean() * f.size[0] * f.size[1] * f.mpp**2 for f in (twin, found) if f.tissue is not None]
    cells = set(twin.tiles) | set(found.tiles)
    other = [cell for cell in cells if not _alike(twin.tiles.get(cell), found.tiles.get(cell))]
    ignored = found.drawn.get("ignore", shapely.Polygon())
    drawn = sum(
        shapely.difference(
            shapely.symmetric_difference(twin.drawn.get(k, shapely.Polygon()), found.drawn[k]), ignored
        ).area
        for k in found.drawn
        if k != "ignore"
    )
    return {
        "tissue": float((there != twin.tissue).sum()) / area - unread,
        "area in mm²": abs(mm2[1] / mm2[0] - 1) - unread,
        "tiles": len(other) / max(1, len(twin.tiles)) - unread,
        "tumour": shapely.symmetric_difference(twin.tumour, found.tumour).area / whole - unknown,
        "annotation": drawn / whole,
        "ignored": ignored.area / whole - unread if found.drawn else 0.0,
    }


def verdict(twin: Found, found: Found) -> tuple[str, str]:
    """Outcome and a few words."""
    if found.refused:
        return "refused", found.refused
    other = {name: share for name, share in differences(twin, found).items() if share > LIMIT}
    worst = ", ".join(f"{name} {share:.1%}" for name, share in other.items())
    said = found.words + (f"; {found.unreadable} tiles unreadable" if found.unreadable else "")
    said += f"; {found.unread_mm2:g} mm² unread" if found.unread_mm2 else ""
    if other and not found.words:
        return "silent", f"{worst} differ ({said.strip('; ') or 'nothing said'})"
    return ("counted" if said else "identical"), "; ".join(filter(None, [said.strip("; "), worst]))


def _alike(one: float | None, other: float | None) -> bool:
    """Whether a tile has one probability in both; what is unreadable is counted, and no difference."""
    if one is None or other is None:
        return False
    return bool(np.isnan(other)) or abs(one - other) <= STEP


def _resized(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    index = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, mask.shape, strict=True)]
    return np.asarray(mask[np.ix_(*index)])


# What must not leave


def leaks(results: Path, terminal: bytes) -> list[str]:
    """Where a patient's name, a terminal's escape or an endless line got out; empty if nowhere."""
    found = []
    for name, data in [("terminal", terminal), *_written(results)]:
        folded = data.lower()
        if any(needle in folded for needle in needles()):
            found.append(f"name in {name}")
        if name == "terminal" or name.endswith((".log", ".tsv", ".json", ".md")):
            if odd := re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]", data):
                found.append(f"control character {odd.group()!r} in {name}")
            if max(map(len, data.splitlines()), default=0) > LONGEST:
                found.append(f"a line of {max(map(len, data.splitlines()))} characters in {name}")
    return found


def _written(results: Path) -> Iterator[tuple[str, bytes]]:
    for folder, _, files in os.walk(results):
        for file in files:
            path = Path(folder, file)
            name = str(path.relative_to(results))
            if path.name == "model.onnx":
                continue  # the user's own file, copied byte for byte
            yield name, path.read_bytes()
            yield f"the path {name}", name.encode()
            if path.suffix == ".parquet" and path.read_bytes()[:4] == b"PAR1":
                table = pq.read_table(path)
                yield f"{name}, opened", f"{table.schema.metadata} {table.to_pylist()}".encode()


def as_words(error: BaseException) -> str:
    """An error in one line."""
    said: Any = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:400]
