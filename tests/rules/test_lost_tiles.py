"""Tissue that a slide's file lost is unknown through the whole workflow, and is counted on every way out."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_cohort import Finished, Project, feature_collection, lose_tiles, picture, sheet_row

from drunet.files import read_json, write_json
from drunet.heatmap import read_heatmap
from drunet_demo.pyramid import write_pyramid

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Finished]:
    """Three slides of one picture: sound; without a tile in the tumour; without the first row of tiles, all glass."""
    project = finished.copy_to(tmp_path_factory.mktemp("lost") / "project")
    project.rows = []
    image, outline = picture(np.random.default_rng(5))
    image = cv2.resize(cv2.copyMakeBorder(image, 140, 0, 0, 0, cv2.BORDER_REPLICATE), None, fx=2, fy=2)
    for slide in ("sound", "tumour", "glass"):
        path = project.folder / f"slides/{slide}.tif"
        write_pyramid(path, image, 1.0)
        write_json(path.with_suffix(".geojson"), feature_collection(2 * (outline + (0, 140))))
        project.rows.append(sheet_row(slide, f"p-{slide}", f"{slide}.tif", split="test", labelled=True))
        across = -(-image.shape[1] // 256)
        lose_tiles(path, {"sound": [], "tumour": [2 * across + 2], "glass": range(across)}[slide])
    project.config["inference"]["max_unreadable"] = 0.2
    return project, project.write().run()


def test_the_loss_is_counted_in_the_table_on_the_page_and_beside_the_outlines(ran: tuple[Project, Finished]) -> None:
    project, done = ran
    assert done.status == 0, done.output
    table = pd.read_csv(project.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    assert (table["status"] == "ok").all(), table
    assert table["unread_mm2"].to_dict() == {"sound": 0, "tumour": pytest.approx(0.256**2, rel=0.1), "glass": 0}
    page = (project.results / "report/report.html").read_text(encoding="utf-8")
    assert "mm² of the tissue of tumour are missing in its file" in page and "unread tissue (mm²)" in page
    for slide in table.index:
        for place in (f"slides/{slide}/tissue.geojson", f"runs/by_colour/{slide}/segmentation.geojson"):
            noted = json.loads((project.results / place).read_text(encoding="utf-8")).get("properties")
            assert noted == ({"unread_mm2": table.loc[slide, "unread_mm2"]} if slide == "tumour" else None)


def test_lost_tiles_are_unknown_and_all_others_as_on_the_sound_slide(ran: tuple[Project, Finished]) -> None:
    results = ran[0].results
    maps = {s: read_heatmap(results / f"heatmaps/tone/{s}.tif")[0] for s in ("sound", "tumour", "glass")}
    np.testing.assert_array_equal(maps["glass"], maps["sound"])
    unknown = np.isnan(maps["tumour"]) & ~np.isnan(maps["sound"])
    assert unknown.sum() > 30
    known = ~np.isnan(maps["tumour"])
    # Beside what was lost a tile may hold a sliver of it.
    assert (np.abs(maps["tumour"] - maps["sound"])[known] > 0).sum() < 30
    first, last = (np.argwhere(unknown).min(0), np.argwhere(unknown).max(0))
    assert (first >= 512 / 32 - 2).all() and (last <= 768 / 32 + 1).all()


def test_no_annotation_is_moved_and_nothing_lost_is_measured(ran: tuple[Project, Finished]) -> None:
    results = ran[0].results
    assert all(read_json(results / f"slides/{s}/status.json")["geojson_origin"] == [0, 0] for s in ("tumour", "glass"))
    metrics = pd.read_csv(results / "runs/by_colour/metrics.tsv", sep="\t").set_index(["slide", "stage"])["dsc"]
    assert metrics["glass"].equals(metrics["sound"])
    assert abs(metrics["tumour", "heatmap"] - metrics["sound", "heatmap"]) < 0.1
