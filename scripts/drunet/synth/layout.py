"""Where which tissue lies on a demo slide, before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.components import filter_components
from drunet.synth.fields import octaves, smooth_noise, top_share

LAYOUT_MPP = 2.0
MIN_TUMOUR_UM2 = 1500.0


class Kind(IntEnum):
    """Tissue kinds, in the order in which one covers the other."""

    GLASS = 0
    STROMA = 1
    ALVEOLI = 2
    FAT = 3
    EPITHELIUM = 4
    IMMUNE = 5
    VESSEL = 6
    TUMOUR = 7
    NECROSIS = 8


@dataclass(frozen=True)
class Shares:
    """How much of a slide each tissue takes; all in 0-1.

    `tissue` is of the slide, `tumour` of the tissue, `necrosis` of the tumour, the others of the tissue that is left;
    what remains is stroma. `epithelium` is normal or reactive, not tumour.
    """

    tissue: float = 0.66
    tumour: float = 0.32
    necrosis: float = 0.08
    alveoli: float = 0.22
    fat: float = 0.0
    epithelium: float = 0.22
    immune: float = 0.14


@dataclass(frozen=True)
class Vessel:
    """A vessel cut across: centre and radius in µm, wall as a share of the radius, flattening and angle."""

    y: float
    x: float
    radius: float
    wall: float
    flattening: float
    angle: float


@dataclass(frozen=True)
class Layout:
    """A slide's plan at `LAYOUT_MPP`.

    Attributes
    ----------
    kinds : uint8 (h, w)
        `Kind` of each pixel.
    tumour : bool (h, w)
        The outline a pathologist would draw: nests with the thin stroma between them, islands, necrosis left out.
    vessels : tuple of Vessel
    punches : tuple of (y, x, radius)
        Cores taken for a tissue microarray, µm.
    """

    kinds: NDArray[np.uint8]
    tumour: NDArray[np.bool_]
    vessels: tuple[Vessel, ...]
    punches: tuple[tuple[float, float, float], ...]


def _radial(shape: tuple[int, int], y: float, x: float, ry: float, rx: float) -> NDArray[np.float32]:
    rows, columns = (np.arange(side, dtype=np.float32) for side in shape)
    return np.asarray(np.sqrt(((rows - y) / ry)[:, None] ** 2 + ((columns - x) / rx)[None] ** 2), np.float32)


def _without_specks(mask: NDArray[np.bool_], smallest_um2: float) -> NDArray[np.bool_]:
    return filter_components(mask, min_area=smallest_um2 / LAYOUT_MPP**2, connectivity=4)


def _smoothed(mask: NDArray[np.bool_], sigma_um: float) -> NDArray[np.bool_]:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_um / LAYOUT_MPP) > 0.5)


def _tissue(rng: np.random.Generator, shape: tuple[int, int], share: float) -> NDArray[np.bool_]:
    height, width = shape
    y, x = height * rng.uniform(0.46, 0.54), width * rng.uniform(0.46, 0.54)
    field = -(_radial(shape, y, x, height * 0.5, width * 0.5) ** 2)
    field += 0.16 * octaves(rng, shape, 500 / LAYOUT_MPP, 4) + 0.02 * smooth_noise(rng, shape, 24 / LAYOUT_MPP)
    # Glass on all sides: the tissue falls off towards the rim of the slide.
    rows, columns = np.ogrid[:height, :width]
    rim = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns))
    margin = (120 + 50 * smooth_noise(rng, shape, 400 / LAYOUT_MPP)) / LAYOUT_MPP
    field -= np.clip(1.0 - rim / np.maximum(margin, 30 / LAYOUT_MPP), 0, None) * 1.2
    mask = top_share(field, np.ones(shape, bool), share)
    return _without_specks(mask, 4000.0)


def _tumour(
    rng: np.random.Generator, tissue: NDArray[np.bool_], share: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Invasive front from noise on a few masses, and islands ahead of it; also the field the masses come from."""
    shape = tissue.shape
    inside = cv2.distanceTransform(tissue.astype(np.uint8), cv2.DIST_L2, 5) * LAYOUT_MPP
    centres = np.argwhere(inside > min(160.0, inside.max() * 0.8))
    field = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(2, 4))):
        y, x = centres[rng.integers(len(centres))]
        radius = rng.uniform(200, 380) / LAYOUT_MPP
        field += np.exp(-0.5 * _radial(shape, y, x, radius, radius * rng.uniform(0.7, 1.4)) ** 2)
    field += 0.14 * octaves(rng, shape, 320 / LAYOUT_MPP, 3)
    mask = top_share(field, tissue & (inside > 12), share * 0.94)
    mask = _without_specks(_smoothed(mask, 16.0), 12000.0)
    ahead = -cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) * LAYOUT_MPP
    places = np.argwhere((ahead < -55) & (ahead > -230) & (inside > 60))
    islands = np.zeros(shape, np.float32)
    for _ in range(int(share * 18)):
        if len(places):
            y, x = places[rng.integers(len(places))]
            radius = rng.uniform(40, 72) / LAYOUT_MPP
            islands = np.maximum(islands, 1.5 - _radial(shape, y, x, radius * rng.uniform(0.7, 1.3), radius))
    mask |= (islands + 0.14 * smooth_noise(rng, shape, 40 / LAYOUT_MPP) > 0.5) & tissue & (inside > 20)
    return _without_specks(_smoothed(mask, 4.0) & tissue, MIN_TUMOUR_UM2), field


