"""The chest of a drawn patient: its measures, its fields in an axial slice, and the trees of its vessels and airways.

Lengths are mm. In a slice x runs to the right of the picture, which is the patient's left, and y to the back; z runs to
the feet. The origin lies in the middle of the chest.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drunet.synth.fields import Field, enlarge, smooth_noise

# Height of the lungs, of which slices are drawn from above the arch of the aorta to the base of the heart.
TOP_MM, BOTTOM_MM = -55.0, 55.0
# Noise that belongs to the patient is drawn on this grid, so that it does not depend on the size of the picture.
_GRID = 160
# Pieces of a branch of a vessel.
_STEPS = 5
# Radius in mm below which a vessel does not show.
_THINNEST = 0.15

Points = NDArray[np.float64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """What is one patient's own, and one scanner's.

    `width` and `depth` are the half axes of the body and `square` the exponent of its superellipse; `fat` and `muscle`
    the shell's thickness; `heart` scales the heart; `lung` and `blood` are HU; `denser` is how much denser the back
    of the lung is than its front, HU. `field` is the width of the picture, `off` the body's place in it. `noise` is in
    HU and `blur` in px of the picture.
    """

    seed: int
    width: float
    depth: float
    square: float
    fat: float
    muscle: float
    heart: float
    lung: float
    blood: float
    denser: float
    field: float
    off: tuple[float, float]
    table: float
    noise: float
    blur: float

    def rng(self, name: str) -> np.random.Generator:
        """The random stream of one thing: what is drawn of another does not change it."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def ripple(self, name: str, wavelength: float, shape: tuple[int, int]) -> Field:
        """Unit noise of a wavelength in mm, the same in every slice and at every size."""
        return enlarge(_coarse_noise(self, name, wavelength), shape)

    def drift(self, name: str, wavelength: float, z: float, shape: tuple[int, int]) -> Field:
        """Unit noise that changes along the body as it does across: neighbouring slices share most of it."""
        turn = np.float32(2 * z / wavelength)
        here, below = (_coarse_noise(self, part, wavelength) for part in (name, f"{name} below"))
        return enlarge(np.asarray(np.cos(turn) * here + np.sin(turn) * below), shape)


@lru_cache(maxsize=128)
def _coarse_noise(anatomy: Anatomy, name: str, wavelength: float) -> Field:
    return smooth_noise(anatomy.rng(name), (_GRID, _GRID), wavelength * _GRID / anatomy.field)


def draw_anatomy(seed: int) -> Anatomy:
    """Draw the measures of a patient and of the scanner that took the picture."""
    rng = np.random.default_rng([seed, zlib.crc32(b"anatomy")])
    width, fat = rng.uniform(158, 188), rng.uniform(7, 24)
    return Anatomy(
        seed=seed,
        width=width,
        depth=width * rng.uniform(0.62, 0.72),
        square=rng.uniform(2.15, 2.6),
        fat=fat,
        muscle=rng.uniform(15, 21),
        heart=rng.uniform(0.86, 1.14),
        lung=rng.uniform(-880, -820),
        blood=45.0 if rng.random() < 0.5 else rng.uniform(110, 230),
        denser=rng.uniform(20, 90),
        field=2 * width * rng.uniform(0.86, 1.2),
        off=(rng.uniform(-6, 6), rng.uniform(-8, 6)),
        table=rng.uniform(5, 16),
        noise=rng.uniform(12, 34),
        blur=rng.uniform(0.3, 0.7),
    )


