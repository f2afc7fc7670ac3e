"""Axial CT slices of drawn chests, in Hounsfield units (HU): ovals, tubes and noise.

Lengths are mm: x runs to the right of the picture, y to the back, z to the feet, from the middle of the chest. What is
at a height of a chest follows from its seed alone, so that neighbouring slices look alike, as a scanner's do.
"""

import math
import zlib
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drunet_demo.fields import Field, Mask, enlarge, smooth_noise

# Slices are drawn from above the arch of the aorta to the base of the heart.
TOP_MM, BOTTOM_MM, SLAB_MM = -55.0, 55.0, 5.0
# What a scanner stores: twelve bits above its lowest value.
LOWEST, HIGHEST = -1024.0, 3071.0
AIR, FAT, MUSCLE, MARROW, CORTEX = -1000.0, -105.0, 55.0, 230.0, 850.0
# Drawn finer than it is kept; noise and places do not depend on the size of the picture.
FINER, COARSE = 2, 160


# Radius from and to, whether beside the hilum or at the chest wall, share that is hollow, strands round it; after the
# usual pictures: adenocarcinoma (A) small and spiculated, small cell (B), large cell (E), squamous cell carcinoma (G).
GROWTHS = {"A": (10, 17, False, 0.0, 12), "B": (19, 31, True, 0.0, 3), "E": (24, 36, False, 0.0, 6),
           "G": (19, 30, True, 0.55, 8)}  # fmt: skip


class Finding(NamedTuple):
    """A tumour of a subtype, or pneumonia (""): place and radius in mm; `seed` shapes it."""

    subtype: str
    x: float
    y: float
    z: float
    radius: float
    seed: int


