"""Multi-lens distortion (DRU-Net, Algorithm 1): several local lenses that magnify or shrink what lies under them.

A lens with centre c, radius R and strength s takes the value at p from c + (p - c)(1 - s max(0, 1 - |p - c| / R)),
clipped to the image and truncated to whole pixels: nothing is interpolated and nothing is filled. s > 0 magnifies,
s < 0 shrinks. Lenses act in sequence, each on the result of the one before, as in the authors' code; the last line of
the published listing can also be read otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

# Up to this one, px, what is common to all lenses of a radius is kept: 8 MB at most.
_KEPT_RADIUS = 128
CENTRE_RANGES = ("anywhere", "inside")


@dataclass(frozen=True, eq=False)
class Lenses:
    """A draw of k lenses, to be used on every array of a sample.

    Centres, int (k, 2), are row and column in px; radii, int (k,), are px, at least 1; a positive strength, float (k,),
    magnifies, a negative one shrinks, 0 does nothing.
    """

    centres: NDArray[np.int64]
    radii: NDArray[np.int64]
    strengths: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "centres", np.asarray(self.centres, dtype=np.int64).reshape(-1, 2))
        object.__setattr__(self, "radii", np.asarray(self.radii, dtype=np.int64).reshape(-1))
        object.__setattr__(self, "strengths", np.asarray(self.strengths, dtype=np.float64).reshape(-1))
        if not len(self.centres) == len(self.radii) == len(self.strengths):
            raise ValueError("a lens needs one centre, one radius and one strength")
        if (self.radii < 1).any():
            raise ValueError("a lens radius is at least 1 px")

    def __len__(self) -> int:
        return len(self.radii)

    def __iter__(self) -> Iterator[tuple[int, int, int, float]]:
        """Yield (row, column, radius, strength) in the order in which the lenses act."""
        for (row, column), radius, strength in zip(self.centres, self.radii, self.strengths, strict=True):
            yield int(row), int(column), int(radius), float(strength)


def draw_lenses(
    rng: np.random.Generator,
    size: tuple[int, int],
    lenses: int,
    radius: tuple[int, int],
    strength: tuple[float, float],
    *,
    centres: str = "anywhere",
) -> Lenses:
    """Draw lenses for an image of `size` (height, width), px: all centres first, then radius and strength of each.

    Whole radii (px) and strengths are drawn uniformly from [min, max). With `centres` "anywhere" any pixel of the image
    may be one, as in the paper's prose and the authors' code. With "inside" it is the listing's interval, read as "at
    least a radius away from every edge": the radius is not drawn yet, so the largest that can be drawn is taken; where
    it exceeds half the image, the middle one or two pixels of that axis remain. The published radii (80-110 on 224 px)
    would then leave four pixels to all lenses. Raises ValueError if a range is empty or a radius below 1.
    """
    if centres not in CENTRE_RANGES:
        raise ValueError(f"unknown range of centres {centres!r}, expected one of {CENTRE_RANGES}")
    if not 1 <= radius[0] < radius[1]:
        raise ValueError(f"radii are drawn from [min, max) with 1 <= min < max, got {radius}")
    axes = [rng.integers(*centre_range(side, radius, centres), size=lenses) for side in size]
    radii, strengths = [], []
    for _ in range(lenses):
        radii.append(rng.integers(*radius))
        strengths.append(rng.uniform(*strength))
    return Lenses(np.stack(axes, axis=1), np.array(radii, dtype=np.int64), np.array(strengths, dtype=np.float64))


def centre_range(side: int, radius: tuple[int, int], centres: str) -> tuple[int, int]:
    """Whole positions [low, high) that a centre may take along one side of an image; see `draw_lenses`."""
    margin = 0 if centres == "anywhere" else min(radius[1] - 1, (side - 1) // 2)
    return margin, side - margin


def coordinate_map(size: tuple[int, int], lenses: Lenses) -> NDArray[np.int32]:
    """Compose all lenses into one map of source pixels for an image of `size` (height, width), px.

    For every pixel it has the flat (row-major) index of the pixel whose value it takes: int32 (h, w).
    """
    height, width = size
    sources = np.arange(height * width, dtype=np.int32)
    for row, column, radius, strength in lenses:
        # A pixel at a radius or more keeps its place, so the lens' own box is all that can change.
        top, bottom = max(row - radius + 1, 0), min(row + radius, height)
        left, right = max(column - radius + 1, 0), min(column + radius, width)
        if top >= bottom or left >= right:
            continue
        # Along an axis all four quarters of a lens move alike: one is worked out, by the operations of the listing in
        # its order, as the truncation forgives no rounding.
        moved = strength * (_depths(radius) if radius <= _KEPT_RADIUS else _depths.__wrapped__(radius))
        np.subtract(1, moved, out=moved)
        moved *= np.arange(radius, dtype=np.float64)
        rows, columns = _positions(moved, row, top, bottom, height), _positions(moved, column, left, right, width)
        rows *= width
        flat = columns[np.abs(np.arange(top, bottom) - row)] + rows[np.abs(np.arange(left, right) - column)].T
        sources.reshape(size)[top:bottom, left:right] = sources.take(flat)
    return sources.reshape(size)


def resample(image: NDArray, sources: NDArray[np.int32]) -> NDArray:
    """Take every pixel's value, of (h, w) or (h, w, channels), any dtype, from where a `coordinate_map` names."""
    if image.shape[:2] != sources.shape:
        raise ValueError(f"an image of {image.shape[:2]} does not fit a map of {sources.shape}")
    if image.dtype == np.uint8 and image.shape[2:] == (3,):
        # Four bytes are moved at once, three are not.
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view(np.uint32).ravel().take(sources)
        return np.asarray(cv2.cvtColor(pixels.view(np.uint8).reshape(*sources.shape, 4), cv2.COLOR_RGBA2RGB))
    return np.take(image.reshape(sources.size, *image.shape[2:]), sources, axis=0)


