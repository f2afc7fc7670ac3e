"""What a drawn chest suffers from: a tumour of one of four subtypes, or pneumonia."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drunet.synth.ct_anatomy import BOTTOM_MM, TOP_MM, Anatomy, Chest
from drunet.synth.fields import Field

# A tumour is placed in a chest of this many pixels, whatever the size of the pictures.
_COARSE = 96
# Its slices stay this far from the top and the bottom of what is drawn.
_MARGIN_MM = 24.0


class Growth(NamedTuple):
    """How the tumours of a subtype grow: radius from and to in mm, near the hilum or the chest wall, and with what."""

    radius: tuple[float, float]
    central: bool
    cavity: float = 0.0
    nodes: int = 0
    spicules: float = 1.0


# After the usual pictures: adenocarcinoma (A) peripheral and small, small cell carcinoma (B) central and large with
# nodes, large cell carcinoma (E) peripheral and large, squamous cell carcinoma (G) central and hollow.
GROWTHS = {
    "A": Growth((10, 17), central=False, spicules=1.3),
    "B": Growth((19, 31), central=True, nodes=3, spicules=0.3),
    "E": Growth((24, 36), central=False, spicules=0.6),
    "G": Growth((19, 30), central=True, cavity=0.55, spicules=0.7),
}


@dataclass(frozen=True)
class Tumour:
    """A solid mass, about 35 HU: place x, y, z and radius in mm; `seed` shapes it."""

    subtype: str
    x: float
    y: float
    z: float
    radius: float
    seed: int

    def grow(self, chest: Chest, hu: Field) -> Field:
        """Lay the tumour into a slice (`hu` is changed) and give the coverage of its mass, 0-1."""
        rng, growth = np.random.default_rng(self.seed), GROWTHS[self.subtype]
        mass = self._depth(chest, rng)
        if float(mass.max()) <= 0:
            return np.zeros(chest.shape, np.float32)
        cover = np.asarray(np.clip(mass / max(chest.px, 1.2) + 0.5, 0, 1), np.float32)
        cover = np.asarray(cover * chest.edge(chest.cavity), np.float32)
        spread = self._spicules(chest, rng, mass, growth.spicules) * chest.edge(chest.lung)
        veil = 0.28 * np.clip(1 + mass / 9, 0, 1) * chest.edge(chest.lung)
        hu += (40 - hu) * np.maximum(spread, veil * (hu < -300))
        grain = 12 * chest.anatomy.drift("tumour", 9, chest.z, chest.shape)
        hu += (35 + 0.12 * (chest.anatomy.blood - 45) + grain - hu) * cover
        if growth.cavity:
            inner = (
                mass - self.radius * (1 - growth.cavity) + 2.5 * chest.anatomy.drift("rind", 14, chest.z, chest.shape)
            )
            hu += (-940 - hu) * chest.edge(inner)
        for node in range(growth.nodes):
            self._node(chest, hu, rng, node)
        return cover

    def _depth(self, chest: Chest, rng: np.random.Generator) -> Field:
        """Depth in the mass, mm: a ball with lobes, stretched a little."""
        dx, dy, dz = chest.x - self.x, chest.y - self.y, chest.z - self.z
        squeeze, turn = rng.uniform(0.80, 1.0), rng.uniform(0, np.pi)
        along = dx * np.cos(turn) + dy * np.sin(turn)
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / squeeze
        far = np.sqrt(along**2 + across**2 + dz**2)
        around = np.arctan2(across, along)
        lobes = np.zeros_like(far)
        for waves in range(2, 7):
            phase = rng.uniform(0, 2 * np.pi) + 0.5 * dz / self.radius
            lobes = lobes + rng.uniform(0.3, 1.0) * np.cos(waves * around + phase) * 0.13 / waves**0.5
        return np.asarray(self.radius * (1 + lobes) - far, np.float32)

    def _spicules(self, chest: Chest, rng: np.random.Generator, mass: Field, share: float) -> Field:
        """Coverage by fine strands that go out from the mass."""
        around = np.arctan2(chest.y - self.y, chest.x - self.x)
        cover = np.zeros(chest.shape, np.float32)
        far = np.hypot(chest.x - self.x, chest.y - self.y)
        for _ in range(int(rng.integers(7, 13) * share)):
            place, reach = rng.uniform(-np.pi, np.pi), rng.uniform(0.15, 0.7) * self.radius + 3
            aside = np.abs(np.angle(np.exp(1j * (around - place)))) * far
            left = 1 + mass / reach
            strand = np.clip((1.0 * left - aside) / chest.px + 0.5, 0, 1) * (left > 0) * min(1.0, 1.6 / chest.px)
            cover = np.maximum(cover, strand.astype(np.float32))
        return cover

    def _node(self, chest: Chest, hu: Field, rng: np.random.Generator, number: int) -> None:
        """A swollen lymph node of the mediastinum; of the tumour's spread, not of its mass."""
        places = ((self.x * 0.35, self.y + 22), (-8.0, -2.0), (12.0, -14.0))
        x, y = places[number % len(places)]
        rise = (chest.z - self.z - rng.uniform(-12, 12)) / 14
        size = rng.uniform(6, 10) * max(0.0, 1 - rise**2) ** 0.5
        if size > 1:
            node = np.minimum(chest.oval(x, y, size * 1.2, size), chest.centre)
            hu += (48 - hu) * chest.edge(node)