def _vessels(rng: np.random.Generator, free: NDArray[np.bool_], count: int) -> list[Vessel]:
    placed: list[Vessel] = []
    room = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5) * LAYOUT_MPP
    for index in range(count):
        # The first ones are large enough for a region to be drawn round them.
        radius = rng.uniform(60, 95) if index < 3 else rng.uniform(16, 42)
        radius = min(radius, float(room.max()) * 0.8)
        places = np.argwhere(room > radius * 1.15)
        if radius < 12 or not len(places):
            break
        y, x = places[rng.integers(len(places))]
        vessel = Vessel(
            y * LAYOUT_MPP,
            x * LAYOUT_MPP,
            radius,
            rng.uniform(0.22, 0.42),
            rng.uniform(0.62, 1.0),
            rng.uniform(0, 3.14),
        )
        placed.append(vessel)
        taken = _radial(free.shape, y, x, 1, 1) * LAYOUT_MPP - radius * 1.3
        room = np.minimum(room, np.clip(taken, 0, None))
    return placed


def _punches(rng: np.random.Generator, tumour: NDArray[np.bool_], count: int) -> list[tuple[float, float, float]]:
    """Places for punched-out cores: where tumour is deep, as cores are taken from it."""
    punches: list[tuple[float, float, float]] = []
    depth = cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5) * LAYOUT_MPP
    for _ in range(count):
        radius = rng.uniform(95, 125)
        y, x = divmod(int(np.argmax(depth * rng.uniform(0.8, 1.0, depth.shape))), depth.shape[1])
        punches.append((y * LAYOUT_MPP, x * LAYOUT_MPP, radius))
        depth = np.minimum(depth, np.clip(_radial(depth.shape, y, x, 1, 1) * LAYOUT_MPP - 2.2 * radius, 0, None))
    return punches


def plan(
    rng: np.random.Generator, height_um: float, width_um: float, shares: Shares, vessels: int = 14, punches: int = 0
) -> Layout:
    """Lay out one slide.

    Parameters
    ----------
    rng : numpy Generator
    height_um, width_um : float
        Size of the slide, µm.
    shares : Shares
        How much of each tissue.
    vessels, punches : int
        How many vessels to try to place, and how many cores to punch out.

    Returns
    -------
    Layout
    """
    shape = (round(height_um / LAYOUT_MPP), round(width_um / LAYOUT_MPP))
    tissue = _tissue(rng, shape, shares.tissue)
    tumour, field = np.zeros(shape, bool), octaves(rng, shape, 150)
    necrosis = np.zeros(shape, bool)
    if shares.tumour > 0:
        tumour, field = _tumour(rng, tissue, shares.tumour)
        deep = cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5) * LAYOUT_MPP > 36
        rough = field + 0.12 * octaves(rng, shape, 90 / LAYOUT_MPP, 2)
        necrosis = _smoothed(top_share(rough, deep, shares.necrosis * tumour.sum() / max(deep.sum(), 1)), 6.0)
        necrosis = _without_specks(necrosis & tumour, 4000.0)
        tumour &= ~necrosis
    holes = _punches(rng, tumour | necrosis, punches)
    for y, x, radius in holes:
        core = _radial(shape, y / LAYOUT_MPP, x / LAYOUT_MPP, 1, 1) * LAYOUT_MPP < radius
        tissue, tumour, necrosis = tissue & ~core, tumour & ~core, necrosis & ~core
    tumour = _without_specks(tumour, MIN_TUMOUR_UM2)
    free = tissue & ~tumour & ~necrosis
    kinds = np.where(tissue, np.uint8(Kind.STROMA), np.uint8(Kind.GLASS))
    left = float(free.sum())
    for kind, share, wavelength in (
        (Kind.ALVEOLI, shares.alveoli, 620),
        (Kind.FAT, shares.fat, 560),
        (Kind.EPITHELIUM, shares.epithelium, 420),
        (Kind.IMMUNE, shares.immune, 230),
    ):
        # A tissue that the organ lacks draws no noise, so that it leaves the slides of other organs as they are.
        if share <= 0:
            continue
        available = free & (kinds == Kind.STROMA)
        noise = octaves(rng, shape, wavelength / LAYOUT_MPP, 3)
        chosen = top_share(noise, available, share * left / max(float(available.sum()), 1.0))
        kinds[_without_specks(chosen, 2500.0)] = kind
    rings = _vessels(rng, free & (kinds != Kind.IMMUNE), vessels)
    for ring in rings:
        across = _radial(shape, ring.y / LAYOUT_MPP, ring.x / LAYOUT_MPP, 1, 1) * LAYOUT_MPP < ring.radius
        kinds[across & free] = Kind.VESSEL
    kinds[tumour] = Kind.TUMOUR
    kinds[necrosis] = Kind.NECROSIS
    return Layout(kinds, tumour, tuple(rings), tuple(holes))
