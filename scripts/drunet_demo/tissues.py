"""Tissues stained with haematoxylin and eosin: each painter paints the pixels of one kind."""

from typing import NamedTuple

import cv2
import numpy as np

from drunet_demo import canvas as bodies
from drunet_demo.canvas import Canvas, Look
from drunet_demo.fields import Field, Mask, rooms
from drunet_demo.layout import Kind


def paint_stroma(canvas: Canvas, stroma: Mask) -> None:
    """Collagen with clefts, fibroblasts along it, scattered lymphocytes."""
    wave, look = canvas.fibre, canvas.look
    canvas.lay(stroma, 0.03 + 0.012 * wave, np.clip(0.165 + 0.05 * wave - 0.03 * canvas.noise(260), 0.02, 0.42))
    canvas.lay(0.9 * stroma * canvas.edge((wave - 1.15 + 0.2 * np.clip(canvas.noise(150), -1.5, 1.5)) * 2.2), 0, 0)
    fibroblasts = np.clip(0.50 + 0.32 * canvas.noise(240), 0.1, 1.0) * look.fibroblasts
    canvas.scatter(stroma, bodies.SPINDLE, 13.0, fibroblasts, canvas.angle)
    canvas.scatter(stroma, bodies.LYMPHOCYTE, 8.0, np.clip(0.12 + 0.19 * canvas.noise(170), 0.01, 0.7) * look.inflamed)


def paint_immune(canvas: Canvas, area: Mask) -> None:
    """A lymphoid aggregate: small, round, dense nuclei with hardly any cytoplasm; paler in its centre."""
    canvas.lay(area, 0.075 + 0.02 * canvas.noise(8), np.clip(0.125 + 0.05 * canvas.noise(12), 0.02, 0.3))
    crowd = 0.85 - 0.28 * np.clip(canvas.inside(area) / 45.0, 0, 1) + 0.16 * canvas.noise(55)
    canvas.scatter(area, bodies.LYMPHOCYTE, 7.0, crowd, jitter=0.40)


def paint_necrosis(canvas: Canvas, area: Mask) -> None:
    """Pale, granular, eosinophilic; ghosts of cells and nuclear dust."""
    granules = 0.5 * canvas.noise(4) + 0.5 * canvas.noise(11)
    canvas.lay(area, 0.038 + 0.016 * granules, np.clip(0.20 + 0.055 * granules, 0.05, 0.4))
    canvas.lay(0.7 * area * canvas.edge((canvas.noise(26) - 1.7) * 4), 0, 0)
    canvas.scatter(area, bodies.GHOST, 17.0, 0.55)
    canvas.scatter(area, bodies.DEBRIS, 5.2, np.clip(0.16 + 0.18 * canvas.noise(60), 0.01, 0.8), jitter=0.5)


def paint_vessels(canvas: Canvas, ground: Mask) -> None:
    """Muscular walls in rings, nuclei along them, an endothelium, red cells clumped in the lumens."""
    depth = canvas.inside(cv2.GaussianBlur(ground.astype(np.float32), (0, 0), 5 / canvas.mpp) > 0.5)
    count, labels = cv2.connectedComponents((depth > 0).astype(np.uint8))
    widest = np.zeros(count, np.float32)
    np.maximum.at(widest, labels[depth > 0].astype(int), depth[depth > 0])
    wall = np.clip(0.30 + 0.08 * canvas.noise(300), 0.2, 0.45) * widest[labels]
    muscle, lumen = (ground | (depth > 0)) & (depth < wall), (depth > 0) & (depth >= wall)
    ripple = 0.05 * np.sin(depth * 1.5 + 1.6 * canvas.noise(45)) + 0.035 * canvas.noise(7)
    canvas.lay(muscle, 0.050 + 0.2 * ripple, 0.245 + ripple)
    canvas.lay(lumen, 0.004, 0.012)
    canvas.scatter(muscle & (depth > 1.5), bodies.SPINDLE, 11.0, 0.62, canvas.across(depth) + np.float32(np.pi / 2))
    canvas.row(muscle, bodies.FLAT, 9.0, 0.8, depth - wall, at=-1.2, along=True)
    clumps = np.clip(0.45 + 0.55 * canvas.noise(70), 0.02, 0.97)
    canvas.scatter(lumen & (depth > wall + 3), bodies.RED_CELL, 6.3, clumps, layer=canvas.red)


