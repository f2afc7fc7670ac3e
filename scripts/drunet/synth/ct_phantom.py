"""An axial slice of a drawn chest, in Hounsfield units.

Everything is drawn `FINER` times finer than it is kept and reduced by area, so that edges are as blurred as a voxel of
two tissues makes them. What is at a height of a patient's chest follows from the patient's seed: neighbouring slices
look alike, as a scanner's do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drunet.synth.ct_anatomy import BOTTOM_MM, TOP_MM, Anatomy, Chest, Segments, airways, vessels
from drunet.synth.ct_findings import Pneumonia, Tumour
from drunet.synth.fields import Field

FINER = 2
SLAB_MM = 5.0
# What a scanner stores: twelve bits above its lowest value.
LOWEST, HIGHEST = -1024.0, 3071.0
AIR, FAT, MUSCLE, SKIN, MARROW, CORTEX, WALL = -1000.0, -105.0, 55.0, 10.0, 230.0, 850.0, -60.0


@dataclass(frozen=True)
class Slice:
    """A drawn slice.

    Attributes
    ----------
    hu : float32 (n, n)
        Hounsfield units from `LOWEST` to `HIGHEST`.
    tumour : bool (n, n)
        The tumour's mass, without its spicules and nodes; nowhere, where there is none.
    lung : bool (n, n)
        The lungs, whatever fills them.
    """

    hu: Field
    tumour: NDArray[np.bool_]
    lung: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Extent of the tumour as pixel edges xmin, ymin, xmax, ymax; None where the slice shows none."""
        if not self.tumour.any():
            return None
        rows, columns = np.flatnonzero(self.tumour.any(axis=1)), np.flatnonzero(self.tumour.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def draw_slice(anatomy: Anatomy, z: float, size: int, finding: Tumour | Pneumonia | None = None) -> Slice:
    """Draw the slice at one height of a patient's chest.

    Parameters
    ----------
    anatomy : Anatomy
    z : float
        Height, `TOP_MM` to `BOTTOM_MM`, increasing to the feet.
    size : int
        Side of the picture, px.
    finding : Tumour or Pneumonia, optional
        What is wrong with the patient; it may lie above or below the slice.

    Raises
    ------
    ValueError
        The height is outside the chest, or the picture smaller than 32 px.
    """
    if not TOP_MM <= z <= BOTTOM_MM or size < 32:
        raise ValueError(f"needs a height of {TOP_MM} to {BOTTOM_MM} mm and at least 32 px, got {z} and {size}")
    chest = Chest(anatomy, z, FINER * size)
    hu = _shell(chest)
    _paint_bones(chest, hu)
    _paint_mediastinum(chest, hu)
    lung = _lungs(chest)
    mass = np.zeros(chest.shape, np.float32)
    if isinstance(finding, Pneumonia):
        lung = finding.fill(chest, lung)
    _paint_airways(chest, lung)
    # The lungs' edge lies on the pleura.
    within = chest.edge(chest.lung)
    hu += (lung - hu) * within
    if isinstance(finding, Tumour):
        mass = finding.grow(chest, hu)
    _paint_windpipe(chest, hu)
    small = np.asarray(cv2.resize(hu, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    tumour = cv2.resize(mass, (size, size), interpolation=cv2.INTER_AREA) > 0.5
    inside = cv2.resize(within, (size, size), interpolation=cv2.INTER_AREA) > 0.5
    return Slice(_scan(anatomy, z, small), np.asarray(tumour), np.asarray(inside))


def _shell(chest: Chest) -> Field:
    """Air, table, skin, fat, and the muscles between fat and ribs."""
    own = chest.anatomy
    hu = np.full(chest.shape, AIR, np.float32)
    _lay(hu, chest.edge(_table(chest)), -180)
    _lay(hu, chest.edge(chest.body), SKIN)
    # Fat lies thickest on the sides, and hardly any on the spine.
    turn = np.arctan2(chest.y / own.depth, chest.x / own.width)
    fat = own.fat * (0.75 + 0.3 * np.cos(turn) ** 2 - 0.35 * np.exp(-np.square((turn - np.pi / 2) / 0.3)))
    fat = fat + 2.5 * own.drift("fat", 40, chest.z, chest.shape)
    _lay(hu, chest.edge(chest.body - 2.2), FAT + 12 * own.ripple("septa", 14, chest.shape))
    muscle = np.maximum(chest.body - fat, chest.cavity + 5)
    grain = 14 * own.drift("muscle", 16, chest.z, chest.shape)
    _lay(hu, chest.edge(muscle), MUSCLE + grain)
    # Seams of fat part the muscles of back and chest.
    seam = 1.3 - np.abs(muscle - own.muscle * 0.55 - 2 * own.ripple("seam", 50, chest.shape))
    _lay(hu, chest.edge(np.minimum(seam, -chest.cavity - 6)), FAT + 40)
    return hu


def _table(chest: Chest) -> Field:
    """Depth in the shell of the table, a shallow trough below the back."""
    own = chest.anatomy
    far = np.hypot(chest.x, chest.y - (own.depth - 430)) - 430
    sheets = [2.0 - np.abs(far - own.table), 1.6 - np.abs(far * 1.5 - own.table - 22)]
    return np.asarray(np.minimum(np.maximum(*sheets), 195 - np.abs(chest.x)), np.float32)


def _paint_bones(chest: Chest, hu: Field) -> None:
    """Ribs, sternum, shoulder blades, and the vertebra with its canal and processes."""
    own = chest.anatomy
    turn = np.arctan2(chest.y + 4, np.abs(chest.x))
    # Ribs run down and forward: going down the body, a slice meets each of them further to the front.
    phase = chest.z / 24 + own.rng("ribs").uniform(0, 1) + (chest.x > 0) * 0.12
    along = 16 * np.maximum(0.35 - np.cos(2 * np.pi * (turn / 0.62 + phase)), 0)
    ribs = 5.2 - np.hypot(chest.cavity + 7.5, along)
    ribs = np.where((turn < -1.15) | (np.abs(chest.x) < 22), np.float32(-9), ribs)
    _lay_bone(chest, hu, np.asarray(ribs, np.float32), 1.5, MARROW)
    sternum = chest.oval(1, -chest.axes[1] - 9, 17, 6.5, 2.6)
    _lay_bone(chest, hu, sternum, 1.4, MARROW - 60)
    if chest.lower < 0.45:
        for side in (-1, 1):
            blade = chest.oval(side * 0.66 * own.width, 0.60 * own.depth, 34 * (1 - chest.lower), 3.6, 2, side * -0.75)
            _lay_bone(chest, hu, np.minimum(blade, -chest.cavity - 13), 1.5, MARROW)
    behind = chest.back - 11
    for side in (-1, 1):
        _lay_bone(chest, hu, chest.oval(side * 20, behind + 19, 17, 5, 2, side * 0.35), 1.5, MARROW - 20)
        _lay_bone(chest, hu, chest.oval(side * 11, behind + 27, 14, 3.8, 2, side * 0.85), 1.5, MARROW)
    _lay_bone(chest, hu, chest.oval(0, behind + 36, 4, 13), 1.4, MARROW)
    _lay_bone(chest, hu, chest.oval(0, behind, 18, 15, 2.3), 1.6, MARROW)
    _lay(hu, chest.edge(chest.oval(0, behind + 20, 9.5, 8.0)), 30)


def _lay_bone(chest: Chest, hu: Field, depth: Field, rind: float, inside: float) -> None:
    """Lay a bone: a hard rind over spongy marrow."""
    _lay(hu, chest.edge(depth), CORTEX)
    spongy = inside + 45 * chest.anatomy.drift("marrow", 7, chest.z, chest.shape)
    _lay(hu, chest.edge(depth - rind), spongy)


def _paint_mediastinum(chest: Chest, hu: Field) -> None:
    """Fat between the lungs, and in it the heart or the great vessels, the aorta and the gullet."""
    own, low = chest.anatomy, chest.lower
    space = np.minimum(chest.cavity, chest.centre + 3)
    bone = chest.oval(0, chest.back - 11, 19, 16, 2.3)
    space = np.minimum(space, -bone)
    _lay(hu, chest.edge(space), FAT + 25 + 14 * own.drift("strands", 12, chest.z, chest.shape))
    blood = own.blood + 4 * own.drift("blood", 20, chest.z, chest.shape)
    _lay(hu, chest.edge(chest.oval(*chest.aorta_at, 11.5, 11.5)), blood + 8)
    size = own.heart * float(np.clip((low - 0.3) / 0.4, 0, 1))
    if size < 0.6:
        _lay(hu, chest.edge(chest.oval(-13, -24, 14.5, 14.5)), blood + 8)
        _lay(hu, chest.edge(chest.oval(12, -22, 13, 11)), blood + 16)
        _lay(hu, chest.edge(chest.oval(6, 4, 34, 9, 2.4, -0.12)), blood + 12)
        _lay(hu, chest.edge(chest.oval(-24, -10, 8.5, 9.5)), blood - 12)
    if size > 0.15:
        # Muscle of the heart around its chambers, the left one thick.
        shape = chest.oval(*chest.heart_at, 56 * size + 5, 40 * size + 5, 2.2, 0.45)
        _lay(
            hu, chest.edge(np.minimum(shape, chest.centre - 2)), 62 + 10 * own.drift("heart", 18, chest.z, chest.shape)
        )
        x, y = chest.heart_at
        for dx, dy, a, b, turn in (
            (18, 5, 23, 15, 0.5),
            (-14, -14, 20, 17, 0.2),
            (2, 18, 26, 13, 0.1),
            (-30, 6, 15, 19, 0.3),
        ):
            chamber = chest.oval(x + dx * size, y + dy * size, a * size, b * size, 2.0, turn)
            _lay(hu, _soft(chamber, 4.0), blood)
    _lay(hu, chest.edge(chest.oval(6, chest.back - 37, 7, 6)), 40)


def _paint_windpipe(chest: Chest, hu: Field) -> None:
    """The windpipe above its fork, the main bronchi below."""
    apart = max(0.0, (chest.lower - 0.22) * 75)
    if chest.lower > 0.62:
        return
    for side in (-1, 1) if apart > 2 else (0,):
        wide = 8.5 if side == 0 else 6.5
        tube = chest.oval(side * apart - 3, 8 + 0.12 * apart, wide + 0.15 * apart, wide, 2, side * -0.3)
        _lay(hu, chest.edge(tube + 1.4), 30)
        _lay(hu, chest.edge(tube), AIR + 12)


def _lungs(chest: Chest) -> Field:
    """Air, denser to the back, with vessels and a fissure."""
    own = chest.anatomy
    front = np.clip((chest.y + chest.axes[1]) / (2 * chest.axes[1]), 0, 1)
    lobules = 11 * own.drift("lobules", 9, chest.z, chest.shape) + 13 * own.drift("lobes", 55, chest.z, chest.shape)
    hu = np.asarray(own.lung + own.denser * np.square(front) + lobules, np.float32)
    for side in (-1, 1):
        bent = 0.35 * chest.x * side - chest.y + 22 + 0.45 * chest.z + 4 * own.ripple("fissure", 70, chest.shape)
        _lay(hu, 0.30 * chest.edge(0.6 - np.abs(bent)) * (chest.x * side > 0), -300)
    cover = tubes(chest, vessels(own), 1.0)
    hu += (45 - hu) * cover
    return hu


def _paint_airways(chest: Chest, lung: Field) -> None:
    """Bronchi with their walls, air even where the lung about them has none."""
    own = airways(chest.anatomy)
    _lay(lung, tubes(chest, own, 1.0, 1.1), np.maximum(lung, WALL))
    _lay(lung, tubes(chest, own, 1.0), AIR + 40)


def tubes(chest: Chest, segments: Segments, scale: float, wall: float = 0.0) -> Field:
    """Coverage 0-1 by those pieces of tubes that lie in the slice; `wall` mm are added to their radii."""
    here = segments.within(chest.z, SLAB_MM)
    wide = 2 * (here.radius * scale + wall) / chest.px
    drawn = np.zeros(chest.shape, np.uint8)
    middle = np.array([chest.anatomy.off]) + chest.anatomy.field / 2
    ends = [np.rint(((end[:, :2] + middle) / chest.px - 0.5) * 16).astype(int) for end in (here.start, here.end)]
    # The faint first, so that thick ones cover them.
    for index in np.argsort(wide, kind="stable"):
        shade = 255 * min(1.0, float(wide[index]))
        thick = max(1, round(float(wide[index])))
        start, end = (tuple(side[index].tolist()) for side in ends)
        cv2.line(drawn, start, end, shade, thick, cv2.LINE_AA, 4)
    return np.asarray(drawn / np.float32(255))


def _lay(hu: Field, cover: Field | NDArray[np.floating], value: Field | float) -> None:
    """Put a tissue over what is there, where it covers."""
    hu += (value - hu) * cover


def _soft(depth: Field, width: float) -> Field:
    """Coverage of what fades over `width` mm."""
    return np.asarray(np.clip(depth / width, 0, 1), np.float32)


def _scan(anatomy: Anatomy, z: float, hu: Field) -> Field:
    """Blur of the reconstruction, and its noise, which is correlated between neighbouring pixels."""
    rng = anatomy.rng(f"scan at {z:.3f}")
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), 0.7)
    # A reconstruction passes no slow waves of noise, and leaves more of it in the middle of the body.
    noise -= ndimage.gaussian_filter(noise, 2.2)
    rows, columns = np.mgrid[-1 : 1 : hu.shape[0] * 1j, -1 : 1 : hu.shape[1] * 1j]
    strength = anatomy.noise * (0.6 + 0.7 * np.exp(-(rows**2 + columns**2) / 0.5))
    seen = cv2.GaussianBlur(hu, (0, 0), anatomy.blur) + noise / noise.std() * strength
    return np.asarray(np.clip(seen, LOWEST, HIGHEST), np.float32)
