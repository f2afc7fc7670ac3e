"""Lung of the demo cohort: alveoli, reactive glands, and carcinoma in broad nests of large pale nuclei."""

from __future__ import annotations

from dataclasses import replace

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
        haematoxylin=rng.uniform(0.78, 1.22),
        eosin=rng.uniform(0.72, 1.25),
        haematoxylin_hue=rng.uniform(0.0, 1.0),
        eosin_hue=rng.uniform(0.1, 1.0),
        cell=rng.uniform(0.96, 1.12),
        clear=rng.uniform(0.0, 0.45),
        lumens=rng.uniform(0.0, 0.12),
        inflamed=rng.uniform(0.5, 1.6),
    )


def slide_shares(rng: np.random.Generator, tumour: float) -> Shares:
    """Tissues of one slide."""
    common = Shares(
        tissue=rng.uniform(0.60, 0.68),
        tumour=tumour,
        necrosis=rng.uniform(0.05, 0.10),
        alveoli=rng.uniform(0.15, 0.24),
        epithelium=rng.uniform(0.22, 0.30),
        immune=rng.uniform(0.11, 0.17),
    )
    return replace(common, necrosis=0.0) if tumour == 0 else common


def paint_alveoli(canvas: Canvas) -> None:
    """Air spaces between thin septa, with capillaries, macrophages and a few free red cells."""
    lung = canvas.where(Kind.ALVEOLI)
    distance = walls(canvas.rng, canvas.shape, 74 / canvas.mpp, 13 / canvas.mpp, merge=0.28) * canvas.mpp
    thick = 3.0 + 1.3 * canvas.noise(40) + 1.0 * canvas.noise(260)
    thick = np.where(canvas.noise(120) > 1.5, -1.0, np.clip(thick, 1.5, 8.0)).astype(np.float32)
    septum = canvas.edge(thick + 0.7 * canvas.noise(7) - distance)
    ground = np.clip(1 + 0.22 * canvas.noise(9), 0.3, 1.8)
    canvas.fill(lung, septum * 0.07 * ground, septum * 0.235 * ground)
    wall = lung & (septum > 0.55)
    canvas.scatter(wall, nuclei.SEPTAL, 6.4, 0.50)
    canvas.scatter(wall, nuclei.RED_CELL, 6.0, np.clip(0.18 + 0.2 * canvas.noise(160), 0, 0.7), layer=canvas.red)
    air = lung & (distance > thick + 8)
    foam = np.clip(0.10 + 0.14 * canvas.noise(280), 0, 0.6)
    centres = canvas.scatter(air, nuclei.FOAM, 22.0, foam, layer=canvas.e)
    spot = np.zeros(canvas.shape, bool)
    y, x = centres.astype(np.int64).T
    spot[y, x] = True
    spot = cv2.dilate(spot.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    canvas.scatter(spot, nuclei.MACROPHAGE, 4.5, 0.8)
    canvas.scatter(lung & (distance > thick + 4), nuclei.RED_CELL, 8.5, 0.02, layer=canvas.red)


def paint_epithelium(canvas: Canvas) -> None:
    """Reactive glands: regular, small, elongated nuclei standing across the wall, round open lumens."""
    area = canvas.where(Kind.EPITHELIUM)
    gland = cv2.GaussianBlur(canvas.noise(66), (0, 0), 3 / canvas.mpp)
    dy, dx = cv2.Sobel(gland, cv2.CV_32F, 0, 1, ksize=5), cv2.Sobel(gland, cv2.CV_32F, 1, 0, ksize=5)
    across = np.asarray(cv2.phase(dx, dy), np.float32)
    lumen, lining = gland > 1.30, (gland > -0.75) & (gland <= 1.30)
    ground = 1 + 0.10 * canvas.noise(10)
    canvas.fill(area & (gland <= -0.75), 0.035 + 0.01 * canvas.fibre, np.clip(0.18 + 0.05 * canvas.fibre, 0.04, 0.4))
    canvas.fill(area & lining, 0.095 * ground, 0.175 * ground)
    canvas.fill(area & lumen, 0.004, 0.012)
    canvas.scatter(area & lining & (gland < 1.12), nuclei.EPITHELIUM, 8.3, 0.93, across, jitter=0.26)
    canvas.scatter(area & (gland < -0.85), nuclei.SPINDLE, 11.0, 0.5, canvas.fibre_angle)
    canvas.scatter(area & (gland < -0.85), nuclei.LYMPHOCYTE, 8.5, 0.25)


LUNG = Organ(
    look=patient_look,
    shares=slide_shares,
    own_tissues=(paint_alveoli, paint_epithelium),
    regions={
        Kind.TUMOUR: 9,
        Kind.STROMA: 5,
        Kind.ALVEOLI: 3,
        Kind.EPITHELIUM: 6,
        Kind.IMMUNE: 4,
        Kind.VESSEL: 2,
        Kind.NECROSIS: 2,
    },
)
