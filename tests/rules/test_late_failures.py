"""A slide that passes inspection and breaks later is left out with its reason, and takes nobody along."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_cohort import Finished, Project, feature_collection, picture, sheet_row

from drunet.errors import FailedSlideError
from drunet.files import write_json
from drunet.heatmap import read_heatmap
from drunet.outcome import left_out, outcome_of
from drunet.tiles import read_mask, read_table
from drunet_demo.pyramid import write_pyramid

pytestmark = pytest.mark.slow

WHOLE = ["tumour_a", "tumour_b", "unlabelled"]
RUN = "runs/by_colour"
# Where the results of the damaged slide would be.
PLACES = ["heatmaps/tone/damaged.parquet", "heatmaps/tone/damaged.tif", f"{RUN}/damaged/refined.tif"]
PLACES += [f"{RUN}/damaged/{name}" for name in ("segmentation.tif", "segmentation.png", "segmentation.geojson")]
PLACES += [f"{RUN}/damaged/{name}" for name in ("overlay.jpg", "heatmap.jpg", "metrics.json")]


@pytest.fixture(scope="module")
def cohort(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Finished]:
    """Four slides, one of which has a stored tile that no decoder reads, run to the end."""
    project = four_slides(finished, tmp_path_factory.mktemp("late") / "project")
    return project, project.run()


def four_slides(finished: Project, folder: Path) -> Project:
    """Two slides that are finished, one that lacks all from its heatmap on, and a damaged one that is new."""
    project = finished.copy_to(folder)
    project.rows = [row for row in project.rows if row["slide_id"] in WHOLE]
    for suffix in ("parquet", "tif"):
        (project.results / f"heatmaps/tone/tumour_a.{suffix}").unlink()
    shutil.rmtree(project.results / RUN / "tumour_a")
    image, outline = picture(np.random.default_rng(5))
    # Twice as large, so that there is a coarser level, which inspection looks at.
    write_pyramid(project.folder / "slides/damaged.tif", cv2.resize(image, None, fx=2, fy=2), 1.0)
    write_json(project.folder / "slides/damaged.geojson", feature_collection(2 * outline))
    break_tile(project.folder / "slides/damaged.tif", x=600, y=300)
    project.rows.append(sheet_row("damaged", "Pat-damaged-5", "damaged.tif", split="test", labelled=True))
    return project.write()


def break_tile(path: Path, x: int, y: int) -> None:
    """Overwrite the stored tile that holds a level-0 pixel; all else of the file, its length too, stays."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        across = -(-page.imagewidth // page.tilewidth)
        number = y // page.tilelength * across + x // page.tilewidth
        offset, length = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))


def test_three_slides_get_everything_and_the_run_ends_well(cohort: tuple[Project, Finished]) -> None:
    project, done = cohort
    assert done.status == 0, done.output
    for slide in WHOLE:
        for place in PLACES:
            path = project.results / place.replace("damaged", slide)
            if slide == "unlabelled" and path.name == "metrics.json":
                continue
            assert outcome_of(path) is None, place
    told = [line for line in done.output.splitlines() if line.startswith("left out: damaged: ")]
    assert told and "too many tiles cannot be read" in told[0] and "unreadable at classify_tiles" in told[0]
    last = done.output[done.output.index("3 of 4 slides are used. Left out:") :].splitlines()
    assert last[1].startswith("  damaged: unreadable: too many tiles cannot be read") and len(last) <= 4
    # Of a run that the configuration no longer has nothing is said.
    assert left_out(project.results, []) == ["4 of 4 slides are used."]


def test_every_result_of_the_fourth_says_why_it_is_none(cohort: tuple[Project, Finished]) -> None:
    project, _ = cohort
    for place in PLACES:
        failure = outcome_of(project.results / place)
        assert failure is not None, place
        assert (failure.where, failure.status, failure.stage) == ("damaged", "unreadable", "classify_tiles")
        assert "max_unreadable" in failure.mend
    assert project.leftovers() == []
    # Inspection found nothing wrong with it.
    slides = pd.read_csv(project.results / "slides.tsv", sep="\t", keep_default_na=False)
    assert (slides["status"] == "ok").all()


def test_no_reader_takes_an_outcome_for_a_result(cohort: tuple[Project, Finished]) -> None:
    folder = cohort[0].results
    for read, place in (
        (read_table, PLACES[0]),
        (read_heatmap, PLACES[1]),
        (read_mask, f"{RUN}/damaged/segmentation.png"),
    ):
        with pytest.raises(FailedSlideError, match="damaged: too many tiles cannot be read"):
            read(folder / place)
    assert cv2.imread(str(folder / RUN / "damaged/overlay.jpg")) is None


