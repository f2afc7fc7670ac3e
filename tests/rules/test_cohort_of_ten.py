"""Ten slides, four of them broken in four ways: six get everything, four a row that says how to mend them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_cohort import Finished, Project, feature_collection, lose_tiles, make_project, paint_slide, sheet_row

from drunet.files import write_json

pytestmark = pytest.mark.slow

GOOD = ("good_1", "good_2", "good_3", "good_4", "good_5", "copy_of_1")
# Status, and a word of the reason and of the mend.
BROKEN = {
    "lost_tiles": ("unreadable", "missing", "again"),
    "off_tissue": ("annotation_unusable", "tissue", "."),
    "wrong_mpp": ("resolution_missing", "20", "."),
    "truncated": ("unreadable", "", "again"),
}
CORNER = np.array([[5, 5], [60, 5], [60, 40], [5, 40], [5, 5]], float)


@pytest.fixture(scope="module")
def cohort(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("ten") / "project", repository)
    slides = project.folder / "slides"
    project.config["runs"]["by_colour"]["refiner"] = None
    project.config["postprocess"]["unrefined_px"] = 300
    project.rows = []
    for number, slide in enumerate((*GOOD, *BROKEN)):
        outline = paint_slide(slides / f"{slide}.tif", seed=number)
        write_json(slides / f"{slide}.geojson", feature_collection(CORNER if slide == "off_tissue" else outline))
        row = sheet_row(slide, f"Pat-{number}", f"{slide}.tif", split="test", labelled=True)
        project.rows.append({**row, "mpp": "20" if slide == "wrong_mpp" else ""})
    for suffix in (".tif", ".geojson"):
        shutil.copy(slides / f"good_1{suffix}", slides / f"copy_of_1{suffix}")
    # The middle of three columns.
    lose_tiles(slides / "lost_tiles.tif", [1, 4])
    whole = (slides / "truncated.tif").read_bytes()
    (slides / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    return project.write()


@pytest.fixture(scope="module")
def skipped(cohort: Project) -> tuple[Project, Finished]:
    return cohort, cohort.run()


def test_six_slides_get_everything_and_the_run_succeeds(skipped: tuple[Project, Finished]) -> None:
    project, done = skipped
    assert done.status == 0, done.output
    for slide in GOOD:
        run = project.results / f"runs/by_colour/{slide}"
        files = {"segmentation.tif", "segmentation.png", "segmentation.geojson", "metrics.json", "overlay.jpg"}
        assert files <= {p.name for p in run.iterdir()}, slide
    metrics = pd.read_csv(project.results / "runs/by_colour/metrics.tsv", sep="\t")
    assert set(metrics["slide"]) == set(GOOD)
    listed = pd.read_csv(project.results / "runs/by_colour/slides.tsv", sep="\t")
    assert listed["slide_id"].tolist() == list(GOOD) and (listed["status"] == "ok").all()


def test_a_slide_that_was_begun_is_finished_before_the_last_is_begun(skipped: tuple[Project, Finished]) -> None:
    project, _ = skipped

    def made(file: str) -> list[float]:
        return [path.stat().st_mtime for slide in GOOD for path in project.results.glob(file.format(slide))]

    outlined, drawn = made("runs/by_colour/{}/segmentation.geojson"), made("runs/by_colour/{}/overlay.jpg")
    begun = made("slides/{}/tiles.parquet")
    assert len(outlined) == len(drawn) == len(begun) == len(GOOD)
    assert max(min(outlined), min(drawn)) < max(begun)


def test_four_slides_get_a_row_with_a_mend(skipped: tuple[Project, Finished]) -> None:
    project, done = skipped
    table = pd.read_csv(project.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    assert table.index[table["status"] == "ok"].tolist() == list(GOOD)
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    for slide, (status, reason, mend) in BROKEN.items():
        row = table.loc[slide]
        assert row["status"] == status, row["reason"]
        assert reason in row["reason"] and mend in row["mend"]
        assert slide in page and not (project.results / f"runs/by_colour/{slide}").exists()
    last = done.output[done.output.index("6 of 10 slides are used. Left out:") :].splitlines()
    assert [line.split(":")[0].strip() for line in last[1:5]] == list(BROKEN)
    # What follows is Snakemake's: its log, and how long it took.
    assert len(last) <= 7, last


def test_the_copy_of_a_slide_is_noted(skipped: tuple[Project, Finished]) -> None:
    project, done = skipped
    table = pd.read_csv(project.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    noted = {slide: text for slide, text in table["noted"].items() if "same bytes" in text}
    assert set(noted) == {"good_1", "copy_of_1"} and "that of copy_of_1" in noted["good_1"]
    assert "WARNING  2 slides share their file or their outlines with another: good_1, copy_of_1." in done.output
    assert noted["good_1"] in (project.results / "report/report.html").read_text(encoding="utf-8")


def test_a_run_that_is_told_to_fail_names_all_four_last(skipped: tuple[Project, Finished], tmp_path: Path) -> None:
    project = skipped[0].copy_to(tmp_path / "project")
    project.config["cohort"]["on_bad_slide"] = "fail"
    done = project.write().run()
    assert done.status == 1
    said = [line for line in done.output.splitlines() if line.startswith("ERROR")]
    assert len(said) == 1 and "there are slides that cannot be used" in said[0]
    assert all(f"{slide} ({status})" in said[0] for slide, (status, *_) in BROKEN.items())
    assert not any(slide in said[0] for slide in GOOD)
    assert "Traceback" not in done.output
