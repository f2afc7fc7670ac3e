"""What trains anew: other starting weights, known by their content. What does not: what the teacher computes with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from tiny_cohort import Project, make_project

pytestmark = pytest.mark.slow

SLIDE = "tumour_a"


@pytest.fixture(scope="module")
def learnt(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A project in which all that is asked for counts as done, by files without content: nothing is trained."""
    project = make_project(tmp_path_factory.mktemp("learnt") / "project", repository)
    shipped = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    classifier, unet = shipped["classifiers"]["dr_fused"], shipped["refiners"]["unet"]
    classifier.update(weights="classifier.weights.h5")
    classifier["data"].update(annotation_kinds=["wta"])
    classifier["distillation"] = {"teacher": "tone", "temperature": 4.0, "weight": 0.5, "unlabelled_share": 0.0}
    unet.update(classifier="tone", weights="refiner.weights.h5")
    project.config["classifiers"]["dr_fused"], project.config["refiners"]["unet"] = classifier, unet
    weights = {"densenet121": "backbone.weights.h5"}
    lung = {"classes": ["n", "aca"], "split": {"folds": 2, "run": [0]}, "arms": ["cnn", "mfstudentlnet"]}
    images = {"images": {"root": "patches"}, "tasks": {"lung": lung}, "arms": {"mfstudentlnet": {"teacher": "cnn"}}}
    project.config["study_settings"] = {
        "multi_lens": {"weights": weights, "slides": None},
        "histology_distillation": images,
    }
    for label in lung["classes"]:
        (project.folder / "patches" / label).mkdir(parents=True)
    project.rows = [{**project.row(SLIDE), "split": "train"}]
    for name in ("classifier", "refiner", "backbone"):
        (project.folder / f"{name}.weights.h5").write_bytes(b"one")
    targets = [
        "results/models/dr_fused/weights.weights.h5",
        "results/models/unet/weights.weights.h5",
        "results/studies/multi_lens/digits/without.0.json",
        "results/studies/histology_distillation/lung/mfstudentlnet/predictions.parquet",
    ]
    project.write()
    listed = project.run("results/slides.tsv")
    assert listed.status == 0, listed.output
    made = [
        *targets,
        f"results/slides/{SLIDE}/tiles.parquet",
        f"results/heatmaps/tone/{SLIDE}.tif",
        f"results/heatmaps/tone/{SLIDE}.parquet",
        *(f"results/models/{m}/{f}" for m in ("dr_fused", "unet") for f in ("history.tsv", "training.json")),
        *(f"results/models/tone/{f}" for f in ("model.onnx", "export.json", "card.md")),
        "results/studies/multi_lens/digits/images.npz",
        "results/studies/multi_lens/digits/without.0.tsv",
    ]
    for path in made:
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).touch()
    # Of what it takes for done by its dates alone, Snakemake would note nothing.
    touched = project.run("--touch", "--forceall", *targets)
    assert touched.status == 0, touched.output
    assert "Nothing to be done" in project.dry_run(*targets).output
    return project, targets


@pytest.mark.parametrize(
    ("file", "rule"),
    [("classifier", "train_classifier"), ("refiner", "train_refiner"), ("backbone", "train_lens_arm")],
)
def test_weights_that_are_replaced_by_older_ones_train_anew(
    learnt: tuple[Project, list[str]], tmp_path: Path, file: str, rule: str
) -> None:
    project, targets = learnt[0].copy_to(tmp_path / "project"), learnt[1]
    path = project.folder / f"{file}.weights.h5"
    # Its date alone is no matter.
    os.utime(path, (1e9, 1e9))
    assert "Nothing to be done" in project.dry_run(*targets).output
    path.write_bytes(b"another")
    os.utime(path, (1e9, 1e9))
    planned = project.dry_run(*targets)
    assert planned.rules() == {rule: 1}, planned.output


def test_another_provider_trains_no_student_anew(learnt: tuple[Project, list[str]], tmp_path: Path) -> None:
    project, students = learnt[0].copy_to(tmp_path / "project"), (learnt[1][0], learnt[1][-1])
    project.config["inference"]["provider"] = "openvino"
    planned = project.write().dry_run(*students)
    assert "Nothing to be done" in planned.output, planned.output
    # What they learn from it is another matter.
    project.config["classifiers"]["dr_fused"]["distillation"]["weight"] = 0.7
    project.config["study_settings"]["histology_distillation"]["distillation"] = {"weight": 0.6}
    assert {"train_classifier", "train_image_arm"} <= set(project.write().dry_run(*students).rules())
