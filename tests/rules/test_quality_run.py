"""Quality and likeness come with classification: in the table, on the page, and where a bound is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from drunet.files import write_json
from drunet.quality import MEASURES, faults
from drunet.tiles import read_table
from drunet.uncertainty.appearance import TRAITS, traits

if TYPE_CHECKING:
    from tiny_cohort import Project

RUN = "runs/by_colour"


def states(project: Project) -> pd.DataFrame:
    return pd.read_csv(project.results / RUN / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")


def test_tiles_are_measured_as_they_are_classified(finished: Project) -> None:
    table, facts = read_table(finished.results / "heatmaps/tone/tumour_a.parquet")
    assert table[list(MEASURES)].notna().any().all() and list(table["fault"]) == list(faults(table))
    assert facts["set_aside"] == 0 and table["p_tumour"].notna().all()
    row = states(finished).loc["tumour_a"]
    assert row["blurred"] == pytest.approx((table["fault"] == "blurred").mean(), rel=1e-4)
    assert (row["appearance"], row["unlike_in"]) == ("cannot tell", "what the model learnt from is known of no slide")
    page = (finished.results / "report/report.html").read_text(encoding="utf-8")
    assert "what these looked like is not known here" in page and "set aside" not in page


@pytest.mark.slow
def test_a_slide_unlike_what_was_learnt_has_no_bound(own_copy: Project) -> None:
    """The model of others comes with ten slides far from these."""
    table, _ = read_table(own_copy.results / "heatmaps/tone/tumour_a.parquet")
    rows = np.array(traits(table)) + 2 + np.random.default_rng(3).normal(0, 0.05, (10, len(TRAITS)))
    write_json(own_copy.folder / "appearance.json", {"traits": list(TRAITS), "slides": rows.tolist()})
    own_copy.config["classifiers"]["tone"]["appearance"] = "appearance.json"
    own_copy.config["measure"]["missed_at_most"] = 0.5
    own_copy.config["export"]["formats"] = ["bound"]
    done = own_copy.write().run(f"results/{RUN}/tumour_a/bound.geojson", "results/report/report.html")
    assert done.status == 0 and "classify_tiles" not in done.rules(), done.output
    found = states(own_copy)
    assert set(found["appearance"]) == {"unlike"} and found["bound"].str.startswith("withdrawn: ").all()
    text = (own_copy.results / RUN / "tumour_a/bound.geojson").read_text(encoding="utf-8")
    assert "bound withdrawn: the slide is unlike those" in text and "At most" not in text
    page = (own_copy.results / "report/report.html").read_text(encoding="utf-8")
    assert "<b>Withdrawn</b> for 3 slides" in page and "3 of 3 slides are unlike the 10 that tone learnt from" in page