def distort(image: NDArray, lenses: Lenses) -> NDArray:
    """Apply lenses to an image, heatmap or mask, (h, w) or (h, w, channels) of any dtype: a new array of the same.

    It holds no value that the image does not hold, and equals the published listing bit for bit, several times faster.

    A lens over the middle of a row of numbers; positions are truncated, so nothing new comes in between.

    >>> lens = Lenses(centres=[[0, 5]], radii=[5], strengths=[0.8])
    >>> distort(np.arange(11)[None], lens)
    array([[ 0,  1,  2,  3,  4,  5,  5,  6,  7,  8, 10]])
    """
    height, width = image.shape[:2]
    return resample(image, coordinate_map((height, width), lenses))


def _positions(moved: NDArray[np.float64], centre: int, low: int, high: int, side: int) -> NDArray[np.int32]:
    """Where a lens takes pixels low..high-1 of one axis from, at each distance along the other: int32 (n, high - low).

    `moved` has the distances (columns) as the lens changes them. Truncated, then clipped, which gives the same.
    """
    found = np.empty((len(moved), high - low), np.int32)
    before = min(max(centre - low, 0), high - low)
    mirrored = moved[:, centre - low - before + 1 : centre - low + 1][:, ::-1]
    np.subtract(centre, mirrored, out=found[:, :before], casting="unsafe")
    np.add(centre, moved[:, low + before - centre : high - centre], out=found[:, before:], casting="unsafe")
    return np.clip(found, 0, side - 1, out=found)


@lru_cache(maxsize=64)
def _depths(radius: int) -> NDArray[np.float64]:
    """max(0, 1 - r / radius) at whole distances from a centre along both axes: (radius, radius)."""
    squares = np.arange(radius, dtype=np.float64) ** 2
    return np.maximum(1 - np.sqrt(squares[:, None] + squares) / radius, 0)
