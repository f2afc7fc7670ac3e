"""The crate of a run passes the profile's validator, names no patient, and its slides can be made anew from it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester
from tiny_cohort import OPERATOR, PATIENTS, Project

from drunet.errors import FailedSlideError
from drunet.export.ro_crate import STEPS, write_crate
from drunet.heatmap import read_field, write_field
from drunet.outcome import write_outcome
from drunet_commands.cli import main

METADATA = "ro-crate-metadata.json"
# What the two contexts that a crate names make of its words; the network is not asked.
SCHEMA = """ComputerLanguage ControlAction CreateAction CreativeWork Dataset HowTo HowToStep OrganizeAction
SoftwareApplication SoftwareSourceCode about actionStatus additionalType datePublished description endTime error hasPart
identifier instrument license mainEntity mentions name object position programmingLanguage result softwareRequirements
softwareVersion step url valueRequired workExample"""
BIO = "https://bioschemas.org/"
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": {
        **{word: f"http://schema.org/{word}" for word in SCHEMA.split()},
        **{word: BIO + word for word in ("ComputationalWorkflow", "FormalParameter")},
        **{word: f"{BIO}ComputationalWorkflow#{word}" for word in ("input", "output")},
        "File": "http://schema.org/MediaObject",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
    },
    "https://w3id.org/ro/terms/workflow-run/context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
}


class Served:
    """An answer of the validator's own client."""

    status_code, headers = 200, {"Content-Type": "application/ld+json"}

    def __init__(self, url: str) -> None:
        self.text = json.dumps({"@context": CONTEXTS[url]})

    def json(self) -> Any:
        return json.loads(self.text)


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run with its crate, and each of the other formats of one slide."""
    project = finished.copy_to(tmp_path_factory.mktemp("crate") / "project")
    folder = "results/runs/by_colour"
    done = project.run("--", f"{folder}/ro-crate.zip")
    assert done.status == 0, done.output
    assert done.rules() == {"digest_slide": 3, "export_ro_crate": 1}
    return project


@pytest.fixture(scope="module")
def crate(project: Project) -> Path:
    return project.results / "runs/by_colour/ro-crate.zip"


def held(crate: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(crate) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    return {entity["@id"]: entity for entity in json.loads(held(crate)[METADATA])["@graph"]}


def changed(crate: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """A copy of a crate with other files or metadata; digests are made right again."""
    files, graph = held(crate), json.loads(held(crate)[METADATA])
    by_id = {entity["@id"]: entity for entity in graph["@graph"]}
    change(files, by_id)
    for name, entity in by_id.items():
        if name in files and "sha256" in entity:
            entity["sha256"] = hashlib.sha256(files[name]).hexdigest()
    files[METADATA] = json.dumps({**graph, "@graph": list(by_id.values())}).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def issues(crate: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(HttpRequester, "get", lambda self, url, **_: Served(url), raising=False)
    settings = {
        "rocrate_uri": str(crate),
        "profile_identifier": "provenance-run-crate",
        "requirement_severity": "REQUIRED",
    }
    result = services.validate(services.ValidationSettings(**settings))
    return [str(issue.message) for issue in result.get_issues()]


@pytest.mark.slow
def test_it_is_a_provenance_run_crate(crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert issues(crate, monkeypatch) == []

    def without_step(files: dict[str, bytes], by_id: dict[str, Any]) -> None:
        del by_id["#tumour_a/classify_tiles/control"]["instrument"]
        del files["slides/tumour_a/tissue.png"]

    found = issues(changed(crate, tmp_path / "less.zip", without_step), monkeypatch)
    assert len(found) == 2 and "HowToStep" in " ".join(found) and "slides/tumour_a/tissue.png" in " ".join(found)


def test_every_digest_is_that_of_the_file(crate: Path, project: Project) -> None:
    files, by_id = held(crate), entities(crate)
    stated = {name: entity["sha256"] for name, entity in by_id.items() if "sha256" in entity}
    inside = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {name: digest for name, digest in stated.items() if not name.startswith("ni:")} == {
        name: digest for name, digest in inside.items() if name not in (METADATA, "Snakefile")
    }
    slides = {entity["name"]: entity["sha256"] for name, entity in by_id.items() if name.startswith("ni:")}
    assert slides == {
        row["slide_id"]: hashlib.sha256((project.folder / "slides" / row["path"]).read_bytes()).hexdigest()
        for row in project.rows
        if row["slide_id"] in PATIENTS
    }
    result = project.results / "runs/by_colour/tumour_a/segmentation.tif"
    assert files["slides/tumour_a/segmentation.tif"] == result.read_bytes()
    assert files["models/tone/model.onnx"] == (project.results / "models/tone/model.onnx").read_bytes()


def test_each_step_of_each_slide_is_told_and_why_others_were_left_out(crate: Path) -> None:
    by_id = entities(crate)
    steps = ["inspect_slide", "classify_tiles", "refine_heatmap", "postprocess"]
    for slide in PATIENTS:
        actions = [by_id[f"#{slide}/{step}"] for step in steps]
        assert all(action["actionStatus"].endswith("/CompletedActionStatus") for action in actions)
        taken = [{ref["@id"] for ref in action["object"]} for action in actions]
        assert "models/tone/model.onnx" in taken[1] and "models/through/model.onnx" in taken[2]
        assert {f"slides/{slide}/tissue.png", f"slides/{slide}/refined.tif"} <= taken[3]
    failed = {name for name, entity in by_id.items() if str(entity.get("actionStatus")).endswith("/FailedActionStatus")}
    assert failed == {f"#{slide}/inspect_slide" for slide in ("cut", "unscaled", "white", "dark")}
    assert by_id["#white/inspect_slide"]["error"].startswith("no_tissue: no tissue was found")
    read = ROCrate(crate)
    assert read.mainEntity.id == "Snakefile" and len(read.mainEntity["step"]) == 4
    assert {app["name"] for app in read.mainEntity["softwareRequirements"]} >= {
        "drunet",
        "numpy",
        "snakemake",
        "python",
    }


def test_a_slide_that_failed_late_ends_with_the_step_that_failed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {name: project.results / "slides/tumour_a/tissue.png" for _, makes in STEPS.values() for name in makes}
    results["heatmap.tif"] = tmp_path / "heatmap.tif"
    failure = FailedSlideError("it broke", stage="classify_tiles", status="unreadable", where="tumour_a", mend="Copy.")
    write_outcome([results["heatmap.tif"]], failure)
    write_crate(
        tmp_path / "crate.zip",
        run="r",
        workflow=project.repository / "Snakefile",
        settings={"run": {}, "refined_by": None},
        models={"tone": project.folder / "tone.onnx"},
        slides={"tumour_a": {"sha256": "ab" * 32, "mpp": None, "results": results}},
        left_out={},
    )
    actions = {name: e for name, e in entities(tmp_path / "crate.zip").items() if e["@type"] == "CreateAction"}
    assert set(actions) == {"#tumour_a/inspect_slide", "#tumour_a/classify_tiles", "#run"}
    assert actions["#tumour_a/classify_tiles"]["error"] == "unreadable: it broke"
    assert "slides/tumour_a/heatmap.tif" not in held(tmp_path / "crate.zip")
    assert issues(tmp_path / "crate.zip", monkeypatch) == []


def test_it_holds_no_patient_and_no_path(crate: Path, project: Project) -> None:
    whole = b"".join([*held(crate).values(), *(name.encode() for name in held(crate))])
    texts = [*PATIENTS.values(), "Pat-", OPERATOR, str(project.folder), str(project.repository), str(Path.home()) + "/"]
    assert [text for text in texts if text.encode() in whole] == []


def replay(crate: Path, slide: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["replay", str(crate), str(slide)])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_slide_made_anew_is_bit_equal_whatever_its_name(
    crate: Path, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = tmp_path / "scan.tif"
    renamed.write_bytes((project.folder / "slides" / project.row("tumour_b")["path"]).read_bytes())
    status, told, _ = replay(crate, renamed, capsys)
    assert status == 0 and told.splitlines()[0] == "tumour_b:" and told.splitlines()[-1] == "Bit-equal."
    assert told.count(": equal bit by bit") == 5


@pytest.mark.parametrize(
    ("file", "step"),
    [("heatmap.tif", "heatmap"), ("refined.tif", "refined heatmap"), ("segmentation.tif", "finest level")],
)
def test_the_step_that_parted_first_is_named(
    crate: Path, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, step: str
) -> None:
    def change(files: dict[str, bytes], by_id: dict[str, Any]) -> None:
        content = files[f"slides/tumour_a/{file}"]
        (tmp_path / file).write_bytes(content)
        if file == "segmentation.tif":
            files[f"slides/tumour_a/{file}"] = inverted(content)
        else:
            field, facts = read_field(tmp_path / file)
            place = np.unravel_index(np.nanargmax(field), field.shape)
            field[place] = np.nextafter(field[place], np.float32(0))
            write_field(tmp_path / file, field, (32.0, 32.0), facts)
            files[f"slides/tumour_a/{file}"] = (tmp_path / file).read_bytes()
        by_id["#numpy"]["softwareVersion"] = "1.0"

    slide = project.folder / "slides" / project.row("tumour_a")["path"]
    status, told, _ = replay(changed(crate, tmp_path / "other.zip", change), slide, capsys)
    assert status == 1
    assert told.splitlines()[-1].startswith(f"Parted first at: {step}. Other versions: numpy 1.0, here ")
    assert told.count("differs in") == 1 and (file == "segmentation.tif" or "differs in 1 of" in told)


def inverted(content: bytes) -> bytes:
    target = BytesIO()
    with tifffile.TiffFile(BytesIO(content)) as tiff:
        tifffile.imwrite(target, 255 - tiff.pages.first.asarray())
    return target.getvalue()


def test_what_cannot_be_replayed_ends_in_one_line(
    crate: Path, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = project.folder / "slides" / project.row("tumour_a")["path"]
    cut = tmp_path / "cut.zip"
    cut.write_bytes(crate.read_bytes()[:5000])
    clustered = changed(crate, tmp_path / "clustered.zip", edit("config.json", b"refine_heatmap", b"cluster_heatmap"))
    drawn = changed(crate, tmp_path / "drawn.zip", edit("slides.json", b'"own_area": false', b'"own_area": true'))
    edited = tmp_path / "edited.zip"
    with zipfile.ZipFile(edited, "w") as archive:
        for name, content in held(crate).items():
            archive.writestr(name, content.replace(b'"threshold": 0.5', b'"threshold": 0.6'))
    for given, of, expected in (
        (cut, slide, "cut.zip: the file is no crate of a run, or was changed (found: BadZipFile)."),
        (edited, slide, "edited.zip: the file is no crate of a run, or was changed (found: config.json)."),
        (crate, project.folder / "slides/white.tif", "SLIDE: the crate's run has no slide of these bytes"),
        (clustered, slide, "tumour_a: the slide cannot be replayed (found: clustering)"),
        (drawn, slide, "tumour_a: the slide cannot be replayed (found: a region or tissue of the user's own)"),
        (crate, tmp_path / "gone.tif", "[Errno 2]"),
    ):
        status, told, said = replay(given, of, capsys)
        assert (status, told) == (1, "") and said.startswith(f"ERROR  {expected}") and said.count("\n") == 1, said


def edit(file: str, before: bytes, after: bytes) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(files: dict[str, bytes], _: dict[str, Any]) -> None:
        assert before in files[file]
        files[file] = files[file].replace(before, after)

    return change
