"""One small slide, a classifier and a refiner that learn from it, and a finished classifier: every rule, in 20 jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tiny_cohort import (
    ROOT,
    Project,
    copy_repository,
    feature_collection,
    paint_slide,
    save_classifier,
    sheet_row,
    tiny_config,
)

from drunet.files import write_json

SLIDE = "learnt"
EPOCHS = 10


def make_repository(folder: Path) -> Path:
    """A copy of the workflow that keeps the state of a training after every epoch, so that a kill meets a state."""
    repository = copy_repository(folder)
    checkpoint = repository / "scripts/drunet/training/checkpoint.py"
    code = checkpoint.read_text(encoding="utf-8")
    often = code.replace("KEEP_EVERY = 30.0", "KEEP_EVERY = 0.0")
    assert often != code, "KEEP_EVERY stands elsewhere"
    checkpoint.write_text(often, encoding="utf-8")
    return repository


def make_learning_project(folder: Path, repository: Path) -> Project:
    """Two slides, and two runs: by the finished classifier and a trained refiner, and by a trained classifier alone."""
    (folder / "slides").mkdir(parents=True)
    project = Project(folder, repository, tiny_config(), [])
    shipped: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    plan = {"epochs": EPOCHS, "patience": EPOCHS, "reestimate_batches": 2}
    learnt, unet = shipped["classifiers"]["dr_fused"], shipped["refiners"]["unet"]
    learnt.update(architecture="plain_cnn", options={"filters": [8, 16], "dense_units": 16})
    learnt["data"].update(annotation_kinds=["wta"])
    learnt["training"].update(plan)
    unet.update(classifier="tone")
    unet["options"].update(size=64)
    unet["training"].update(plan)
    project.config["classifiers"]["plain"] = learnt
    project.config["refiners"] = {"unet": unet}
    project.config["runs"] = {"learnt": {"classifier": "plain", "refiner": "unet"}}
    outline = paint_slide(folder / f"slides/{SLIDE}.tif", seed=0)
    write_json(folder / f"slides/{SLIDE}.geojson", feature_collection(outline))
    project.rows = [sheet_row(SLIDE, "Pat-0", f"{SLIDE}.tif", split="train", labelled=True)]
    save_classifier(folder / "tone.onnx", project.config["tiles"]["size"])
    return project.write()
