"""Studies on a folder of images, from the folder to the page, and what is said of a folder that cannot be used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_cohort import Project, make_project

SOURCES, VERSIONS = 6, 2
CLASSES = ("stripes", "spots")
LISTED = "results/studies/histology_distillation/images.tsv"
STUDY: dict[str, Any] = {
    "images": {
        "root": "patches",
        "groups": "patches/groups.csv",
        "external": "others",
        # Waves are alike wherever they come from: only the copies are the same pictures.
        "near_duplicates": {"inliers": 200},
    },
    "tasks": {
        "lung": {"classes": list(CLASSES), "split": {"folds": 2, "run": [0]}, "arms": ["cnn", "mfstudentlnet", "knn"]},
        "lung_and_colon": None,
    },
    "arms": {"mfstudentlnet": {"teacher": "cnn"}},
    "view": {"size": 32, "short_side": 32},
    "training": {"epochs": 1, "batch_size": 8},
    "timing": {"repeats": 1, "batch_size": 2},
}


def patch(rng: np.random.Generator, label: str) -> np.ndarray:
    y, x = np.mgrid[:40, :40]
    pattern = np.sin(x / 2 + rng.uniform(0, 6)) if label == "stripes" else np.sin(x / 2) * np.sin(y / 2)
    return np.clip(150 + 60 * pattern[..., None] + rng.normal(0, 12, (40, 40, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def patches(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose histology study has a folder of two classes, six sources of two versions each."""
    project = make_project(tmp_path_factory.mktemp("patches") / "project", repository)
    project.config["study_settings"] = {"histology_distillation": STUDY}
    rng, rows = np.random.default_rng(0), []
    for label in CLASSES:
        (project.folder / "patches/deep" / label).mkdir(parents=True)
        for source in range(SOURCES):
            first = patch(rng, label)
            for version, image in enumerate((first, first[:, ::-1])):
                file = f"deep/{label}/{source}_{version}.png"
                Image.fromarray(image).save(project.folder / "patches" / file)
                rows.append({"file": file, "group": f"{label}_{source}"})
        (project.folder / "others" / label).mkdir(parents=True)
        for source in range(3):
            Image.fromarray(patch(rng, label)).save(project.folder / f"others/{label}/{source}.png")
        shutil.copy(project.folder / f"patches/deep/{label}/0_0.png", project.folder / f"others/{label}/copy.png")
    pd.DataFrame(rows).to_csv(project.folder / "patches/groups.csv", index=False)
    return project.write()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_images_becomes_a_page(patches: Project, tmp_path: Path) -> None:
    project = patches.copy_to(tmp_path / "project")
    done = project.run("study_histology_distillation")
    assert done.status == 0, done.output
    study = project.results / "studies/histology_distillation"
    images = pd.read_csv(study / "images.tsv", sep="\t")
    assert len(images) == len(CLASSES) * SOURCES * VERSIONS
    assert images["group"].nunique() == len(CLASSES) * SOURCES
    metrics = pd.read_csv(study / "metrics.tsv", sep="\t")
    assert list(metrics.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert {name.rpartition("/")[2] for name in metrics["arm"]} == {"cnn", "mfstudentlnet", "knn"}
    assert set(metrics["protocol"]) == {"random", "grouped", "cost", "external"}
    elsewhere = pd.read_csv(study / "external.tsv", sep="\t")
    assert not elsewhere["file"].str.contains("copy").any() and set(elsewhere["label"]) == set(CLASSES)
    for arm in ("cnn", "mfstudentlnet"):
        assert pd.read_parquet(study / f"lung/{arm}/external.parquet")["file"].tolist() == elsewhere["file"].tolist()
    assert not (study / "lung/knn/external.parquet").exists()
    for arm in ("cnn", "mfstudentlnet", "knn"):
        answers = pd.read_parquet(study / f"lung/{arm}/predictions.parquet")
        for _, fold in answers[answers["protocol"] == "grouped"].groupby("fold"):
            assert len(fold) == len(images) // 2
            assert np.allclose(fold[[f"p_{label}" for label in CLASSES]].sum(axis=1), 1, atol=1e-5)
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "The published split leaks" in page and "Test on the second folder: " in page
    assert not project.leftovers()
    again = project.dry_run("study_histology_distillation")
    assert "Nothing to be done" in again.output, again.output


def without_images(folder: Path) -> None:
    for path in (folder / "deep/spots").iterdir():
        path.unlink()


def damaged(folder: Path) -> None:
    (folder / "deep/spots/0_0.png").write_bytes(b"no picture")


def with_a_stranger(folder: Path) -> None:
    with (folder / "groups.csv").open("a", encoding="utf-8") as file:
        file.write("deep/spots/gone.png,spots_9\n")


def with_one_in_both(folder: Path) -> None:
    shutil.copyfile(folder / "deep/spots/0_0.png", folder / "deep/stripes/copy.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_images, ["holds no image", "deep/spots"]),
        (damaged, ["cannot be read", "1 of 24", "1.00%", "deep/spots/0_0.png"]),
        (with_a_stranger, ["groups.csv", "deep/spots/gone.png"]),
        (with_one_in_both, ["deep/spots/0_0.png", "deep/stripes/copy.png"]),
    ],
    ids=["empty class", "unreadable image", "absent file in the groups", "one image in two classes"],
)
@pytest.mark.slow
def test_a_folder_that_cannot_be_used_ends_in_one_message(
    patches: Project, tmp_path: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    project = patches.copy_to(tmp_path / "project")
    change(project.folder / "patches")
    done = project.run(LISTED)
    assert done.status != 0
    said = [line for line in done.output.splitlines() if line.startswith("ERROR")]
    assert len(said) == 1, done.output
    assert all(word in said[0] for word in words), said
    assert "Traceback (most recent call last)" not in done.output
    assert not (project.folder / LISTED).exists()


@pytest.mark.slow
def test_a_study_whose_images_are_not_there_says_so_and_keeps_nothing_else_from_running(
    patches: Project, tmp_path: Path
) -> None:
    project = patches.copy_to(tmp_path / "project")
    shutil.rmtree(project.folder / "patches")
    done = project.dry_run("study_histology_distillation")
    assert done.status != 0
    assert "images.root: there is no such path (found: patches)" in done.output
    assert "Traceback (most recent call last)" not in done.output
    assert project.dry_run("study_histology_resnet50").status == 0


@pytest.mark.slow
def test_new_images_are_listed_anew(patches: Project, tmp_path: Path) -> None:
    project = patches.copy_to(tmp_path / "project")
    assert project.run(LISTED).status == 0
    assert "Nothing to be done" in project.dry_run(LISTED).output
    Image.fromarray(patch(np.random.default_rng(9), "spots")).save(project.folder / "patches/deep/spots/new.png")
    assert project.dry_run(LISTED).rules() == {"list_images": 1}