class Chest:
    """Depths of one axial slice, mm, positive inside; float32 (n, n).

    Attributes
    ----------
    x, y : place of each pixel
    px : width of a pixel
    body, cavity, centre, lung : depth in the body, the chest within the ribs, the mediastinum, and the lungs
    """

    def __init__(self, anatomy: Anatomy, z: float, size: int) -> None:
        self.anatomy, self.z, self.shape = anatomy, z, (size, size)
        self.px = anatomy.field / size
        axis = (np.arange(size, dtype=np.float32) + 0.5) * self.px - anatomy.field / 2
        self.x, self.y = np.meshgrid(axis - anatomy.off[0], axis - anatomy.off[1])
        self.body = self._body()
        self.axes = self._axes()
        oval = self.oval(0, -4, *self.axes, 2.3) + 2.0 * anatomy.ripple("ribcage", 90, self.shape)
        # Ribs and spine bulge into the chest from behind.
        bulge = 9 * np.exp(-np.square(self.x / 24) - np.square((self.y - self.back) / 20))
        self.cavity = np.asarray(oval - bulge, np.float32)
        self.centre = self._mediastinum()
        self.lung = np.asarray(-_smooth_max(-self.cavity + 2.0, self.centre, 5.0), np.float32)

    @property
    def back(self) -> float:
        """Where the chest ends at the back, y in mm."""
        return self.axes[1] - 4

    @property
    def lower(self) -> float:
        """How low the slice is: 0 at the arch of the aorta, 1 at the base of the heart."""
        return float(np.clip((self.z - TOP_MM) / (BOTTOM_MM - TOP_MM), 0, 1))

    def oval(self, x: float, y: float, a: float, b: float, power: float = 2.0, turn: float = 0.0) -> Field:
        """Depth in a superellipse of half axes `a`, `b`, measured towards its middle; `turn` in radians."""
        dx, dy = self.x - x, self.y - y
        along = dx * np.cos(turn) + dy * np.sin(turn)
        across = dy * np.cos(turn) - dx * np.sin(turn)
        if power == 2.0:
            far = np.sqrt(np.square(along / a) + np.square(across / b))
        else:
            far = (np.abs(along / a) ** power + np.abs(across / b) ** power) ** (1 / power)
        length = np.sqrt(along * along + across * across)
        depth = np.where(far > 1e-3, length * (1 - far) / np.maximum(far, 1e-3), min(a, b))
        return np.asarray(np.minimum(depth, min(a, b)), np.float32)

    def edge(self, depth: Field) -> Field:
        """Coverage 0-1 of what lies at positive depth, with an edge of one pixel."""
        return np.asarray(np.clip(depth / self.px + 0.5, 0, 1), np.float32)

    def _body(self) -> Field:
        own = self.anatomy
        # Above, the shoulders widen the body; the spine leaves a groove between the muscles of the back.
        wide = own.width * (1 + 0.05 * (1 - self.lower))
        depth = self.oval(0, 0, wide, own.depth, own.square) + 2.5 * own.ripple("skin", 110, self.shape)
        groove = np.exp(-np.square(self.x / 16)) * (self.y > 0)
        chest = np.exp(-np.square(self.x / 40)) * (self.y < 0)
        return np.asarray(depth - 6 * groove - 4 * chest, np.float32)

    def _axes(self) -> tuple[float, float]:
        own, grown = self.anatomy, 0.80 + 0.20 * np.sin(np.pi / 2 * min(1.0, 0.25 + 0.9 * self.lower))
        shell = 0.8 * own.fat + own.muscle
        return (own.width - shell - 6) * grown, (own.depth - 0.8 * shell - 3) * (0.5 + 0.5 * grown)

    def _mediastinum(self) -> Field:
        """The space between the lungs: a wedge behind the sternum, great vessels or heart, spine and aorta."""
        own, low = self.anatomy, self.lower
        wedge = 4 + 17 * np.clip((self.y + self.axes[1] * 0.8) / 45, 0, 1) - np.abs(self.x - 2)
        wedge = np.minimum(wedge, 25 - self.y)
        vessels = self.oval(2, -8, 31 + 4 * low, 36, 2.4)
        size = own.heart * np.clip((low - 0.3) / 0.4, 0, 1)
        heart = self.oval(*self.heart_at, 56 * size + 8, 40 * size + 8, 2.2, 0.45)
        spine = self.oval(0, self.back - 12, 25, 24)
        aorta = self.oval(*self.aorta_at, 14, 14)
        found = np.asarray(wedge, np.float32)
        # Gullet and azygos vein fill what is between heart and spine: no lung crosses the middle.
        bridge = np.asarray(np.minimum(11 - np.abs(self.x - 5), self.y + 20), np.float32)
        for other in (vessels, heart, spine, aorta, bridge):
            found = _smooth_max(found, other, 4.0)
        return np.asarray(found + 1.5 * own.drift("mediastinum", 45, self.z, self.shape), np.float32)

    @property
    def heart_at(self) -> tuple[float, float]:
        """Middle of the heart."""
        return 17 * self.anatomy.heart, -20.0

    @property
    def aorta_at(self) -> tuple[float, float]:
        """Middle of the descending aorta, beside the spine."""
        return 25.0, self.back - 32


