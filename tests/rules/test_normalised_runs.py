"""Normalised stains in the workflow: estimated per slide, the same in training and in classification."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_cohort import ROOT, Project, feature_collection, make_project, picture, sheet_row

from drunet.files import read_json, write_json
from drunet.inference import EngineOptions, Layout, check_classifier, open_session, probabilities
from drunet.slide import Slide
from drunet.stains import Stains, through_density, towards
from drunet.tiles import read_table
from drunet_demo.pyramid import write_pyramid

pytestmark = pytest.mark.slow

SLIDES = {"t1": ("pa", "train"), "t2": ("pb", "train"), "x1": ("pd", "test")}
HAEMATOXYLIN, EOSIN, MAXIMUM = [0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.9, 0.5]
REFERENCE = {"method": "macenko", "haematoxylin": HAEMATOXYLIN, "eosin": EOSIN, "maximum": MAXIMUM}


@pytest.fixture(scope="module")
def taught(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A classifier that sees normalised stains, trained for a moment, and a test slide that it has classified.

    One training slide has no stains: it is grey.
    """
    project = make_project(tmp_path_factory.mktemp("stains") / "project", repository)
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["classifiers"]["dr_fused"]
    net = {**copy.deepcopy(shipped), "architecture": "h2gnet_classifier", "stain_normalisation": REFERENCE}
    net["training"].update(epochs=1, steps_per_epoch=4, reestimate_batches=4)
    net["data"]["annotation_kinds"] = ["wta"]
    project.config["classifiers"] = {"net": net}
    project.config["runs"] = {"net": {"classifier": "net", "refiner": None}}
    project.rows = []
    for number, (slide_id, (patient, split)) in enumerate(SLIDES.items()):
        image, outline = picture(np.random.default_rng(number))
        if slide_id == "t2":
            image = image.mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2)
        write_pyramid(project.folder / f"slides/{slide_id}.tif", image, 1.0)
        write_json(project.folder / f"slides/{slide_id}.geojson", feature_collection(outline))
        project.rows.append(sheet_row(slide_id, patient, f"{slide_id}.tif", split=split, labelled=True))
    done = project.write().run("results/heatmaps/net/x1.tif", "results/models/net/card.md")
    assert done.status == 0, done.output
    assert "t2: its stains are not normalised: one stain only" in done.output
    return project


def test_tiles_are_classified_with_the_stains_that_the_classifier_learnt_with(taught: Project) -> None:
    own = Stains(**read_json(taught.results / "slides/x1/stains.json"))
    change = towards(own, Stains(HAEMATOXYLIN, EOSIN, MAXIMUM))
    answers, facts = read_table(taught.results / "heatmaps/net/x1.parquet")
    tiles, _ = read_table(taught.results / "slides/x1/tiles.parquet")
    with Slide(taught.folder / "slides/x1.tif", "x1") as slide:
        pixels = [slide.read(x, y, (64, 64), 1.0) for x, y in tiles[["x", "y"]].to_numpy().tolist()]
    session = open_session(taught.results / "models/net/model.onnx", EngineOptions(threads=1), where="net")
    name = check_classifier(session, Layout(), 64, where="net")
    seen, raw = np.stack([through_density(p, change) for p in pixels]), np.stack(pixels)
    assert np.abs(seen.astype(int) - raw).mean() > 5
    wanted, other = (probabilities(session, name, p, Layout(), "net") for p in (seen, raw))
    np.testing.assert_allclose(answers["p_tumour"], wanted, atol=1e-5)
    assert np.abs(wanted - other).max() > 1e-4 and facts["stains_normalised"]


def test_its_card_and_its_export_say_what_is_normalised_and_which_slides_are_not(taught: Project) -> None:
    export = json.loads((taught.results / "models/net/export.json").read_text(encoding="utf-8"))
    assert export["stain_normalisation"] == {**REFERENCE, "not_normalised": ["t2"]}
    card = (taught.results / "models/net/card.md").read_text(encoding="utf-8")
    assert "Stains of its tiles are normalised (macenko); not on training slides: t2" in card


def test_another_reference_trains_anew_and_estimates_nothing(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    target = "results/heatmaps/net/x1.tif"
    assert "Nothing to be done" in project.dry_run(target).output
    project.config["classifiers"]["net"]["stain_normalisation"] = {"method": "macenko"}
    assert project.write().dry_run(target).rules() == {"train_classifier": 1, "export_onnx": 1, "classify_tiles": 1}
    del project.config["classifiers"]["net"]["stain_normalisation"]
    done = project.write().dry_run("--forceall", target)
    assert "estimate_stains" not in done.rules(), "nothing is estimated where nothing is asked for"


def test_a_teacher_sees_the_stains_that_its_student_sees(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    lesson = {"teacher": "net", "temperature": 4.0, "weight": 0.5, "unlabelled_share": 0.0}
    project.config["classifiers"]["student"] = {"like": "net", "distillation": lesson}
    assert project.write().dry_run("results/models/student/model.onnx").status == 0
    project.config["classifiers"]["student"]["stain_normalisation"] = None
    done = project.write().dry_run("results/models/student/model.onnx")
    assert "classifiers.student.stain_normalisation: a teacher sees other stains than its student" in done.output


def test_an_encoder_may_see_normalised_stains(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    (project.folder / "any.onnx").write_bytes(b"not looked at in a plan")
    project.config["encoders"] = {"any": {"onnx": "any.onnx", "stain_normalisation": {"method": "macenko"}}}
    (project.results / "slides/x1/stains.json").unlink()
    rules = project.write().dry_run("results/features/any/x1.npy").rules()
    assert rules == {"adopt_encoder": 1, "estimate_stains": 1, "encode_tiles": 1}
