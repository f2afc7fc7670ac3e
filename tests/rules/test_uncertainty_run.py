"""The map of uncertainty of a slide: one job per slide and classifier, where the heatmap lies."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from tiny_cohort import Project

from drunet.files import read_json
from drunet.heatmap import read_field
from drunet.tiles import read_table
from drunet_commands.viewer.opened import open_results

pytestmark = pytest.mark.slow


def test_a_slide_gets_a_map_on_the_cells_of_its_heatmap(own_copy: Project) -> None:
    own_copy.config["inference"]["views"] = 2
    done = own_copy.write().run("results/uncertainty/tone/tumour_a.tif")
    assert done.status == 0 and done.rules()["map_uncertainty"] == 1, done.output
    spread, facts = read_field(own_copy.results / "uncertainty/tone/tumour_a.tif")
    heatmap, _ = read_field(own_copy.results / "heatmaps/tone/tumour_a.tif")
    assert np.array_equal(np.isnan(spread), np.isnan(heatmap)) and np.nanmin(spread) >= 0 and np.nanmax(spread) <= 0.5
    assert facts["views"] == 2 and facts["models"] == ["tone"]
    table, _ = read_table(own_copy.results / "uncertainty/tone/tumour_a.parquet")
    # This network sees the mean colour alone, which no turn changes.
    np.testing.assert_allclose(table["mean"], heatmap[table["row"], table["column"]], atol=1e-5)
    assert table["sd"].max() < 1e-5
    # The outlines say it where they are asked to, and only they are made again.
    own_copy.config["export"]["uncertainty"] = True
    outlines = own_copy.results / "runs/by_colour/tumour_a/segmentation.geojson"
    done = own_copy.write().run(str(outlines.relative_to(own_copy.folder)))
    assert done.status == 0 and done.rules() == {"export_geojson": 1}, done.output
    (outline, *_) = json.loads(outlines.read_text(encoding="utf-8"))["features"]
    assert outline["properties"]["measurements"]["Spread of the answers"] == 0


def test_the_next_regions_lie_where_nothing_is_annotated(own_copy: Project) -> None:
    own_copy.config["next_regions"] = {"count": 3, "side_um": 64.0}
    own_copy.config["inference"]["views"] = 1
    done = own_copy.write().run("next_regions")
    assert done.status == 0, done.output
    folder = own_copy.results / "next_regions/tone"
    chosen = pd.read_csv(folder / "regions.tsv", sep="\t")
    assert chosen["rank"].tolist() == [1, 2, 3] and set(chosen["slide"]) == {"unlabelled"}
    assert (chosen["x1"] - chosen["x0"] == 64).all()
    boxes = read_json(folder / "outlines/unlabelled.geojson")["features"]
    assert [b["properties"]["name"].split(":")[0] for b in boxes] == ["annotate 1", "annotate 2", "annotate 3"]
    assert [p.name for p in folder.glob("outlines/*.geojson")] == ["unlabelled.geojson"]
    listed = {s["id"]: s["runs"]["by_colour"]["next"] for s in open_results(own_copy.folder, []).summary()["slides"]}
    corners = chosen[["x0", "y0", "x1", "y1"]].to_numpy().tolist()
    assert [region["box"] for region in listed["unlabelled"]] == corners and listed["tumour_a"] == []
    assert [region["why"] for region in listed["unlabelled"]] == list(chosen["why"])
