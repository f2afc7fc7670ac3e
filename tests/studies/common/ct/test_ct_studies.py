"""Studies on CT files, from the files to the pages: no name leaves them, and one line says what cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import uid
from tiny_cohort import Project, make_project

from drunet.settings.merging import read_yaml, resolve_models
from drunet_demo.slides import SLIDES
from studies.common.drawing.ct import write_ct_set
from studies.common.study_settings import load_studies

SLICES = "results/studies/ct_boxes/slices.tsv"
SOURCES = "results/studies/ct_pneumonia/sources.tsv"
# The set is drawn with these; the last are the starts of its folders' names and of its UIDs.
SECRETS = (b"Phantom", b"Lung_Dx-", b"B0001", b"C0001", b"article 001", b"2.25.")
# Paths that are not there name a patient too.
NOWHERE = "scans of Lung_Dx-B0001"
OTHER = {"ct_boxes": "ct_pneumonia", "ct_pneumonia": "ct_boxes"}
ROOT = Path(__file__).resolve().parents[4]
BOXES: dict[str, Any] = {
    "slices": {"root": "ct/boxes", "annotations": "ct/boxes_annotation"},
    "targets": ["A"],
    "arms": {"simple": None},
    "size": 32,
    "training": {"epochs": 2, "patience": 2},
    "fine_tuning": {"training": {"epochs": 1, "patience": 1}},
    "bootstrap": 100,
}
PNEUMONIA: dict[str, Any] = {
    "collect": {
        "root": "ct/classifier",
        "annotations": "ct/classifier_annotation",
        "sources": "ct/classifier_sources.tsv",
    },
    "networks": {"size": 32},
    "tasks": {"ct": {"arms": ["mobilenetv2", "file_statistics"], "protocols": ["given", "grouped"]}},
    "tables": {"networks": ["mobilenetv2"], "probe": ["mobilenetv2", "file_statistics"]},
    "view": {"size": 32, "short_side": 32},
    "training": {"epochs": 1, "patience": 1},
    "attention": {"images": 1, "coverage_images": 2},
    "bootstrap": 100,
}


@pytest.fixture(scope="module")
def scans(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a user's CT files: series of two subtypes with boxes, and images of two classes."""
    project = make_project(tmp_path_factory.mktemp("scans") / "project", repository)
    parts = {"Training": 4, "Validation": 2, "Testing": 2}
    write_ct_set(
        project.folder / "ct",
        size=48,
        classifier={"patients": 4, "slices": 2, "articles": 4, "figures": 2, "parts": parts},
        boxes={"patients": {"B": 5, "A": 5}, "slices": 2, "extra": 1, "strays": 1},
        seed=4,
    )
    project.config["study_settings"] = {"ct_boxes": BOXES, "ct_pneumonia": PNEUMONIA}
    return project.write()


def change_settings(project: Project, study: str, *path: str, value: Any) -> Project:
    """Set what one key of a study's settings is."""
    block = project.config["study_settings"][study]
    for key in path[:-1]:
        block = block.setdefault(key, {})
    block[path[-1]] = value
    return project.write()


def no_secrets(project: Project, output: str) -> None:
    """No name of a patient or an article, and no path of a file, in anything that was written or said."""
    for path in sorted(p for p in project.results.rglob("*") if p.is_file()):
        held = path.read_bytes() + path.name.encode()
        assert not [secret for secret in SECRETS if secret in held], path
    assert not [secret for secret in SECRETS if secret.decode() in output], output


