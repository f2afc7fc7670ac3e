"""The library's one call gives what the workflow gives, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from scanned_slide import write_scanned
from shapely.geometry import shape
from tiny_cohort import GLASS, PATIENTS, ROOT, TISSUE, TUMOUR, Project, save_classifier, with_open_side, without_softmax

from drunet import segment as room
from drunet.errors import ConfigError, DrunetError, ModelError, SlideError
from drunet.files import read_json, write_json
from drunet.heatmap import read_field, read_heatmap
from drunet.inference import EngineOptions, Layout
from drunet.segment import Segmented, segment
from drunet.tiles import read_mask, read_table


def models(project: Project) -> list[Path]:
    return [project.folder / "tone.onnx", project.folder / "through.onnx"]


def slide_file(project: Project, slide_id: str = "tumour_a") -> Path:
    return project.folder / "slides" / project.row(slide_id)["path"]


def as_configured(project: Project) -> dict[str, Any]:
    return {block: project.config[block] for block in ("tissue", "tiles", "inference", "postprocess")}


@pytest.mark.parametrize("slide_id", PATIENTS)
def test_one_call_gives_every_result_of_the_workflow(finished: Project, slide_id: str) -> None:
    found = segment(slide_file(finished, slide_id), *models(finished), **as_configured(finished))
    results = finished.results
    np.testing.assert_array_equal(found.tissue, read_mask(results / f"slides/{slide_id}/tissue.png"))
    heatmap, grid = read_heatmap(results / f"heatmaps/tone/{slide_id}.tif")
    np.testing.assert_array_equal(found.heatmap, heatmap)
    assert found.grid == grid and found.mpp == grid.mpp
    tiles = read_table(results / f"slides/{slide_id}/tiles.parquet")[0]
    classified = read_table(results / f"heatmaps/tone/{slide_id}.parquet")[0]
    place = ["column", "row", "x", "y", "tissue_fraction"]
    pd.testing.assert_frame_equal(found.tiles[place], tiles[place])
    np.testing.assert_array_equal(found.tiles["p_tumour"], classified["p_tumour"])
    run = results / f"runs/by_colour/{slide_id}"
    np.testing.assert_array_equal(found.refined, read_field(run / "refined.tif")[0])
    mask = read_mask(run / "segmentation.png")
    np.testing.assert_array_equal(found.mask, mask)
    assert 0 < mask.mean() < 1
    written = [shape(f["geometry"]) for f in read_json(run / "segmentation.geojson")["features"]]
    assert len(found.outlines) == len(written) > 0
    for one, other in zip(found.outlines, written, strict=True):
        # The file's coordinates have one decimal.
        assert shapely.hausdorff_distance(one, other) < 0.1


def test_a_run_without_a_refiner_outlines_the_heatmap(finished: Project) -> None:
    # Tiles of the side that the file states, not overlapping.
    found = segment(slide_file(finished), models(finished)[0])
    assert found.refined is None and max(found.mask.shape) == 1120
    assert (found.grid.size, found.grid.step, found.grid.tile_mpp) == (64, 64, 1.0)
    assert sum(p.area for p in found.outlines) == pytest.approx(np.pi * 105**2, rel=0.3)


def test_what_is_left_out_is_what_the_configuration_ships_with() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    tiles = {key: value for key, value in shipped["tiles"].items() if key not in ("size", "step")}
    assert tiles == room._TILES
    assert shipped["tissue"] == room._TISSUE and shipped["postprocess"] == room._POSTPROCESS
    # Only the workflow's own map of uncertainty asks for views.
    assert {
        key: value for key, value in shipped["inference"].items() if key not in ("views", "set_aside")
    } == room._INFERENCE
    assert EngineOptions(**room._INFERENCE) == EngineOptions()


def test_the_smallest_fragment_is_what_the_refiner_was_trained_on(finished: Project, tmp_path: Path) -> None:
    classifier, refiner = models(finished)
    copied = tmp_path / "model.onnx"
    copied.write_bytes(refiner.read_bytes())
    plain = segment(slide_file(finished), classifier, copied)
    assert plain.outlines
    write_json(tmp_path / "export.json", {"smallest_tumour_um2": 1e6})
    assert not segment(slide_file(finished), classifier, copied).outlines
    said: dict[str, Any] = {"min_fragment_um2": 0.0}
    np.testing.assert_array_equal(segment(slide_file(finished), classifier, copied, postprocess=said).mask, plain.mask)


def test_every_block_of_settings_reaches_its_step(finished: Project) -> None:
    def found(**settings: Any) -> Segmented:
        return segment(slide_file(finished), models(finished)[0], **settings)

    plain = found()
    full = found(tiles={"min_tissue": 0.9}).tiles
    assert 0 < len(full) < len(plain.tiles) and full["tissue_fraction"].min() >= 0.9
    coarse = found(tiles={"mpp": 2.0, "step": 32})
    assert (coarse.grid.tile_mpp, coarse.grid.step) == (2.0, 32)
    assert max(found(tissue={"mpp": 4.0}).tissue.shape) == 2 * max(plain.tissue.shape)
    assert found(postprocess={"threshold": 0.9}).mask.sum() < plain.mask.sum()
    half = found(inference={"precision": "float16"}).tiles["p_tumour"]
    assert 0 < np.abs(half - plain.tiles["p_tumour"]).max() < 0.2


def test_a_classifier_of_another_layout_is_used_as_it_is_told(finished: Project) -> None:
    plain, turned = (segment(slide_file(finished), models(finished)[0], layout=Layout(tumour=t)) for t in (1, 0))
    np.testing.assert_allclose(turned.heatmap, 1 - plain.heatmap, atol=1e-5)


def test_a_finished_model_gets_what_it_lacks_as_in_the_workflow(finished: Project, tmp_path: Path) -> None:
    logits = without_softmax(models(finished)[0], tmp_path / "logits.onnx")
    opened = with_open_side(models(finished)[1], tmp_path / "open.onnx")
    with pytest.raises(ModelError, match=r"the model's outputs are no prob.*`activation: softmax`"):
        segment(slide_file(finished), logits)
    own = {"classifier": {"activation": "softmax"}, "refiner": {"size": 128}}
    found = segment(slide_file(finished), logits, opened, models=own)
    plain = segment(slide_file(finished), *models(finished))
    np.testing.assert_allclose(found.heatmap, plain.heatmap, atol=1e-6)
    np.testing.assert_array_equal(found.mask, plain.mask)
    for wrong, words in (
        ({"classifier": {"activation": "relu"}}, r"models\.classifier\.activation"),
        ({"clasifier": {}}, "unknown key.*clasifier"),
    ):
        with pytest.raises(ConfigError, match=words):
            segment(slide_file(finished), logits, models=wrong)


def test_outlines_count_from_the_corner_of_the_slide(finished: Project, tmp_path: Path) -> None:
    scanned = np.full((320, 320, 3), GLASS, np.uint8)
    scanned[32:288, 32:288] = TISSUE
    scanned[96:224, 96:224] = TUMOUR
    path = write_scanned(tmp_path / "part.scn", scanned, (640, 640), (160, 208))
    found: Segmented = segment(path, models(finished)[0])
    assert len(found.outlines) == 1
    assert found.outlines[0].centroid.coords[0] == pytest.approx((160 + 160, 208 + 160), abs=20)


def test_what_cannot_be_used_is_refused_in_one_line(finished: Project, tmp_path: Path) -> None:
    good = slide_file(finished)
    classifier, refiner = models(finished)
    free = tmp_path / "free.onnx"
    save_classifier(free, "side")  # type: ignore[arg-type]

    def refused(kind: type[DrunetError], words: str, *given: Any, **settings: Any) -> None:
        with pytest.raises(kind, match=words) as caught:
            segment(*given, **settings)
        assert "\n" not in str(caught.value)

    refused(SlideError, "not there", tmp_path / "none.tif", classifier)
    refused(SlideError, "does not say its resolution", slide_file(finished, "unscaled"), classifier)
    refused(SlideError, "no tissue", slide_file(finished, "white"), classifier)
    refused(ModelError, "none.onnx: the file cannot be loaded", good, tmp_path / "none.onnx")
    refused(ModelError, "none.onnx: the file cannot be loaded", good, classifier, tmp_path / "none.onnx")
    refused(ModelError, "through.onnx: .*does not take", good, refiner)
    refused(ModelError, "tone.onnx: .*what a refiner is given", good, classifier, classifier)
    refused(ModelError, "tone.onnx: .*does not take the tiles", good, classifier, tiles={"size": 32})
    refused(ModelError, "free.onnx: .*does not state the side", good, free)
    refused(ConfigError, "tissue", good, classifier, tissue={"methd": "gradient"})
    refused(ConfigError, "inference.provider", good, classifier, inference={"provider": "gpu"})
    refused(ConfigError, "postprocess.median_px", good, classifier, postprocess={"median_px": 4})
    assert segment(good, free, tiles={"size": 64}).grid.size == 64
    assert segment(slide_file(finished, "unscaled"), classifier, mpp=1.0).mpp == 1.0
