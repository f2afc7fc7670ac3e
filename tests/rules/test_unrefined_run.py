"""Runs without a refiner: of the heatmap itself, and refined by clustering."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from tiny_cohort import Project

pytestmark = pytest.mark.slow


def test_a_run_without_a_refiner_outlines_the_heatmap_and_shares_it(own_copy: Project) -> None:
    own_copy.config["runs"]["plain"] = {"classifier": "tone", "refiner": None}
    done = own_copy.write().run("report")
    assert done.status == 0, done.output
    # The heatmaps are there already: another run of the same classifier asks for no tile again.
    counts = done.rules()
    made = {"postprocess": 3, "list_outcomes": 1, "draw_slide_pictures": 3, "measure": 2, "gather_metrics": 1}
    assert counts == {**made, "report": 1}
    folder = own_copy.results / "runs/plain"
    metrics = pd.read_csv(folder / "metrics.tsv", sep="\t")
    assert list(metrics["stage"].unique()) == ["heatmap", "segmentation"]
    assert metrics.loc[metrics["stage"] == "segmentation", "dsc"].min() > 0.7
    assert not list(folder.rglob("refined.tif"))
    page = (own_copy.results / "report/report.html").read_text(encoding="utf-8")
    assert "plain" in page and "by_colour" in page
    # Each picture stands under its own slide and run.
    for run in ("plain", "by_colour"):
        cards = [card.partition("</article")[0] for card in page.split("<article")[1:]]
        named = [card for card in cards if f"{run}</span></h3>" in card]
        assert len(named) == 3 and all(card.count("<img") == 2 for card in named)
        for slide in ("tumour_a", "tumour_b", "unlabelled"):
            (own,) = [card for card in named if f"<h3>{slide} " in card]
            assert own.count(f'alt="Slide {slide}: ') == 2


def test_a_run_is_refined_by_clustering_without_a_model_and_exported_as_any_other(own_copy: Project) -> None:
    clustering = {"smoothing_px": 5, "px": 300}
    own_copy.config["runs"]["clustered"] = {"classifier": "tone", "refiner": None, "clustering": clustering}
    done = own_copy.write().run("metrics", "exports")
    assert done.status == 0, done.output
    made = {"cluster_heatmap": 3, "postprocess": 3, "export_geojson": 3, "draw_slide_pictures": 3, "measure": 2}
    assert {rule: count for rule, count in done.rules().items() if rule in {*made, "refine_heatmap"}} == made
    folder = own_copy.results / "runs/clustered"
    metrics = pd.read_csv(folder / "metrics.tsv", sep="\t")
    assert list(metrics["stage"].unique()) == ["heatmap", "refined", "segmentation"]
    assert metrics.loc[metrics["stage"] == "refined", "dsc"].min() > 0.8
    # The outlines of one that nobody annotated: a start for who does.
    outlines = json.loads((folder / "unlabelled/segmentation.geojson").read_text(encoding="utf-8"))
    assert outlines["features"] and outlines["features"][0]["properties"]["classification"]["name"] == "Tumor"
    # Other settings cluster anew, and nothing else is refined again.
    clustering["clusters"] = 4
    again = own_copy.write().dry_run("exports").rules()
    assert again["cluster_heatmap"] == 3 and "refine_heatmap" not in again and "classify_tiles" not in again
    # And so does another threshold, for where no tile reaches it there is nothing to outline.
    clustering["clusters"] = 3
    own_copy.config["postprocess"]["threshold"] = 1.0
    done = own_copy.write().run("exports")
    assert done.status == 0, done.output
    assert done.rules()["cluster_heatmap"] == 3
    empty = json.loads((folder / "unlabelled/segmentation.geojson").read_text(encoding="utf-8"))
    assert not empty["features"]
