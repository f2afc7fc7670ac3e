"""A run that is cut off and taken up again ends as if nothing had happened."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_cohort import Project, kill_group, make_project

from drunet.files import read_json

pytestmark = pytest.mark.slow

SLIDE = "tumour_a"


@pytest.fixture(scope="module")
def taken_up(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One slide of the cohort: killed in the middle of its chain, unlocked as Snakemake asks for, and run again."""
    project = make_project(tmp_path_factory.mktemp("cut_off") / "project", repository)
    project.rows = [project.row(SLIDE)]
    process = project.write().start()
    try:
        wait_for(project.results / f"slides/{SLIDE}/tiles.parquet", process)
    finally:
        kill_group(process)
    assert not (project.results / "report/report.html").exists()
    unlocked = project.run("--unlock")
    assert unlocked.status == 0, unlocked.output
    again = project.run()
    assert again.status == 0, again.output
    # What was whole is kept.
    assert "inspect_slide" not in again.rules()
    return project


def test_tables_are_those_of_an_undisturbed_run(taken_up: Project, finished: Project) -> None:
    for name in (f"slides/{SLIDE}/tiles.parquet", f"heatmaps/tone/{SLIDE}.parquet"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(taken_up.results / name), pd.read_parquet(finished.results / name)
        )
    for name in ("metrics.tsv", "tile_metrics.tsv"):
        whole = pd.read_csv(finished.results / "runs/by_colour" / name, sep="\t")
        pd.testing.assert_frame_equal(
            pd.read_csv(taken_up.results / "runs/by_colour" / name, sep="\t"),
            whole[whole["slide"] == SLIDE].reset_index(drop=True),
            check_dtype=False,
        )


def test_fields_masks_and_outlines_are_those_of_an_undisturbed_run(taken_up: Project, finished: Project) -> None:
    folder = f"runs/by_colour/{SLIDE}"
    for name in (f"heatmaps/tone/{SLIDE}.tif", f"{folder}/refined.tif", f"{folder}/segmentation.tif"):
        here, there = (tifffile.imread(p.results / name) for p in (taken_up, finished))
        np.testing.assert_array_equal(here, there)
    for name in (f"{folder}/metrics.json", f"{folder}/segmentation.geojson", f"slides/{SLIDE}/status.json"):
        assert read_json(taken_up.results / name) == read_json(finished.results / name)


def test_nothing_of_the_interrupted_run_is_left_lying_about(taken_up: Project) -> None:
    assert taken_up.leftovers() == []
    assert "Nothing to be done" in taken_up.dry_run().output


def wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float = 200.0) -> None:
    """Wait until a file is there; fail if the run ends without it."""
    for _ in range(round(seconds / 0.05)):
        if path.exists():
            return
        assert process.poll() is None, f"the run ended before it made {path.name}"
        time.sleep(0.05)
    raise AssertionError(f"{path.name} did not appear")
