"""Breast of the demo cohort, for models to start from: fat, lobules, and carcinoma in narrow cords and tubules.

Against lung, nuclei of the tumour are smaller, darker and plainer, its nests narrow and its stroma wide; the stain is
another laboratory's. A model that learnt here finds lung's tumour in part.
"""

from __future__ import annotations

import cv2
import numpy as np

from drunet.synth import nuclei
from drunet.synth.canvas import Canvas, Look
from drunet.synth.fields import walls
from drunet.synth.layout import Kind, Shares
from drunet.synth.organ import Organ


def patient_look(rng: np.random.Generator) -> Look:
    """Stain and tumour of one patient."""
    return Look(
        haematoxylin=rng.uniform(0.85, 1.20),
        eosin=rng.uniform(0.60, 0.90),
        haematoxylin_hue=rng.uniform(-0.7, -0.1),
        eosin_hue=rng.uniform(1.1, 1.8),
        cell=rng.uniform(0.94, 1.10),
        clear=rng.uniform(0.0, 0.25),
        lumens=rng.uniform(0.06, 0.20),
        inflamed=rng.uniform(0.2, 0.7),
        fibroblasts=rng.uniform(0.3, 0.5),
        soot=0.0,
        nucleus=nuclei.DUCTAL_TUMOUR,
        spacing=11.4,
        nests=100.0,
        septa=4.8,
        rim=0.0,
        glands=44.0,
    )


def slide_shares(rng: np.random.Generator, tumour: float) -> Shares:
    """Tissues of one slide."""
    return Shares(
        tissue=rng.uniform(0.62, 0.70),
        tumour=tumour,
        necrosis=rng.uniform(0.03, 0.06),
        alveoli=0.0,
        fat=rng.uniform(0.24, 0.34),
        epithelium=rng.uniform(0.22, 0.30),
        immune=rng.uniform(0.06, 0.10),
    )


def paint_fat(canvas: Canvas) -> None:
    """Large empty cells with hair-thin membranes; flat nuclei and a few capillaries in the corners."""
    fat = canvas.where(Kind.FAT)
    distance = walls(canvas.rng, canvas.shape, 62 / canvas.mpp, 7 / canvas.mpp) * canvas.mpp
    thick = np.clip(0.9 + 0.5 * canvas.noise(70), 0.6, 3.0).astype(np.float32)
    membrane = canvas.edge(thick - distance)
    canvas.fill(fat, 0.045 * membrane, 0.21 * membrane)
    canvas.scatter(fat & (distance < 1.5), nuclei.SEPTAL, 9.0, 0.12)
    vessels = np.clip(0.10 + 0.2 * canvas.noise(160), 0, 0.5)
    canvas.scatter(fat & (distance < 2.5), nuclei.RED_CELL, 7.0, vessels, layer=canvas.red)


def paint_lobules(canvas: Canvas) -> None:
    """Acini in pale loose stroma: small lumens, round even nuclei, and a clear outer layer of myoepithelium.

    Where hyperplastic they are crowded and their lumens filled with nuclei: dark sheets that are no tumour.
    """
    area = canvas.where(Kind.EPITHELIUM)
    rooms = walls(canvas.rng, canvas.shape, 68 / canvas.mpp, 10 / canvas.mpp) * canvas.mpp
    crowded = canvas.noise(240) > 0.2
    gap = np.where(crowded, 2.0, 5.0) + 1.6 * canvas.noise(90)
    depth = np.asarray(rooms - gap, np.float32)
    smooth = cv2.GaussianBlur(depth, (0, 0), 2.0 / canvas.mpp)
    dy, dx = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=5), cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=5)
    along = np.asarray(cv2.phase(-dy, dx), np.float32)
    outer, inner, lumen = (depth > 0) & (depth <= 4), (depth > 4) & (crowded | (depth <= 17)), (depth > 17) & ~crowded
    ground = 1 + 0.10 * canvas.noise(10)
    canvas.fill(area & (depth <= 0), 0.030, np.clip(0.115 + 0.03 * canvas.fibre, 0.03, 0.3))
    canvas.fill(area & outer, 0.03 * ground, 0.07 * ground)
    canvas.fill(area & inner, 0.085 * ground, 0.16 * ground)
    canvas.fill(area & lumen, 0.010, 0.045)
    canvas.scatter(area & (depth < -1.5), nuclei.SPINDLE, 12.0, 0.25, along)
    canvas.scatter(area & outer, nuclei.MYOEPITHELIUM, 10.5, 0.55, along)
    canvas.scatter(area & ~crowded & (depth > 6) & (depth < 15.5), nuclei.LUMINAL, 8.0, 0.97, jitter=0.22)
    canvas.scatter(area & crowded & (depth > 4), nuclei.EPITHELIUM, 8.2, 0.92, along, jitter=0.28)


BREAST = Organ(
    look=patient_look,
    shares=slide_shares,
    own_tissues=(paint_fat, paint_lobules),
    regions={
        Kind.TUMOUR: 9,
        Kind.STROMA: 5,
        Kind.FAT: 3,
        Kind.EPITHELIUM: 6,
        Kind.IMMUNE: 3,
        Kind.VESSEL: 2,
        Kind.NECROSIS: 2,
    },
)
