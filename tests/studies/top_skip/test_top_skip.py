"""The ablation of the top skip connection: what is compared, and how the change is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy import ndimage
from scipy.stats import wilcoxon
from snakemake.utils import update_config
from tiny_cohort import ROOT

from drunet.errors import ConfigError
from studies.common.model_figures import paired_lines
from studies.common.page import render_section
from studies.common.statistics import long_scores
from studies.top_skip import settings as rules
from studies.top_skip import tables as study

SLIDES = [{"slide": f"S{i}", "split": "test", "patient": i} for i in range(7)]
WITH_UM = [100.0, 200, 300, 400, 500, 600, None]
WITHOUT_UM = [90.0, 210, 250, 380, 460, 590, 50]


def measured(distances: list[float | None]) -> list[dict[str, Any]]:
    row = {"dsc": 0.5, "iou": 0.3, "precision": 0.5, "recall": 0.5}
    return [
        {"stages": [{"stage": s, "hd_um": d, "hd95_um": d, **row} for s in ("heatmap", "refined", "segmentation")],
         "tiles": {}}
        for d in distances
    ]  # fmt: skip


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    counted = {
        (arm, f"S{i}", stage): (10 - i if arm == study.WITH else 2)
        for arm in (study.WITH, study.WITHOUT)
        for i in range(7)
        for stage in study.STAGES
    }
    return study.score_table({study.WITH: measured(WITH_UM), study.WITHOUT: measured(WITHOUT_UM)}, counted, SLIDES)


def test_the_change_is_of_the_mean_over_slides_that_both_have(scores: pd.DataFrame) -> None:
    row = study.changes_table(scores).set_index(["stage", "score"]).loc[("segmentation", "hd_um")]
    before, after = np.array(WITH_UM[:6], float), np.array(WITHOUT_UM[:6], float)
    assert (row["n"], row["left_out"]) == (6, 1)
    assert (row["mean_with"], row["mean_without"]) == pytest.approx((350, 330))
    assert row["change_percent"] == pytest.approx(100 * (330 - 350) / 350)
    assert row["median_difference"] == pytest.approx(np.median(after - before))
    assert row["p"] == pytest.approx(wilcoxon(after, before).pvalue)


def test_fewer_fragments_without_the_connection_are_a_fall(scores: pd.DataFrame) -> None:
    changes = study.changes_table(scores).set_index(["stage", "score"])
    row = changes.loc[("refined", "fragments")]
    assert row["mean_with"] == pytest.approx(7.0) and row["change_percent"] == pytest.approx(-500 / 7)
    assert row["effect"] == -1
    assert changes.loc[("refined", "dsc"), "note"] == "no pair differs"


def test_fragments_are_counted_as_another_library_counts_them() -> None:
    mask = np.random.default_rng(0).random((60, 80)) < 0.2
    assert study.fragments(mask) == ndimage.label(mask, np.ones((3, 3)))[1]
    assert study.fragments(np.zeros((4, 4), bool)) == 0
    assert study.fragments(np.eye(5, dtype=bool)) == 1  # corners touch


def refiner(top_skip: bool, **more: Any) -> dict[str, Any]:
    return {"classifier": "dr_fused", "options": {"size": 256, "top_skip": top_skip}, "training": {"epochs": 3}, **more}


def test_two_refiners_that_differ_in_the_connection_alone_are_compared() -> None:
    rules.check_pair(refiner(True), refiner(False), "here")
    rules.check_pair(refiner(True), {**refiner(False), "options": {"size": 256}}, "here")


@pytest.mark.parametrize(
    ("with_skip", "without", "message"),
    [
        (refiner(False), refiner(True), "must have the top skip connection"),
        (refiner(True), refiner(True), "must have the top skip connection"),
        (refiner(True, training={"epochs": 9}), refiner(False), "found: training"),
        (refiner(True, classifier="other"), refiner(False), "found: classifier"),
        ({**refiner(True), "options": {"size": 99, "top_skip": True}}, refiner(False), "found: options"),
    ],
)
def test_anything_else_that_differs_is_one_clear_message(
    with_skip: dict[str, Any], without: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rules.check_pair(with_skip, without, "here")


@pytest.mark.parametrize("overlays", [[], ["small_cohort"], ["full_scale", "full_scale_studies"]])
def test_under_every_overlay_that_ships_the_two_refiners_differ_in_the_connection_alone(overlays: list[str]) -> None:
    config, *given = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for name in ["config.yaml", *(f"resources/{overlay}.yaml" for overlay in overlays)]
    )
    study = yaml.safe_load((ROOT / "workflow/studies/top_skip/settings.yaml").read_text(encoding="utf-8"))
    for overlay in given:
        update_config(study, overlay.get("study_settings", {}).get("top_skip", {}))
        update_config(config, {"refiners": overlay.get("refiners", {})})
    with_skip = {**config["refiners"]["unet"], **study["refiners"]["unet_top_skip"]}
    assert with_skip.pop("like") == "unet"
    rules.check_pair(with_skip, config["refiners"]["unet"], "here")


def test_lines_join_the_same_slide_and_the_means(scores: pd.DataFrame) -> None:
    table = study.paired(scores, "segmentation", "hd_um")
    assert list(table.columns) == [study.WITH, study.WITHOUT] and len(table) == 6
    axes = paired_lines([("final", "µm", table)], "slide", {}).axes[0]
    ends = [tuple(line.get_ydata()) for line in axes.lines]
    assert ends[:-1] == [*zip(WITH_UM[:6], WITHOUT_UM[:6], strict=True)]
    assert ends[-1] == pytest.approx((350, 330))


def test_the_page_sets_the_published_change_beside_the_measured_one(scores: pd.DataFrame, tmp_path: Path) -> None:
    view = study.page_view(study.changes_table(scores), "-4.8", patients=7)
    assert "by −5.7 % over 6 slides (published, on other slides: −4.8 %)" in rendered(view, tmp_path)
    table = view["changes"]
    assert list(table["published (%)"]).count("−4.8") == 1
    distance = table[table["score"] == study.SCORES["hd_um"]].iloc[-1]
    assert (distance["with"], distance["without"]) == ("350.0", "330.0")
    assert all(len(value.partition(".")[2]) == 3 for value in table.loc[table["score"] == "Dice", "with"])


def rendered(view: dict[str, Any], folder: Path) -> str:
    """The words of the page."""
    (folder / "figures").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "figures/top_skip.png")
    return render_section(folder, Path(study.__file__).with_name("page.md.j2"), view).text


def test_the_page_tells_the_distance_before_post_processing_beside_the_final_one(tmp_path: Path) -> None:
    def stages(refined: float, final: float) -> dict[str, Any]:
        row = {"dsc": 0.5, "iou": 0.3, "precision": 0.5, "recall": 0.5}
        distances = {"refined": refined, "segmentation": final}
        return {"stages": [{"stage": s, "hd_um": d, "hd95_um": d, **row} for s, d in distances.items()], "tiles": {}}

    # Means of 80 and 100 µm before, of 50 and 40 after.
    results = {
        study.WITH: [stages(60, 40), stages(100, 60)],
        study.WITHOUT: [stages(90, 30), stages(110, 50)],
    }
    counted = {(arm, f"S{i}", stage): 3 for arm in results for i in range(2) for stage in study.STAGES}
    changes = study.changes_table(study.score_table(results, counted, SLIDES[:2]))
    distances = changes[changes["score"] == "hd_um"].set_index("stage")[["mean_with", "mean_without", "change_percent"]]
    assert distances.loc["refined"].tolist() == pytest.approx([80, 100, 25])
    assert distances.loc["segmentation"].tolist() == pytest.approx([50, 40, -20])
    lead = rendered(study.page_view(changes, "-4.8", patients=2), tmp_path)
    assert "final segmentations changes by −20.0 % over 2 slides" in lead
    assert "Before post-processing the distance changes by 25.0 %" in lead


def test_the_long_table_leaves_undefined_scores_out(scores: pd.DataFrame) -> None:
    long = long_scores(scores, study.SCORES)
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    gone = (long["arm"] == study.WITH) & (long["repeat"] == "S6") & long["metric"].isin(["hd_um", "hd95_um"])
    assert not gone.any() and long["value"].notna().all()


def test_runs_without_a_trained_refiner_are_refused_before_anything_is_made() -> None:
    settings = {"with_run": "a", "without_run": "b"}
    refiners = {"skip": refiner(True), "plain": refiner(False), "done": {"onnx": "x.onnx"}}
    runs = {"a": {"classifier": "c", "refiner": "skip"}, "b": {"classifier": "c", "refiner": "plain"}}
    rules.check(settings, {"runs": runs, "refiners": refiners})
    for other, found in ((None, "b with none"), ("done", "b with the finished done"), ("skip", "top_skip")):
        changed = {**runs, "b": {"classifier": "c", "refiner": other}}
        with pytest.raises(ConfigError) as caught:
            rules.check(settings, {"runs": changed, "refiners": refiners})
        assert "\n" not in str(caught.value) and found in str(caught.value)
