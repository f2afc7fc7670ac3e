"""Smooth random fields, from which every shape and texture of the drawn pictures is cut."""

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
Mask = NDArray[np.bool_]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], wavelength: float, octaves: int = 1) -> Field:
    """Noise of zero mean, float32 of `shape`, whose waves are about `wavelength` px long.

    Of unit deviation; further `octaves`, each of half the wavelength and half the weight, add to it.
    """
    step = max(wavelength / 4.0, 1.0)
    rows, columns = (int(np.ceil(side / step)) + 2 for side in shape)
    # Blurred on the coarse grid, so that no direction of the grid shows.
    coarse = cv2.GaussianBlur(rng.standard_normal((rows, columns), dtype=np.float32), (0, 0), wavelength / 4.0 / step)
    fine = enlarge(
        coarse / np.maximum(np.std(coarse), 1e-6), (round(rows * step), round(columns * step)), cv2.INTER_CUBIC
    )
    # A random offset keeps the grids of two fields from lining up.
    top, left = rng.integers(0, int(step) + 1, 2)
    field = np.ascontiguousarray(fine[top : top + shape[0], left : left + shape[1]])
    return field + smooth_noise(rng, shape, wavelength / 2, octaves - 1) / 2 if octaves > 1 else field


def top_share(field: Field, within: Mask, share: float) -> Mask:
    """The `share` (0-1) of the pixels of `within` where `field` is highest."""
    if share <= 0 or not within.any():
        return np.zeros_like(within)
    return within & (field > np.quantile(field[within], 1.0 - min(share, 1.0)))


def inside_distance(mask: Mask) -> Field:
    """Distance in px to the border of `mask`: positive inside, negative outside; finite without a border."""
    sides = [cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask)]
    inner, outer = (np.minimum(side, np.float32(sum(mask.shape))) for side in sides)
    return np.asarray(inner - outer)


def enlarge(field: Field, shape: tuple[int, int], how: int = cv2.INTER_LINEAR) -> Field:
    """Resample a coarse field to `shape`."""
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=how), np.float32)


def lattice(rng: np.random.Generator, shape: tuple[int, int], pitch: float, jitter: float) -> Field:
    """Points (n, 2) as (y, x) px on a hexagonal lattice of `pitch`, each displaced by up to `jitter` pitches."""
    ys, xs = np.mgrid[0 : shape[0] : pitch * 0.866, 0 : shape[1] : pitch]
    xs[1::2] += pitch / 2
    points = np.stack([ys.ravel(), xs.ravel()], 1) + rng.uniform(-jitter, jitter, (ys.size, 2)) * pitch
    return np.asarray(points[(points >= 0).all(1) & (points <= np.array(shape) - 1).all(1)], np.float32)


def rooms(shape: tuple[int, int], seeds: Field, bend: Field | None = None) -> tuple[NDArray[np.int32], Field, Field]:
    """Voronoi cells of `seeds` (n, 2) as (y, x) px, bent by displacements `bend` (2, h, w) in px.

    Returns the number of each pixel's cell, and its distance to the nearest wall and to the cell's seed, px.
    """
    empty = np.ones(shape, np.uint8)
    empty[tuple(seeds.astype(int).T)] = 0
    far, cell = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    if bend is not None:
        y, x = np.indices(shape, np.float32) + bend
        cell = cv2.remap(cell.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        far = cv2.remap(far, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    inner = np.ones(shape, np.uint8)
    inner[:, 1:] &= cell[:, 1:] == cell[:, :-1]
    inner[1:] &= cell[1:] == cell[:-1]
    wall = np.minimum(cv2.distanceTransform(inner, cv2.DIST_L2, 5), np.float32(sum(shape)))
    return np.asarray(cell, np.int32), wall, np.asarray(far)
