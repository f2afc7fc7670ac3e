"""A classifier of a finished encoder and a head that is trained here, in the workflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import tifffile
import yaml
from tiny_cohort import ROOT, Project, labelled_slide, make_project
from tiny_encoder import FEATURES, SIDE, save_encoder

from drunet.inference import EngineOptions, Layout, classify, open_session
from drunet.slide import Slide
from drunet.tiles import read_table

pytestmark = pytest.mark.slow

SLIDES = {"t1": ("pa", "train"), "t2": ("pb", "train"), "v1": ("pc", "val"), "x1": ("pd", "test")}
HEAD = {
    "architecture": "encoder_head",
    "encoder": "conv",
    "options": {"dense_units": 0, "dropout": 0.0},
    "data": {
        "annotation_kinds": ["wta"],
        "cohorts": None,
        "cross_fit_folds": 2,
        "sampling": {"strategy": "as_is"},
    },
    "loss": {"name": "cross_entropy", "class_weights": None},
    "training": {
        "optimiser": "adam",
        "learning_rate": 0.05,
        "batch_size": 32,
        "epochs": 12,
        "steps_per_epoch": None,
        "patience": 12,
    },
}


@pytest.fixture(scope="module")
def taught(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose classifier of encoder and head is trained, exported and used on a test slide."""
    project = make_project(tmp_path_factory.mktemp("encoder") / "project", repository)
    save_encoder(project.folder / "conv.onnx")
    mean, deviation = [0.7, 0.55, 0.7], [0.2, 0.25, 0.2]
    project.config["encoders"] = {"conv": {"onnx": "conv.onnx", "scale": 1 / 255, "mean": mean, "deviation": deviation}}
    project.config["classifiers"] = {"guest": HEAD}
    project.config["runs"] = {"guest": {"classifier": "guest", "refiner": None}}
    project.rows = []
    for number, (slide_id, (patient, split)) in enumerate(SLIDES.items()):
        project.rows.append(labelled_slide(project.folder / "slides", slide_id, patient, split, number))
    done = project.write().run("results/heatmaps/guest/x1.tif", "models")
    assert done.status == 0, done.output
    assert sorted(p.stem for p in (project.results / "features/conv").glob("*")) == sorted(SLIDES)
    return project


def test_the_head_learns_to_find_tumour_on_a_slide_that_it_did_not_see(taught: Project) -> None:
    tiles, _ = read_table(taught.results / "slides/x1/tiles.parquet")
    answers, _ = read_table(taught.results / "heatmaps/guest/x1.parquet")
    known = tiles["label"] >= 0
    p, label = answers["p_tumour"][known].to_numpy(), tiles["label"][known].to_numpy()
    pairs = p[label == 1][:, None] - p[label == 0][None]
    assert (pairs > 0).mean() > 0.95, "area under the curve; chance is 0.5"
    assert np.nanmax(tifffile.imread(taught.results / "heatmaps/guest/x1.tif")) > 0.5


def test_the_joined_file_takes_tiles_and_answers_as_the_kept_features_do(taught: Project) -> None:
    model = taught.results / "models/guest/model.onnx"
    tiles, _ = read_table(taught.results / "slides/x1/tiles.parquet")
    answers, _ = read_table(taught.results / "heatmaps/guest/x1.parquet")
    got = classify(
        open_session(model, EngineOptions(), where="guest"),
        lambda: Slide(taught.folder / "slides/x1.tif", "x1"),
        tiles["x"].to_numpy(),
        tiles["y"].to_numpy(),
        size=64,
        mpp=1.0,
        options=EngineOptions(),
        layout=Layout(),
        where="x1",
    )
    # Features are kept in half precision.
    assert np.abs(got.p_tumour - answers["p_tumour"].to_numpy()).max() < 5e-3
    assert [d.dim_value for d in onnx.load(model).graph.input[0].type.tensor_type.shape.dim][1:] == [64, 64, 3]
    report = json.loads((taught.results / "models/guest/export.json").read_text(encoding="utf-8"))
    assert report["parity"] < 1e-4 and report["training_slides"] == ["t1", "t2"]
    decided = json.loads((taught.results / "encoders/conv/encoder.json").read_text(encoding="utf-8"))["decided"]
    assert decided["side"] == SIDE and decided["features"] == FEATURES
    card = (taught.results / "models/guest/card.md").read_text(encoding="utf-8")
    assert "Head on the features of the encoder conv" in card and report["encoder_sha256"] in card


def test_features_of_a_slide_are_kept_in_half_precision_a_row_per_tile(taught: Project) -> None:
    kept = np.load(taught.results / "features/conv/x1.npy", mmap_mode="r")
    tiles = pd.read_parquet(taught.results / "slides/x1/tiles.parquet")
    assert kept.dtype == np.float16 and kept.shape == (len(tiles), FEATURES)


def test_other_settings_of_the_head_compute_no_features_anew(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    target = "results/heatmaps/guest/x1.tif"
    assert "Nothing to be done" in project.dry_run(target).output
    project.config["classifiers"]["guest"]["options"]["dense_units"] = 8
    assert project.write().dry_run(target).rules() == {"train_head": 1, "classify_features": 1}
    second = {"like": "guest", "training": {"learning_rate": 0.01}}
    project.config["classifiers"]["second"] = second
    rules = project.write().dry_run("results/heatmaps/second/x1.tif").rules()
    assert rules == {"train_head": 1, "classify_features": 1}, "two heads share the features"


def test_another_file_of_the_encoder_computes_all_anew(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    save_encoder(project.folder / "conv.onnx", opset=16)
    rules = project.dry_run("results/heatmaps/guest/x1.tif").rules()
    assert rules["adopt_encoder"] == 1 and rules["encode_tiles"] == 4 and rules["train_head"] == 1


def test_a_refiner_behind_it_gets_heatmaps_of_folds_from_the_same_features(taught: Project, tmp_path: Path) -> None:
    project = taught.copy_to(tmp_path / "project")
    unet = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["refiners"]["unet"]
    project.config["refiners"] = {"unet": {**unet, "classifier": "guest"}}
    project.config["runs"]["guest"]["refiner"] = "unet"
    rules = project.write().dry_run("results/models/unet/weights.weights.h5").rules()
    # One head for each of the two patients left out; the whole one has classified no validation slide yet.
    assert rules["train_head"] == 2 and rules["classify_features"] == 3
    assert "encode_tiles" not in rules and "join_encoder" not in rules


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("augment", {"flip": True}, "classifiers.guest: unknown key (found: augment)"),
        ("weights", "imagenet", "classifiers.guest: unknown key (found: weights)"),
        ("encoder", "cov", "classifiers.guest.encoder: unknown encoder (found: cov). Did you mean conv?"),
    ],
)
def test_what_does_nothing_with_kept_features_is_refused(
    taught: Project, tmp_path: Path, key: str, value: object, message: str
) -> None:
    project = taught.copy_to(tmp_path / "project")
    project.config["classifiers"]["guest"][key] = value
    done = project.write().dry_run("models")
    assert done.status != 0 and message in done.output
    assert "Traceback" not in done.output
