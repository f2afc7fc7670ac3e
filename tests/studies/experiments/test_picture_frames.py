"""Pictures of several runs lie on the slide in the frame that its GeoJSON is counted from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from PIL import Image
from scanned_slide import write_scanned
from shapely.geometry import box, mapping

from drunet.export.mask_image import write_mask
from studies.experiments.pictures import SlideFiles, seen_by_runs

CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}
FEATURE = {"type": "Feature", "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}}}


def drawn(path: Path, shape: shapely.Geometry) -> Path:
    path.write_text(json.dumps({**FEATURE, "geometry": mapping(shape)}))
    return path


def test_pictures_of_several_runs_show_the_annotation_in_its_place(
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    slide = write_scanned(tmp_path / "slide.scn", pixels, (640, 480), (96, 160))
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(tmp_path / "tissue.png")
    path = drawn(tmp_path / "a.geojson", box(20, 30, 120, 100))
    files = SlideFiles("s", slide, path, tmp_path / "tissue.png", "wta", None)
    shifted = drawn(tmp_path / "b.geojson", box(116, 190, 216, 260))
    whole = SlideFiles("s", slide, shifted, tmp_path / "tissue.png", "wta", None)
    np.testing.assert_array_equal(_seen(files, "qupath"), _seen(whole, "slide"))
    assert (_seen(files, "qupath") != _seen(files, "slide")).any()


def _seen(files: SlideFiles, frame: str) -> np.ndarray:
    path = Path(files.path).with_name("run.tif")
    write_mask(path, np.zeros((240, 320), bool), (2.0, 2.0), "none")
    options: Any = {"classes": CLASSES, "geojson_frame": frame, "mpp": 4.0, "band_um": 50.0, "longest": 320}
    return seen_by_runs(files, {"r": path}, **options)[1]["r"]
