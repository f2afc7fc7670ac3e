"""The map of uncertainty of a slide: one job per slide and classifier, where the heatmap lies."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_cohort import Project

from drunet.heatmap import read_field
from drunet.tiles import read_table

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
