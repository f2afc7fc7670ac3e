"""The demo cohort: small slides that stand in for scanned lung sections, with truth known to the pixel.

Tumour differs from other tissue by its nuclei and its growth, hardly by its colour: reactive glands and lymphoid tissue
are as dark, and the stain varies between patients.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drunet.atomic import whole_file, write_json
from drunet.synth.canvas import Look
from drunet.synth.layout import Kind, Layout, Shares, plan
from drunet.synth.pyramid import aperio_description, write_pyramid
from drunet.synth.regions import feature_collection, partial_regions, whole_tumour
from drunet.synth.tissue_texture import paint

PSA_REGIONS = {
    Kind.TUMOUR: 9,
    Kind.STROMA: 5,
    Kind.ALVEOLI: 3,
    Kind.EPITHELIUM: 6,
    Kind.IMMUNE: 4,
    Kind.VESSEL: 2,
    Kind.NECROSIS: 2,
}


@dataclass(frozen=True)
class DemoSlide:
    """Recipe of one demo slide.

    Attributes
    ----------
    patient_id, split, annotation_kind : str
        As in the sample sheet.
    width, height : int
        Level-0 px.
    mpp : float
        µm/px it is painted at.
    aperio : bool
        Comes from the second scanner: an Aperio-form description with objective power.
    tumour : float
        Share of the tissue.
    punches, pen_strokes : int
        Cores taken for a tissue microarray; strokes of a felt pen.
    resolution_known, truncated : bool
        Whether µm/px is written; whether the file ends half way.
    """

    patient_id: str
    split: str
    annotation_kind: str
    width: int = 2048
    height: int = 1536
    mpp: float = 1.0
    aperio: bool = False
    tumour: float = 0.32
    punches: int = 0
    pen_strokes: int = 0
    resolution_known: bool = True
    truncated: bool = False


@dataclass(frozen=True)
class Drawn:
    """A slide in memory.

    Attributes
    ----------
    image : uint8 (h, w, 3)
    tumour_cells : bool (h, w)
        Where tumour cells were painted.
    layout : Layout
    annotation : dict
        GeoJSON feature collection in level-0 px.
    """

    image: NDArray[np.uint8]
    tumour_cells: NDArray[np.bool_]
    layout: Layout
    annotation: dict[str, Any]


# 2560 x 1920 px at 0.5 µm/px: a smaller piece of tissue, scanned finer.
_FINE: dict[str, Any] = {"width": 2560, "height": 1920, "mpp": 0.5, "aperio": True}

SLIDES: dict[str, DemoSlide] = {
    "psa_train_1": DemoSlide("patient_01", "train", "psa", tumour=0.36),
    "psa_train_2": DemoSlide("patient_02", "train", "psa", tumour=0.34),
    "psa_train_3a": DemoSlide("patient_03", "train", "psa", tumour=0.38),
    "psa_train_3b": DemoSlide("patient_03", "train", "psa", tumour=0.32),
    "psa_val_1": DemoSlide("patient_04", "val", "psa", tumour=0.34),
    "wta_train_1": DemoSlide("patient_05", "train", "wta", tumour=0.30),
    "wta_train_2": DemoSlide("patient_06", "train", "wta", tumour=0.40),
    "wta_train_3": DemoSlide("patient_07", "train", "wta", tumour=0.33, **_FINE),
    "wta_train_4": DemoSlide("patient_08", "train", "wta", tumour=0.30),
    "wta_val_1": DemoSlide("patient_09", "val", "wta", tumour=0.35),
    "wta_val_2": DemoSlide("patient_10", "val", "wta", tumour=0.28),
    "test_pair_a": DemoSlide("patient_11", "test", "wta", tumour=0.30),
    "test_pair_b": DemoSlide("patient_11", "test", "wta", tumour=0.29),
    "test_tma_hole": DemoSlide("patient_12", "test", "wta", tumour=0.36, punches=3),
    "test_pen": DemoSlide("patient_13", "test", "wta", tumour=0.30, pen_strokes=2),
    "test_no_tumour": DemoSlide("patient_14", "test", "wta", tumour=0.0),
    "test_plain": DemoSlide("patient_15", "test", "wta", tumour=0.30, **_FINE),
    "test_truncated": DemoSlide("patient_16", "test", "wta", width=1024, height=768, truncated=True),
    "test_no_resolution": DemoSlide("patient_17", "test", "wta", width=1024, height=768, resolution_known=False),
}


def draw_slide(slide_id: str, seed: int) -> Drawn:
    """Draw one slide of `SLIDES`; the same ID and seed give the same pixels."""
    recipe = SLIDES[slide_id]
    rng = np.random.default_rng([seed, zlib.crc32(slide_id.encode())])
    look = patient_look(np.random.default_rng([seed, zlib.crc32(recipe.patient_id.encode())]))
    shares = _shares(rng, recipe.tumour)
    vessels = max(round(14 * recipe.width * recipe.height * recipe.mpp**2 / 3.1e6), 4)
    layout = plan(rng, recipe.height * recipe.mpp, recipe.width * recipe.mpp, shares, vessels, recipe.punches)
    if recipe.annotation_kind == "psa":
        regions = partial_regions(rng, layout, recipe.mpp, PSA_REGIONS)
    else:
        regions = whole_tumour(layout, recipe.mpp)
    painting = paint(rng, layout, (recipe.height, recipe.width), recipe.mpp, look, recipe.pen_strokes)
    annotation = feature_collection(regions, f"{slide_id}/{seed}")
    return Drawn(painting.image, painting.tumour_cells, layout, annotation)


def patient_look(rng: np.random.Generator) -> Look:
    """Stain and tumour of one patient: every block of it was stained in the same bath."""
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


def _shares(rng: np.random.Generator, tumour: float) -> Shares:
    common = Shares(
        tissue=rng.uniform(0.60, 0.68),
        tumour=tumour,
        necrosis=rng.uniform(0.05, 0.10),
        alveoli=rng.uniform(0.15, 0.24),
        epithelium=rng.uniform(0.22, 0.30),
        immune=rng.uniform(0.11, 0.17),
    )
    return replace(common, necrosis=0.0) if tumour == 0 else common


def write_slide(
    slide_id: str, seed: int, tif_path: str | os.PathLike[str], geojson_path: str | os.PathLike[str]
) -> None:
    """Draw one demo slide and write it with its annotation, each file whole or not at all.

    Parameters
    ----------
    slide_id : str
        A key of `SLIDES`.
    seed : int
        The same seed gives the same pixels and outlines.
    tif_path, geojson_path : path
        Pyramidal TIFF; QuPath GeoJSON in level-0 px.

    Raises
    ------
    KeyError
        There is no such demo slide.
    """
    recipe, drawn = SLIDES[slide_id], draw_slide(slide_id, seed)
    description = (
        aperio_description(recipe.width, recipe.height, recipe.mpp, round(10 / recipe.mpp)) if recipe.aperio else None
    )
    with whole_file(tif_path) as temporary:
        write_pyramid(temporary, drawn.image, recipe.mpp if recipe.resolution_known else None, description)
        if recipe.truncated:
            os.truncate(temporary, temporary.stat().st_size // 2)
    write_json(geojson_path, drawn.annotation)


def sheet_rows() -> list[dict[str, str]]:
    """Rows of the demo's sample sheet, in the order of `SLIDES`."""
    return [
        {
            "slide_id": slide_id,
            "patient_id": slide.patient_id,
            "path": f"{slide_id}.tif",
            "split": slide.split,
            "annotation": f"{slide_id}.geojson",
            "annotation_kind": slide.annotation_kind,
        }
        for slide_id, slide in SLIDES.items()
    ]
