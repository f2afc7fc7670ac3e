"""`drunet withdraw` finds what a run holds of a patient, removes it on request, and leaves the rest alone."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_cohort import PATIENTS

from drunet.files import write_json
from drunet_commands import cli
from drunet_commands.withdraw import traces

if TYPE_CHECKING:
    from tiny_cohort import Project

SLIDE, OTHER = "tumour_a", "tumour_b"


def trained(results: Path, name: str, training: list[str], validation: list[str], **settings: Any) -> None:
    facts = {"training_slides": training, "validation_slides": validation, "settings": settings}
    write_json(results / "models" / name / "training.json", facts)


def test_what_is_left_after_removal_names_the_slide_nowhere_but_in_models(
    own_copy: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every byte of the results is searched, ZIP files by their members; slides and annotations stay as they are."""
    monkeypatch.chdir(own_copy.folder)
    shutil.rmtree(".snakemake/locks", ignore_errors=True)
    results = own_copy.results
    saved = own_copy.folder / "results_corrections" / f"{SLIDE}.geojson"
    saved.parent.mkdir()
    saved.write_text("{}")
    with zipfile.ZipFile(results / "runs/by_colour/ro-crate.zip", "w") as archive:
        archive.writestr("slides.json", f'{{"{SLIDE}": 1}}')
    # What further targets make of a slide, and of many.
    for file in (f"uncertainty/tone/{SLIDE}.tif", f"uncertainty/tone/{SLIDE}.parquet", "next_regions/tone/regions.tsv",
                 f"next_regions/tone/outlines/{SLIDE}.geojson", f"studies/cohort_audit/slides/{SLIDE}.json",
                 f"studies/cohort_audit/shifts/tone/{SLIDE}.tsv",
                 f"studies/scores/pictures/by_colour/{SLIDE}.jpg"):  # fmt: skip
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        (results / file).write_text(f"1\t{SLIDE}\n" if file.endswith("regions.tsv") else "-")
    trained(results, "learnt", [SLIDE, OTHER], [])
    before = {p: p.read_bytes() for p in own_copy.folder.rglob("*") if p.is_file()}
    assert cli.main(["withdraw", PATIENTS[SLIDE].upper()]) == 0
    told = capsys.readouterr().out
    assert "Nothing was removed" in told and PATIENTS[SLIDE] not in told
    assert {p: p.read_bytes() for p in own_copy.folder.rglob("*") if p.is_file()} == before
    assert (
        f"model   learnt: training slides {SLIDE}. Anew: snakemake --cores N results/models/learnt/model.onnx" in told
    )
    assert cli.main(["withdraw", PATIENTS[SLIDE], "--remove"]) == 0
    gone = set(before) - {p for p in own_copy.folder.rglob("*") if p.is_file()}
    assert {saved, results / "slides.tsv", results / "report/report.html"} <= gone
    assert results / "runs/by_colour/ro-crate.zip" in gone and results / f"heatmaps/tone/{SLIDE}.tif" in gone
    assert not any(p.is_relative_to(own_copy.folder / "slides") for p in gone)
    assert not any(OTHER in part for p in gone for part in p.relative_to(results.parent).parts)
    left = {p: p.read_bytes() for p in results.rglob("*") if p.is_file() and "models" not in p.parts}
    named = {p.relative_to(results).as_posix() for p, data in left.items() if SLIDE.encode() in data}
    assert all(path.startswith("logs/") for path in named), named
    assert not any(SLIDE in part for p in left for part in p.relative_to(results).parts)


def test_models_that_owe_something_to_one_that_saw_the_slide_are_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    trained(results, "first", ["a"], [])
    trained(results, "first.fold0of2", ["b"], [])
    trained(results, "stopped", ["b"], ["a"])
    trained(results, "tuned", ["b"], [], weights={"model": "first"})
    trained(results, "student", ["b"], [], weights="random", distillation={"teacher": "tuned"})
    trained(results, "refiner", ["b"], [], classifier="student")
    trained(results, "led", ["b"], [], data={"sampling": {"first_model": "stopped"}})
    trained(results, "innocent", ["a.b", "b"], [], weights="imagenet", distillation=None)
    (results / "models/finished").mkdir()
    runs = {
        "r": {"classifier": "tuned", "refiner": None},
        "s": {"classifier": "innocent", "refiner": "refiner"},
        "t": 7,
    }
    found = traces(results, ["a"], [], runs)
    assert found.models == {
        "first": "training slides a",
        "stopped": "validation slides a",
        "tuned": "begun with first",
        "student": "taught by tuned",
        "refiner": "given heatmaps of student",
        "led": "given tiles chosen by stopped",
    }
    assert found.unknown == ["finished"] and found.runs == {"r": ["tuned"], "s": ["refiner"]}


def test_files_that_the_sheet_names_and_slides_of_a_like_name_are_left_alone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for name in ("slides/a/status.json", "slides/a.b/status.json", "slides/aa/status.json", "runs/r/a/mask.tif"):
        (results / name).parent.mkdir(parents=True)
        (results / name).write_text("")
    (results / "slides.tsv").write_text("a.b\taa\ta-b\tb-a\n")
    found = traces(results, ["a"], [results / "runs/r/a/mask.tif"], {})
    assert found.paths == {"slide": [results / "slides/a"], "shared": [], "yours": [results / "runs/r/a"]}
    (results / "slides.tsv").write_text("a.b\ta\n")
    assert traces(results, ["a"], [], {}).paths["shared"] == [results / "slides.tsv"]


@pytest.mark.parametrize("broken", ["results: [", "", "cohort: 7", "cohort: {sheet: nowhere.tsv}"])
def test_a_broken_configuration_stops_nothing_when_slides_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(broken)
    Path("results/slides/a").mkdir(parents=True)
    assert cli.main(["withdraw", "Hansen"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ERROR  cohort.sheet: no slide of this patient is known") and "Hansen" not in error
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    assert cli.main(["withdraw", "--slides", "a", "../a", "--remove"]) == 1 and Path("results/slides/a").is_dir()
    assert "a run goes on here" in capsys.readouterr().err
    Path(".snakemake/locks/0.input.lock").unlink()
    assert cli.main(["withdraw", "--slides", "a", "--remove"]) == 0 and not Path("results/slides/a").exists()


def test_a_sheet_with_a_fault_elsewhere_still_tells_whose_slides_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/slides/a").mkdir(parents=True)
    Path("config.yaml").write_text("cohort: {sheet: s.tsv}")
    Path("s.tsv").write_text("# by hand\nslide_id\tpatient_id\tpath\n../x\tp\ty.tif\na\tP\ta.tif\tmore\nb\tq\tb.tif\n")
    assert cli.main(["withdraw", "p"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["slides  a", "slide   results/slides/a"]
