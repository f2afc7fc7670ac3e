"""Distilled students and their teacher: ratios of speed, changes of Dice, the targets, and the settings that ship."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from drunet.errors import ConfigError
from drunet.inference import EngineOptions
from drunet.report.figures import save
from drunet.settings.merging import resolve_models
from studies.common.classifier_arms import arm_metrics
from studies.common.cost import Arithmetic, cost_table
from studies.common.model_figures import cost_scatter
from studies.common.page import render_section
from studies.common.study_settings import Study, load_studies
from studies.slide_distillation import tables as study

ROOT = Path(__file__).parents[3]
ARMS = {
    "big": {"classifier": "c0", "run": "r0", "alone": "a0", "label": "Big"},
    "wide": {"classifier": "c1", "run": "r1", "alone": "a1", "label": "width 256"},
    "slim": {"classifier": "c2", "run": "r2", "alone": "a2", "label": "width 64"},
    "half": {"classifier": "c3", "run": "r3", "alone": None, "label": "width 64, half the side"},
    "labels": {"classifier": "c4", "run": "r4", "alone": None, "label": "width 64, labels alone"},
}
LESSON = {"teacher": "c0", "temperature": 4.0, "weight": 0.7, "unlabelled_share": 0.5}


def student(width: int, shrink: int, lesson: dict[str, Any] | None = LESSON) -> dict[str, Any]:
    options = {"pyramid_width": width, "shrink": shrink}
    return {"architecture": "mfstudentlnet", "options": options, "distillation": lesson}


SETTINGS = {
    "big": {"architecture": "dr_fused", "options": {}},
    "wide": student(256, 1),
    "slim": student(64, 1),
    "half": student(64, 2),
    "labels": student(64, 1, None),
}
SLIDES = [{"slide": f"s{i}", "split": "test", "patient": i // 2} for i in range(4)]
# Final Dice of every slide; heatmaps are 0.1 lower, refined 0.05, and without refiner 0.08.
FINAL = {
    "big": [0.90, 0.92, 0.94, 1.00],
    "wide": [0.90, 0.91, 0.93, 0.98],
    "slim": [0.88, 0.90, 0.92, 0.94],
    "half": [0.80, 0.80, 0.80, 0.80],
    "labels": [0.70, 0.80, 0.90, math.nan],
}


def measured() -> dict[str, list[dict[str, Any]]]:
    below = {"heatmap": 0.1, "refined": 0.05, "segmentation": 0.0}
    found: dict[str, list[dict[str, Any]]] = {}
    for arm, dice in FINAL.items():
        for way, lower in (("run", below), ("alone", {"heatmap": 0.1, "segmentation": 0.08})):
            if ARMS[arm][way]:
                found[str(ARMS[arm][way])] = [
                    {"stages": [stage_of(stage, d - less) for stage, less in lower.items()], "tiles": tiles_of()}
                    for d in dice
                ]
    return found


def stage_of(stage: str, dsc: float) -> dict[str, Any]:
    others = dict.fromkeys(("iou", "hd_um", "hd95_um", "precision", "recall"), 0.5)
    return {"stage": stage, "dsc": None if math.isnan(dsc) else dsc, **others}


def tiles_of() -> dict[str, Any]:
    return {"tiles": 2, "precision": 1.0, "recall": 1.0, "f1": 1.0, "auc": 1.0, "unreadable": 0}


@pytest.fixture
def scores() -> pd.DataFrame:
    return study.dice_scores(ARMS, measured(), SLIDES)


@pytest.fixture
def dice(scores: pd.DataFrame) -> pd.DataFrame:
    return study.dice_table(scores, "big", resamples=200, seed=1)


@pytest.fixture
def cost() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    turns = rng.uniform(1, 2, 21)
    faster = {"big": 1.0, "wide": 2.0, "slim": 4.0, "half": 9.0, "labels": 4.0}
    seconds = {arm: (turns / times).tolist() for arm, times in faster.items()}
    counted = {arm: Arithmetic(1_000_000, 400_000_000) for arm in ARMS}
    return cost_table(dict.fromkeys(ARMS, 1_200_000), counted, seconds, EngineOptions(batch_size=8, threads=1), "big")


def test_a_ratio_is_taken_within_a_turn_so_that_a_slow_machine_changes_nothing(cost: pd.DataFrame) -> None:
    # The machine's pace varies twofold between turns; every ratio is exact.
    ratio = cost.set_index("arm")["ratio"]
    np.testing.assert_allclose(ratio[["big", "wide", "slim", "half"]], [1, 2, 4, 9])
    np.testing.assert_allclose(cost["ratio_low"], cost["ratio_high"])
    np.testing.assert_allclose(1000 / cost["tiles_per_s"], cost["ms_per_tile"])


def test_quartiles_of_a_ratio_are_those_of_its_turns() -> None:
    seconds = {"t": [2.0] * 5, "s": [2.0, 1.0, 0.5, 0.25, 4.0]}
    counted = dict.fromkeys(seconds, Arithmetic(1, 1))
    table = cost_table(dict.fromkeys(seconds), counted, seconds, EngineOptions(batch_size=10), "t").set_index("arm")
    assert table.loc["s", ["ratio_low", "ratio", "ratio_high"]].tolist() == [1.0, 2.0, 4.0]
    assert table.loc["s", "tiles_per_s"] == 10.0 and table.loc["t", "tiles_per_s"] == 5.0


def test_every_stage_of_both_runs_is_kept_once(scores: pd.DataFrame) -> None:
    assert scores[scores["arm"] == "wide"].groupby("stage", sort=False)["slide"].count().to_dict() == dict.fromkeys(
        ("heatmap", "refined", "segmentation", "unrefined"), 4
    )
    assert set(scores.loc[scores["arm"] == "half", "stage"]) == {"heatmap", "refined", "segmentation"}
    one = scores[(scores["arm"] == "slim") & (scores["slide"] == "s2")].set_index("stage")["dsc"]
    assert one.to_dict() == pytest.approx({"heatmap": 0.82, "refined": 0.87, "segmentation": 0.92, "unrefined": 0.84})
    with pytest.raises(ConfigError, match="no slide to compare on"):
        study.dice_scores(ARMS, measured(), [])


def test_changes_are_over_the_slides_that_both_have(dice: pd.DataFrame) -> None:
    final = dice[dice["stage"] == "segmentation"].set_index("arm")
    assert final.loc["slim", "mean"] == pytest.approx(0.91) and final.loc["slim", "difference"] == pytest.approx(-0.03)
    # The fourth slide is not defined: over the others big has 0.92.
    assert final.loc["labels", "difference"] == pytest.approx(0.8 - 0.92)
    assert final.loc["labels", "slides"] == 3 and final.loc["big", "patients"] == 2
    assert final.loc["big", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    # Of two patients the bootstrap draws the one, the other or both: the bounds are the patients' own means.
    assert final.loc["slim", ["difference_low", "difference_high"]].tolist() == pytest.approx([-0.04, -0.02])


def test_the_last_stage_that_all_have_decides(dice: pd.DataFrame) -> None:
    assert study.deciding_stage(dice) == "segmentation"
    assert study.deciding_stage(dice[(dice["arm"] != "half") | (dice["stage"] == "heatmap")]) == "heatmap"


def test_good_is_both_fast_and_close(cost: pd.DataFrame, dice: pd.DataFrame) -> None:
    found = study.answered(cost, dice, {"speed": 2.5, "dsc": 0.0301}, "big").set_index("arm")
    assert found["fast"].to_dict() == {"wide": False, "slim": True, "half": True, "labels": True}
    assert found["close"].to_dict() == {"wide": True, "slim": True, "half": False, "labels": False}
    assert found.index[found["good"]].tolist() == ["slim"]
    assert not study.answered(cost, dice, {"speed": 4.1, "dsc": 0.0301}, "big")["good"].any()
    assert not study.answered(cost, dice, {"speed": 2.5, "dsc": 0.0299}, "big")["good"].any()


def test_the_long_table_holds_tiles_cost_and_slides(scores: pd.DataFrame, cost: pd.DataFrame) -> None:
    long = study.long_table(tile_metrics(), cost, scores)
    assert long.columns.tolist() == ["arm", "protocol", "repeat", "metric", "value"]
    assert {"pooled", "cost", "heatmap", "unrefined", "refined", "segmentation"} <= set(long["protocol"])
    own = long[(long["arm"] == "slim") & (long["protocol"] == "segmentation")]
    assert dict(zip(own["repeat"], own["value"], strict=True)) == dict(
        zip(("s0", "s1", "s2", "s3"), FINAL["slim"], strict=True)
    )
    own = long[(long["arm"] == "labels") & (long["protocol"] == "segmentation")]
    assert own["repeat"].tolist() == ["s0", "s1", "s2"]


def tile_metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    frame = pd.DataFrame({"slide": np.repeat(["s0", "s2"], 20), "patient": np.repeat(["0", "1"], 20), "label": label})
    arms = {arm: frame.assign(p_tumour=np.clip(0.6 * label + rng.uniform(0, 0.6, 40), 0, 1)) for arm in ARMS}
    return arm_metrics(arms, dict.fromkeys(ARMS, 0.5), resamples=50, seed=0)


def test_points_are_the_final_dice_against_the_time(cost: pd.DataFrame, dice: pd.DataFrame) -> None:
    points = study.points(cost, dice, ARMS).set_index("label")
    assert points["score"].round(3).tolist() == [0.94, 0.93, 0.91, 0.8, 0.8]
    np.testing.assert_allclose(points["ms"] / points["ms"].iloc[0], [1, 1 / 2, 1 / 4, 1 / 9, 1 / 4], rtol=0.6)
    assert points.loc["width 64", ["low", "high"]].tolist() == pytest.approx([0.89, 0.93])


def test_the_page_says_who_is_good_enough(cost: pd.DataFrame, dice: pd.DataFrame, tmp_path: Path) -> None:
    figure = cost_scatter(study.points(cost, dice, ARMS), unit="ms", score="Dice")
    save(figure, tmp_path / "figures/speed_against_dice.png")
    asked = {"speed": 2.5, "dsc": 0.0301}

    def rendered(settings: dict[str, Any]) -> tuple[dict[str, Any], str]:
        given = {"arms": ARMS, "settings": settings, "reference": "big", "asked": asked, "size": 64}
        view = study.page_view(tile_metrics(), cost, dice, **given)
        return view, render_section(tmp_path, Path(study.__file__).with_name("page.md.j2"), view).text

    view, words = rendered(SETTINGS)
    assert "at least 2.5 times as many tiles" in words and "reach both targets: 1 of 3." in words
    assert "Width 64 is 4.0 times as fast, and its Dice changes by −0.030." in words
    assert view["cost"]["times the teacher's (quartiles)"].tolist()[1] == "2.00 (2.00 to 2.00)"
    assert view["cost"]["GMAC per tile"].tolist() == [0.2] * 5
    agreement = view["agreement"]
    assert agreement["targets reached"].tolist() == ["", "no", "yes", "no", "no"]
    assert agreement["95 % interval"].tolist()[2] == "−0.040 to −0.020"
    assert agreement["segmentation without refiner"].tolist()[3:] == ["", ""]
    assert "4 test slides (2 patients)" in words and "trained on the teacher's heatmaps" in words
    assert "temperature 4.0 with weight 0.7" in words and "50 % of each batch" in words
    assert "finished model" not in words
    other = {**SETTINGS, "big": {"onnx": "m.onnx"}, "half": student(64, 2, {**LESSON, "weight": 0.5})}
    words = rendered(other)[1]
    assert "The teacher is a finished model" in words and "temperature" not in words


@pytest.fixture
def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def test_the_settings_that_ship_vary_width_and_shrink_alone(shipped: dict[str, Any]) -> None:
    found = shipped_studies(resolve_models(shipped))["slide_distillation"]
    assert found.problem is None
    models = {**shipped["classifiers"], **found.blocks["classifiers"]}
    settings = {arm: models[given["classifier"]] for arm, given in found.settings["arms"].items()}
    reference = found.settings["reference"]
    taught = {arm: s for arm, s in settings.items() if s.get("distillation")}
    assert {s["distillation"]["teacher"] for s in taught.values()} == {settings[reference] and "dr_fused"}
    assert 4 <= len(taught) <= 6 and len({s["options"]["shrink"] for s in taught.values()}) > 1
    kept = [{k: v for k, v in s.items() if k != "options"} for s in taught.values()]
    assert all(s == kept[0] for s in kept)
    (untaught,) = [arm for arm in settings if arm not in taught and arm != reference]
    rest = {k: v for k, v in settings[untaught].items() if k != "distillation"}
    assert rest in [{k: v for k, v in s.items() if k != "distillation"} for s in taught.values()]
    runs = {**shipped["runs"], **found.blocks["runs"]}
    for given in found.settings["arms"].values():
        assert runs[given["run"]] == {"classifier": given["classifier"], "refiner": "unet"}
        assert runs[given["alone"]] == {"classifier": given["classifier"], "refiner": None}


def test_an_arm_with_a_run_that_there_is_not_is_named(shipped: dict[str, Any]) -> None:
    arm = {"student_64": {"alone": "student_46_alone"}}
    changed = {**resolve_models(shipped), "study_settings": {"slide_distillation": {"arms": arm}}}
    problem = shipped_studies(changed)["slide_distillation"].problem
    assert problem is not None and "slide_distillation.arms.student_64.alone" in problem
    assert "Did you mean student_" in problem


def shipped_studies(config: dict[str, Any]) -> dict[str, Study]:
    return load_studies(config, ROOT / "workflow/studies", made_by_demo())[0]


def made_by_demo() -> list[str]:
    names = [
        row.split("\t")[0]
        for sheet in (ROOT / "resources/demo").glob("*.tsv")
        for row in sheet.read_text(encoding="utf-8").splitlines()[1:]
    ]
    return [f"results/demo/{name}{suffix}" for name in names for suffix in (".tif", ".geojson")]
