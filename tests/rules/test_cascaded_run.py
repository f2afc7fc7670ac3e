"""A run with a cascade, from the validation slide to the page; and a classifier in int8."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pandas as pd
import pytest
from tiny_cohort import Project

from drunet.files import read_json
from drunet.heatmap import read_field
from drunet.uncertainty.appearance import NOT_MEASURED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cascade_spares_the_teacher_most_tiles_and_its_audit_is_in_table_outlines_and_page(own_copy: Project) -> None:
    project = own_copy
    bent = onnx.load(project.folder / "tone.onnx")
    for tensor in bent.graph.initializer:
        # Less sure than its teacher, and a little to one side.
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(0.8), tensor.name))
    onnx.save(bent, project.folder / "bent.onnx")
    project.config["classifiers"]["bent"] = {"onnx": "bent.onnx"}
    cascade = {"student": "bent", "precision": "float32", "audit": 40, "max_differing": 0.1}
    project.config["runs"] = {"quick": {"classifier": "tone", "refiner": None, "cascade": cascade}}
    project.config["export"].update(parent=True)
    # Without a validation slide nothing says where the student may be trusted.
    refused = project.write().dry_run("exports")
    assert refused.status != 0 and "runs.quick.cascade: no usable slide is marked `val`" in refused.output
    project.row("tumour_b")["split"] = "val"
    done = project.write().run("report", "exports")
    assert done.status == 0, done.output
    logs = project.results / "logs"
    assert {path.parent.parent.name for path in logs.rglob("tumour_a.log")} >= {"classify_cascade", "postprocess"}
    folder = project.results / "runs/quick"
    band = read_json(folder / "band.json")
    assert band["slides"] == 1 and 0 <= band["by_teacher"] < 0.6 and band["differing"] <= 0.05
    table = pd.read_csv(folder / "tumour.tsv", sep="\t").set_index("slide")
    for slide in ("tumour_a", "tumour_b", "unlabelled"):
        said = read_field(folder / slide / "cascade.tif")[1]["cascade"]
        assert said["audited"] > 0 and said["student"] == "bent" and said["low"] == band["low"]
        most = said["bound"]
        # The teacher is in float32 here: a slide done in full has nothing that differs.
        assert most == (0 if said["in_full"] else said["before"])
        assert table.loc[slide, "differing_at_most"] == pytest.approx(most, abs=1e-6)
        outlines = json.loads((folder / slide / "segmentation.geojson").read_text(encoding="utf-8"))
        assert outlines["properties"]["Tiles differing at most %"] == pytest.approx(100 * most, abs=1e-3)
        (parent,) = outlines["features"]
        assert parent["properties"]["measurements"]["Tiles audited"] == said["audited"]
        # Tile by tile the two classifiers' own answers.
        cells = pd.read_parquet(folder / slide / "cascade.parquet")
        whole = pd.read_parquet(project.results / f"heatmaps/tone/{slide}.parquet")
        sides = (cells["p_tumour"] >= 0.5) != (whole["p_tumour"] >= 0.5)
        assert sides.mean() <= most + 1e-9
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    assert "share differing at most" in page and "upper confidence bound" in page
    # Its networks see a part of the tiles each: whether a slide is like what was learnt is not left open, but said.
    states = (
        pd.read_csv(folder / "slides.tsv", sep="\t")
        .set_index("slide_id")
        .loc[list(table.query("status == 'ok'").index)]
    )
    assert set(states["appearance"]) == {"cannot tell"} and set(states["unlike_in"]) == {NOT_MEASURED}
    assert "Nothing of this was measured" in page and "unlike those that tone learnt from" in page
    # Another audit judges the slides anew, and nothing before them.
    cascade["audit"] = 20
    again = project.write().dry_run("exports").rules()
    assert again["classify_cascade"] == 3 and "quantise_classifier" not in again
    # What a band of other slides decided does not pass for what is asked now.
    project.row("tumour_b")["split"] = "test"
    refused = project.write().run("exports")
    assert refused.status != 0 and "runs.quick.cascade: no usable slide is marked `val`" in refused.output


@pytest.mark.slow
def test_a_finished_classifier_is_brought_to_int8_on_slides_of_the_run(own_copy: Project) -> None:
    pytest.importorskip("sympy", reason="what quantises with cpu is not installed")
    own_copy.config["inference"].update(precision="int8", int8={"tiles": 16, "held": 32, "max_difference": 0.05})
    own_copy.config["inference"]["int8"]["max_sides"] = 0.1
    done = own_copy.write().run("results/heatmaps/tone/unlabelled.tif")
    assert done.status == 0, done.output
    assert done.rules() == {"quantise_classifier": 1, "classify_tiles": 1}
    report = read_json(own_copy.results / "models/tone/int8.json")
    assert report["trained_on_these"] is False and report["quantiser"] == "onnxruntime"
    assert set(report["calibrated_on"]).isdisjoint(report["held_on"])
    facts = read_field(own_copy.results / "heatmaps/tone/unlabelled.tif")[1]
    assert facts["precision"] == "int8" and facts["model_sha256"] == report["sha256"]
