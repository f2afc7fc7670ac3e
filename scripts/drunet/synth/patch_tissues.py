"""The five tissues of the embedded image set, each painted over a whole small canvas.

They are told apart by how they grow, as a pathologist does it: lumina lined by atypical cells, sheets that keratinise,
walls round air, round crypts in a row, crowded glands filled with dirty necrosis. Within a class the growth varies, and
some of it comes near another class: lepidic adenocarcinoma keeps the walls of alveoli, the solid kind forms sheets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from drunet.synth import nuclei
from drunet.synth.canvas import Canvas, Mask
from drunet.synth.fields import Field, top_share, walls
from drunet.synth.glands import Glands, line, paint_row, round_glands
from drunet.synth.layout import Kind
from drunet.synth.lung import paint_alveoli
from drunet.synth.nuclei import Body
from drunet.synth.tissue_texture import paint_stroma, paint_tumour, paint_vessels

PENCIL = Body(11.5, 4.9, 0.14, 0.035, 0.46, rim=0.12, clumps=0.26, dark=0.15)
CRYPT = Body(8.0, 4.8, 0.07, 0.020, 0.46, rim=0.08, clumps=0.14)
GOBLET = Body(11.5, 6.6, 0.10, 0.030, 1.0)
SQUAME = Body(11.0, 2.8, 0.16, 0.030, 0.46, rim=0.04, clumps=0.10)
KERATIN_CELL = Body(14.0, 10.5, 0.16, 0.070, 0.36, rim=0.05)
PYKNOTIC = Body(5.4, 4.2, 0.18, 0.080, 0.72)
VACUOLE = Body(7.5, 6.5, 0.25, 0.030, 1.0)


def paint_lung_adenocarcinoma(canvas: Canvas) -> None:
    """Acini lined by large vesicular nuclei, mucin in some lumina; now and then lepidic or solid growth."""
    (_acinar, _lepidic, _solid)[int(canvas.rng.choice(3, p=[0.55, 0.25, 0.2]))](canvas)


def paint_squamous_carcinoma(canvas: Canvas) -> None:
    """Sheets or nests of pink polygonal cells with visible borders, keratin pearls and single keratinised cells."""
    rng = canvas.rng
    nests = _nests(canvas, septa=rng.choice([0.5, 3.0, 8.0]))
    canvas.look = replace(canvas.look, lumens=0.0, clear=canvas.look.clear * 0.3)
    _carcinoma(canvas, nests)
    canvas.e *= np.where(nests, np.float32(rng.uniform(1.0, 1.3)), np.float32(1))
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.2, 0.35, 0.3, 0.15]))):
        _pearl(canvas, nests)
    single = canvas.scatter(nests, KERATIN_CELL, 24.0, rng.uniform(0.05, 0.35), layer=canvas.e)
    line(canvas, single, rng.uniform(0, np.pi, len(single)), PYKNOTIC)


def paint_benign_lung(canvas: Canvas) -> None:
    """Alveoli with capillaries in their walls; a vessel with its muscular wall, or a scar, in some fields."""
    rng = canvas.rng
    canvas.kinds[:] = Kind.ALVEOLI
    scar = top_share(canvas.noise(110), canvas.where(Kind.ALVEOLI), max(rng.uniform(-0.5, 0.6), 0.0))
    canvas.kinds[scar] = Kind.STROMA
    for vessel in canvas.layout.vessels:
        canvas.kinds[canvas.far_from(vessel.y, vessel.x) < vessel.radius] = Kind.VESSEL
    paint_stroma(canvas, canvas.where(Kind.TUMOUR))
    paint_alveoli(canvas)
    bled = np.clip(0.5 * canvas.noise(70) - rng.uniform(0.1, 1.2), 0, 0.8)
    canvas.scatter(canvas.where(Kind.ALVEOLI) & (canvas.e < 0.05), nuclei.RED_CELL, 7.0, bled, layer=canvas.red)
    paint_vessels(canvas)


def paint_benign_colon(canvas: Canvas) -> None:
    """Round crypts of one size in a lattice: basal nuclei in a row, goblet cells above them, a small lumen."""
    rng = canvas.rng
    # The lamina propria is full of plasma cells and lymphocytes, and poor in fibroblasts.
    canvas.look = replace(canvas.look, fibroblasts=0.3, inflamed=1.0 + canvas.look.inflamed)
    pitch = rng.uniform(58, 72)
    oblique = rng.uniform(0.55, 1.0)
    crypts = round_glands(
        canvas,
        pitch,
        jitter=0.07,
        radius=(0.42 * pitch, 0.48 * pitch),
        flattening=(oblique * 0.94, oblique),
        bend=1.6,
        gap=rng.uniform(4, 8),
        aligned=True,
    )
    _epithelium(canvas, crypts, thickness=20 + 1.5 * canvas.noise(30), basophil=0.085)
    mucin = np.zeros(canvas.shape, np.float32)
    rich = rng.uniform(0.3, 0.95)
    for depth in (11.0, 16.5):
        paint_row(canvas, crypts, depth, GOBLET, 7.6, rich, layer=mucin)
    body = crypts.depth > 7.0
    pale = np.where(body, np.clip(mucin, 0, 1), 0).astype(np.float32)
    canvas.h += pale * (rng.uniform(0.03, 0.07) - canvas.h)
    canvas.e += pale * (0.025 - canvas.e)
    paint_row(canvas, crypts, 4.4, CRYPT, 5.6, 0.96)


def paint_colon_adenocarcinoma(canvas: Canvas) -> None:
    """Crowded irregular glands: long dark nuclei in several rows, lumina full of pink dirt and nuclear dust."""
    rng = canvas.rng
    glands = round_glands(
        canvas,
        pitch=rng.uniform(62, 88),
        jitter=0.32,
        radius=(38, 60),
        flattening=(0.5, 1.0),
        bend=rng.uniform(4, 8),
        gap=rng.uniform(4, 11),
    )
    thick = rng.uniform(14, 19)
    lumen = _epithelium(canvas, glands, thick + 2.5 * canvas.noise(26))
    filled = lumen & (glands.depth > thick + 3.5 + 2 * canvas.noise(16)) & (canvas.noise(90) > rng.uniform(-2.0, -0.4))
    granules = 0.5 * canvas.noise(4) + 0.5 * canvas.noise(11)
    canvas.fill(filled, 0.05 + 0.02 * granules, np.clip(0.19 + 0.06 * granules, 0.05, 0.4))
    canvas.scatter(filled, nuclei.DEBRIS, 4.6, np.clip(0.30 + 0.25 * canvas.noise(40), 0.05, 0.8), jitter=0.5)
    canvas.scatter(filled, nuclei.GHOST, 14.0, 0.5)
    stratified = rng.uniform(0.25, 0.9)
    for depth, chance in ((0.36, 0.95), (0.52, stratified), (0.70, 0.4 * stratified)):
        paint_row(canvas, glands, depth * thick, PENCIL, 5.6, chance, wander=1.3)


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "lung_aca": paint_lung_adenocarcinoma,
    "lung_n": paint_benign_lung,
    "lung_scc": paint_squamous_carcinoma,
    "colon_aca": paint_colon_adenocarcinoma,
    "colon_n": paint_benign_colon,
}


def _acinar(canvas: Canvas) -> None:
    rng = canvas.rng
    glands = round_glands(
        canvas,
        pitch=rng.uniform(64, 92),
        jitter=0.32,
        radius=(28, 52),
        flattening=(0.5, 1.0),
        bend=rng.uniform(3, 7),
        gap=rng.uniform(5, 16),
    )
    thick = rng.uniform(13, 18)
    lumen = _epithelium(canvas, glands, thick + 2.5 * canvas.noise(20))
    if rng.random() < 0.5:
        wisps = np.clip(0.5 + 0.5 * canvas.noise(14), 0, 1)
        canvas.fill(lumen & (glands.depth > thick + 3), 0.075 * wisps, 0.035 * wisps)
    # Some are as tall and crowded as those of colon.
    nucleus = PENCIL if rng.random() < 0.25 else _atypical(canvas, 0.88)
    paint_row(canvas, glands, 0.45 * thick, nucleus, 0.95 * nucleus.width + 1.5, 0.9, wander=1.4)
    paint_row(canvas, glands, 0.80 * thick, nucleus, 1.2 * nucleus.width + 1.5, rng.uniform(0.0, 0.4), wander=1.5)
    # Cells shed into the lumen, as tufts.
    shed = lumen & (glands.depth > thick + 7) & (canvas.noise(50) > rng.uniform(0.3, 2.5))
    canvas.fill(shed, 0.075, 0.15)
    canvas.scatter(shed, nucleus, 11.0, 0.8)


def _lepidic(canvas: Canvas) -> None:
    """Walls of alveoli kept, and lined by tumour cells that bulge into the air."""
    canvas.kinds[:] = Kind.ALVEOLI
    rooms = walls(canvas.rng, canvas.shape, 70 / canvas.mpp, 11 / canvas.mpp, merge=0.2) * canvas.mpp
    thick = np.clip(4.5 + 2 * canvas.noise(90), 2.5, 10).astype(np.float32)
    depth = np.asarray(rooms - thick, np.float32)
    canvas.kinds[depth <= 0] = Kind.STROMA
    lined = Glands.of(canvas, depth)
    _epithelium(canvas, lined, 9 + 2 * canvas.noise(14))
    nucleus = _atypical(canvas, 0.9)
    paint_row(canvas, lined, 4.6, nucleus, 0.98 * nucleus.length, 0.92, wander=1.2)


def _solid(canvas: Canvas) -> None:
    """A sheet without many lumina, told from squamous carcinoma by its mucin and its pale cytoplasm."""
    canvas.look = replace(canvas.look, lumens=canvas.rng.uniform(0.05, 0.14), glands=canvas.rng.uniform(40, 62))
    nests = _nests(canvas, septa=canvas.rng.uniform(2, 6))
    _carcinoma(canvas, nests)
    mucin = np.zeros(canvas.shape, np.float32)
    canvas.scatter(nests, VACUOLE, 15.0, 0.45, layer=mucin)
    mucin *= 1 - canvas.cover
    canvas.h += mucin * (0.05 - canvas.h)
    canvas.e += mucin * (0.02 - canvas.e)


def _nests(canvas: Canvas, septa: float) -> Mask:
    distance = walls(canvas.rng, canvas.shape, canvas.rng.uniform(80, 130) / canvas.mpp, 16 / canvas.mpp, merge=0.25)
    return np.asarray(distance * canvas.mpp > np.clip(septa + 0.4 * septa * canvas.noise(60), 0.4, None))


def _carcinoma(canvas: Canvas, nests: Mask) -> None:
    canvas.kinds[nests] = Kind.TUMOUR
    # The whole field lies within the tumour: no front, no retraction of it.
    canvas.outline[:] = 500.0
    paint_stroma(canvas, nests)
    paint_tumour(canvas, nests)


def _epithelium(canvas: Canvas, glands: Glands, thickness: Field | float, basophil: float = 0.125) -> Mask:
    """Paint stroma, the cytoplasm that lines the glands, and their empty lumina; return where these are.

    `basophil` is the density of haematoxylin in the cytoplasm: a tumour's is bluer.
    """
    inside = glands.depth > 0
    air = canvas.where(Kind.ALVEOLI)
    canvas.kinds[inside] = Kind.TUMOUR
    paint_stroma(canvas, inside)
    canvas.kinds[air & inside] = Kind.ALVEOLI
    lumen = inside & (glands.depth > thickness)
    ground = np.clip(1 + 0.10 * canvas.noise(6) + 0.12 * canvas.noise(60), 0.5, 1.6) * (1 - 0.6 * canvas.look.clear)
    canvas.fill(inside & ~lumen, basophil * ground, 0.145 * ground)
    canvas.fill(lumen, 0.004, 0.010)
    return np.asarray(lumen)


def _atypical(canvas: Canvas, share: float) -> Body:
    """Nuclei of tumour that lines a lumen: `share` of the size of those in sheets."""
    body, size = canvas.look.nucleus, share * canvas.look.cell
    return replace(body, length=body.length * size, width=body.width * size)


def _pearl(canvas: Canvas, nests: Mask) -> None:
    """Rings of keratin within a nest; flat nuclei round it, and none within it but ghosts."""
    rng = canvas.rng
    room = canvas.inside(nests)
    places = np.argwhere(room > min(14.0, float(room.max()) * 0.8))
    y, x = places[rng.integers(len(places))] * canvas.mpp
    radius = rng.uniform(11, 26)
    far = canvas.far_from(float(y), float(x)) * (1 + 0.10 * canvas.noise(45)) + 1.2 * canvas.noise(18)
    depth = np.asarray(radius - far, np.float32)
    cover = canvas.edge(depth)
    rings = np.sin(far * (2 * np.pi / rng.uniform(3.6, 5.2)) + 0.8 * canvas.noise(14))
    canvas.nuclear *= 1 - cover
    canvas.cover *= 1 - cover
    canvas.e += cover * (0.33 + 0.07 * rings.astype(np.float32) - canvas.e)
    canvas.h += cover * (0.020 - canvas.h)
    whorl = Glands.of(canvas, depth)
    for at, chance in ((-1.5, 0.85), (-5.5, 0.55), (3.5, 0.30)):
        paint_row(canvas, whorl, at, SQUAME, 9.0, chance, along=True)
