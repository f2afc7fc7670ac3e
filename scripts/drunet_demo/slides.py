"""The demo cohort: small slides that stand in for scanned lung sections, and some of breast, with truth to the pixel.

Tumour differs from other tissue by its nuclei and its growth, hardly by its colour: reactive glands and lymphoid tissue
are as dark, and the stain varies between patients.
"""

import os
import uuid
import zlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from drunet.annotation.outline import outline, polygons_of
from drunet.files import AnyPath, whole_file, write_json
from drunet_demo.canvas import Canvas
from drunet_demo.fields import Field, Mask, enlarge, inside_distance
from drunet_demo.layout import LAYOUT_MPP, Kind, Layout, at_full_size, plan
from drunet_demo.pyramid import aperio_description, write_pyramid
from drunet_demo.tissues import ORGANS, paint

INKS = (np.array([1.05, 0.72, 0.20]), np.array([0.95, 0.28, 0.66]))
# QuPath's class and colour of each tissue, and how many regions of it a partially annotated slide has at most.
CLASSES = {
    Kind.TUMOUR: ("Tumor", [200, 0, 0], 9),
    Kind.STROMA: ("Stroma", [150, 200, 150], 5),
    Kind.ALVEOLI: ("Alveoli", [90, 170, 220], 3),
    Kind.FAT: ("Normal", [70, 150, 90], 3),
    Kind.EPITHELIUM: ("Normal", [70, 150, 90], 6),
    Kind.IMMUNE: ("Immune cells", [160, 90, 160], 4),
    Kind.VESSEL: ("Vessel", [220, 120, 40], 2),
    Kind.NECROSIS: ("Necrosis", [50, 50, 50], 2),
}


@dataclass(frozen=True)
class DemoSlide:
    """Recipe of one demo slide: `tumour` is a share of the tissue, `size` (width, height) in level-0 px.

    Of `partial` slides small regions of every tissue are marked (PSA), of others all tumour (WTA); `aperio` slides come
    from a second scanner; `punches` are cores taken for a tissue microarray, `pens` strokes of a felt pen.
    """

    patient: int
    tumour: float = 0.32
    partial: bool = False
    organ: str = "lung"
    size: tuple[int, int] = (2048, 1536)
    mpp: float = 1.0
    aperio: bool = False
    punches: int = 0
    pens: int = 0
    resolution_known: bool = True
    truncated: bool = False

    @property
    def patient_id(self) -> str:
        """As in the sample sheet."""
        return f"patient_{self.patient:02}"


class Drawn(NamedTuple):
    """A slide in memory: uint8 RGB, where tumour cells were painted, bool (h, w), and GeoJSON in level-0 px."""

    image: NDArray[np.uint8]
    tumour_cells: Mask
    layout: Layout
    annotation: dict[str, Any]


# A smaller piece of tissue, scanned finer.
_FINE: dict[str, Any] = {"size": (2560, 1920), "mpp": 0.5, "aperio": True}
_BREAST: dict[str, Any] = {"organ": "breast", "size": (1536, 1280)}
SLIDES: dict[str, DemoSlide] = {
    "psa_train_1": DemoSlide(1, 0.36, partial=True), "psa_train_2": DemoSlide(2, 0.34, partial=True),
    "psa_train_3a": DemoSlide(3, 0.38, partial=True), "psa_train_3b": DemoSlide(3, 0.32, partial=True),
    "psa_val_1": DemoSlide(4, 0.34, partial=True), "wta_train_1": DemoSlide(5, 0.30),
    "wta_train_2": DemoSlide(6, 0.40), "wta_train_3": DemoSlide(7, 0.33, **_FINE),
    "wta_train_4": DemoSlide(8, 0.30), "wta_train_5": DemoSlide(23, 0.34, **_FINE),
    "wta_train_6": DemoSlide(24, 0.36), "wta_val_1": DemoSlide(9, 0.35),
    "wta_val_2": DemoSlide(10, 0.28), "test_pair_a": DemoSlide(11, 0.30),
    "test_pair_b": DemoSlide(11, 0.29), "test_tma_hole": DemoSlide(12, 0.36, punches=3),
    "test_pen": DemoSlide(13, 0.30, pens=2), "test_no_tumour": DemoSlide(14, 0.0),
    "test_plain": DemoSlide(15, 0.30, **_FINE), "test_truncated": DemoSlide(16, size=(1024, 768), truncated=True),
    "test_no_resolution": DemoSlide(17, size=(1024, 768), resolution_known=False),
    "breast_psa_1": DemoSlide(18, 0.38, partial=True, **_BREAST),
    "breast_psa_2": DemoSlide(19, 0.36, partial=True, **_BREAST), "breast_wta_1": DemoSlide(20, 0.34, **_BREAST),
    "breast_wta_2": DemoSlide(21, 0.40, **_BREAST), "breast_val": DemoSlide(22, 0.36, **_BREAST),
}  # fmt: skip