def paint_alveoli(canvas: Canvas, lung: Mask) -> None:
    """Air spaces between thin septa, with capillaries, macrophages and a few free red cells; soot in the stroma."""
    wall, _ = canvas.rooms(80, 13, missing=0.2)
    thick = np.clip(3.0 + 1.3 * canvas.noise(40) + 1.0 * canvas.noise(260), 1.5, 8.0)
    thick[canvas.noise(120) > 1.5] = -1.0
    septum, ground = canvas.edge(thick + 0.7 * canvas.noise(7) - wall), np.clip(1 + 0.22 * canvas.noise(9), 0.3, 1.8)
    canvas.lay(lung, septum * 0.07 * ground, septum * 0.235 * ground)
    canvas.scatter(lung & (septum > 0.55), bodies.FLAT, 6.4, 0.50)
    blood = np.clip(0.18 + 0.2 * canvas.noise(160), 0, 0.7)
    canvas.scatter(lung & (septum > 0.55), bodies.RED_CELL, 6.0, blood, layer=canvas.red)
    canvas.scatter(lung & (wall > thick + 4), bodies.RED_CELL, 8.5, 0.02, layer=canvas.red)
    foam = np.clip(0.10 + 0.14 * canvas.noise(280), 0, 0.6)
    centres = canvas.scatter(lung & (wall > thick + 8), bodies.FOAM, 22.0, foam, layer=canvas.e)
    canvas.place(centres, canvas.rng.uniform(0, np.pi, len(centres)), bodies.LYMPHOCYTE)
    soot = 0.9 * np.clip(canvas.noise(190) - 2.1, 0, 1)
    canvas.scatter(canvas.kinds == Kind.STROMA, bodies.SOOT, 3.5, soot, jitter=0.5)


def paint_fat(canvas: Canvas, fat: Mask) -> None:
    """Large empty cells with hair-thin membranes; flat nuclei and a few capillaries in the corners."""
    wall, _ = canvas.rooms(62, 7)
    membrane = canvas.edge(np.clip(0.9 + 0.5 * canvas.noise(70), 0.6, 3.0) - wall)
    canvas.lay(fat, 0.045 * membrane, 0.21 * membrane)
    canvas.scatter(fat & (wall < 1.5), bodies.FLAT, 9.0, 0.12)
    blood = np.clip(0.10 + 0.2 * canvas.noise(160), 0, 0.5)
    canvas.scatter(fat & (wall < 2.5), bodies.RED_CELL, 7.0, blood, layer=canvas.red)


def paint_lining(canvas: Canvas, area: Mask, depth: Field, thick: Field | float, basophil: float = 0.095) -> Mask:
    """Stroma round glands, cytoplasm that lines them, and their empty lumens; return the lining.

    `depth` is the distance to the wall of a gland and `thick` the height of its lining, µm; `basophil` is the density
    of haematoxylin in the cytoplasm.
    """
    lining, ground = (depth > 0) & (depth <= thick) & area, np.clip(1 + 0.12 * canvas.noise(10), 0.5, 1.6)
    paint_stroma(canvas, area & (depth <= 0))
    canvas.lay(area & (depth > thick), 0.004, 0.012)
    canvas.lay(lining, basophil * ground, 0.165 * ground)
    return lining


def paint_glands(canvas: Canvas, area: Mask) -> None:
    """Reactive glands: rows of small regular nuclei, as dark as tumour; filled where hyperplastic."""
    crowded = canvas.noise(240) > 0.0
    depth = canvas.rooms(64, 11)[0] - np.where(crowded, 2, 5).astype(np.float32) - 1.5 * canvas.noise(90)
    lining = paint_lining(canvas, area, depth, np.where(crowded, 99, 17))
    for at in (5.0, 12.5, 20.0, 27.0):
        canvas.row(lining, bodies.COLUMNAR, 6.2, 0.95, depth, at)


