"""A validation slide gives a classifier its temperature; exports hold it when asked to, and nothing else moves."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import openslide
import pytest

from drunet.files import read_json
from drunet.heatmap import read_heatmap
from drunet.uncertainty.calibration import tempered

if TYPE_CHECKING:
    from tiny_cohort import Project


@pytest.mark.slow
def test_exports_are_calibrated_when_asked_and_nothing_before_them_runs_again(own_copy: Project) -> None:
    own_copy.row("tumour_a")["split"] = "val"
    own_copy.config["export"] |= {"formats": ["qupath_tiles", "ome_tiff", "model_card"], "calibrated": True}
    own_copy.config["runs"]["by_colour"]["refiner"] = None
    done = own_copy.write().run("exports")
    assert done.status == 0, done.output
    assert done.rules()["calibrate_classifier"] == done.rules()["export_calibrated"] == 1
    assert "classify_tiles" not in done.rules()
    folder = own_copy.results / "models/tone"
    facts = read_json(folder / "calibration.json")
    temperature = facts["temperature"]
    assert temperature != 1 and set(facts["splits"]) == {"val", "test"}
    held = {p.key: p.value for p in onnx.load(folder / "calibrated.onnx").metadata_props}
    assert float(held["temperature"]) == temperature
    heatmap, _ = read_heatmap(own_copy.results / "heatmaps/tone/tumour_b.tif")
    cells = json.loads(gzip.decompress((own_copy.results / "runs/by_colour/tumour_b/tiles.geojson.gz").read_bytes()))
    found = [f["properties"]["measurements"]["Tumour probability"] for f in cells["features"]]
    expected = tempered(heatmap[np.isfinite(heatmap)], temperature)
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-4)
    with openslide.OpenSlide(own_copy.results / "runs/by_colour/tumour_b/probability.ome.tif") as shown:
        grey = np.asarray(shown.read_region((0, 0), 0, shown.dimensions))[..., 0]
    assert grey.max() == pytest.approx(255 * np.nanmax(expected), abs=3)
    card = (own_copy.results / "runs/by_colour/model_card.md").read_text(encoding="utf-8")
    assert f"Temperature {temperature:.4g}" in card and "## Calibration" in card


def test_a_cohort_without_validation_slides_cannot_be_calibrated(own_copy: Project) -> None:
    own_copy.config["export"] |= {"formats": ["qupath_tiles"], "calibrated": True}
    done = own_copy.write().dry_run("exports")
    assert done.status != 0 and "no usable slide of split val is annotated" in done.output