def draw_slide(slide_id: str, seed: int) -> Drawn:
    """Draw one slide of `SLIDES`; the same ID and seed give the same pixels, whatever other slides there are."""
    recipe, organ = SLIDES[slide_id], ORGANS[SLIDES[slide_id].organ]
    rng, patient = (np.random.default_rng([seed, zlib.crc32(s.encode())]) for s in (slide_id, recipe.patient_id))
    shares = {kind: rng.uniform(*span) for kind, span in organ.shares.items()}
    shape = recipe.size[::-1]
    coarse = round(shape[0] * recipe.mpp / LAYOUT_MPP), round(shape[1] * recipe.mpp / LAYOUT_MPP)
    layout = plan(rng, coarse, recipe.tumour, shares, recipe.punches)
    kinds, depth = at_full_size(rng, layout, shape, recipe.mpp)
    own: dict[str, Any] = {key: patient.uniform(*span) for key, span in organ.varies.items()}
    canvas = Canvas(rng, kinds, recipe.mpp, replace(organ.look, **own))
    cells = paint(canvas, depth)
    image = canvas.develop([(INKS[pen], _pen(canvas, pen)) for pen in range(recipe.pens)])
    regions = _partial(rng, layout) if recipe.partial else [(Kind.TUMOUR, layout.tumour)]
    return Drawn(image, cells, layout, _collection(regions, recipe.mpp, f"{slide_id}/{seed}"))


def write_slide(slide_id: str, seed: int, tif_path: AnyPath, geojson_path: AnyPath) -> None:
    """Draw one slide of `SLIDES` and write a pyramidal TIFF and QuPath's GeoJSON, each whole or not at all."""
    recipe, drawn = SLIDES[slide_id], draw_slide(slide_id, seed)
    scanner = aperio_description(*recipe.size, recipe.mpp, round(10 / recipe.mpp)) if recipe.aperio else None
    with whole_file(tif_path) as temporary:
        write_pyramid(temporary, drawn.image, recipe.mpp if recipe.resolution_known else None, scanner)
        if recipe.truncated:
            os.truncate(temporary, temporary.stat().st_size // 2)
    write_json(geojson_path, drawn.annotation)


def _pen(canvas: Canvas, number: int) -> Field:
    """Density of a felt-pen stroke that runs along the tissue and crosses its edge; the second opposite the first."""
    blurred = cv2.GaussianBlur((canvas.depth > 0).astype(np.float32), (0, 0), 60 / canvas.mpp)
    contours, _ = cv2.findContours((blurred > 0.4).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    path = max(contours, key=len)
    path = np.roll(path, int(len(path) * (canvas.rng.uniform(0.0, 0.2) + number / 2)), axis=0)[: len(path) // 6]
    line = cv2.polylines(np.zeros(canvas.shape, np.uint8), [path], False, 255, round(54 / canvas.mpp), cv2.LINE_AA)
    stroke = cv2.GaussianBlur(line / np.float32(255), (0, 0), 2.0 / canvas.mpp)
    return np.asarray(stroke * np.clip(0.85 + 0.12 * canvas.noise(30) + 0.05 * canvas.noise(6), 0.4, 1.2), np.float32)


def _partial(rng: np.random.Generator, layout: Layout) -> list[tuple[Kind, Mask]]:
    """Small separate regions of known kind, in roomy places; all between them stays unmarked."""
    found, turn = [], np.linspace(0, 2 * np.pi, 48, endpoint=False)
    for kind, (_, _, count) in CLASSES.items():
        # Borders are roughened when painted; regions keep clear of them, and of the border of the slide.
        free = inside_distance(np.pad(layout.kinds == kind, 1))[1:-1, 1:-1] * LAYOUT_MPP > 9
        for _ in range(count if free.any() else 0):
            room = np.maximum(inside_distance(np.pad(free, 1))[1:-1, 1:-1], 0)
            y, x = rng.choice(np.argwhere(room >= 0.6 * room.max()))
            waves = [rng.normal(0, 0.07) * np.cos(n * turn + rng.uniform(0, 2 * np.pi)) for n in (2, 3, 4)]
            reach = rng.uniform(75, 150) / LAYOUT_MPP * (1 + np.sum(waves, axis=0))
            hand = np.rint(np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1)).astype(np.int32)
            _, labels = cv2.connectedComponents(cv2.fillPoly(np.zeros(free.shape, np.uint8), [hand], 1) * free)
            region = (labels == labels[y, x]) & free
            free &= cv2.dilate(region.astype(np.uint8), np.ones((7, 7))) == 0
            if region.sum() * LAYOUT_MPP**2 >= 6000:
                found.append((kind, region))
    return found


def _collection(regions: list[tuple[Kind, Mask]], mpp: float, seed: str) -> dict[str, Any]:
    """Outlines of masks of `LAYOUT_MPP` as QuPath's GeoJSON; the IDs of the annotations follow from `seed`."""
    features: list[dict[str, Any]] = []
    scale = LAYOUT_MPP / 2 / mpp
    for kind, mask in regions:
        fine = enlarge(inside_distance(mask), (mask.shape[0] * 2, mask.shape[1] * 2)) > 0
        for shape in polygons_of(
            shapely.set_precision(shapely.simplify(outline(fine, scale, scale), scale), 0.01)
        ).geoms:
            name, colour, _ = CLASSES[kind]
            features.append({
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}/{len(features)}")),
                "geometry": shapely.geometry.mapping(shape),
                "properties": {"objectType": "annotation", "classification": {"name": name, "color": colour}},
            })  # fmt: skip
    return {"type": "FeatureCollection", "features": features}