def paint_tumour(canvas: Canvas, nests: Mask, outline: Field) -> None:
    """Invasive carcinoma: crowded, large, uneven, vesicular nuclei with nucleoli in visible cytoplasm.

    `outline` is the depth in the tumour, µm.
    """
    look, depth, glands = canvas.look, canvas.inside(nests), canvas.noise(0.46 * canvas.look.nests)
    lumen = (glands > np.quantile(glands, 1 - look.lumens)) & (depth > 9)
    body = nests & ~lumen
    nucleus = look.nucleus._replace(length=look.nucleus.length * look.cell, width=look.nucleus.width * look.cell)
    crowd = np.clip(0.90 + 0.10 * canvas.noise(110), 0.45, 1.0)
    seeds = canvas.scatter(canvas.inside(body) > 2.0, nucleus, 1.1 * nucleus.length, crowd, jitter=0.28)
    cells, wall, _ = rooms(canvas.shape, seeds)
    tint = canvas.rng.standard_normal(cells.max() + 1, dtype=np.float32)[cells]
    ground = np.clip(1 + 0.13 * tint + 0.10 * canvas.noise(7) + 0.12 * canvas.noise(160), 0.4, 1.7) * (1 - look.clear)
    canvas.lay(body, 0.105 * ground, 0.165 * ground)
    canvas.lay(nests & lumen, 0.006, 0.015)
    canvas.e += 0.035 * body * canvas.edge(0.5 - wall * np.float32(canvas.mpp))
    canvas.scatter(body, bodies.DEBRIS, 26.0, 0.35)
    canvas.scatter(body, bodies.LYMPHOCYTE, 24.0, 0.22 * look.inflamed)
    # Clefts where the tumour has shrunk away from its stroma.
    gap = np.where(outline < 8, canvas.noise(120) - 0.5, canvas.noise(60) - 1.5)
    canvas.lay(0.9 * (outline > -6) * canvas.edge(2.2 * np.clip(gap, 0, 1) - 0.4 - np.abs(depth + 1.2)), 0, 0)


PAINTERS = {
    Kind.ALVEOLI: paint_alveoli, Kind.FAT: paint_fat, Kind.EPITHELIUM: paint_glands, Kind.IMMUNE: paint_immune,
    Kind.NECROSIS: paint_necrosis, Kind.VESSEL: paint_vessels,
}  # fmt: skip


def paint(canvas: Canvas, outline: Field) -> Mask:
    """Paint all of a slide; `outline` is the depth in the tumour, µm. Return where tumour cells are."""
    septa = np.clip(4.0 + 2.4 * canvas.noise(80), 0.0, 10.0)
    wall, _ = canvas.rooms(canvas.look.nests, 20, missing=0.2)
    nests = np.asarray((outline > 0.5) & ~((wall < septa) & (outline > 5)))
    paint_stroma(canvas, np.isin(canvas.kinds, (Kind.STROMA, Kind.TUMOUR)) & ~nests)
    for kind in np.intersect1d(canvas.kinds, [*PAINTERS]):
        PAINTERS[kind](canvas, canvas.kinds == kind)
    if nests.any():
        paint_tumour(canvas, nests, outline)
    return nests


class Organ(NamedTuple):
    """An organ's look, and the spans of what varies of it between patients and of the shares of a slide's tissues."""

    look: Look
    varies: dict[str, tuple[float, float]]
    shares: dict[Kind, tuple[float, float]]


# Against lung, nuclei of breast's tumour are smaller, darker and plainer, its nests narrow; the stain is another
# laboratory's. A model that learnt there finds lung's tumour in part.
ORGANS = {
    "lung": Organ(
        Look(),
        {"haematoxylin": (0.78, 1.22), "eosin": (0.72, 1.25), "haematoxylin_hue": (0.0, 1.0), "eosin_hue": (0.1, 1.0),
         "cell": (0.96, 1.12), "clear": (0.0, 0.45), "lumens": (0.0, 0.12), "inflamed": (0.5, 1.6)},
        {Kind.GLASS: (0.32, 0.40), Kind.NECROSIS: (0.05, 0.10), Kind.ALVEOLI: (0.15, 0.24),
         Kind.EPITHELIUM: (0.22, 0.30), Kind.IMMUNE: (0.11, 0.17), Kind.VESSEL: (0.07, 0.08)},
    ),
    "breast": Organ(
        Look(nests=100.0, nucleus=bodies.DUCTAL_TUMOUR),
        {"haematoxylin": (0.85, 1.20), "eosin": (0.60, 0.90), "haematoxylin_hue": (-0.8, -0.3),
         "eosin_hue": (1.1, 1.8), "cell": (0.94, 1.10), "clear": (0.0, 0.25), "lumens": (0.06, 0.20),
         "inflamed": (0.2, 0.7), "fibroblasts": (0.3, 0.5)},
        {Kind.GLASS: (0.30, 0.38), Kind.NECROSIS: (0.03, 0.06), Kind.FAT: (0.24, 0.34),
         Kind.EPITHELIUM: (0.22, 0.30), Kind.IMMUNE: (0.06, 0.10), Kind.VESSEL: (0.06, 0.07)},
    ),
}  # fmt: skip
