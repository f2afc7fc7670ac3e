"""Where which tissue lies on a demo slide, before anything is painted."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet_demo.fields import Field, Mask, enlarge, inside_distance, smooth_noise, top_share

LAYOUT_MPP = 2.0
Kind = IntEnum(
    "Kind", ["GLASS", "STROMA", "ALVEOLI", "FAT", "EPITHELIUM", "IMMUNE", "VESSEL", "TUMOUR", "NECROSIS"], start=0
)
# Wavelengths of the patches of tissues, µm.
PATCHES = {Kind.ALVEOLI: 620, Kind.FAT: 560, Kind.EPITHELIUM: 420, Kind.IMMUNE: 230}


class Layout(NamedTuple):
    """A slide's plan at `LAYOUT_MPP`: `Kind` of each pixel, uint8 (h, w), and the tumour's outline, bool (h, w).

    The outline is what a pathologist would draw: nests with the thin stroma between them, islands, necrosis left out.
    `punches` are cores taken for a tissue microarray: (y, x, radius) in µm.
    """

    kinds: NDArray[np.uint8]
    tumour: Mask
    punches: list[tuple[float, float, float]]


def plan(
    rng: np.random.Generator, shape: tuple[int, int], tumour: float, shares: Mapping[Kind, float], punches: int
) -> Layout:
    """Lay out one slide of `shape`, px of `LAYOUT_MPP`.

    `tumour` is a share of the tissue; of `shares`, that of glass is of the slide, of necrosis of the tumour, all others
    of the tissue that is left. What remains is stroma.
    """
    rows, columns = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    rim = np.clip(1 - _depth(np.pad(np.ones((shape[0] - 2, shape[1] - 2), bool), 1)) / 130, 0, None)
    field = 0.16 * smooth_noise(rng, shape, 250, 4) + 0.02 * smooth_noise(rng, shape, 12) - rows**2 - columns**2 - rim
    tissue = _pieces(top_share(field, rim < 1, 1 - shares[Kind.GLASS]), 4000.0)
    mass, centre = _tumour(rng, tissue, tumour)
    necrosis = top_share(centre + 0.12 * smooth_noise(rng, shape, 45, 2), _depth(mass) > 36, shares[Kind.NECROSIS])
    necrosis = _pieces(_smoothed(necrosis, 6.0), 4000.0) & mass
    holes, room = [], _depth(mass)
    for _ in range(punches):
        y, x = divmod(int(np.argmax(room * rng.uniform(0.8, 1.0, shape))), shape[1])
        holes.append((y * LAYOUT_MPP, x * LAYOUT_MPP, rng.uniform(95, 125)))
        tissue &= _far(shape, y, x) > holes[-1][2]
        room *= _far(shape, y, x) > 2.2 * holes[-1][2]
    necrosis &= tissue
    mass = _pieces(mass & tissue & ~necrosis, 1500.0)
    free = tissue & ~mass & ~necrosis
    kinds = np.where(tissue, np.uint8(Kind.STROMA), np.uint8(Kind.GLASS))
    for kind, wavelength in PATCHES.items():
        stroma = free & (kinds == Kind.STROMA)
        patches = smooth_noise(rng, shape, wavelength / LAYOUT_MPP, 3)
        kinds[_pieces(top_share(patches, stroma, shares.get(kind, 0) * free.sum() / max(stroma.sum(), 1)), 2500)] = kind
    room = _depth(free & (kinds != Kind.IMMUNE))
    for index in range(round(shares[Kind.VESSEL] * free.sum() * LAYOUT_MPP**2 / 7000)):
        # The first ones are large enough for a region to be drawn round them.
        radius = min(rng.uniform(60, 95) if index < 3 else rng.uniform(16, 42), 0.85 * float(room.max()))
        if radius < 12:
            break
        y, x = rng.choice(np.argwhere(room > radius * 1.15))
        kinds[_far(shape, y, x, rng.uniform(0.7, 1.4)) < radius] = Kind.VESSEL
        room = np.minimum(room, _far(shape, y, x) - 1.4 * radius)
    kinds[mass], kinds[necrosis] = Kind.TUMOUR, Kind.NECROSIS
    return Layout(kinds, mass, holes)


def at_full_size(
    rng: np.random.Generator, layout: Layout, shape: tuple[int, int], mpp: float
) -> tuple[NDArray[np.uint8], Field]:
    """Kinds at `shape` with roughened borders, and the depth in the tumour in µm, whose outline stays as it is."""
    outline = enlarge(inside_distance(layout.tumour) * np.float32(LAYOUT_MPP), shape)
    rough = [2.2 * smooth_noise(rng, shape, 34 / mpp) + 0.9 * smooth_noise(rng, shape, 11 / mpp) for _ in range(2)]
    y, x = np.indices(shape, np.float32) * np.float32(mpp / LAYOUT_MPP) + np.stack(rough)
    kinds = cv2.remap(layout.kinds, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    kinds = cv2.medianBlur(kinds, 2 * round(LAYOUT_MPP / mpp) + 1)
    kinds[(kinds == Kind.TUMOUR) & (outline <= 0)] = Kind.STROMA
    kinds[outline > 0] = Kind.TUMOUR
    rows, columns = (np.arange(side) * mpp for side in shape)
    for y, x, radius in layout.punches:
        kinds[np.hypot((rows - y)[:, None], columns - x) < radius] = Kind.GLASS
    return np.asarray(kinds), outline


def _tumour(rng: np.random.Generator, tissue: Mask, share: float) -> tuple[Mask, Field]:
    """A few masses with an invasive front, and islands ahead of it; also the field that the masses come from."""
    inside, field = _depth(tissue), 0.14 * smooth_noise(rng, tissue.shape, 160, 3)
    for y, x in rng.choice(np.argwhere(inside > 0.6 * inside.max()), int(rng.integers(2, 4))):
        field += np.exp(-0.5 * (_far(tissue.shape, y, x, rng.uniform(0.7, 1.4)) / rng.uniform(200, 380)) ** 2)
    mass = _pieces(_smoothed(top_share(field, inside > 12, share * 0.94), 16.0), 12000.0)
    ahead = (np.abs(inside_distance(mass) + 70) < 44) & (inside > 20)
    mass |= _smoothed(top_share(smooth_noise(rng, tissue.shape, 80), ahead, 0.12 * mass.any()), 6.0)
    return _pieces(mass & tissue, 1500.0), field


def _depth(mask: Mask) -> Field:
    return np.maximum(inside_distance(mask), 0) * np.float32(LAYOUT_MPP)


def _far(shape: tuple[int, int], y: float, x: float, wide: float = 1.0) -> Field:
    """Distance in µm from a pixel."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - y, (columns - x) / wide) * LAYOUT_MPP, np.float32)


def _pieces(mask: Mask, smallest_um2: float) -> Mask:
    """A mask without its small pieces."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return np.asarray((stats[:, cv2.CC_STAT_AREA] * LAYOUT_MPP**2 >= smallest_um2)[labels] & mask)


def _smoothed(mask: Mask, sigma_um: float) -> Mask:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_um / LAYOUT_MPP) > 0.5)