class Segments(NamedTuple):
    """Straight pieces of tubes: ends float64 (n, 3) in mm, and radii (n,)."""

    start: Points
    end: NDArray[np.float64]
    radius: NDArray[np.float64]

    def within(self, z: float, thick: float) -> Segments:
        """What of them lies in a slab around `z`, cut at its faces."""
        low, high = z - thick / 2, z + thick / 2
        rise = self.end[:, 2] - self.start[:, 2]
        safe = np.where(np.abs(rise) < 1e-9, 1e-9, rise)
        into, out = (low - self.start[:, 2]) / safe, (high - self.start[:, 2]) / safe
        first, last = np.clip(np.minimum(into, out), 0, 1), np.clip(np.maximum(into, out), 0, 1)
        kept = last > first
        way = self.end - self.start
        start, end = self.start + way * first[:, None], self.start + way * last[:, None]
        return Segments(start[kept], end[kept], self.radius[kept])


@lru_cache(maxsize=4)
def vessels(anatomy: Anatomy) -> Segments:
    """Arteries and veins of both lungs."""
    return _trees(anatomy.rng("vessels"), roots=15, root=(2.7, 4.6), forks=(6, 5, 3), length=(84, 44, 26, 15))


@lru_cache(maxsize=4)
def airways(anatomy: Anatomy) -> Segments:
    """Bronchi of both lungs."""
    return _trees(anatomy.rng("airways"), roots=6, root=(3.0, 4.4), forks=(3, 3), length=(50, 30, 20))


def hilum(side: int) -> NDArray[np.float64]:
    """Root of a lung, from which its vessels and airways go out: x, y, z; `side` is -1 or 1."""
    return np.array([side * 36.0, 8.0, 0.0])


def _trees(
    rng: np.random.Generator, roots: int, root: tuple[float, float], forks: tuple[int, ...], length: tuple[float, ...]
) -> Segments:
    """Branching tubes that go out from both hila into all directions of their lungs, one generation after the other.

    A branch bends and thins over its `length`; `forks` others leave it, at places and to sides drawn at random.
    """
    side = np.repeat([-1, 1], roots)
    at, way = np.array([hilum(one) for one in side]), rng.normal(0, 1, (side.size, 3)) * (1, 1, 1.2)
    way[:, 0] = side * np.abs(way[:, 0])
    radius, grown = rng.uniform(*root, side.size), []
    for generation, reach in enumerate(length):
        pieces = _branches(rng, at, way, radius, reach * rng.uniform(0.6, 1.3, len(at)))
        grown.append(pieces)
        if generation == len(forks):
            break
        count = len(at)
        mother = np.repeat(np.arange(count), forks[generation])
        left = rng.integers(0, _STEPS, mother.size) * count + mother
        at, radius = pieces.end[left], pieces.radius[left] * rng.uniform(0.40, 0.66, mother.size)
        way = _unit(pieces.end[left] - pieces.start[left]) + rng.normal(0, 0.55, (mother.size, 3))
    start, end, radius = (np.concatenate(parts) for parts in zip(*grown, strict=True))
    seen = radius > _THINNEST
    return Segments(start[seen], end[seen], radius[seen])


def _branches(rng: np.random.Generator, at: Points, way: Points, radius: Numbers, reach: Numbers) -> Segments:
    """Branches that go out from `at`, as `_STEPS` pieces each; the first pieces of all come first."""
    starts, ends, radii = [], [], []
    for step in range(_STEPS):
        way = _unit(_unit(way) + rng.normal(0, 0.14, way.shape))
        reached = at + way * (reach / _STEPS)[:, None]
        starts.append(at)
        ends.append(reached)
        radii.append(radius * (1 - 0.55 * (step + 1) / _STEPS))
        at = reached
    return Segments(np.concatenate(starts), np.concatenate(ends), np.concatenate(radii))


def _unit(way: Points) -> Points:
    return np.asarray(way / np.linalg.norm(way, axis=1, keepdims=True))


def _smooth_max(one: Field, other: Field, width: float) -> Field:
    """The larger of two depths, their meeting rounded over `width` mm."""
    mixed = np.clip(0.5 + 0.5 * (one - other) / width, 0, 1)
    return np.asarray(other + (one - other) * mixed + width * mixed * (1 - mixed), np.float32)
