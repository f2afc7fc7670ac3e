"""Glands of any outline, and rows of nuclei that stand along their walls."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.synth.canvas import Canvas
from drunet.synth.fields import Field, lattice
from drunet.synth.nuclei import Bank, Body, stamp


@dataclass(frozen=True)
class Glands:
    """Where glands lie.

    Attributes
    ----------
    depth : float32 (h, w)
        Distance in µm to the basement membrane, positive inside a gland.
    across : float32 (h, w)
        Direction across the wall, radians from the x axis.
    """

    depth: Field
    across: Field

    @classmethod
    def of(cls, canvas: Canvas, depth: Field) -> Glands:
        """Glands of a given depth; the direction follows from its gradient."""
        smooth = cv2.GaussianBlur(depth, (0, 0), 2.0 / canvas.mpp)
        dy, dx = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=5), cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=5)
        return cls(depth, np.asarray(cv2.phase(dx, dy), np.float32))


def round_glands(
    canvas: Canvas,
    pitch: float,
    jitter: float,
    radius: tuple[float, float],
    flattening: tuple[float, float],
    bend: float,
    gap: float,
    aligned: bool = False,
) -> Glands:
    """Glands round the points of a turned hexagonal lattice.

    Parameters
    ----------
    canvas : Canvas
    pitch, jitter : float
        Spacing in µm; displacement in pitches.
    radius, flattening : (low, high)
        Of each gland: half the long axis in µm, and the short axis over the long one.
    bend : float
        How far noise bends the outlines, µm.
    gap : float
        Least stroma between two glands that would touch, µm.
    aligned : bool
        All long axes point one way, as where crypts are cut at one angle.

    Returns
    -------
    Glands
    """
    rng = canvas.rng
    rows, columns = (axis * np.float32(canvas.mpp) for axis in np.indices(canvas.shape, np.float32))
    rows += bend * canvas.noise(42)
    columns += bend * canvas.noise(42)
    nearest, second = np.full(canvas.shape, -1e3, np.float32), np.full(canvas.shape, -1e3, np.float32)
    common = rng.uniform(0, np.pi)
    for y, x in _centres(canvas, pitch, jitter, reach=radius[1]):
        long = rng.uniform(*radius)
        short = long * rng.uniform(*flattening)
        angle = common if aligned else rng.uniform(0, np.pi)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        depth = np.asarray((1 - np.hypot(u / long, v / short)) * np.sqrt(long * short), np.float32)
        second = np.maximum(second, np.minimum(nearest, depth))
        nearest = np.maximum(nearest, depth)
    return Glands.of(canvas, np.minimum(nearest, (nearest - second - np.float32(gap)) / 2))


def paint_row(
    canvas: Canvas,
    glands: Glands,
    depth_um: float,
    body: Body,
    pitch_um: float,
    chance: float,
    *,
    wander: float = 0.5,
    along: bool = False,
    layer: Field | None = None,
) -> None:
    """Stamp bodies in a row that follows the wall at one depth.

    `chance` is the probability of each, `wander` the deviation of its place in µm; bodies stand across the wall, or lie
    `along` it; `layer` is what they are stamped on (nuclei, if None).
    """
    deep = (glands.depth > depth_um).astype(np.uint8)
    outlines, _ = cv2.findContours(deep, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    places = [_spaced(canvas.rng, outline[:, 0, ::-1], pitch_um / canvas.mpp) for outline in outlines]
    points = np.concatenate(places) if places else np.zeros((0, 2))
    points = points[canvas.rng.random(len(points)) < chance]
    y, x = points.astype(np.int64).T
    angles = glands.across[y, x] + (np.pi / 2 if along else 0.0) + canvas.rng.normal(0, 0.15, len(points))
    moved = points + canvas.rng.normal(0, wander / canvas.mpp, points.shape)
    line(canvas, moved, angles, body, layer)


def line(
    canvas: Canvas, points: NDArray[np.floating], angles: NDArray[np.floating], body: Body, layer: Field | None = None
) -> None:
    """Stamp bodies at given places (n, 2) as (y, x) px and angles (n,), radians."""
    bank = Bank.of(canvas.rng, body, canvas.mpp)
    chosen = bank.choose(canvas.rng, np.asarray(angles, np.float32))
    density, cover = (canvas.nuclear, canvas.cover) if layer is None else (layer, canvas.scratch)
    stamp(density, cover, np.asarray(points, np.float32), bank, chosen)


def _centres(canvas: Canvas, pitch: float, jitter: float, reach: float) -> NDArray[np.float64]:
    """Points (n, 2) as (y, x) µm of a lattice turned and shifted at random, as far as `reach` beyond the canvas."""
    rng = canvas.rng
    extent = np.asarray(canvas.shape) * canvas.mpp
    half = float(np.hypot(*extent)) / 2 + pitch + reach
    points = lattice(rng, (int(2 * half) + 1, int(2 * half) + 1), pitch, jitter) - half + rng.uniform(0, pitch, 2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points @ turn.T + extent / 2
    return np.asarray(points[((points > -reach) & (points < extent + reach)).all(1)])


def _spaced(rng: np.random.Generator, outline: NDArray[np.number], pitch: float) -> NDArray[np.float64]:
    """Points of a closed outline (n, 2), about `pitch` px apart from a random start; none on a tiny one."""
    steps = np.hypot(*np.diff(outline, axis=0, append=outline[:1]).T)
    count = int(steps.sum() // pitch)
    if count < 2:
        return np.zeros((0, 2))
    at = (np.arange(count) + rng.uniform()) * steps.sum() / count
    return np.asarray(outline[np.searchsorted(np.cumsum(steps), at) % len(outline)], np.float64)
