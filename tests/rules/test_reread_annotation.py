"""A run's outline, corrected in QuPath and named in the sheet, is the next round's annotation."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import shapely
from shapely.geometry import mapping, shape
from tiny_cohort import PATIENTS, Project

from drunet.files import read_json, write_json


def corrected(path: Path, edit: bool) -> dict[str, object]:
    """The file as QuPath writes it after a visit: new id, measurements and lock left out, metadata kept."""
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    for number, feature in enumerate(features):
        properties = feature["properties"]
        feature["id"] = f"{number:032x}"
        feature["properties"] = {k: properties[k] for k in ("objectType", "classification", "metadata")}
    if edit:
        outline = shape(features[0]["geometry"])
        # The brush adds a lobe and, elsewhere, an island of the same annotation.
        x, y = outline.exterior.coords[0]
        touched = shapely.union_all([outline, shapely.Point(x, y).buffer(12), shapely.box(40, 240, 60, 260)])
        features[0]["geometry"] = mapping(touched)
        assert features[0]["geometry"]["type"] == "MultiPolygon"
    return {"type": "FeatureCollection", "features": features}


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_corrected_outline_is_accepted_with_its_provenance_and_an_unedited_one_is_called_so(
    own_copy: Project,
) -> None:
    slides = own_copy.folder / "slides"
    for slide, edit in (("unlabelled", True), ("tumour_b", False)):
        exported = own_copy.results / f"runs/by_colour/{slide}/segmentation.geojson"
        write_json(slides / f"{PATIENTS[slide]}_round2.geojson", corrected(exported, edit))
        annotation = {"annotation": f"{PATIENTS[slide]}_round2.geojson", "annotation_kind": "wta", "split": "test"}
        own_copy.row(slide).update(annotation)
    done = own_copy.write().run("metrics")
    assert done.status == 0, done.output

    digests = {m: read_json(own_copy.results / f"models/{m}/export.json")["sha256"] for m in ("tone", "through")}
    source = f"run by_colour (tone {digests['tone'][:12]}, through {digests['through'][:12]}; drunet "
    table = pd.read_csv(own_copy.results / "slides.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    assert (table.loc[list(PATIENTS), "status"] == "ok").all()
    assert table.loc["unlabelled", "annotation_origin"].startswith(f"corrected from {source}")
    assert table.loc["tumour_b", "annotation_origin"].startswith(f"unedited {source}")
    assert table.loc["tumour_a", "annotation_origin"] == "drawn"
    warned = [line for line in done.output.splitlines() if line.startswith("WARNING  ")]
    assert len(warned) == 1 and warned[0].startswith("WARNING  tumour_b: ") and "nobody edited" in warned[0]

    # Measured against what the pathologist left: nearly the model's outline, and exactly it where nobody touched it.
    metrics = pd.read_csv(own_copy.results / "runs/by_colour/metrics.tsv", sep="\t").set_index(["slide", "stage"])
    assert 0.9 < metrics.loc[("unlabelled", "segmentation"), "dsc"] < 0.995
    assert metrics.loc[("tumour_b", "segmentation"), "dsc"] > 0.98
