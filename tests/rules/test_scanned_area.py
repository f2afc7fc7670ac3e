"""A slide of which a part was scanned gives what the same pixels give on a slide that was scanned whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from scanned_slide import write_scanned
from tiny_cohort import Project, feature_collection, picture, sheet_row

from drunet.files import read_json, write_json

pytestmark = pytest.mark.slow

ORIGIN, SIZE = np.array([160, 96]), (960, 800)


def features(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["features"])


@pytest.mark.timeout(600)
def test_in_qupaths_frame_a_partly_scanned_slide_is_its_whole_twin(new_project: Project) -> None:
    pixels, outline = picture(np.random.default_rng(3))
    # The twin has what OpenSlide makes of the part that was not scanned.
    twin = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    twin[ORIGIN[1] : ORIGIN[1] + pixels.shape[0], ORIGIN[0] : ORIGIN[0] + pixels.shape[1]] = pixels
    slides = new_project.folder / "slides"
    scan = {"resolution": (10_000, 10_000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}
    tifffile.imwrite(slides / "whole.tif", twin, tile=(64, 64), compression="deflate", **scan)
    write_scanned(slides / "part.scn", pixels, SIZE, (int(ORIGIN[0]), int(ORIGIN[1])))
    write_json(slides / "part.geojson", feature_collection(outline))
    write_json(slides / "whole.geojson", feature_collection(outline + ORIGIN))
    files = {"part": "part.scn", "whole": "whole.tif"}
    new_project.rows[:] = [sheet_row(s, f"p-{s}", f, split="test", labelled=True) for s, f in files.items()]
    done = new_project.write().run("metrics", "segment")
    assert done.status == 0, done.output

    results = new_project.results
    tables = [pd.read_parquet(results / f"slides/{slide}/tiles.parquet") for slide in files]
    pd.testing.assert_frame_equal(*tables)
    assert (tables[0]["label"] == 1).any()
    metrics = [read_json(results / f"runs/by_colour/{slide}/metrics.json") for slide in files]
    assert metrics[0] == metrics[1]
    assert metrics[0]["stages"][-1]["dsc"] > 0.8
    for name in ("slides/{}/tissue.geojson", "runs/by_colour/{}/segmentation.geojson"):
        part, whole = (features(results / name.format(slide)) for slide in files)
        assert len(part) == len(whole) > 0
        for one, other in zip(part, whole, strict=True):
            moved = shapely.transform(shapely.geometry.shape(one["geometry"]), lambda xy: xy + ORIGIN)
            assert moved.symmetric_difference(shapely.geometry.shape(other["geometry"])).area < 1
