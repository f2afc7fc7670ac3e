"""The part of the multi-lens study on slides: which runs may be compared, scores, tests, figures, page."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy.stats import wilcoxon
from sklearn.metrics import accuracy_score, f1_score

from drunet.errors import ConfigError
from drunet.settings.merging import merged, resolve_models
from studies.common.page import render_section
from studies.common.statistics import holm
from studies.multi_lens import settings as rules
from studies.multi_lens import slides as study
from studies.multi_lens.arms import largest_strength, networks_of, results_of

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = yaml.safe_load((ROOT / "workflow/studies/multi_lens/settings.yaml").read_text(encoding="utf-8"))
SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PUBLISHED = pd.read_csv(ROOT / "resources/published/drunet_multi_lens.tsv", sep="\t", dtype=str, keep_default_na=False)
NETWORKS = {"DRU-Net": {"plain": 0.0, "usual": 0.4}, "own": {"none": 0.0, "some": 0.4, "much": 0.8}}
SLIDES = [{"slide": f"s{i}", "patient": i // 2} for i in range(8)]


# Settings


def configuration(**changes: Any) -> dict[str, Any]:
    """The configuration that ships with the study's models, as the workflow has it."""
    config = copy.deepcopy(SHIPPED)
    for kind in ("classifiers", "runs"):
        config[kind] |= copy.deepcopy(SETTINGS[kind])
    return resolve_models(merged(config, changes))


def own_settings(**changes: Any) -> dict[str, Any]:
    return merged({k: v for k, v in SETTINGS.items() if k not in ("classifiers", "runs")}, changes)


def test_the_runs_that_ship_differ_in_lenses_alone_and_the_main_classifier_is_one_of_them() -> None:
    settings, config = own_settings(), configuration()
    rules.Settings.of(settings, "multi_lens")
    rules.check(settings, config)
    networks = networks_of(settings)
    assert {name: [run_strength(config, run) for run in runs] for name, runs in networks.items()} == {
        "DRU-Net": [0.0, 0.4],
        "H2G-Net": [0.0, 0.4, 0.8],
    }
    assert config["runs"][networks["DRU-Net"][1]]["classifier"] == "dr_fused"
    kinds = {name: config["classifiers"][config["runs"][runs[0]]["classifier"]] for name, runs in networks.items()}
    assert {name: kind["architecture"] for name, kind in kinds.items()} == {
        "DRU-Net": "dr_fused",
        "H2G-Net": "h2gnet_classifier",
    }
    # The published rows bear these names.
    assert set(networks) < set(PUBLISHED["model"])


def run_strength(config: dict[str, Any], run: str) -> float:
    return largest_strength(config["classifiers"][config["runs"][run]["classifier"]])


def test_lenses_of_no_effect_are_none() -> None:
    drawn = {"lenses": 4, "radius": [1, 2], "strength": [-0.7, 0.2]}
    assert largest_strength({"augment": {"multi_lens": drawn}}) == 0.7
    for augment in (None, {}, {"multi_lens": None}, {"multi_lens": {**drawn, "lenses": 0}}):
        assert largest_strength({"augment": augment}) == 0


H2G = "study_settings.multi_lens.slides.networks.H2G-Net"


