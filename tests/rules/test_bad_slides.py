"""Slides, annotations, models and providers that do not fit: said in one message, and nothing half-written."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import onnxruntime as ort
import pandas as pd
import pytest
import yaml
from tiny_cohort import (
    HEIGHT,
    WIDTH,
    Finished,
    Project,
    feature_collection,
    make_project,
    paint_slide,
    save_classifier,
    save_refiner,
    sheet_row,
)

# What each unusable annotation is refused for: what, found, mend.
REFUSED = {
    "not_json": ("the file is not JSON", "line 1", "QuPath"),
    "open_ring": ("the outline is not closed", "[100.0, 400.0]", "Close the outline"),
    "elsewhere": ("lies outside the slide", f"slide {WIDTH} x {HEIGHT}", "belongs to this slide"),
    "stranger": ("not one that the configuration knows", "feature 1 of 1", "cohort.annotation_classes"),
}
PATIENT = "Pat-Gudveig-5511"


@pytest.fixture(scope="module")
def inspected(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Finished]:
    """Four good slides with bad annotations, inspected."""
    project = make_project(tmp_path_factory.mktemp("annotations") / "project", repository)
    square = [[100.0, 100.0], [400.0, 100.0], [400.0, 400.0], [100.0, 400.0], [100.0, 100.0]]
    documents = {
        "not_json": '{"type": "FeatureCollection", ',
        "open_ring": json.dumps(feature_collection(square[:-1])),
        "elsewhere": json.dumps(feature_collection([[x + 5000, y] for x, y in square])),
        "stranger": json.dumps(feature_collection(square, name=PATIENT)),
    }
    project.rows = []
    for number, (slide_id, text) in enumerate(documents.items()):
        file = f"{PATIENT}-{number}.tif"
        paint_slide(project.folder / "slides" / file, seed=number)
        (project.folder / "slides" / file).with_suffix(".geojson").write_text(text, encoding="utf-8")
        project.rows.append(sheet_row(slide_id, f"{PATIENT}-{number}", file, split="test", labelled=True))
    return project, project.write().run("inspect")


def test_unusable_annotations_are_listed_with_feature_reason_and_mend(inspected: tuple[Project, Finished]) -> None:
    project, done = inspected
    assert done.status == 0, done.output
    table = pd.read_csv(project.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    for slide_id, (what, found, mend) in REFUSED.items():
        row = table.loc[slide_id]
        assert row["status"] == "annotation_unusable"
        assert what in row["reason"]
        assert found in row["reason"]
        assert mend in row["mend"]
        assert "feature 1 of 1" in row["reason"] or slide_id == "not_json"
        told = [line for line in done.output.splitlines() if line.startswith(f"left out: {slide_id}: ")]
        assert len(told) == 1


def test_the_reason_does_not_carry_the_files_name(inspected: tuple[Project, Finished]) -> None:
    project, _ = inspected
    files = [p for p in project.results.rglob("*") if p.is_file()]
    assert files
    assert [p for p in files if PATIENT.encode() in p.read_bytes()] == []


@pytest.mark.slow
def test_a_run_that_is_told_to_fail_on_bad_slides_names_them_and_stops(
    inspected: tuple[Project, Finished], tmp_path: Path
) -> None:
    project = inspected[0].copy_to(tmp_path / "project")
    project.config["cohort"]["on_bad_slide"] = "fail"
    done = project.write().run()
    message = the_message(done)
    for slide_id in REFUSED:
        assert f"{slide_id} (annotation_unusable)" in message
    assert "cohort.on_bad_slide: skip" in message
    assert not (project.results / "slides.tsv").exists()
    assert not (project.results / "runs").exists()
    assert project.leftovers() == []


@pytest.mark.slow
def test_a_cohort_without_a_usable_slide_ends_in_a_report_that_says_so(inspected: tuple[Project, Finished]) -> None:
    project, _ = inspected
    done = project.run()
    assert done.status == 0, done.output
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    for slide_id in REFUSED:
        assert slide_id in page


@pytest.mark.slow
def test_a_classifier_for_other_tiles_is_refused(new_project: Project) -> None:
    save_classifier(new_project.folder / "tone.onnx", side=96)
    done = new_project.run("models")
    message = the_message(done)
    assert message.startswith("ERROR  tone: the model does not take the tiles")
    assert "96, 96, 3" in message
    assert "[n, 64, 64, 3]" in message
    assert not (new_project.results / "models/tone/model.onnx").exists()
    assert not (new_project.results / "models/tone/export.json").exists()
    assert new_project.leftovers() == []


@pytest.mark.slow
def test_a_classifier_in_the_refiners_place_and_a_damaged_file_are_refused(new_project: Project) -> None:
    save_classifier(new_project.folder / "through.onnx", side=64)
    new_project.run("--dry-run")
    (new_project.folder / "tone.onnx").write_bytes(b"no model at all")
    done = new_project.run("models")
    # --keep-going is in the profile: both models are tried, and each has its message.
    said = sorted(line for line in done.output.splitlines() if line.startswith(("ERROR", "DEFECT")))
    assert len(said) == 2
    assert said[0].startswith("ERROR  through: the model does not take what a refiner is given")
    assert "input_pred" in said[0]
    assert said[1].startswith("ERROR  tone: the file cannot be loaded as an ONNX model")
    assert done.status != 0
    assert "Traceback" not in done.output
    assert not list(new_project.results.glob("models/*/model.onnx"))


def test_a_model_that_is_not_the_pinned_one_is_refused(new_project: Project) -> None:
    new_project.config["refiners"]["through"]["sha256"] = "0" * 64
    save_refiner(new_project.folder / "through.onnx")
    done = new_project.write().run("results/models/through/model.onnx")
    message = the_message(done)
    assert message.startswith("ERROR  refiners.through.sha256: the file is not the one that the configuration pins")
    assert not (new_project.results / "models/through/model.onnx").exists()


@pytest.mark.parametrize("provider", ["cuda", "openvino"])
def test_a_provider_that_is_not_there_fails_instead_of_falling_back(own_copy: Project, provider: str) -> None:
    if gives(provider, own_copy.folder / "tone.onnx"):
        pytest.skip(f"{provider} is there")
    own_copy.config["inference"]["provider"] = provider
    done = own_copy.write().run("results/heatmaps/tone/tumour_a.parquet")
    message = the_message(done)
    assert message.startswith("ERROR  inference.provider: the execution provider asked for is not there")
    assert f"(found: {provider}; here: " in message
    assert "Install" in message
    assert not (own_copy.results / "heatmaps/tone/tumour_a.parquet").exists()
    assert own_copy.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_imagenet_weights_without_a_network_are_named_as_the_cause(own_copy: Project, tmp_path: Path) -> None:
    shipped = yaml.safe_load((own_copy.repository / "config.yaml").read_text(encoding="utf-8"))
    network = {"architecture": "backbone", "options": {"backbone": "mobilenetv2"}, "weights": "imagenet"}
    own_copy.config["classifiers"]["dr"] = {**shipped["classifiers"]["dr_fused"], **network}
    own_copy.config["classifiers"]["dr"]["data"].update(annotation_kinds=["wta"])
    for row in own_copy.rows:
        row["split"] = row["split"] and "train"
    blocked = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": ""}
    blocked |= {"KERAS_HOME": str(tmp_path / "keras"), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    done = own_copy.write().run("results/models/dr/weights.weights.h5", environment=blocked)
    message = the_message(done)
    assert "weights" in message
    assert "mobilenetv2" in message.casefold()
    assert "FILE" in message
    assert not (own_copy.results / "models/dr/weights.weights.h5").exists()


def the_message(done: Finished) -> str:
    """The one line that says what went wrong, of a command that failed without a traceback."""
    assert done.status != 0
    assert "Traceback" not in done.output
    said = [line for line in done.output.splitlines() if line.startswith(("ERROR", "DEFECT"))]
    assert len(said) == 1, done.output
    return said[0]


def gives(provider: str, model: Path) -> bool:
    """Whether the provider really computes there."""
    if provider == "openvino":
        return find_spec("openvino") is not None
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    asked = ["CUDAExecutionProvider"]
    return bool(ort.InferenceSession(model, providers=asked).get_providers()[0] == asked[0])
