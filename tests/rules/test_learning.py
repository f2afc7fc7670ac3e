"""Training in the plan: what a model learns from, what it starts from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_cohort import Project, labelled_slide, make_project

from drunet.models import registry

# Slide: patient, split, cohort.
SLIDES = {
    "near_a": ("pa", "train", "near"),
    "near_b": ("pb", "train", "near"),
    "near_v": ("pc", "val", "near"),
    "far_a": ("pd", "train", "far"),
    "far_b": ("pe", "train", "far"),
    "tested": ("pf", "test", "near"),
}


@pytest.fixture(scope="module")
def learning(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Inspected slides of two cohorts, a classifier of the far one, and one fine-tuned from it on the near one."""
    project = make_project(tmp_path_factory.mktemp("learning") / "project", repository)
    shipped = yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))
    dr_fused, unet = shipped["classifiers"]["dr_fused"], shipped["refiners"]["unet"]
    dr_fused["data"].update(annotation_kinds=["wta"], cohorts=["far"])
    tuned = {"like": "dr_fused", "weights": {"model": "dr_fused"}, "data": {"cohorts": ["near"]}}
    project.config["classifiers"] = {"dr_fused": dr_fused, "tuned": tuned}
    project.config["refiners"] = {
        "unet": {**unet, "classifier": "tuned", "data": {**unet["data"], "cohorts": ["near"]}}
    }
    project.config["runs"] = {"one": {"classifier": "tuned", "refiner": "unet"}}
    project.rows = []
    for number, (slide_id, (patient, split, cohort)) in enumerate(SLIDES.items()):
        row = labelled_slide(project.folder / "slides", slide_id, patient, split, number)
        project.rows.append({**row, "cohort": cohort})
    looked = project.write().run("inspect")
    assert looked.status == 0, looked.output
    return project


@pytest.mark.slow
def test_a_fine_tuned_model_waits_for_the_weights_that_it_starts_from(learning: Project) -> None:
    done = learning.dry_run("results/models/tuned/weights.weights.h5")
    assert done.status == 0, done.output
    assert done.rules()["train_classifier"] == 2
    first, then = (done.output.index(f"Training the classifier {name}") for name in ("dr_fused", "tuned"))
    assert first < then


def test_a_model_learns_from_the_cohorts_that_it_names(learning: Project) -> None:
    done = learning.dry_run("results/models/dr_fused/weights.weights.h5")
    assert done.rules()["extract_tiles"] == 2, "far_a and far_b"
    done = learning.dry_run("results/models/tuned/weights.weights.h5")
    assert done.rules()["extract_tiles"] == 5, "those, and near_a, near_b and near_v"


def test_folds_of_a_fine_tuned_model_all_start_from_the_same_weights(learning: Project) -> None:
    done = learning.dry_run("results/models/unet/weights.weights.h5")
    assert done.status == 0, done.output
    # dr_fused, tuned for the validation slide, and tuned without each of the two near patients.
    assert done.rules()["train_classifier"] == 4
    assert "tuned.fold0of2" in done.output and "tuned.fold1of2" in done.output
    assert "dr_fused.fold" not in done.output


def test_two_passes_and_the_refiner_behind_them_are_one_plan(learning: Project, tmp_path: Path) -> None:
    project = learning.copy_to(tmp_path / "project")
    published = yaml.safe_load((learning.repository / "resources/full_scale.yaml").read_text(encoding="utf-8"))
    models = project.config["classifiers"]
    models["dr_fused"]["data"]["sampling"] = published["classifiers"]["dr_fused"]["data"]["sampling"]
    models["dr_fused_first"] = published["classifiers"]["dr_fused_first"]
    project.config["refiners"]["unet"]["classifier"] = "dr_fused"
    project.config["runs"] = {"one": {"classifier": "dr_fused", "refiner": "unet"}}
    done = project.write().dry_run("results/runs/one/tested/segmentation.geojson")
    assert done.status == 0, done.output
    trained = re.findall(r"Training the \w+ (\S+)", done.output)
    # Which areas are hard, a model says that has not seen their slide; the imbalance and the refiner follow.
    assert set(trained[:2]) == {"dr_fused_first.fold0of2", "dr_fused_first.fold1of2"}
    assert trained[2:] == ["dr_fused", "unet"]


@pytest.mark.slow
def test_a_run_without_a_refiner_takes_the_smallest_tumour_of_the_one_that_it_names(
    learning: Project, tmp_path: Path
) -> None:
    project = learning.copy_to(tmp_path / "project")
    mask = "results/runs/plain/tested/segmentation.tif"
    for named, trained in ((None, 0), ("unet", 1)):
        project.config["runs"]["plain"] = {"classifier": "tuned", "refiner": None, "smallest_tumour_of": named}
        done = project.write().dry_run(mask)
        assert done.status == 0, done.output
        assert done.rules().get("train_refiner", 0) == trained and "refine_heatmap" not in done.rules()
    project.config["runs"]["plain"]["smallest_tumour_of"] = "unnet"
    refused = project.write().dry_run(mask)
    assert refused.status != 0
    assert "runs.plain.smallest_tumour_of: unknown refiner (found: unnet). Did you mean unet?" in refused.output