class Slice(NamedTuple):
    """HU float32 (n, n), the tumour's mass without strands, and the lungs whatever fills them, bool (n, n)."""

    hu: Field
    tumour: Mask
    lung: Mask

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Extent of the tumour as pixel edges xmin, ymin, xmax, ymax; None where the slice shows none."""
        left, top, width, height = cv2.boundingRect(self.tumour.astype(np.uint8))
        return (left, top, left + width, top + height) if width else None


class Chest:
    """One patient and the scanner: half axes and fat in mm, HU of lung and blood; `field` is the picture's width."""

    def __init__(self, seed: int) -> None:
        self.seed, rng = seed, np.random.default_rng(seed)
        self.width, self.fat, self.lung, self.heart = rng.uniform([158, 7, -880, 0.86], [188, 22, -820, 1.14]).tolist()
        self.depth, self.field = (self.width * rng.uniform([0.62, 1.76], [0.72, 2.4])).tolist()
        self.blood, self.noise, self.blur = rng.uniform([-60, 12, 0.3], [230, 34, 0.7]).clip([45, 0, 0]).tolist()
        self.vessels, self.airways = self._tree("vessels", 20, 4, 66.0), self._tree("airways", 5, 3, 44.0)

    def rng(self, name: str) -> np.random.Generator:
        """The random stream of one thing: what is drawn of another does not change it."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def draw_finding(self, subtype: str) -> Finding:
        """Place a tumour at the lung's outer surface or beside the hilum, or pneumonia ("")."""
        rng, (low, high, central, _, _) = self.rng(f"finding {subtype}"), GROWTHS.get(subtype, (35, 60, False, 0, 0))
        radius, z = rng.uniform([low, -24], [high, 24]).tolist()
        plane = Plane(self, z, COARSE // 2)
        if central:
            far = np.abs(plane.centre + 0.35 * radius) + np.abs(plane.y - 5)
        else:
            far = np.abs(plane.cavity - 0.7 * radius) + 1e3 * (plane.centre > -0.8 * radius)
        # One of the best places of the lungs, by chance.
        at = int(rng.choice(np.argsort(np.where(plane.lung > 1, far, np.inf).ravel(), kind="stable")[:60]))
        return Finding(subtype, plane.x.flat[at].item(), plane.y.flat[at].item(), z, radius, int(rng.integers(2**31)))

    def _tree(self, name: str, roots: int, generations: int, reach: float) -> list[NDArray[np.float64]]:
        """Tubes that branch from both hila and thin: starts and ends (n, 3) and radii (n,) of their pieces."""
        rng, side, pieces = self.rng(name), np.repeat([-1.0, 1.0], roots), []
        at, way, radius = np.outer(side, [36, 0, 0]), rng.normal(0, 1, (len(side), 3)), rng.uniform(2.2, 4.2, len(side))
        at[:, 1], way[:, 0] = 8, side * np.abs(way[:, 0])
        for step in range(5 * generations):
            if step and step % 5 == 0:
                at, way, radius = (np.repeat(part, 3, axis=0) for part in (at, way, radius))
                way, radius = way + rng.normal(0, 0.6, way.shape), radius * rng.uniform(0.6, 0.95, len(at))
            way = way / np.linalg.norm(way, axis=1, keepdims=True) + rng.normal(0, 0.16, way.shape)
            pieces.append((at, at + way * reach / 5 * 0.62 ** (step // 5), radius))
            at, radius = pieces[-1][1], 0.86 * radius
        return [np.concatenate(part) for part in zip(*pieces, strict=True)]


class Plane:
    """Depths of one axial slice, mm, positive inside, float32 (n, n): body, cavity within the ribs, centre, lung."""

    def __init__(self, chest: Chest, z: float, size: int) -> None:
        self.chest, self.z, self.shape, self.px = chest, z, (size, size), chest.field / size
        axis = ((np.arange(size) + 0.5) * self.px - chest.field / 2).astype(np.float32)
        self.x, self.y = np.meshgrid(axis, axis)
        # How low the slice is, 0-1. The heart grows out of the great vessels.
        self.lower = (z - TOP_MM) / (BOTTOM_MM - TOP_MM)
        self.heart = chest.heart * min(max((self.lower - 0.3) / 0.4, 0.0), 1.0)
        self.axes = (chest.width - chest.fat - 25) * (0.85 + 0.15 * self.lower), chest.depth - 0.8 * chest.fat - 18
        self.back = self.axes[1] - 4
        groove = 5 * np.exp(-((self.x / 18) ** 2)) * (self.y > 0)
        self.body = self.oval(0, 0, chest.width, chest.depth, 2.4) + 2.5 * self.noise("skin", 110) - groove
        spine = 9 * np.exp(-((self.x / 24) ** 2) - ((self.y - self.back) / 20) ** 2)
        self.cavity = self.oval(0, -4, *self.axes, 2.3) + 2 * self.noise("ribcage", 90) - spine
        wedge = 4 + 17 * np.clip((self.y + 0.8 * self.axes[1]) / 45, 0, 1) - np.abs(self.x - 2)
        parts = [np.minimum(wedge, 25 - self.y), self.oval(2, -8, 31, 36), self.oval(0, self.back - 12, 25, 24)]
        parts += [np.minimum(11 - np.abs(self.x - 5), self.y + 20), self.oval(25, self.back - 32, 14, 14)]
        parts += [self.oval(17, -20, 56 * self.heart + 8, 40 * self.heart + 8, 2.2, 0.45)]
        # A smooth maximum: no sharp corners between the parts.
        centre = 4 * np.log(np.sum([np.exp(np.clip(part, -200, 60) / 4) for part in parts], axis=0))
        self.centre = np.asarray(centre + 1.5 * self.noise("mediastinum", 45), np.float32)
        self.lung = np.minimum(self.cavity - 2, -self.centre)

    def oval(self, x: float, y: float, a: float, b: float, power: float = 2.0, turn: float = 0.0) -> Field:
        """Depth in a superellipse of half axes `a`, `b`, measured towards its middle; `turn` in radians."""
        dx, dy = self.x - x, self.y - y
        along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        ratios = np.abs(along / a), np.abs(across / b)
        far = np.hypot(*ratios) if power == 2 else (ratios[0] ** power + ratios[1] ** power) ** (1 / power)
        return np.asarray(np.clip(np.hypot(dx, dy) * (1 / np.maximum(far, 1e-3) - 1), None, min(a, b)), np.float32)

    def edge(self, depth: Field) -> Field:
        """Coverage 0-1 of what lies at positive depth, with an edge of one pixel."""
        return np.asarray(np.clip(depth / self.px + 0.5, 0, 1), np.float32)

    def noise(self, name: str, wavelength: float) -> Field:
        """Unit noise that changes along the body as it does across: neighbouring slices share most of it."""
        turn = 2 * self.z / wavelength
        here, below = (_noise(self.chest, part, wavelength) for part in (name, f"{name} below"))
        return enlarge(np.asarray(math.cos(turn) * here + math.sin(turn) * below), self.shape)

    def tubes(self, tree: list[NDArray[np.float64]], wall: float = 0.0) -> Field:
        """Coverage 0-1 by the pieces of a tree of tubes that lie in the slice; `wall` mm are added to their radii."""
        start, end, radius = tree
        rise = end[:, 2] - start[:, 2]
        faces = np.sort((self.z + np.array([[-0.5], [0.5]]) * SLAB_MM - start[:, 2]) / rise, axis=0).clip(0, 1)
        # The faint first, so that thick ones cover them.
        kept = np.flatnonzero(faces[1] > faces[0])
        kept = kept[np.argsort(radius[kept], kind="stable")]
        cut = [(start + (end - start) * face[:, None])[kept, :2] + self.chest.field / 2 for face in faces]
        ends = [np.rint((part / self.px - 0.5) * 16).astype(int).tolist() for part in cut]
        drawn = np.zeros(self.shape, np.uint8)
        for first, last, wide in zip(*ends, (2 * (radius[kept] + wall) / self.px).tolist(), strict=True):
            cv2.line(drawn, first, last, 255 * min(1.0, wide), max(1, round(wide)), cv2.LINE_AA, 4)
        return np.asarray(drawn / np.float32(255))


def draw_slice(chest: Chest, z: float, size: int, finding: Finding | None = None) -> Slice:
    """Draw the slice of `size` px at one height, `TOP_MM` to `BOTTOM_MM`, of a chest with a finding."""
    plane = Plane(chest, z, FINER * size)
    hu, mass = np.full(plane.shape, AIR, np.float32), np.zeros(plane.shape, np.float32)
    _paint_body(plane, hu)
    _lay(hu, plane.edge(plane.lung), _lung(plane, finding if finding and not finding.subtype else None))
    if finding and finding.subtype:
        mass = _paint_tumour(plane, hu, finding)
    layers = (hu, mass, plane.edge(plane.lung))
    small, tumour, lung = (cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA) for layer in layers)
    # A reconstruction passes no slow waves of noise.
    noise = ndimage.gaussian_filter(chest.rng(f"scan at {z:.3f}").standard_normal(small.shape, dtype=np.float32), 0.7)
    noise -= ndimage.gaussian_filter(noise, 2.2)
    seen = cv2.GaussianBlur(small, (0, 0), chest.blur) + noise * chest.noise / noise.std()
    return Slice(np.clip(seen, LOWEST, HIGHEST).astype(np.float32), tumour > 0.5, lung > 0.5)


def _lay(hu: Field, cover: Field, value: Field | float) -> None:
    """Put a tissue over what is there, where it covers."""
    hu += (value - hu) * cover


def _paint_body(plane: Plane, hu: Field) -> None:
    """Lay the table and the wall of the chest, its bones, and what is between the lungs, each over what was before."""
    chest, x, y, noise, oval, size = plane.chest, plane.x, plane.y, plane.noise, plane.oval, plane.heart
    table, behind, blood = 440 - np.hypot(x, y - chest.depth + 430), plane.back - 11, chest.blood
    # Fat lies thickest on the sides.
    fat = chest.fat * (0.75 + 0.3 * np.cos(np.arctan2(y, x)) ** 2) + 2.5 * noise("fat", 40)
    muscle = np.maximum(plane.body - fat, plane.cavity + 5)
    layers: list[tuple[Field, Field | float]] = [(2.0 - np.abs(table), -180.0), (1.2 - np.abs(table + 14), -180.0)]
    layers += [(plane.body, 10), (plane.body - 2.2, FAT), (muscle, MUSCLE + 14 * noise("muscle", 16))]
    layers += [(np.minimum(1.3 - np.abs(muscle - 9), -plane.cavity - 6), FAT + 40)]
    # Ribs run down and forward: going down the body, a slice meets each of them further to the front.
    turn, phase = np.arctan2(y + 4, np.abs(x)), plane.z / 24 + chest.rng("ribs").random() + (x > 0) * 0.12
    along = 16 * np.maximum(0.35 - np.cos(2 * np.pi * (turn / 0.62 + phase)), 0)
    bones = [np.where((turn < -1.15) | (np.abs(x) < 22), -9, 5.2 - np.hypot(plane.cavity + 7.5, along))]
    bones += [oval(side * 20, behind + 19, 17, 5, 2, side * 0.35) for side in (-1, 1)]
    bones += [oval(1, -plane.axes[1] - 9, 17, 6.5, 2.6), oval(0, behind + 36, 4, 13), oval(0, behind, 18, 15, 2.3)]
    for bone in bones:
        layers += [(bone, CORTEX), (bone - 1.5, MARROW + 45 * noise("marrow", 7))]
    # The canal of the spine, fat between the lungs, aorta and gullet, and the great vessels or the heart.
    space = np.minimum(np.minimum(plane.cavity, plane.centre + 3), -oval(0, behind, 19, 16, 2.3))
    layers += [(oval(0, behind + 20, 9.5, 8), 30), (space, FAT + 25 + 14 * noise("strands", 12))]
    layers += [(oval(25, plane.back - 32, 11.5, 11.5), blood + 8), (oval(6, plane.back - 37, 7, 6), 40)]
    if size < 0.6:
        layers += [
            (oval(*at), blood) for at in ((-13, -24, 14, 14), (12, -22, 13, 11), (6, 4, 34, 9), (-24, -10, 8, 9))
        ]
    if size > 0.15:
        whole = np.minimum(oval(17, -20, 56 * size + 5, 40 * size + 5, 2.2, 0.45), plane.centre - 2)
        layers += [(whole, 62 + 10 * noise("heart", 18))]
        for right, down, a, b in ((18, 5, 23, 15), (-14, -14, 20, 17), (2, 18, 26, 13), (-30, 6, 15, 19)):
            chamber = oval(17 + right * size, -20 + down * size, a * size, b * size, 2, 0.3)
            layers += [(np.minimum(chamber, whole), blood)]
    # The windpipe forks into the main bronchi, which leave for the lungs.
    apart = max(0.0, (plane.lower - 0.22) * 75)
    for side in (-1, 1) if plane.lower < 0.62 else ():
        tube = oval(side * apart - 3, 8 + 0.12 * apart, 7 + 0.15 * apart, 7, 2, side * -0.3)
        layers += [(tube + 1.4, 30), (tube, AIR + 12)]
    for depth, value in layers:
        _lay(hu, plane.edge(depth), value)


def _lung(plane: Plane, pneumonia: Finding | None) -> Field:
    """Air, denser to the back, with vessels, what inflammation fills, and bronchi."""
    x, y, noise, chest = plane.x, plane.y, plane.noise, plane.chest
    behind = np.clip(y / plane.axes[1] / 2 + 0.5, 0, 1) ** 2
    hu = np.asarray(chest.lung + 60 * behind + 11 * noise("lobules", 9) + 13 * noise("lobes", 55), np.float32)
    _lay(hu, plane.tubes(chest.vessels), 45)
    if pneumonia is not None:
        lobar, amount, dense = np.random.default_rng(pneumonia.seed).uniform([0, 0, 0.35], 1).tolist()
        field = noise("infiltrate", 62) + 0.55 * noise("patches", 24) + 0.3 * noise("acini", 9) + 0.6 * amount - 0.6
        far = np.sqrt((x - pneumonia.x) ** 2 + (y - pneumonia.y) ** 2 + (plane.z - pneumonia.z) ** 2) / pneumonia.radius
        outer = 0.9 * np.exp(-np.maximum(plane.lung, 0) / 16) + y / 240
        field += 2.1 * np.exp(-(far**2)) - 0.8 if lobar < 0.45 else outer
        grain = 40 * noise("glass", 7)
        # Vessels drown in consolidation, not in ground glass.
        hu += (330 + grain) / (1 + np.exp(-(field - 0.35) * 5))
        _lay(hu, dense / (1 + np.exp(-(field - 0.95) * 6)), 25 + 0.5 * grain)
    _lay(hu, plane.tubes(chest.airways, 1.1), np.maximum(hu, -60))
    _lay(hu, plane.tubes(chest.airways), AIR + 40)
    return hu


def _paint_tumour(plane: Plane, hu: Field, tumour: Finding) -> Field:
    """Lay a ball with lobes and strands into a slice and give the coverage of its mass, 0-1."""
    rng, (*_, hollow, strands) = np.random.default_rng(tumour.seed), GROWTHS[tumour.subtype]
    dx, dy, dz = plane.x - tumour.x, plane.y - tumour.y, plane.z - tumour.z
    turn, lobes = np.arctan2(dy, dx), np.zeros(plane.shape, np.float32)
    for waves, (phase, high) in enumerate(rng.uniform([0, 0.3], [2 * np.pi, 1], (5, 2)).tolist(), 2):
        lobes += 0.13 * high / waves**0.5 * np.cos(waves * turn + phase + 0.5 * dz / tumour.radius)
    mass = tumour.radius * (1 + lobes) - np.sqrt(dx**2 + dy**2 + dz**2)
    cover, spread = plane.edge(mass) * plane.edge(plane.cavity), 0.28 * np.clip(1 + mass / 9, 0, 1) * (hu < -300)
    for place, reach in rng.uniform([-np.pi, 0.15], [np.pi, 0.7], (strands, 2)).tolist() if cover.any() else ():
        left = 1 + mass / (reach * tumour.radius + 3)
        aside = np.abs((turn - place + np.pi) % (2 * np.pi) - np.pi) * np.hypot(dx, dy)
        spread = np.maximum(spread, plane.edge(left - aside) * (left > 0))
    _lay(hu, spread * plane.edge(plane.lung) * cover.any(), 40)
    _lay(hu, cover, 30 + 0.12 * plane.chest.blood + 12 * plane.noise("tumour", 9))
    _lay(hu, plane.edge(mass - tumour.radius * (1 - hollow) + 2.5 * plane.noise("rind", 14)) * (hollow > 0), -940)
    return cover


@lru_cache(maxsize=64)
def _noise(chest: Chest, name: str, wavelength: float) -> Field:
    return smooth_noise(chest.rng(name), (COARSE, COARSE), wavelength * COARSE / chest.field)
