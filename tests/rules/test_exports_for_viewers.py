"""What QuPath and FastPathology get of a run, by the workflow's own rules."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from fpl_linter import model_faults, parse
from qupath_reader import read_as_qupath
from tiny_cohort import PATIENTS, Project

from drunet.errors import FailedSlideError
from drunet.heatmap import read_heatmap
from drunet.outcome import write_outcome

FORMATS = ["geojson", "geojson_gz", "qupath", "qupath_tiles", "fastpathology"]
PER_SLIDE = {"export_geojson_gz": 3, "export_qupath_tiles": 3}
ONCE = {"export_qupath": 1, "export_fastpathology": 1}


def pipelines(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.rglob("*.fpl")}


@pytest.mark.slow
def test_exports_are_made_from_what_is_there_and_read_by_others(own_copy: Project) -> None:
    own_copy.config["export"]["formats"] = FORMATS
    done = own_copy.write().run("exports")
    assert done.status == 0, done.output
    assert done.rules() == {**PER_SLIDE, **ONCE, "exports": 1}
    run = own_copy.results / "runs/by_colour"
    packed = [run / slide / "segmentation.geojson.gz" for slide in PATIENTS]
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()
    heatmaps = {slide: read_heatmap(own_copy.results / f"heatmaps/tone/{slide}.tif")[0] for slide in PATIENTS}
    # QuPath's project: its images, and beside it the files that its script reads.
    project = json.loads((run / "qupath/project.qpproj").read_text(encoding="utf-8"))
    assert [image["imageName"] for image in project["images"]] == list(PATIENTS)
    assert all(Path(image["serverBuilder"]["uri"].removeprefix("file://")).is_file() for image in project["images"])
    assert "by_colour" in (run / "qupath/scripts/import_by_colour.groovy").read_text(encoding="utf-8")
    # FastPathology's: both networks, as the refiner sees the whole slide.
    folder = run / "fastpathology"
    found = {name: parse(path) for name, path in pipelines(folder).items()}
    names = {f"drunet-by_colour{end}" for end in ("", "-heatmap", "-segmentation")}
    assert set(found) == names and all(pipeline.faults == [] for pipeline in found.values())
    assert (folder / "command_line/drunet-by_colour-heatmap.fpl").is_file(), "docs/exports.md names it"
    models = sorted(path.name for path in folder.glob("models/*"))
    assert models == ["drunet-by_colour-classifier.onnx", "drunet-by_colour-refiner.onnx"]
    for pipeline, path in ((found[path.stem], path) for path in pipelines(folder).values()):
        for _, attributes, _ in pipeline.objects.values():
            for model in attributes.get("model", []):
                assert (path.parent / model.removeprefix("$CURRENT_PATH$/")).resolve().parent == folder / "models"
                assert (path.parent / model.removeprefix("$CURRENT_PATH$/")).is_file()
    assert model_faults(folder / f"models/{models[0]}", ["input_image"], 64) == []
    assert model_faults(folder / f"models/{models[1]}", ["input_image", "input_pred"]) == []
    opened = folder / "projects/drunet-by_colour"
    lines = (opened / "project.txt").read_text(encoding="utf-8").splitlines()
    assert lines[::2] == list(PATIENTS) and all(Path(path).is_file() for path in lines[1::2])
    for slide, heatmap in heatmaps.items():
        place = opened / "results" / slide / "drunet-by_colour"
        with h5py.File(place / "heatmap/heatmap.hdf5") as file:
            np.testing.assert_array_equal(file["tensor"][..., 1], np.nan_to_num(heatmap))
        written = tifffile.imread(place / "segmentation/segmentation.tiff", key=0)
        np.testing.assert_array_equal(written, tifffile.imread(run / slide / "segmentation.tif", key=0) // 255)
    # Names of slide files are in the two projects, which open them, and nowhere else.
    for path in (path for path in run.rglob("*") if path.is_file()):
        content = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
        named = any(patient.encode() in content for patient in PATIENTS.values())
        assert named == (path.name in ("project.qpproj", "project.txt")), path
    tiles = [run / slide / "tiles.geojson.gz" for slide in PATIENTS]
    read = read_as_qupath(*packed, *tiles)
    for outlines, cells, heatmap in zip(read, read[3:], heatmaps.values(), strict=False):
        assert outlines["types"]["annotation"] >= 1 and outlines["sums"]["Maximum probability"] > 0.5
        assert cells["types"] == {"tile": int(np.isfinite(heatmap).sum())}


@pytest.mark.slow
def test_a_broken_slide_and_a_refiner_in_windows_are_left_out(own_copy: Project) -> None:
    own_copy.config["export"].update(formats=["qupath", "fastpathology"], parent=True)
    own_copy.config["refiners"]["through"]["mpp"] = 4.0
    broken = [own_copy.results / f"heatmaps/tone/tumour_b.{kind}" for kind in ("parquet", "tif")]
    mend = "Copy it again."
    failure = FailedSlideError("it broke", stage="classify_tiles", status="unreadable", where="tumour_b", mend=mend)
    write_outcome(broken, failure)
    done = own_copy.write().run("exports")
    assert done.status == 0, done.output
    run, kept = own_copy.results / "runs/by_colour", ["tumour_a", "unlabelled"]
    project = json.loads((run / "qupath/project.qpproj").read_text(encoding="utf-8"))
    assert [image["imageName"] for image in project["images"]] == kept
    folder = run / "fastpathology"
    found = {name: parse(path) for name, path in pipelines(folder).items()}
    assert set(found) == {"drunet-by_colour", "drunet-by_colour-heatmap"}
    assert all(pipeline.faults == [] and "segmentation" not in pipeline.objects for pipeline in found.values())
    text = pipelines(folder)["drunet-by_colour"].read_text(encoding="utf-8")
    assert "The run refines it in a way that FAST cannot follow" in text
    results = folder / "projects/drunet-by_colour/results"
    assert sorted(path.name for path in results.iterdir()) == kept
    # Its outlines are there all the same.
    assert tifffile.imread(results / "tumour_a/drunet-by_colour/segmentation/segmentation.tiff", key=0).max() == 1
    (held,) = json.loads((run / "tumour_a/segmentation.geojson").read_text(encoding="utf-8"))["features"]
    assert held["properties"]["name"] == "by_colour" and held["properties"]["childObjects"]
