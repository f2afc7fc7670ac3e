"""The loop of a user's day: segment, correct in the viewer, learn from what was corrected, read of it on the page."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import shapely
import yaml
from shapely.geometry import shape
from starlette.testclient import TestClient
from tiny_cohort import Project

from drunet.files import read_json
from drunet.models import registry
from drunet_commands.viewer.opened import open_results
from drunet_commands.viewer.server import make_app

pytestmark = pytest.mark.slow

SLIDE, NETWORK = "unlabelled", {"filters": [8, 16], "dense_units": 16}


@pytest.mark.timeout(600)
def test_an_outline_corrected_in_the_viewer_teaches_a_model_and_the_page_says_where_it_came_from(
    own_copy: Project,
) -> None:
    # A region is added by hand to what the run outlined.
    client = TestClient(make_app(open_results(own_copy.folder, []), "key"), base_url="http://127.0.0.1:8765")
    assert client.get("/", params={"token": "key"}).status_code == 200
    outlined = client.get(f"/slides/{SLIDE}/correction?run=by_colour").json()["run"]
    ring = [[40, 240], [70, 240], [70, 270], [40, 270], [40, 240]]
    asked = {"kind": "wta", "regions": [*outlined, {"polygons": [[ring]], "name": "Tumor"}]}
    answer = client.post(f"/slides/{SLIDE}/correction", json=asked).json()
    assert answer["origin"].startswith("corrected from run by_colour")

    # What the answer says is entered in the sheet, and a network that exists is trained further on that slide.
    own_copy.row(SLIDE).update(annotation=answer["annotation"], annotation_kind="wta", split="train")
    start = registry.build("plain_cnn", size=64, seed=1, **NETWORK)
    start.save_weights(own_copy.folder / "start.weights.h5")
    shipped = yaml.safe_load((own_copy.repository / "config.yaml").read_text(encoding="utf-8"))
    tuned = copy.deepcopy(shipped["classifiers"]["dr_fused"])
    tuned.update(architecture="plain_cnn", options=NETWORK, weights="start.weights.h5")
    tuned["data"].update(annotation_kinds=["wta"])
    tuned["training"].update(epochs=1, steps_per_epoch=4, batch_size=8)
    own_copy.config["classifiers"]["tuned"] = tuned
    own_copy.config["runs"]["second_round"] = {"classifier": "tuned", "refiner": None}
    done = own_copy.write().run("report", "results/models/tuned/card.md")
    assert done.status == 0, done.output

    slides = pd.read_csv(own_copy.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    origin = slides.loc[SLIDE, "annotation_origin"]
    assert slides.loc[SLIDE, "status"] == "ok" and origin.startswith("corrected from run by_colour (tone ")
    learnt = read_json(own_copy.results / "models/tuned/training.json")
    assert SLIDE in str(learnt["training_slides"])
    drawn = [shape(f["geometry"]) for f in read_json(own_copy.folder / "slides" / answer["annotation"])["features"]]
    assert any(piece.equals(shapely.MultiPolygon([shapely.Polygon(ring)])) for piece in drawn)
    page = (own_copy.results / "report/report.html").read_text(encoding="utf-8")
    card = (own_copy.results / "models/tuned/card.md").read_text(encoding="utf-8")
    assert "corrected from run by_colour" in page and "second_round" in page
    assert "1 corrected from" in card
