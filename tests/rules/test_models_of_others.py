"""Models of others in the workflow: tried at adoption, or fetched first."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import tifffile
import yaml
from strange_onnx import HALF, N, classifier
from tiny_cohort import Project

pytestmark = pytest.mark.slow


def test_a_model_in_anothers_form_gives_a_heatmap(new_project: Project) -> None:
    tail = [N("Identity", ["mean"], ["embedding"]), N("Identity", ["logits"], ["p"])]
    options = {"tail": tail, "outputs": {"embedding": ["n", 3], "p": ["n", 2]}, "kind": HALF, "shape": [5, 64, 64, 3]}
    one = {"rows": np.float32([1])}
    classifier(new_project.folder / "tone.onnx", **options, more=one)
    new_project.config["classifiers"]["tone"] |= {"output": "p", "activation": "softmax"}
    done = new_project.write().run("results/heatmaps/tone/tumour_a.tif", "results/models/tone/card.md")
    assert done.status == 0, done.output
    assert np.nanmax(tifffile.imread(new_project.results / "heatmaps/tone/tumour_a.tif")) > 0.5
    decided = json.loads((new_project.results / "models/tone/export.json").read_text(encoding="utf-8"))["decided"]
    assert decided["output"] == "p" and decided["batch"] == 5 and decided["input_type"] == "tensor(float16)"
    card = (new_project.results / "models/tone/card.md").read_text(encoding="utf-8")
    assert "output p kept alone; softmax" in card and "5 at a time" in card


def test_a_model_that_cannot_be_trusted_stops_before_any_slide_is_classified(new_project: Project) -> None:
    classifier(
        new_project.folder / "tone.onnx",
        shape=["n", 64, 64, 3],
        more={"rows": np.float32([1])},
        tail=[N("Relu", ["logits"], ["p"])],
    )
    done = new_project.run("models")
    assert done.status != 0 and "tone: the model's outputs are no probabilities" in done.output
    assert "Traceback" not in done.output


def test_a_listed_model_is_taken_from_a_folder(new_project: Project) -> None:
    folder = new_project.folder
    (folder / "usb").mkdir()
    shutil.move(folder / "tone.onnx", folder / "usb/tone.onnx")
    digest = hashlib.sha256((folder / "usb/tone.onnx").read_bytes()).hexdigest()
    entry = {
        "address": "https://example.org/tone.onnx",
        "sha256": digest,
        "licence": "CC BY 4.0",
        "settings": {"scale": 1.0},
    }
    (folder / "ours.yaml").write_text(yaml.safe_dump({"ours": entry}), encoding="utf-8")
    new_project.config |= {"model_lists": ["ours.yaml"], "model_folder": "usb"}
    new_project.config["classifiers"]["tone"] = {"onnx": "listed:ours"}
    done = new_project.write().run("models")
    assert done.status == 0, done.output
    assert done.rules()["fetch_model"] == 1
    assert (new_project.results / "models/tone/model.onnx").read_bytes() == (folder / "usb/tone.onnx").read_bytes()
    assert "Licence: CC BY 4.0" in (new_project.results / "models/tone/card.md").read_text(encoding="utf-8")
    assert "Nothing to be done" in new_project.dry_run("models").output
