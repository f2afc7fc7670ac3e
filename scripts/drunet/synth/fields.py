"""Smooth random fields: what every shape and texture of the demo cohort is cut from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], wavelength: float) -> Field:
    """Noise of zero mean and unit deviation, float32 of `shape`, whose waves are about `wavelength` px long."""
    step = max(wavelength / 4.0, 1.0)
    rows, columns = (int(np.ceil(side / step)) + 2 for side in shape)
    # Blurred on the coarse grid, so that no direction of the grid shows.
    coarse = cv2.GaussianBlur(rng.standard_normal((rows, columns), dtype=np.float32), (0, 0), wavelength / 4.0 / step)
    coarse = np.asarray(coarse / max(float(coarse.std()), 1e-6), np.float32)
    size = (round(columns * step), round(rows * step))
    fine = coarse if step == 1.0 else cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    # An offset drawn anew keeps the grids of two fields from lining up.
    top, left = rng.integers(0, int(step) + 1, 2)
    return np.ascontiguousarray(fine[top : top + shape[0], left : left + shape[1]], np.float32)


def octaves(rng: np.random.Generator, shape: tuple[int, int], wavelength: float, count: int = 3) -> Field:
    """A sum of `smooth_noise` over `count` halvings of the wavelength, each at half the weight."""
    field = np.zeros(shape, np.float32)
    for index in range(count):
        field += smooth_noise(rng, shape, wavelength / 2**index) * 0.5**index
    return field


def grain(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Noise without correlation, float32 of `shape`, unit deviation (a rolled bank: drawing 3 Mpx anew is slow)."""
    side = 512
    bank = rng.standard_normal((side, side), dtype=np.float32)
    rows, columns = -(-shape[0] // side), -(-shape[1] // side)
    blocks = [
        [np.roll(bank, rng.integers(0, side, 2), axis=(0, 1))[:: rng.choice((-1, 1))] for _ in range(columns)]
        for _ in range(rows)
    ]
    return np.ascontiguousarray(np.block(blocks)[: shape[0], : shape[1]])


def top_share(field: Field, within: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The `share` (0-1) of the pixels of `within` where `field` is highest."""
    if share <= 0 or not within.any():
        return np.zeros_like(within)
    return within & (field > np.quantile(field[within], 1.0 - min(share, 1.0)))


def inside_distance(mask: NDArray[np.bool_]) -> Field:
    """Distance in px to the border of `mask`: positive inside, negative outside."""
    far = float(sum(mask.shape))
    # OpenCV gives the largest float where there is no border at all.
    inner = np.minimum(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), far)
    outer = np.minimum(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), far)
    return np.asarray(inner - outer, np.float32)


def enlarge(field: Field, shape: tuple[int, int]) -> Field:
    """Resample a coarse field to `shape`."""
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def warp(
    field: Field, shift_y: NDArray[np.floating], shift_x: NDArray[np.floating], border: int = cv2.BORDER_REFLECT
) -> Field:
    """Read `field` at places displaced by (`shift_y`, `shift_x`) px."""
    rows, columns = np.indices(field.shape, np.float32)
    return np.asarray(cv2.remap(field, columns + shift_x, rows + shift_y, cv2.INTER_LINEAR, borderMode=border))


def walls(rng: np.random.Generator, shape: tuple[int, int], pitch: float, bend: float, merge: float = 0.0) -> Field:
    """Distance in px to the walls of a network of irregular rooms.

    Rooms are the Voronoi cells of a jittered lattice of `pitch` px, bent by noise of `bend` px; the share `merge` of
    them is joined to a neighbour. Walls are one pixel wide before a threshold on the distance thickens them.
    """
    seeds = lattice(rng, shape, pitch, 0.42)
    empty = np.ones(shape, np.uint8)
    empty[seeds[:, 0].astype(int), seeds[:, 1].astype(int)] = 0
    _, rooms = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    names = np.arange(rooms.max() + 1)
    joined = rng.random(names.size) < merge
    names[1:][joined[1:]] = names[:-1][joined[1:]]
    rooms = names[rooms].astype(np.float32)
    shift = [smooth_noise(rng, shape, pitch * 0.8) * bend for _ in range(2)]
    rows, columns = np.indices(shape, np.float32)
    rooms = cv2.remap(rooms, columns + shift[1], rows + shift[0], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    edge = np.zeros(shape, bool)
    edge[:, 1:] |= rooms[:, 1:] != rooms[:, :-1]
    edge[1:] |= rooms[1:] != rooms[:-1]
    return np.asarray(cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def lattice(rng: np.random.Generator, shape: tuple[int, int], pitch: float, jitter: float) -> Field:
    """Points (n, 2) as (y, x) px on a hexagonal lattice of `pitch`, each displaced by up to `jitter` pitches."""
    ys, xs = np.mgrid[0 : shape[0] : pitch * 0.866, 0 : shape[1] : pitch]
    xs[1::2] += pitch / 2
    points = np.stack([ys.ravel(), xs.ravel()], 1) + rng.uniform(-jitter, jitter, (ys.size, 2)) * pitch
    kept = (points >= 0).all(1) & (points[:, 0] <= shape[0] - 1) & (points[:, 1] <= shape[1] - 1)
    return np.asarray(points[kept], np.float32)
