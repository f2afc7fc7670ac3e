"""Layers of stain of one picture, and the strokes that tissues are painted with. Lengths are µm, angles radians."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet_demo.fields import Field, Mask, inside_distance, lattice, rooms, smooth_noise

# Stain vectors of Ruifrok (2001) and Macenko (2009); a look lies between the two, or beyond.
HAEMATOXYLIN = np.array([[0.65, 0.70, 0.29], [0.58, 0.72, 0.38]])
EOSIN = np.array([[0.10, 0.94, 0.30], [0.19, 0.84, 0.50]])
RED_CELLS = np.array([0.12, 0.80, 0.58])
GLASS_RGB = (245.0, 243.0, 240.0)
TURNS, VARIANTS = 10, 4


class Body(NamedTuple):
    """A kind of nucleus or other small body, its density as optical density of its stain.

    `spread` is the deviation of the size, `lobes` that of the outline (both relative); `rim` the density added at the
    membrane, `clumps` the contrast of the chromatin, `nucleoli` the most there are.
    """

    length: float
    width: float
    density: float
    spread: float = 0.1
    lobes: float = 0.03
    rim: float = 0.06
    clumps: float = 0.15
    nucleoli: int = 0


TUMOUR = Body(12.6, 9.8, 0.31, 0.16, 0.060, 0.26, 0.34, nucleoli=2)
DUCTAL_TUMOUR = Body(11.6, 9.4, 0.42, 0.14, 0.050, 0.18, 0.32, nucleoli=1)
COLUMNAR = Body(9.2, 5.4, 0.50, 0.08)
LYMPHOCYTE = Body(6.2, 5.7, 0.68, 0.09, clumps=0.20)
SPINDLE = Body(14.5, 3.3, 0.50, 0.22)
FLAT = Body(8.0, 4.2, 0.56, 0.18)
DEBRIS = Body(2.6, 2.1, 0.62, 0.45, 0.12)
GHOST = Body(9.5, 8.0, 0.09, 0.18, 0.06, clumps=0.0)
RED_CELL = Body(6.6, 6.0, 0.32, clumps=0.0)
FOAM = Body(16.0, 14.0, 0.16, 0.16, 0.06, clumps=0.30)
SOOT = Body(1.9, 1.6, 1.10, 0.40, 0.12)


@dataclass(frozen=True)
class Look:
    """How one patient's tissue is stained and how its tumour grows.

    `haematoxylin` and `eosin` scale the stains, the hues move their vectors from the first to the second of each pair;
    tumour has cells of the size `cell`, the share `clear` of their stain missing, the share `lumens` of glands, nests
    about `nests` wide and nuclei like `nucleus`; `inflamed` and `fibroblasts` scale what lies scattered in stroma.
    """

    haematoxylin: float = 1.0
    eosin: float = 1.0
    haematoxylin_hue: float = 0.5
    eosin_hue: float = 0.4
    cell: float = 1.0
    clear: float = 0.0
    lumens: float = 0.06
    inflamed: float = 1.0
    fibroblasts: float = 1.0
    nests: float = 135.0
    nucleus: Body = TUMOUR


def draw_body(rng: np.random.Generator, body: Body, angle: float, mpp: float) -> tuple[Field, Field]:
    """Draw one body turned by `angle` from the x axis: coverage 0-1 and density, float32 squares."""
    scale, slim, dense = np.clip(rng.normal(1, [body.spread, 0.1, 0.2]), 0.55, 1.6)
    length, width = body.length * scale, body.width * scale * slim
    half = int(np.ceil(0.65 * length / mpp)) + 1
    y, x = (np.mgrid[-half : half + 1, -half : half + 1] + rng.uniform(-0.5, 0.5, (2, 1, 1))) * mpp
    u = (x * np.cos(angle) + y * np.sin(angle)) / (length / 2)
    v = (y * np.cos(angle) - x * np.sin(angle)) / (width / 2)
    outline, turn = np.ones_like(u), np.arctan2(v, u)
    for wave in range(2, 6):
        outline += body.lobes * rng.standard_normal() * np.cos(wave * turn + rng.uniform(0, 2 * np.pi))
    depth = (outline - np.hypot(u, v)) * min(length, width) / 2
    noise = cv2.GaussianBlur(rng.standard_normal(u.shape), (0, 0), max(0.75 / mpp, 0.5))
    density = body.density * dense * np.clip(1 + body.clumps * noise / (noise.std() + 1e-6), 0.35, 2.0)
    density += body.rim * np.exp(-(depth**2))
    for across, down in rng.uniform(-0.45, 0.45, (rng.integers(0, body.nucleoli + 1), 2)):
        density += 0.42 * np.exp(-((u - across) ** 2 * length**2 + (v - down) ** 2 * width**2) / 5.3)
    return np.clip(depth / mpp + 0.5, 0, 1).astype(np.float32), density.astype(np.float32)


class Canvas:
    """Layers of optical density, float32 (h, w), and the random stream that all of a picture draws from.

    `h`, `e` and `red` are haematoxylin and eosin of the ground, and red cells; `nuclear` is the haematoxylin of nuclei
    and `cover` where they lie (0-1); `kinds` is the `Kind` of each pixel, `depth` the distance to the edge of the
    tissue, positive inside; `fibre` and `angle` are collagen as noise of unit deviation, and its direction.
    """

    def __init__(self, rng: np.random.Generator, kinds: NDArray[np.uint8], mpp: float, look: Look) -> None:
        self.rng, self.kinds, self.mpp, self.look, self.shape = rng, kinds, mpp, look, kinds.shape
        self.h, self.e, self.red, self.nuclear, self.cover = (np.zeros(kinds.shape, np.float32) for _ in range(5))
        self.depth = self.inside(kinds > 0)
        rows, columns = (side * np.float32(mpp) for side in np.indices(self.shape, np.float32))
        angle = rng.uniform(0, np.pi)
        right, down = math.sin(angle), -math.cos(angle)
        across = columns * right + rows * down + 105 * self.noise(520) + 7 * self.noise(95)
        along = columns * down - rows * right + 60 * self.noise(600)
        bank, self.fibre = smooth_noise(rng, (512, 512), 4.0), np.zeros(self.shape, np.float32)
        for thick, weight in ((5.0, 0.75), (15.0, 0.65)):
            x, y = along * (0.39 / thick), across * (3.0 / thick)
            self.fibre += weight * cv2.remap(bank, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        self.angle = self.across(across) + np.float32(np.pi / 2)

    def noise(self, wavelength: float) -> Field:
        """Unit noise over the whole picture."""
        return smooth_noise(self.rng, self.shape, wavelength / self.mpp)

    def inside(self, mask: Mask) -> Field:
        """Distance to the border of `mask`, positive inside."""
        return inside_distance(mask) * np.float32(self.mpp)

    def edge(self, depth: Field) -> Field:
        """Coverage 0-1 of what lies at positive depth, with an edge of one pixel."""
        return np.asarray(np.clip(depth / self.mpp + 0.5, 0, 1), np.float32)

    def across(self, depth: Field) -> Field:
        """Direction in which a depth grows, from the x axis."""
        smooth = cv2.GaussianBlur(depth, (0, 0), 2.0 / self.mpp)
        dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, 1 - axis, axis, ksize=5) for axis in (0, 1))
        return np.asarray(cv2.phase(dx, dy))

    def rooms(self, pitch: float, bend: float, jitter: float = 0.42, missing: float = 0.0) -> tuple[Field, Field]:
        """Distances to wall and seed in bent rooms about `pitch` wide, the share `missing` of which is left out."""
        seeds = lattice(self.rng, self.shape, pitch / self.mpp, jitter)
        bent = np.stack([self.noise(pitch * 0.8) for _ in range(2)]) * np.float32(bend / self.mpp)
        _, wall, seed = rooms(self.shape, seeds[self.rng.random(len(seeds)) >= missing], bent)
        return wall * np.float32(self.mpp), seed * np.float32(self.mpp)

    def lay(self, cover: Field | Mask, h: Field | float, e: Field | float) -> None:
        """Bring the stain of the ground under nuclei to `h` and `e` where `cover` (0-1) is."""
        for layer, value in ((self.h, h), (self.e, e)):
            if cover.dtype == bool:
                np.copyto(layer, np.asarray(value, np.float32), where=np.asarray(cover, bool))
            else:
                layer += np.asarray((value - layer) * cover, np.float32)

    def place(self, points: Field, angles: Field, body: Body, layer: Field | None = None) -> None:
        """Stamp bodies at points (n, 2) as (y, x) px, turned by angles (n,), on `layer` (nuclei, if None)."""
        turns = np.repeat(np.arange(TURNS) * np.pi / TURNS, VARIANTS)
        bank = [draw_body(self.rng, body, float(turn), self.mpp) for turn in turns]
        chosen = np.rint(angles * (TURNS / np.pi)).astype(int) % TURNS * VARIANTS
        chosen += self.rng.integers(0, VARIANTS, len(chosen))
        density = self.nuclear if layer is None else layer
        for (y, x), index in zip(np.rint(points).astype(int).tolist(), chosen.tolist(), strict=True):
            alpha, dense = bank[index]
            half = len(alpha) // 2
            if min(y, x) >= half and y + half < self.shape[0] and x + half < self.shape[1]:
                window = np.s_[y - half : y + half + 1, x - half : x + half + 1]
                density[window] += alpha * (dense - density[window])
                if layer is None:
                    np.maximum(self.cover[window], alpha, out=self.cover[window])

    def scatter(
        self, where: Mask, body: Body, pitch: float, chance: Field | float = 1.0, angle: Field | None = None,
        jitter: float = 0.33, layer: Field | None = None,
    ) -> Field:  # fmt: skip
        """Stamp bodies on a jittered lattice inside `where`, each by `chance`; return their places (n, 2) as (y, x)."""
        points = lattice(self.rng, self.shape, pitch / self.mpp, jitter)
        at = tuple(points.astype(int).T)
        likely = np.broadcast_to(np.asarray(chance, np.float32), self.shape)[at]
        # No nucleus hangs over the cut edge of the tissue.
        kept = where[at] & (self.depth[at] > 2.5) & (self.rng.random(len(points)) < likely)
        turned = self.rng.uniform(0, np.pi, len(points)) if angle is None else angle[at]
        self.place(points[kept], turned[kept] + self.rng.normal(0, 0.12, int(kept.sum())), body, layer)
        return points[kept]

    def row(
        self, where: Mask, body: Body, pitch: float, chance: float, depth: Field, at: float, along: bool = False,
        layer: Field | None = None,
    ) -> None:  # fmt: skip
        """Stamp bodies inside `where` in rows that follow a wall at one depth, across the wall or `along` it."""
        outlines, _ = cv2.findContours((depth > at).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        # A contour's steps are 1 or √2 px long.
        step = max(pitch / self.mpp / 1.2, 1.0)
        places = [ring[np.arange(self.rng.uniform(0, step), len(ring), step).astype(int), 0, ::-1] for ring in outlines]
        points = np.concatenate([*places, np.zeros((0, 2), int)])
        points = points[where[tuple(points.T)] & (self.rng.random(len(points)) < chance)]
        turned = self.across(depth)[tuple(points.T)] + self.rng.normal(along * np.pi / 2, 0.15, len(points))
        self.place(points + self.rng.normal(0, 0.1 * body.width / self.mpp, points.shape), turned, body, layer)

    def develop(self, ink: Sequence[tuple[NDArray[np.float64], Field]] = ()) -> NDArray[np.uint8]:
        """Turn stain into light by Beer-Lambert, then blur and grain: uint8 RGB; `ink` is (vector, density) of pens."""
        look, thick = self.look, 1 + np.float32(0.07) * self.noise(420) + np.float32(0.03) * self.noise(120)
        h = (self.h * (1 - self.cover) + self.nuclear) * thick * np.float32(look.haematoxylin)
        e = self.e * (1 - np.float32(0.55) * self.cover) * thick * np.float32(look.eosin)
        layers = [(RED_CELLS, self.red * (1 - self.cover)), *ink]
        for pair, hue, layer in ((HAEMATOXYLIN, look.haematoxylin_hue, h), (EOSIN, look.eosin_hue, e)):
            vector = pair[0] * (1 - hue) + pair[1] * hue
            layers.append((vector / np.linalg.norm(vector), layer))
        image, grain = np.empty((*self.shape, 3), np.uint8), self.rng.standard_normal(self.shape, dtype=np.float32)
        for channel, glass in enumerate(GLASS_RGB):
            density = np.sum([np.float32(vector[channel]) * layer for vector, layer in layers], axis=0)
            light = glass * 10 ** -cv2.GaussianBlur(density, (0, 0), max(0.5, 0.32 / self.mpp))
            light += 0.9 * grain + 1.3 * np.roll(grain, 37 * (channel + 1), axis=1)
            image[..., channel] = np.clip(light + 0.5, 0, 255).astype(np.uint8)
        return image
