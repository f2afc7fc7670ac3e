"""The demo cohort: small slides that stand in for scanned lung sections, with truth known to the pixel.

A few more stand in for breast, for models to be trained on first: as an established model is that came from elsewhere.

Tumour differs from other tissue by its nuclei and its growth, hardly by its colour: reactive glands and lymphoid tissue
are as dark, and the stain varies between patients.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drunet.files import whole_file, write_json
from drunet.synth.breast import BREAST
from drunet.synth.layout import Layout, plan
from drunet.synth.lung import LUNG
from drunet.synth.pyramid import aperio_description, write_pyramid
from drunet.synth.regions import feature_collection, partial_regions, whole_tumour
from drunet.synth.tissue_texture import paint

ORGANS = {"lung": LUNG, "breast": BREAST}


@dataclass(frozen=True)
class DemoSlide:
    """Recipe of one demo slide.

    Attributes
    ----------
    patient_id, split, annotation_kind : str
        As in the sample sheet.
    organ : str
        A key of `ORGANS`.
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
    organ: str = "lung"
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
_BREAST: dict[str, Any] = {"organ": "breast", "width": 1536, "height": 1280}

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
    "breast_psa_1": DemoSlide("patient_18", "train", "psa", tumour=0.38, **_BREAST),
    "breast_psa_2": DemoSlide("patient_19", "train", "psa", tumour=0.36, **_BREAST),
    "breast_wta_1": DemoSlide("patient_20", "train", "wta", tumour=0.34, **_BREAST),
    "breast_wta_2": DemoSlide("patient_21", "train", "wta", tumour=0.40, **_BREAST),
    "breast_val": DemoSlide("patient_22", "val", "wta", tumour=0.36, **_BREAST),
}


def draw_slide(slide_id: str, seed: int) -> Drawn:
    """Draw one slide of `SLIDES`; the same ID and seed give the same pixels."""
    recipe = SLIDES[slide_id]
    organ = ORGANS[recipe.organ]
    # A slide's stream follows from its ID alone, so that slides may be added without another one changing.
    rng = np.random.default_rng([seed, zlib.crc32(slide_id.encode())])
    look = organ.look(np.random.default_rng([seed, zlib.crc32(recipe.patient_id.encode())]))
    shares = organ.shares(rng, recipe.tumour)
    vessels = max(round(14 * recipe.width * recipe.height * recipe.mpp**2 / 3.1e6), 4)
    layout = plan(rng, recipe.height * recipe.mpp, recipe.width * recipe.mpp, shares, vessels, recipe.punches)
    if recipe.annotation_kind == "psa":
        regions = partial_regions(rng, layout, recipe.mpp, organ.regions)
    else:
        regions = whole_tumour(layout, recipe.mpp)
    size = (recipe.height, recipe.width)
    painting = paint(rng, layout, size, recipe.mpp, look, organ.own_tissues, recipe.pen_strokes)
    annotation = feature_collection(regions, f"{slide_id}/{seed}")
    return Drawn(painting.image, painting.tumour_cells, layout, annotation)


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


def sheet_rows(organ: str = "lung") -> list[dict[str, str]]:
    """Rows of the sample sheet of one organ's slides, in the order of `SLIDES`; the cohort is named after the organ."""
    return [
        {
            "slide_id": slide_id,
            "patient_id": slide.patient_id,
            "path": f"{slide_id}.tif",
            "split": slide.split,
            "annotation": f"{slide_id}.geojson",
            "annotation_kind": slide.annotation_kind,
            "cohort": slide.organ,
        }
        for slide_id, slide in SLIDES.items()
        if slide.organ == organ
    ]
