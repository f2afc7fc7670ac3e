"""Paint a layout as haematoxylin-and-eosin-stained tissue.

Layers of stain (optical density, base 10) are filled by texture, nuclei are stamped on them, and Beer-Lambert turns the
sum into light. Stain vectors lie between those of Ruifrok (2001) and Macenko (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.synth import nuclei
from drunet.synth.canvas import Canvas, Look, Mask
from drunet.synth.fields import Field, grain, walls
from drunet.synth.layout import Kind, Layout, Vessel

HAEMATOXYLIN = np.array([[0.65, 0.70, 0.29], [0.58, 0.72, 0.38]])
EOSIN = np.array([[0.10, 0.94, 0.30], [0.19, 0.84, 0.50]])
RED_CELLS = np.array([0.12, 0.80, 0.58])
GLASS_RGB = np.array([245.0, 243.0, 240.0])
INKS = (np.array([1.05, 0.72, 0.20]), np.array([0.95, 0.28, 0.66]))


@dataclass(frozen=True)
class Painting:
    """A finished slide: `image` uint8 (h, w, 3), `tumour_cells` bool (h, w), where tumour cells were painted."""

    image: NDArray[np.uint8]
    tumour_cells: Mask


def paint(
    rng: np.random.Generator,
    layout: Layout,
    shape: tuple[int, int],
    mpp: float,
    look: Look,
    own_tissues: Iterable[Callable[[Canvas], None]],
    pen_strokes: int = 0,
) -> Painting:
    """Paint one slide of `shape` (h, w) px at `mpp` µm/px.

    See `Look` for what varies between slides; `own_tissues` paint what only this organ has.
    """
    canvas = Canvas(rng, layout, shape, mpp, look)
    cells = tumour_cells(canvas)
    paint_stroma(canvas, cells)
    for paint_own in own_tissues:
        paint_own(canvas)
    paint_immune(canvas)
    paint_necrosis(canvas)
    paint_vessels(canvas)
    paint_tumour(canvas, cells)
    return Painting(develop(canvas, pen_strokes), cells)


def tumour_cells(canvas: Canvas) -> Mask:
    """Nests within the outline: thin septa of stroma part them, glands open in them."""
    look = canvas.look
    septa = walls(canvas.rng, canvas.shape, look.nests / canvas.mpp, 20 / canvas.mpp, merge=0.3) * canvas.mpp
    thick = np.clip(look.septa + 2.4 * canvas.noise(80), 0.0, 2.5 * look.septa)
    return np.asarray((canvas.outline > 0.5) & ~((septa < thick) & (canvas.outline > look.rim)))


def paint_stroma(canvas: Canvas, nests: Mask) -> None:
    """Collagen with clefts, fibroblasts along it, scattered lymphocytes and plasma cells."""
    stroma = canvas.where(Kind.STROMA) | (canvas.where(Kind.TUMOUR) & ~nests) | canvas.where(Kind.VESSEL)
    wave = canvas.fibre
    oedema = canvas.noise(260)
    canvas.fill(
        stroma,
        0.030 + 0.012 * wave,
        np.clip(0.165 + 0.050 * wave - 0.030 * oedema, 0.02, 0.42),
    )
    clefts = canvas.edge((wave - 1.15 + 0.22 * np.clip(canvas.noise(150), -1.5, 1.5)) * 2.2)
    canvas.wash(np.where(stroma, clefts * 0.9, 0).astype(np.float32))
    cellular = np.clip(0.50 + 0.32 * canvas.noise(240), 0.1, 1.0) * canvas.look.fibroblasts
    stroma &= ~canvas.where(Kind.VESSEL)
    canvas.scatter(stroma, nuclei.SPINDLE, 13.0, cellular, canvas.fibre_angle)
    crowd = np.clip(0.10 + 0.16 * canvas.noise(170), 0.01, 0.6) * canvas.look.inflamed
    canvas.scatter(stroma, nuclei.LYMPHOCYTE, 9.0, crowd)
    canvas.scatter(stroma, nuclei.PLASMA_CELL, 11.0, crowd * 0.6)
    soot = np.clip(canvas.noise(190) - 2.1, 0, 1) * 0.9 * canvas.look.soot
    canvas.scatter(stroma, nuclei.SOOT, 3.5, soot, jitter=0.5)


def paint_immune(canvas: Canvas) -> None:
    """A lymphoid aggregate: small, round, dense nuclei with hardly any cytoplasm; paler in its centre."""
    area = canvas.where(Kind.IMMUNE)
    canvas.fill(area, 0.075 + 0.02 * canvas.noise(8), np.clip(0.125 + 0.05 * canvas.noise(12), 0.02, 0.3))
    deep = np.clip(canvas.inside(area) / 45.0, 0, 1)
    pale = np.clip(0.80 - 0.28 * deep + 0.16 * canvas.noise(55), 0.15, 1.0)
    canvas.scatter(area, nuclei.LYMPHOCYTE, 7.0, pale, jitter=0.40)
    canvas.scatter(area, nuclei.PLASMA_CELL, 12.0, 0.25)


def paint_necrosis(canvas: Canvas) -> None:
    """Pale, granular, eosinophilic; ghosts of cells and nuclear dust."""
    area = canvas.where(Kind.NECROSIS)
    granules = 0.5 * canvas.noise(4) + 0.5 * canvas.noise(11)
    canvas.fill(area, 0.038 + 0.016 * granules, np.clip(0.20 + 0.055 * granules, 0.05, 0.4))
    clear = canvas.edge((canvas.noise(26) - 1.7) * 4)
    canvas.wash(np.where(area, clear * 0.7, 0).astype(np.float32))
    dust = np.clip(0.16 + 0.18 * canvas.noise(60), 0.01, 0.8)
    canvas.scatter(area, nuclei.GHOST, 17.0, 0.55)
    canvas.scatter(area, nuclei.DEBRIS, 5.2, dust, jitter=0.5)


def paint_vessels(canvas: Canvas) -> None:
    """Muscular walls in rings, nuclei along them, an endothelium, red cells clumped in the lumens."""
    ground = canvas.where(Kind.VESSEL)
    wall, lumen = np.zeros(canvas.shape, bool), np.zeros(canvas.shape, bool)
    angle = canvas.fibre_angle.copy()
    wobble, rings = canvas.noise(45), canvas.noise(7)
    for vessel in canvas.layout.vessels:
        box, y, x = _window(canvas, vessel)
        u = x * np.cos(vessel.angle) + y * np.sin(vessel.angle)
        v = (y * np.cos(vessel.angle) - x * np.sin(vessel.angle)) / vessel.flattening
        ratio = np.hypot(u, v) / (0.86 * vessel.radius) + 0.05 * wobble[box]
        here = ground[box]
        muscle, hollow = here & (ratio < 1) & (ratio > 1 - vessel.wall), here & (ratio <= 1 - vessel.wall)
        wall[box] |= muscle
        lumen[box] |= hollow
        ripple = 0.04 * np.sin(ratio * vessel.radius * 1.4 + 1.6 * wobble[box]) + 0.035 * rings[box]
        canvas.e[box][muscle] = (0.245 + ripple)[muscle]
        canvas.h[box][muscle] = (0.050 + 0.2 * ripple)[muscle]
        np.copyto(angle[box], np.arctan2(x, -y).astype(np.float32), where=muscle)
        canvas.h[box][hollow], canvas.e[box][hollow] = 0.004, 0.010 + 0.02 * (vessel.wall < 0.28)
    canvas.scatter(ground & ~wall & ~lumen, nuclei.SPINDLE, 13.0, 0.5, canvas.fibre_angle)
    canvas.scatter(wall, nuclei.SPINDLE, 11.0, 0.62, angle)
    deep = canvas.inside(lumen)
    canvas.scatter((deep < 0.5) & (deep > -2.2) & wall, nuclei.SEPTAL, 9.0, 0.8, angle)
    clump = np.clip(0.45 + 0.55 * canvas.noise(70), 0.02, 0.97)
    canvas.scatter(lumen & (deep > 3), nuclei.RED_CELL, 6.3, clump, layer=canvas.red)


def _window(canvas: Canvas, vessel: Vessel) -> tuple[tuple[slice, slice], Field, Field]:
    """The part of the canvas round a vessel, and (y, x) in µm from its centre."""
    reach = vessel.radius * 1.2
    spans = [
        (max(int((centre - reach) / canvas.mpp), 0), min(int((centre + reach) / canvas.mpp) + 1, side))
        for centre, side in zip((vessel.y, vessel.x), canvas.shape, strict=True)
    ]
    y, x = np.mgrid[spans[0][0] : spans[0][1], spans[1][0] : spans[1][1]].astype(np.float32) * canvas.mpp
    return (slice(*spans[0]), slice(*spans[1])), y - np.float32(vessel.y), x - np.float32(vessel.x)


def paint_tumour(canvas: Canvas, nests: Mask) -> None:
    """Invasive carcinoma: crowded, large, uneven, vesicular nuclei with nucleoli in visible cytoplasm."""
    look = canvas.look
    depth = canvas.inside(nests)
    glands = canvas.noise(look.glands)
    lumen = (glands > np.quantile(glands, 1 - look.lumens)) & (depth > 9)
    lumen = cv2.GaussianBlur(lumen.astype(np.float32), (0, 0), 2.0 / canvas.mpp) > 0.5
    body = nests & ~lumen
    size = look.cell
    nucleus = replace(look.nucleus, length=look.nucleus.length * size, width=look.nucleus.width * size)
    crowd = np.clip(0.90 + 0.10 * canvas.noise(110), 0.45, 1.0)
    room = canvas.inside(body)
    seeds = canvas.scatter(room > 2.0, nucleus, look.spacing * size, crowd, jitter=0.28)
    cells, border = canvas.cells_of(seeds)
    tint = canvas.tint(cells)
    patchy = canvas.noise(160)
    ground = np.clip(1 + 0.13 * tint + 0.10 * canvas.noise(7), 0.4, 1.7) * (1 - look.clear)
    canvas.fill(body, 0.105 * ground * (1 + 0.15 * patchy), (0.165 + 0.02 * patchy) * ground)
    canvas.fill(nests & lumen, 0.006, 0.015)
    seam = cv2.GaussianBlur(border.astype(np.float32), (0, 0), 0.6 / canvas.mpp)
    canvas.e += np.where(body, 0.045 * seam, 0).astype(np.float32)
    canvas.scatter(body, nuclei.DEBRIS, 26.0, 0.35)
    canvas.scatter(body, nuclei.LYMPHOCYTE, 24.0, 0.22 * look.inflamed)
    gap = np.where(canvas.outline < 8, canvas.noise(120) - 0.5, canvas.noise(60) - 1.5)
    retracted = canvas.edge(2.2 * np.clip(gap, 0, 1).astype(np.float32) - 0.4 - np.abs(depth + 1.2))
    canvas.wash(np.where(canvas.outline > -6, 0.9 * retracted, 0).astype(np.float32))


def develop(canvas: Canvas, pen_strokes: int) -> NDArray[np.uint8]:
    """Turn stain into light: Beer-Lambert, then optics and sensor."""
    look = canvas.look
    thickness = 1 + 0.07 * canvas.noise(420) + 0.03 * canvas.noise(120)
    h = (canvas.h * (1 - canvas.cover) + canvas.nuclear) * thickness * look.haematoxylin
    e = canvas.e * (1 - 0.55 * canvas.cover) * thickness * look.eosin
    red = canvas.red * (1 - canvas.cover)
    vectors = (blend_vectors(HAEMATOXYLIN, look.haematoxylin_hue), blend_vectors(EOSIN, look.eosin_hue), RED_CELLS)
    ink = [pen_marks(canvas, colour) for colour in range(min(pen_strokes, len(INKS)))]
    image = np.empty((*canvas.shape, 3), np.uint8)
    sensor = grain(canvas.rng, canvas.shape)
    for channel in range(3):
        density = np.zeros(canvas.shape, np.float32)
        for vector, layer in zip(vectors, (h, e, red), strict=True):
            density += np.float32(vector[channel]) * layer
        for colour, stroke in enumerate(ink):
            density += np.float32(INKS[colour][channel]) * stroke
        blurred = cv2.GaussianBlur(density, (0, 0), max(0.5, 0.32 / canvas.mpp))
        light = np.float32(GLASS_RGB[channel]) * np.exp(np.float32(-np.log(10)) * blurred)
        light += 1.3 * np.roll(sensor, 37 * channel, axis=1) + 0.9 * sensor
        image[..., channel] = np.clip(light + 0.5, 0, 255).astype(np.uint8)
    return image


def pen_marks(canvas: Canvas, colour: int) -> Field:
    """Density of one felt-pen stroke that runs along the tissue and crosses its edge; streaky, as ink is."""
    height, width = canvas.shape
    rows, columns = np.nonzero(canvas.kinds[::8, ::8] != Kind.GLASS)
    centre = np.array([rows.mean(), columns.mean()]) * 8
    angles = np.arctan2(rows * 8 - centre[0], columns * 8 - centre[1])
    # One stroke at the upper left, the next at the lower right.
    start = -2.7 + np.pi * colour + canvas.rng.uniform(-0.2, 0.2)
    turns = np.linspace(start, start + canvas.rng.uniform(0.8, 1.1), 40)
    away = np.cos(angles[None] - turns[:, None]) > 0.997
    reach = np.where(away, np.hypot(rows * 8 - centre[0], columns * 8 - centre[1])[None], 0).max(axis=1)
    reach = np.convolve(np.pad(reach, 6, mode="edge"), np.ones(13) / 13, mode="valid")
    reach *= 1.05 + 0.05 * np.sin(turns * 8 + canvas.rng.uniform(0, 6))
    path = centre + np.stack([np.sin(turns), np.cos(turns)], 1) * reach[:, None]
    path = np.clip(path, 30 / canvas.mpp, np.array([height, width]) - 30 / canvas.mpp)
    line = np.zeros(canvas.shape, np.uint8)
    points = np.rint(path[:, ::-1]).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(line, [points], False, 255, round(54 / canvas.mpp), cv2.LINE_AA)
    stroke = cv2.GaussianBlur(line.astype(np.float32) / 255, (0, 0), 2.0 / canvas.mpp)
    return np.asarray(stroke * np.clip(0.85 + 0.12 * canvas.noise(30) + 0.05 * canvas.noise(6), 0.4, 1.2), np.float32)


def blend_vectors(pair: NDArray[np.float64], hue: float) -> NDArray[np.float64]:
    """A unit stain vector between two."""
    vector = pair[0] * (1 - hue) + pair[1] * hue
    return np.asarray(vector / np.linalg.norm(vector))
