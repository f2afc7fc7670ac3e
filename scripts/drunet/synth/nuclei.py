"""Nuclei and other small bodies, rendered once into banks and stamped in optical density."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Sprite = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Body:
    """What a kind of nucleus looks like; lengths in µm, densities as optical density of haematoxylin.

    `spread` is the deviation of the size, `lobes` of the outline (both relative); `rim` is the density added at the
    membrane, `clumps` the contrast of the chromatin, `nucleoli` the most a nucleus has, `dark` the share without
    structure.
    """

    length: float
    width: float
    spread: float
    lobes: float
    density: float
    rim: float = 0.0
    clumps: float = 0.0
    nucleoli: int = 0
    dark: float = 0.0


TUMOUR = Body(12.6, 9.8, 0.16, 0.060, 0.30, rim=0.26, clumps=0.34, nucleoli=2, dark=0.10)
DUCTAL_TUMOUR = Body(10.8, 8.9, 0.14, 0.050, 0.40, rim=0.18, clumps=0.32, nucleoli=1, dark=0.14)
EPITHELIUM = Body(9.2, 5.6, 0.07, 0.020, 0.50, rim=0.08, clumps=0.16)
LUMINAL = Body(7.2, 6.0, 0.06, 0.020, 0.42, rim=0.08, clumps=0.14)
MYOEPITHELIUM = Body(8.4, 3.4, 0.14, 0.030, 0.50, rim=0.04, clumps=0.12)
LYMPHOCYTE = Body(6.2, 5.7, 0.09, 0.020, 0.68, rim=0.03, clumps=0.20)
PLASMA_CELL = Body(7.4, 6.4, 0.08, 0.020, 0.56, rim=0.08, clumps=0.30)
SPINDLE = Body(14.5, 3.3, 0.22, 0.035, 0.50, rim=0.06, clumps=0.14)
SEPTAL = Body(8.0, 4.6, 0.20, 0.040, 0.58, rim=0.04, clumps=0.14)
DEBRIS = Body(2.6, 2.1, 0.45, 0.120, 0.62)
GHOST = Body(9.5, 8.0, 0.18, 0.060, 0.09, rim=0.04)
MACROPHAGE = Body(6.6, 5.0, 0.10, 0.040, 0.40, rim=0.10, clumps=0.18)
RED_CELL = Body(6.6, 6.0, 0.08, 0.030, 0.32, rim=0.06)
FOAM = Body(16.0, 14.0, 0.16, 0.060, 0.16, rim=0.03, clumps=0.30)
SOOT = Body(1.9, 1.6, 0.40, 0.120, 1.10)


def render(rng: np.random.Generator, body: Body, angle: float, mpp: float) -> Sprite:
    """Draw one body turned by `angle` (radians from the x axis): coverage 0-1 and density, float32 squares."""
    scale = float(np.clip(1.0 + body.spread * rng.standard_normal(), 0.55, 1.6))
    slim = float(np.clip(1 + 0.1 * rng.standard_normal(), 0.75, 1.25))
    length, width = body.length * scale, body.width * scale * slim
    half = int(np.ceil(0.65 * length / mpp)) + 1
    y, x = (np.mgrid[-half : half + 1, -half : half + 1] + rng.uniform(-0.5, 0.5, (2, 1, 1))) * mpp
    u = (x * np.cos(angle) + y * np.sin(angle)) / (length / 2)
    v = (y * np.cos(angle) - x * np.sin(angle)) / (width / 2)
    radius, turn = np.hypot(u, v), np.arctan2(v, u)
    outline = np.ones_like(radius)
    for wave in range(2, 6):
        outline += body.lobes * rng.standard_normal() * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    depth = (outline - radius) * min(length, width) / 2
    cover = np.clip(depth / mpp + 0.5, 0, 1)
    density = np.full(radius.shape, body.density * np.clip(1 + 0.14 * rng.standard_normal(), 0.6, 1.4))
    noise = cv2.GaussianBlur(rng.standard_normal(radius.shape), (0, 0), max(0.75 / mpp, 0.5))
    noise /= noise.std() + 1e-6
    if rng.random() < body.dark:
        density *= 1.75
        density += 0.10 * np.clip(noise, -1.5, 1.5) + 0.08 * np.exp(-((depth / 1.2) ** 2))
    else:
        density *= np.clip(1 + body.clumps * noise, 0.35, 2.0)
        density += body.rim * np.exp(-((depth / 1.0) ** 2))
        for _ in range(int(rng.integers(0, body.nucleoli + 1)) if body.nucleoli else 0):
            place = rng.uniform(-0.45, 0.45, 2)
            far = np.hypot((u - place[0]) * length / 2, (v - place[1]) * width / 2)
            density += 0.42 * np.exp(-((far / 1.15) ** 2))
    return cover.astype(np.float32), density.astype(np.float32)


@dataclass(frozen=True)
class Bank:
    """Rendered sprites of one body, `variants` for each of `turns` orientations between 0 and π."""

    sprites: list[Sprite]
    turns: int
    variants: int

    @classmethod
    def of(cls, rng: np.random.Generator, body: Body, mpp: float, turns: int = 10, variants: int = 4) -> Bank:
        """Render a bank."""
        angles = np.repeat(np.arange(turns) * np.pi / turns, variants)
        return cls([render(rng, body, float(angle), mpp) for angle in angles], turns, variants)

    def choose(self, rng: np.random.Generator, angles: NDArray[np.floating]) -> NDArray[np.int64]:
        """Index of a sprite at each of `angles` (radians, any)."""
        turn = np.round(angles * self.turns / np.pi).astype(np.int64) % self.turns
        return np.asarray(turn * self.variants + rng.integers(0, self.variants, turn.size))


def stamp(
    density: NDArray[np.float32],
    cover: NDArray[np.float32],
    points: NDArray[np.float32],
    bank: Bank,
    chosen: NDArray[np.int64],
) -> None:
    """Lay sprites over `density` in place, and mark them in `cover`; points are (n, 2) of (y, x) px."""
    height, width = density.shape
    places = np.rint(points).astype(np.int64).tolist()
    for (y, x), index in zip(places, chosen.tolist(), strict=True):
        alpha, body = bank.sprites[index]
        half = alpha.shape[0] // 2
        if y < half or x < half or y + half >= height or x + half >= width:
            continue
        window = (slice(y - half, y + half + 1), slice(x - half, x + half + 1))
        under = density[window]
        under += alpha * (body - under)
        np.maximum(cover[window], alpha, out=cover[window])
