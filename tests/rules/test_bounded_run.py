"""The bound on missed tumour is kept by the outlines that are exported for it, or refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from drunet.annotation import read_annotation
from drunet.files import read_json
from drunet.uncertainty.risk_control import thresholds

if TYPE_CHECKING:
    from tiny_cohort import Project


def outlines(project: Project, file: str, slide: str) -> shapely.Geometry:
    features = json.loads((project.results / f"runs/by_colour/{slide}/{file}").read_text(encoding="utf-8"))["features"]
    return shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in features])


@pytest.mark.slow
def test_wider_outlines_miss_no_more_than_the_bound_says(own_copy: Project) -> None:
    """Two patients bound a third at one half: (sum of shares + 1) / 3. Areas are those of shapely."""
    own_copy.config["measure"]["missed_at_most"] = 0.5
    own_copy.config["measure"]["false_at_most"] = 0.4
    own_copy.config["export"]["formats"] = ["bound", "bound_false", "geojson"]
    # So that something is missed.
    own_copy.config["postprocess"]["threshold"] = 0.97
    done = own_copy.write().run("exports", "results/report/report.html")
    assert done.status == 0, done.output
    facts = read_json(own_copy.results / "runs/by_colour/bound.json")
    assert (facts["patients"], facts["refused"], facts["slides_without_result"]) == (2, "", 0)
    assert facts["threshold"] in thresholds(0.97) and facts["share"] <= facts["before"]
    assert (2 * facts["share"] + 1) / 3 <= 0.5 + 1e-9
    shares = []
    for slide in ("tumour_a", "tumour_b"):
        wide, own = outlines(own_copy, "bound.geojson", slide), outlines(own_copy, "segmentation.geojson", slide)
        assert own.difference(wide).area < 0.02 * max(own.area, 1)
        narrow = outlines(own_copy, "bound_false.geojson", slide)
        assert narrow.difference(own).area < 0.02 * max(own.area, 1)
        drawn = read_annotation(
            own_copy.folder / "slides" / own_copy.row(slide)["annotation"],
            kind="wta", where=slide, width=600, height=500, classes=own_copy.config["cohort"]["annotation_classes"],
        ).tumour  # fmt: skip
        shares.append(drawn.difference(wide).area / drawn.area)
    # Outlines are within a pixel of their mask.
    assert np.mean(shares) <= facts["share"] + 0.02
    said = read_json(own_copy.results / "runs/by_colour/bound_false.json")
    # Tissue without tumour counts, too.
    assert said["patients"] >= 2 and said["threshold"] in thresholds(0.97, rising=True)
    assert (said["patients"] * said["share"] + 1) / (said["patients"] + 1) <= 0.4 + 1e-9
    # What this finished model learnt from is not known.
    named = (own_copy.results / "runs/by_colour/tumour_a/bound.geojson").read_text(encoding="utf-8")
    assert "At most 0.5 of tumour outside; whether the slide is like those" in named
    page = (own_copy.results / "report/report.html").read_text(encoding="utf-8")
    assert "tissue that is no tumour is called so" in page
    assert "at most 50" in page and "like the 2 test patients" in page


@pytest.mark.slow
def test_too_few_patients_are_refused_in_words_and_the_page_says_so(own_copy: Project) -> None:
    own_copy.config["measure"]["missed_at_most"] = 0.1
    own_copy.config["export"]["formats"] = ["bound"]
    done = own_copy.write().run("results/report/report.html", "exports")
    assert done.status != 0 and "no bound on missed tumour can be given" in done.output
    page = (own_copy.results / "report/report.html").read_text(encoding="utf-8")
    assert "2 test patients with outlined tumour are too few: 9 are needed" in page