def test_tables_and_page_list_the_fourth_with_its_final_state(cohort: tuple[Project, Finished]) -> None:
    results = cohort[0].results
    states = pd.read_csv(results / RUN / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    assert states["status"].to_dict() == {**dict.fromkeys(WHOLE, "ok"), "damaged": "unreadable"}
    assert states.loc["damaged", "stage"] == "classify_tiles"
    assert "too many tiles" in states.loc["damaged", "reason"] and states.loc["damaged", "mend"]
    metrics = pd.read_csv(results / RUN / "metrics.tsv", sep="\t").set_index("slide")
    assert metrics.loc["damaged", "stage"].tolist() == ["heatmap", "refined", "segmentation"]
    assert metrics.loc["damaged"].drop(columns=["split", "stage"]).isna().all(axis=None)
    assert metrics.loc[["tumour_a", "tumour_b"], "dsc"].notna().all()
    summary = pd.read_csv(results / RUN / "summary.tsv", sep="\t")
    assert (summary["n"] == 2).all() and (summary["left_out"] == 1).all()
    tiles = pd.read_csv(results / RUN / "tile_metrics.tsv", sep="\t").set_index("slide")
    assert tiles.loc["damaged", "tiles"] == 0 and (tiles.loc[["tumour_a", "tumour_b"], "tiles"] > 0).all()
    page = (results / "report/report.html").read_text(encoding="utf-8")
    assert "3 of 4 slides could be used; 1 was left out (1 unreadable)" in page
    assert "classify_tiles, run by_colour: too many tiles cannot be read" in page


def test_a_finished_run_does_not_try_the_slide_again(cohort: tuple[Project, Finished]) -> None:
    assert "Nothing to be done" in cohort[0].dry_run().output


def test_the_slide_is_tried_again_on_demand_and_what_can_be_made_of_it_is(
    cohort: tuple[Project, Finished], tmp_path: Path
) -> None:
    project = cohort[0].copy_to(tmp_path / "project")
    project.config["inference"]["max_unreadable"] = 0.5
    again = project.write().run("--forcerun", "results/heatmaps/tone/damaged.tif", "--", "all")
    assert again.status == 0, again.output
    assert again.rules()["classify_tiles"] == 1
    # Pictures are drawn from the finest level, where the tile is broken.
    failures = {place: outcome_of(project.results / place) for place in PLACES}
    assert {Path(place).suffix for place, failure in failures.items() if failure} == {".jpg"}
    assert {failure.stage for failure in failures.values() if failure} == {"draw_slide_pictures"}
    table, facts = read_table(project.results / PLACES[0])
    assert facts["unreadable"] == table["p_tumour"].isna().sum() > 0
    states = pd.read_csv(project.results / RUN / "slides.tsv", sep="\t", keep_default_na=False)
    assert (states["status"] == "ok").all()
    metrics = pd.read_csv(project.results / RUN / "metrics.tsv", sep="\t").set_index("slide")
    assert metrics.loc["damaged", "dsc"].notna().all()
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    assert "draw_slide_pictures, run by_colour: the file cannot be read as a slide" in page


def test_a_cohort_that_is_told_to_fail_stops_at_the_slide(finished: Project, tmp_path: Path) -> None:
    project = four_slides(finished, tmp_path / "project")
    (project.results / "report/report.html").unlink()
    project.config["cohort"]["on_bad_slide"] = "fail"
    done = project.write().run()
    assert done.status != 0
    said = [line for line in done.output.splitlines() if line.startswith(("ERROR", "DEFECT"))]
    assert len(said) == 1 and said[0].startswith("ERROR  damaged: too many tiles cannot be read")
    assert "Traceback" not in done.output
    assert not (project.results / PLACES[0]).exists() and not (project.results / "report/report.html").exists()


def test_a_run_that_has_outcomes_is_refused_once_bad_slides_are_to_stop_it(
    cohort: tuple[Project, Finished], tmp_path: Path
) -> None:
    project = cohort[0].copy_to(tmp_path / "project")
    project.config["cohort"]["on_bad_slide"] = "fail"
    done = project.write().run("segment")
    assert done.status != 0
    assert "there are slides that cannot be used (found: damaged (unreadable))" in done.output