@pytest.mark.parametrize(
    ("networks", "changes", "message"),
    [
        ({"H2G-Net": ["lenses_h2g_none", "lenses_h2g_4"]}, {}, "unknown run .*Did you mean lenses_h2g_40"),
        ({"H2G-Net": ["lenses_h2g_40", "lenses_h2g_80"]}, {}, "first run must be without lenses"),
        ({"H2G-Net": ["lenses_h2g_40", "lenses_h2g_none"]}, {}, "first run must be without lenses"),
        ({"H2G-Net": ["lenses_h2g_none", "lenses_dru_none"]}, {}, "first run must be without lenses"),
        ({"H2G-Net": ["lenses_dru_none", "lenses_h2g_40"]}, {}, "lenses_dru_none: architecture, training"),
        (
            {},
            {"classifiers": {"lenses_h2g_80": {"augment": {"multi_lens": {"strength": [-0.4, 0.4]}}}}},
            "different strengths",
        ),
        ({}, {"classifiers": {"lenses_h2g_80": {"augment": {"hue": 0.2}}}}, "lenses_h2g_80: augment.hue"),
        ({}, {"classifiers": {"lenses_h2g_80": {"training": {"epochs": 9}}}}, "lenses_h2g_80: training"),
        ({}, {"classifiers": {"lenses_h2g_80": {"augment": {"multi_lens": {"lenses": 9}}}}}, "multi_lens.lenses"),
        ({}, {"runs": {"lenses_h2g_none": {"refiner": None}}}, "lenses_h2g_none: refiner.architecture"),
        ({}, {"classifiers": {"lenses_h2g_80": {"onnx": "a.onnx"}}}, "tells nothing of lenses"),
    ],
)
def test_runs_that_differ_in_more_than_lenses_are_refused(
    networks: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    settings, config = own_settings(slides={"networks": networks}), merged(configuration(), changes)
    with pytest.raises(ConfigError, match=message) as caught:
        rules.check(settings, config)
    assert caught.value.where == H2G and "\n" not in str(caught.value)


def test_a_refiner_may_learn_from_the_heatmaps_of_its_own_classifier() -> None:
    other = {"like": "unet", "classifier": "lenses_h2g_none"}
    config = configuration(refiners={"other": other}, runs={"lenses_h2g_none": {"refiner": "other"}})
    rules.check(own_settings(), config)
    config["refiners"]["other"]["training"] = {**config["refiners"]["unet"]["training"], "epochs": 1}
    with pytest.raises(ConfigError, match=r"refiner\.training"):
        rules.check(own_settings(), config)


def test_either_part_may_be_left_out_but_not_both() -> None:
    unswept = {"strengths": [], "datasets": []}
    without_slides, without_images = own_settings(slides=None), own_settings(datasets={"digits": None}, sweep=unswept)
    for settings in (without_slides, without_images, own_settings(slides={"networks": {"DRU-Net": None}})):
        rules.Settings.of(settings, "multi_lens")
        rules.check(settings, configuration())
    assert networks_of(without_slides) == {}
    assert results_of(slides=[], images=["digits"]).keys() & results_of(slides=["run"], images={}).keys() == set()
    for nothing in (None, {"networks": {"DRU-Net": None, "H2G-Net": None}}):
        with pytest.raises(ConfigError, match="no set of images is left, and no network on slides"):
            rules.Settings.of(own_settings(datasets={"digits": None}, sweep=unswept, slides=nothing), "multi_lens")


# Scores


def measured_slide(seed: int, better: float) -> dict[str, Any]:
    """What `measure` writes of a slide; the last of the tiles was not read."""
    rng = np.random.default_rng(seed)
    label = np.tile([0, 0, 1], 12)
    p = np.clip(0.35 + 0.3 * label + better + rng.normal(0, 0.2, 36), 0, 1).round(5)
    dice = float(np.clip(0.8 + 2 * better + rng.normal(0, 0.05), 0, 1))
    stages = [{"stage": "heatmap", "dsc": dice - 0.1}, {"stage": "refined", "dsc": dice}]
    f1 = f1_score(label[:-1], p[:-1] >= 0.6, zero_division=np.nan)
    tiles = {"p_tumour": [*p[:-1].tolist(), None], "label": label.tolist(), "f1": float(f1)}
    return {"stages": [*stages, {"stage": "segmentation", "dsc": dice + 0.01}], "tiles": tiles}


def measured() -> dict[str, list[dict[str, Any]]]:
    gains = {"plain": 0.0, "usual": 0.03, "none": 0.01, "some": 0.05, "much": -0.05}
    return {run: [measured_slide(i, gain) for i in range(len(SLIDES))] for run, gain in gains.items()}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return study.score_table(NETWORKS, measured(), SLIDES, 0.6)


def test_a_slides_scores_are_those_of_its_tiles_that_were_read_and_of_its_stages(scores: pd.DataFrame) -> None:
    assert len(scores) == 5 * len(SLIDES)
    row = scores[(scores["run"] == "much") & (scores["slide"] == "s3")].iloc[0]
    found = measured()["much"][3]
    label, p = np.array(found["tiles"]["label"][:-1]), np.array(found["tiles"]["p_tumour"][:-1])
    assert row["accuracy"] == pytest.approx(accuracy_score(label, p >= 0.6))
    assert row["f1"] == found["tiles"]["f1"]
    assert (row["dsc_heatmap"], row["dsc"]) == (found["stages"][0]["dsc"], found["stages"][2]["dsc"])
    assert (row["network"], row["arm"], row["strength"], row["patient"]) == ("own", "strength_0.8", 0.8, 1)
    long = study.long_metrics(scores)
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert len(long) == 4 * len(scores)


def test_a_slide_without_tiles_or_scores_has_none_and_no_slide_at_all_is_refused() -> None:
    empty = {"stages": [{"stage": s, "dsc": None} for s in ("heatmap", "segmentation")], "tiles": {}}
    empty["tiles"] = {"p_tumour": [], "label": [], "f1": None}
    table = study.score_table({"own": {"none": 0.0}}, {"none": [empty]}, SLIDES[:1], 0.5)
    assert table[list(study.SCORES)].isna().all(axis=None) and table["tiles"].tolist() == [0]
    with pytest.raises(ConfigError, match="no usable annotated test slide"):
        study.score_table(NETWORKS, {}, [], 0.5)


def test_slides_are_tested_in_pairs_against_no_lenses(scores: pd.DataFrame) -> None:
    tests = study.slide_tests(scores)
    assert len(tests) == len(study.SCORES) * 3
    assert (tests["arm_b"] == "without").all() and set(tests["lenses"]) == {"±0.4", "±0.8"}
    for score, rows in tests.groupby("score"):
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
        for row in rows.to_dict("records"):
            wide = scores[scores["network"] == row["network"]].pivot_table(index="slide", columns="arm", values=score)
            assert row["n"] == len(SLIDES)
            assert row["mean_a"] - row["mean_b"] == pytest.approx((wide[row["arm_a"]] - wide["without"]).mean())
            if score == "dsc":
                assert row["p"] == pytest.approx(wilcoxon(wide[row["arm_a"]], wide["without"], method="exact").pvalue)


def test_the_table_has_scores_over_all_tiles_beside_the_published_ones(scores: pd.DataFrame) -> None:
    table = study.compare(scores, PUBLISHED, resamples=200, seed=1).set_index(["network", "lenses"])
    assert list(table.index) == [("DRU-Net", "none"), ("DRU-Net", "±0.4")] + [
        ("own", word) for word in ("none", "±0.4", "±0.8")
    ]
    label = np.concatenate([m["tiles"]["label"][:-1] for m in measured()["usual"]])
    p = np.concatenate([m["tiles"]["p_tumour"][:-1] for m in measured()["usual"]])
    row = table.loc[("DRU-Net", "±0.4")]
    assert row["accuracy"] == f"{accuracy_score(label, p >= 0.6):.3f}"
    assert row["F1"] == f"{f1_score(label, p >= 0.6):.3f}"
    # Oskouei et al. 2025, Table 4, DRU-Net on NLCB.
    assert table["F1 (paper)"].tolist() == ["0.8868", "0.9025", "", "", ""]
    mean = np.mean([m["stages"][2]["dsc"] for m in measured()["usual"]])
    assert row["Dice, final"].startswith(f"{mean:.3f} (")


# Figures and page


def timed(**lenses: Any) -> dict[str, Any]:
    return {"architecture": "dr_fused", "options": {}, "augment": {"multi_lens": lenses}}


def rendered(folder: Path, scores: pd.DataFrame, **changes: Any) -> str:
    tests = study.slide_tests(scores)
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("grid", "slide_pairs", "slide_sweep"):
        Image.new("RGB", (9, 9)).save(folder / f"figures/{name}.png")
    view = study.page_view(scores, study.compare(scores, PUBLISHED, resamples=50, seed=1), tests, PUBLISHED)
    whole = {"settings": SETTINGS, "images": None, "slides": view, "refiners": ["unet"]}
    whole["timed"] = timed(lenses=4, probability=0.5)
    whole["costs"] = pd.DataFrame({"variant": ["no lenses"], "overhead (%)": [0.0]})
    return render_section(folder, ROOT / "workflow/studies/multi_lens/page.md.j2", whole | changes).text


@pytest.mark.slow
def test_the_page_tells_both_networks_and_what_limits_the_comparison(scores: pd.DataFrame, tmp_path: Path) -> None:
    said = rendered(tmp_path, scores)
    assert "classifiers of DRU-Net and own were trained on the same slides with and without 4 lenses" in said
    assert "per tile in 50 % of the tiles" in said
    assert "280 labelled tiles of 8 test slides (4 patients)" in said
    row = study.slide_tests(scores).set_index(["network", "score", "lenses"]).loc[("own", "dsc", "±0.4")]
    assert f"own, final Dice, mean of slides: {row['mean_b']:.3f} without lenses, {row['mean_a']:.3f} with ±0.4" in said
    assert "One refiner, unet, refines" in said
    assert "Training time per step of dr_fused at 64 px" in said and "(published: +8 %)" in said
    # Table 4: the p value of DRU-Net, beside the one test that it belongs to.
    assert said.count("0.0241") == 1 and "On sets of small images" not in said
    assert "One refiner" not in rendered(tmp_path, scores, refiners=["a", "b"])
    assert "per tile in" not in rendered(tmp_path, scores, timed=timed(lenses=4, probability=None))


def test_the_figures_show_pairs_with_the_published_f1_and_a_sweep_where_there_is_one(scores: pd.DataFrame) -> None:
    pairs = study.paired_slides(scores, PUBLISHED)
    assert [axes.get_title(loc="left") for axes in pairs.axes] == [
        "DRU-Net: F1",
        "DRU-Net: Dice",
        "own: F1",
        "own: Dice",
    ]
    drawn = [[line.get_ydata() for line in axes.lines] for axes in pairs.axes]
    assert [len(lines) for lines in drawn] == [10, 9, 9, 9]
    assert any(np.allclose(line, (0.8868, 0.9025)) for line in drawn[0])
    sweep = study.slide_sweep(scores)
    means = scores[scores["network"] == "own"].groupby("strength")["accuracy"].mean()
    assert len(sweep.axes) == 2
    np.testing.assert_allclose(sweep.axes[0].lines[0].get_ydata(), means)
    # DRU-Net has two strengths here: no sweep.
    assert len(sweep.axes[0].lines) == 2
    assert not study.slide_sweep(scores[scores["network"] == "DRU-Net"]).axes[0].lines