def one_message(done: Any, *words: str) -> None:
    """The run failed, with one message that holds these words."""
    assert done.status != 0
    said = [line for line in done.output.splitlines() if line.startswith("ERROR")]
    assert len(said) == 1, done.output
    assert all(word in said[0] for word in words), said
    assert "Traceback (most recent call last)" not in done.output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_series_and_boxes_become_a_page(scans: Project, tmp_path: Path) -> None:
    project = scans.copy_to(tmp_path / "project")
    done = project.run("study_ct_boxes")
    assert done.status == 0, done.output
    study = project.results / "studies/ct_boxes"
    slices = pd.read_csv(study / "slices.tsv", sep="\t")
    assert slices["subtype"].value_counts().to_dict() == {"B": 10, "A": 10}
    assert slices["patient"].nunique() == 10
    matching = json.loads((study / "matching.json").read_text())
    assert matching["slices"] == matching["annotated"] == 20
    assert matching["dicom_without_annotation"] == 10
    assert matching["annotation_without_dicom"] == 1
    metrics = pd.read_csv(study / "metrics.tsv", sep="\t")
    assert list(metrics.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert set(metrics["protocol"]) >= {"random", "grouped"}
    assert not project.leftovers()
    no_secrets(project, done.output)
    assert "Nothing to be done" in project.dry_run("study_ct_boxes").output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_classes_of_images_become_a_page(scans: Project, tmp_path: Path) -> None:
    project = scans.copy_to(tmp_path / "project")
    done = project.run("study_ct_pneumonia")
    assert done.status == 0, done.output
    study = project.results / "studies/ct_pneumonia"
    sources = pd.read_csv(study / "sources.tsv", sep="\t")
    assert sources["label"].value_counts().to_dict() == {"Cancer": 8, "Non-cancer": 8}
    assert sources["source"].nunique() == 8
    assert sources["part"].value_counts().to_dict() == {"training": 8, "validation": 4, "test": 4}
    assert len(pd.read_csv(study / "boxes.tsv", sep="\t")) == 8
    for arm in ("mobilenetv2", "file_statistics"):
        answers = pd.read_parquet(study / f"ct/{arm}/predictions.parquet")
        assert set(answers["protocol"]) == {"given", "grouped"}
    assert not project.leftovers()
    no_secrets(project, done.output)
    assert "Nothing to be done" in project.dry_run("study_ct_pneumonia").output


@pytest.mark.slow
def test_the_embedded_set_is_made_where_no_files_are_named(scans: Project, tmp_path: Path) -> None:
    project = scans.copy_to(tmp_path / "project")
    del project.config["study_settings"]
    project.write()
    made = {"collect_ct_images": 1, "collect_ct_slices": 1, "make_ct_set": 1}
    assert project.dry_run(SLICES, SOURCES).rules() == made


@pytest.mark.parametrize(
    ("study", "path", "value", "words"),
    [
        ("ct_boxes", ("slices", "root"), NOWHERE, ["slices.root", "there is no such"]),
        ("ct_boxes", ("slices", "annotations"), NOWHERE, ["slices.annotations", "there is no such"]),
        ("ct_boxes", ("slices", "window"), {"centre": 40, "width": 0}, ["slices.window.width"]),
        ("ct_boxes", ("source",), "Q", ["source", "does not fit", "Q"]),
        ("ct_boxes", ("targets",), ["B"], ["targets", "the source is among"]),
        ("ct_boxes", ("pictures",), {"arm": "compat"}, ["pictures.arm", "unknown arm", "compact"]),
        ("ct_pneumonia", ("collect", "root"), NOWHERE, ["collect.root", "there is no such"]),
        ("ct_pneumonia", ("collect", "annotations"), NOWHERE, ["collect.annotations", "there is no such"]),
        ("ct_pneumonia", ("collect", "sources"), NOWHERE, ["collect.sources", "there is no such"]),
        ("ct_pneumonia", ("images", "root"), NOWHERE, ["images.root", "this study reads what it collects"]),
        ("ct_pneumonia", ("collect", "window"), {"centre": -600, "width": 0}, ["collect.window.width"]),
        ("ct_pneumonia", ("tasks", "ct", "arms"), ["mobilnetv2"], ["mobilnetv2", "mobilenetv2"]),
    ],
    ids=lambda value: (
        None if isinstance(value, list | dict) else ".".join(value) if isinstance(value, tuple) else value
    ),
)
def test_a_mistaken_setting_is_named_and_is_no_other_studys(
    scans: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    study: str,
    path: tuple[str, ...],
    value: Any,
    words: list[str],
) -> None:
    project = change_settings(scans.copy_to(tmp_path / "project"), study, *path, value=value)
    monkeypatch.chdir(project.folder)
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    config = {**resolve_models(read_yaml(ROOT / "config.yaml")), "study_settings": project.config["study_settings"]}
    studies, _ = load_studies(config, ROOT / "workflow/studies", made)
    problem = str(studies[study].problem)
    assert all(word in problem for word in words), problem
    assert not [secret for secret in SECRETS if secret.decode() in problem], problem
    assert studies[OTHER[study]].problem is None


@pytest.mark.parametrize(("study", "block"), [("ct_boxes", "slices"), ("ct_pneumonia", "collect")])
def test_a_study_that_cannot_be_made_says_why_and_keeps_no_other_from_being_made(
    scans: Project, tmp_path: Path, study: str, block: str
) -> None:
    project = change_settings(scans.copy_to(tmp_path / "project"), study, block, "root", value=NOWHERE)
    done = project.dry_run(f"study_{study}")
    assert done.status != 0
    assert f"{block}.root: there is no such" in done.output, done.output
    assert "Traceback (most recent call last)" not in done.output
    no_secrets(project, done.output)
    assert project.dry_run(f"study_{OTHER[study]}").status == 0


def with_entities(folder: Path) -> None:
    for path in (folder / "boxes_annotation").rglob("*.xml"):
        text = path.read_text()
        bomb = '<!DOCTYPE annotation [<!ENTITY a "0"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        path.write_text(bomb + text.replace("Unknown</folder>", "&b;</folder>"))


def named_otherwise(folder: Path) -> None:
    for number, path in enumerate(sorted((folder / "boxes_annotation").rglob("*.xml"))):
        path.rename(path.with_name(f"Doe^Jane {number}.xml"))


def cut_short(folder: Path) -> None:
    for path in (folder / "boxes").rglob("1-01.dcm"):
        path.write_bytes(path.read_bytes()[:1500])


def without_one_subtype(folder: Path) -> None:
    for path in (folder / "boxes").glob("Lung_Dx-A*"):
        shutil.rmtree(path)


def of_something_else(folder: Path) -> None:
    """Structured reports in the place of slices."""
    for path in (folder / "boxes").rglob("*.dcm"):
        report = pydicom.dcmread(path)
        del report.PixelData
        report.Modality, report.SOPClassUID = "SR", uid.BasicTextSRStorage
        report.file_meta.MediaStorageSOPClassUID = uid.BasicTextSRStorage
        report.save_as(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_entities, ["slices.annotations", "too many files cannot be read"]),
        (named_otherwise, ["no slice has an annotation", "UID"]),
        (cut_short, ["slices.root", "too many files cannot be read", "file 1 of 30"]),
        (without_one_subtype, ["a subtype has no annotated slice"]),
        (of_something_else, ["slices.root", "no slice has an annotation", "0 CT slices, 21 annotations"]),
    ],
    ids=["entities", "no UID names", "cut files", "absent subtype", "no slices"],
)
@pytest.mark.slow
def test_series_that_cannot_be_used_end_in_one_message_that_names_nobody(
    scans: Project, tmp_path: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    project = scans.copy_to(tmp_path / "project")
    change(project.folder / "ct")
    done = project.run(SLICES)
    one_message(done, *words)
    no_secrets(project, done.output.replace("Doe^Jane", "Phantom"))
    assert not (project.folder / SLICES).exists()


def without_a_class(folder: Path) -> None:
    for path in folder.glob("classifier/*/Cancer"):
        shutil.rmtree(path)


def damaged(folder: Path) -> None:
    for path in folder.glob("classifier/*/Non-cancer/*"):
        path.write_bytes(b"no picture")


def partly_in_parts(folder: Path) -> None:
    (folder / "classifier/Cancer").mkdir()
    first = sorted(folder.glob("classifier/Training/Cancer/*"))[0]
    first.rename(folder / "classifier/Cancer" / first.name)


def with_two_sources(folder: Path) -> None:
    table = pd.read_csv(folder / "classifier_sources.tsv", sep="\t")
    table = pd.concat([table, table.iloc[:1].assign(source="article 999")])
    table.to_csv(folder / "classifier_sources.tsv", sep="\t", index=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_a_class, ["collect.root", "Cancer"]),
        (damaged, ["collect.root", "cannot be read"]),
        (partly_in_parts, ["collect.root"]),
        (with_two_sources, ["collect.sources", "an image has two sources"]),
    ],
    ids=["absent class", "damaged class", "some in parts", "two sources"],
)
@pytest.mark.slow
def test_images_that_cannot_be_used_end_in_one_message_that_names_nobody(
    scans: Project, tmp_path: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    project = scans.copy_to(tmp_path / "project")
    change(project.folder / "ct")
    done = project.run(SOURCES)
    one_message(done, *words)
    no_secrets(project, done.output)
    assert not (project.folder / SOURCES).exists()


@pytest.mark.slow
def test_a_file_that_is_no_slice_is_counted_and_left_out(scans: Project, tmp_path: Path) -> None:
    project = scans.copy_to(tmp_path / "project")
    (first, *_) = sorted((project.folder / "ct/boxes").rglob("*.dcm"))
    image = pydicom.dcmread(first)
    image.Modality, image.SOPClassUID = "PT", uid.PositronEmissionTomographyImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid.UID("2.25.99")
    image.file_meta.MediaStorageSOPClassUID = uid.PositronEmissionTomographyImageStorage
    image.save_as(first.with_name("pet.dcm"))
    done = project.run(SLICES)
    assert done.status == 0, done.output
    matching = json.loads((project.results / "studies/ct_boxes/matching.json").read_text())
    assert (matching["not_ct"], matching["slices"]) == (1, 20)
    no_secrets(project, done.output)


@pytest.mark.slow
def test_a_slice_that_is_replaced_in_place_is_collected_anew(scans: Project, tmp_path: Path) -> None:
    project = scans.copy_to(tmp_path / "project")
    assert project.run(SLICES).status == 0
    assert "Nothing to be done" in project.dry_run(SLICES).output
    (first, *_) = sorted((project.folder / "ct/boxes").rglob("1-02.dcm"))
    image = pydicom.dcmread(first)
    image.PixelData = np.zeros((image.Rows, image.Columns), np.int16).tobytes()
    image.save_as(first)
    assert project.dry_run(SLICES).rules() == {"collect_ct_slices": 1}