def draw_tumour(anatomy: Anatomy, subtype: str) -> Tumour:
    """Place a tumour in a patient.

    Peripheral ones touch the lung's outer surface or nearly so; central ones lie on the mediastinum beside the hilum.

    Raises
    ------
    ValueError
        The subtype is none of `GROWTHS`.
    """
    if subtype not in GROWTHS:
        raise ValueError(f"unknown subtype {subtype!r}, expected one of {sorted(GROWTHS)}")
    rng, growth = anatomy.rng(f"tumour {subtype}"), GROWTHS[subtype]
    radius = rng.uniform(*growth.radius)
    z = rng.uniform(-18, 18) if growth.central else rng.uniform(TOP_MM + _MARGIN_MM, BOTTOM_MM - _MARGIN_MM)
    chest = Chest(anatomy, z, _COARSE)
    if growth.central:
        beside = np.abs(chest.y - 8) < 24
        liked = np.where(beside, np.abs(-chest.centre - 0.35 * radius), np.inf)
    else:
        liked = np.where(chest.cavity < -chest.centre, np.abs(chest.lung - 0.7 * radius), np.inf)
    # The best places of the lungs, one of them by chance.
    liked = np.where(chest.lung > 1, liked, np.inf).ravel()
    place = int(rng.choice(np.argsort(liked, kind="stable")[:60]))
    x, y = float(chest.x.ravel()[place]), float(chest.y.ravel()[place])
    return Tumour(subtype, x, y, float(z), float(radius), int(rng.integers(2**31)))


def heights(tumour: Tumour, count: int) -> NDArray[np.float64]:
    """Heights of slices that cut the tumour, mm, at most 5 mm apart."""
    step = min(5.0, 1.3 * tumour.radius / max(count - 1, 1))
    return np.asarray(tumour.z + (np.arange(count) - (count - 1) / 2) * step)


@dataclass(frozen=True)
class Pneumonia:
    """Ill-defined consolidation and ground glass: of one lobe, or patches in both lungs near their surface.

    `amount` moves its edge: 0 covers about a quarter of the lungs that it is in.
    """

    lobar: bool
    side: int
    y: float
    z: float
    amount: float
    dense: float

    def fill(self, chest: Chest, lung: Field) -> Field:
        """Lungs in HU, filled where they are inflamed; vessels drown in consolidation, not in ground glass."""
        own = chest.anatomy
        field = own.drift("infiltrate", 62, chest.z, chest.shape) + 0.55 * own.drift(
            "patches", 24, chest.z, chest.shape
        )
        field = field + 0.30 * own.drift("acini", 9, chest.z, chest.shape)
        if self.lobar:
            away = np.square((chest.y - self.y) / 45) + np.square((chest.z - self.z) / 45)
            field = field * 0.6 + 1.9 * np.exp(-away) * (chest.x * self.side > 0) - 1.0
            field = np.where(chest.x * self.side > 0, field, field - 1.2)
        else:
            field = field + 0.9 * np.exp(-np.maximum(chest.lung, 0) / 16) + 0.25 * chest.y / 60 - 0.6
        field = field + self.amount
        glass = 1 / (1 + np.exp(-(field - 0.35) * 5))
        solid = self.dense / (1 + np.exp(-(field - 0.95) * 6))
        grain = 40 * own.drift("glass", 7, chest.z, chest.shape)
        hazy = lung + (330 + grain) * glass
        return np.asarray(hazy + (25 + 0.5 * grain - hazy) * solid, np.float32)


def draw_pneumonia(anatomy: Anatomy) -> Pneumonia:
    """Draw what kind of pneumonia a patient has, and how much."""
    rng = anatomy.rng("pneumonia")
    return Pneumonia(
        lobar=bool(rng.random() < 0.45),
        side=int(rng.choice([-1, 1])),
        y=float(rng.uniform(-10, 45)),
        z=float(rng.uniform(-25, 35)),
        amount=float(rng.uniform(0.0, 0.7)),
        dense=float(rng.uniform(0.35, 1.0)),
    )
