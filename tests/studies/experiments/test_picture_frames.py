"""Pictures of several runs lie on the slide in the frame that its GeoJSON is counted from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely
from PIL import Image
from scanned_slide import write_scanned
from shapely.geometry import box, mapping

from drunet.annotation import Annotation, read_annotation
from drunet.annotation.parsed import write_parsed
from drunet.annotation.provenance import Provenance
from drunet.export.mask_image import write_mask_image
from studies.experiments.pictures import seen_by_runs

SIZE, ORIGIN = (640, 480), (96, 160)
CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": ["ignore*"]}
FEATURE = {"type": "Feature", "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}}}


def drawn(path: Path, shape: shapely.Geometry) -> Path:
    path.write_text(json.dumps({**FEATURE, "geometry": mapping(shape)}))
    return path


def test_pictures_of_several_runs_show_the_annotation_in_its_place(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    slide = write_scanned(tmp_path / "slide.scn", pixels, SIZE, ORIGIN)
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(tmp_path / "tissue.png")
    write_mask_image(tmp_path / "run.tif", np.zeros((240, 320), bool), (2.0, 2.0), "none")
    part, whole = box(20, 30, 120, 100), box(116, 190, 216, 260)
    seen = [
        _seen(slide, read(drawn(tmp_path / "a.geojson", shape), origin))
        for shape, origin in ((part, ORIGIN), (whole, (0, 0)), (part, (0, 0)))
    ]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


def read(path: Path, origin: tuple[int, int]) -> Annotation:
    width, height = SIZE
    return read_annotation(path, kind="wta", where="s", width=width, height=height, classes=CLASSES, origin=origin)


def _seen(slide: Path, annotation: Annotation) -> np.ndarray:
    folder = slide.parent
    write_parsed(folder / "a.parquet", annotation, Provenance("drawn"), slide_id="s", size=SIZE)
    files = slide, folder / "a.parquet", folder / "tissue.png"
    masks = {"r": folder / "run.tif"}
    return seen_by_runs({"slide": "s"}, *files, masks, slide_mpp=None, mpp=4.0, band_um=50.0, longest=320)[1]["r"]