@pytest.mark.parametrize(
    ("setting", "target", "said"),
    [
        (
            "validation_kinds",
            "results/models/tuned/weights.weights.h5",
            "data.validation_kinds of tuned: no usable slide of split val is annotated so (found: psa).",
        ),
        ("annotation_kinds", "segment", "tuned has nothing to learn from: no usable slide of split train is psa"),
    ],
)
def test_slides_that_a_model_asks_for_have_to_be_there_before_a_tile_is_cut(
    learning: Project, tmp_path: Path, setting: str, target: str, said: str
) -> None:
    project = learning.copy_to(tmp_path / "project")
    data = project.config["classifiers"]["tuned"]["data"]
    data[setting] = ["wta"]
    assert project.write().dry_run("results/models/tuned/weights.weights.h5").status == 0
    data[setting] = ["psa"]
    refused = project.write().dry_run(target)
    assert refused.status != 0 and said in refused.output
    assert "Traceback" not in refused.output and not refused.rules().get("extract_tiles")


@pytest.mark.slow
def test_a_model_of_no_epochs_needs_its_weights_and_no_slide(learning: Project, tmp_path: Path) -> None:
    project = learning.copy_to(tmp_path / "project")
    models = project.config["classifiers"]
    (project.folder / "released.h5").touch()
    models["dr_fused"] |= {"weights": "released.h5", "training": {**models["dr_fused"]["training"], "epochs": 0}}
    models["dr_fused"]["architecture"] = "h2gnet_classifier"
    models["dr_fused"]["data"]["cohorts"] = ["breast"]
    models["tuned"]["training"] = {"epochs": 3}
    # No slide is of the cohort that its settings name, and nothing is asked of it: not even its tiles.
    done = project.write().dry_run("results/models/dr_fused/weights.weights.h5")
    assert done.status == 0, done.output
    assert done.rules()["train_classifier"] == 1 and "extract_tiles" not in done.rules()
    # What starts from it, and the refiner behind that, learn as ever; it has seen none of their patients.
    done = project.dry_run("results/models/unet/weights.weights.h5")
    assert done.status == 0, done.output
    assert "tuned.fold0of2" in done.output and "dr_fused.fold" not in done.output
    network = registry.build("h2gnet_classifier", size=project.config["tiles"]["size"], seed=3)
    network.save_weights(project.folder / "released.weights.h5")
    models["dr_fused"]["weights"] = "released.weights.h5"
    done = project.write().run("results/models/dr_fused/card.md")
    assert done.status == 0, done.output
    assert "Nothing was trained here." in (project.results / "models/dr_fused/card.md").read_text(encoding="utf-8")
    same = registry.build("h2gnet_classifier", size=project.config["tiles"]["size"], seed=4)
    registry.load_weights(same, project.results / "models/dr_fused/weights.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), same.get_weights(), strict=True))
    models["dr_fused"]["weights"] = "random"
    refused = project.write().dry_run("results/models/dr_fused/weights.weights.h5")
    assert refused.status != 0
    said = "classifiers.dr_fused.weights: a model that is not trained (epochs: 0) needs weights (found: random)"
    assert said in refused.output


def test_a_refiner_gets_no_heatmap_of_a_patient_that_the_start_of_its_classifier_has_seen(
    learning: Project, tmp_path: Path
) -> None:
    project = learning.copy_to(tmp_path / "project")
    project.config["refiners"]["unet"]["data"]["cohorts"] = ["far"]
    done = project.write().dry_run("results/models/unet/weights.weights.h5")
    assert done.status != 0
    assert "tuned starts from dr_fused, which learnt from the patient of far_a" in done.output
    assert "different cohorts" in done.output
    assert "Traceback (most recent call last)" not in done.output


def test_an_unknown_cohort_is_refused_with_those_there_are(learning: Project, tmp_path: Path) -> None:
    project = learning.copy_to(tmp_path / "project")
    project.config["classifiers"]["tuned"]["data"]["cohorts"] = ["nears"]
    weights = project.results / "models/tuned/weights.weights.h5"
    said = "data.cohorts of tuned: unknown cohort: nears. Did you mean near?"
    done = project.write().dry_run("results/models/tuned/weights.weights.h5")
    assert done.status != 0 and said in done.output
    # What was learnt from other slides before does not pass for what is asked now.
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    done = project.dry_run("results/models/tuned/weights.weights.h5")
    assert done.status != 0 and done.output.count(said) == 1
    assert "Traceback" not in done.output


def test_a_cluster_trains_and_segments_the_same_slides_in_one_run(learning: Project) -> None:
    """No job of several rules waits for a training that waits for one of its own rules: Snakemake refuses that."""
    done = learning.dry_run("--workflow-profile", str(learning.repository / "profiles/slurm"), "--", "all")
    assert done.status == 0, done.output
    assert done.rules()["refine_heatmap"] == len(SLIDES)
    alone = re.findall(r"Group job classify_slide .*\n\n.*\n +Job \d+: Classifying the tiles of (\w+)", done.output)
    assert alone and "tested" not in alone, "nothing learns from it: it is segmented in one job"
