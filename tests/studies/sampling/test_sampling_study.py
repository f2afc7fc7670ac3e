"""The comparison of sampling strategies: thresholds, tables and the page, from files as the workflow leaves them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import f1_score

from drunet.errors import ConfigError, TrainingDataError
from drunet.report.figures import save
from drunet.tiles import write_table
from studies.common.classifier_arms import arm_metrics, slide_scores
from studies.common.page import render_section
from studies.common.statistics import paired_tests
from studies.sampling import settings as rules
from studies.sampling import tables as study
from studies.sampling.settings import models_of
from studies.sampling.tables import learnt_table, scores_table, thresholds_of, tiles_by_model

ROOT = Path(__file__).parents[3]
DEFAULTS = yaml.safe_load((ROOT / "workflow/studies/sampling/settings.yaml").read_text(encoding="utf-8"))
ARMS: dict[str, dict[str, Any]] = {
    "psa": {"classifier": "a", "threshold": 0.5},
    "wta": {"classifier": "b", "threshold": 0.5},
    "wta_threshold": {"classifier": "b", "threshold": "validation"},
}
FIGURE = "figures/strategies.png"
SLIDES = [{"slide": f"s{i}", "patient": i // 2} for i in range(4)]


def settings_and_models() -> tuple[dict[str, Any], dict[str, Any]]:
    settings = {k: v for k, v in DEFAULTS.items() if k != "classifiers"}
    return settings, DEFAULTS["classifiers"]


def tiles(seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = np.tile([0, 0, 1], 40)
    p = np.clip(0.4 + 0.3 * label + rng.normal(0, 0.2, 120) + shift, 0, 1)
    slide = np.repeat(np.arange(4), 30)
    return pd.DataFrame(
        {"slide": [f"s{i}" for i in slide], "patient": (slide // 2).astype(str), "p_tumour": p, "label": label}
    )


def facts(sampling: Mapping[str, Any], loss: Mapping[str, Any], kinds: list[str]) -> dict[str, Any]:
    return {
        "settings": {"data": {"annotation_kinds": kinds}},
        "samples_per_epoch": {"tumour": 40, "non_tumour": 50},
        "sampling": sampling,
        "loss": {"name": "cross_entropy", "class_weights": None, **loss},
    }


FACTS = {
    "a": facts(
        {"strategy": "induced_imbalance", "used": {"tumour": 4, "clear": 4, "hard": 1}, "note": "fewer areas"},
        {},
        ["psa"],
    ),
    "b": facts(
        {"strategy": "as_is"}, {"name": "focal", "gamma": 2.0, "alpha": None, "class_weights": [0.5, 2.0]}, ["wta"]
    ),
}


# Settings


def test_the_settings_that_ship_obey_their_schema_and_name_each_other_rightly() -> None:
    settings, models = settings_and_models()
    rules.Settings.of(settings, "sampling")
    assert set(models_of(settings["arms"])) == set(models), "no model is trained for nothing"
    assert models_of(settings["arms"], tuned=True) == ["sampling_wta"]
    published = models["sampling_psa_induced"]["data"]["sampling"]
    assert (published["tumour"], published["non_tumour"], published["hard"]) == (40, 50, 10)


# Tiles and thresholds


def test_every_model_gets_its_own_answers_on_its_own_slides(tmp_path: Path) -> None:
    grid = pd.DataFrame({"column": [0, 1, 2], "row": [0, 0, 0], "x": 0, "y": 0, "label": [1, 0, -1]})
    tables, answers = [], []
    slides = {"m1": SLIDES[:2], "m2": SLIDES[2:3]}
    for n, (model, slide) in enumerate((m, s["slide"]) for m, own in slides.items() for s in own):
        tables.append(tmp_path / f"{model}_{slide}_tiles.parquet")
        answers.append(tmp_path / f"{model}_{slide}.parquet")
        write_table(tables[-1], grid, {})
        write_table(answers[-1], grid[["column", "row"]].assign(p_tumour=[n / 10, 0.5, 0.9]), {})
    read = tiles_by_model(list(slides), slides, tables, answers)
    assert read["m1"][["slide", "p_tumour"]].to_numpy().tolist() == [["s0", 0], ["s0", 0.5], ["s1", 0.1], ["s1", 0.5]]
    assert read["m2"][["slide", "p_tumour"]].to_numpy().tolist() == [["s2", 0.2], ["s2", 0.5]]
    assert tiles_by_model(["m3"], {"m3": []}, [], [])["m3"].empty


def test_only_an_arm_that_asks_for_it_has_its_threshold_tuned_and_on_validation_tiles_alone() -> None:
    validation = tiles(9, shift=0.2)
    thresholds = thresholds_of(ARMS, {"b": validation})
    assert (thresholds["psa"], thresholds["wta"]) == (0.5, 0.5)
    truth, p = validation["label"], validation["p_tumour"]
    best = max(f1_score(truth, p >= t) for t in np.append(p, 0.5))
    assert f1_score(truth, p >= thresholds["wta_threshold"]) == pytest.approx(best)
    assert thresholds["wta_threshold"] > 0.5
    with pytest.raises(TrainingDataError, match=r"study_settings\.sampling\.arms\.wta_threshold: .*one class alone"):
        thresholds_of(ARMS, {"b": validation[validation["label"] == 1]})


# What is shown


@pytest.fixture(scope="module")
def compared() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    thresholds = {"psa": 0.5, "wta": 0.5, "wta_threshold": 0.61}
    arms = {"psa": tiles(1), "wta": tiles(2), "wta_threshold": tiles(2)}
    metrics = arm_metrics(arms, thresholds, resamples=200, seed=0)
    return metrics, slide_scores(arms, thresholds), thresholds


def test_the_threshold_of_a_finished_model_cannot_be_tuned() -> None:
    arms = {"own": {"classifier": "a", "threshold": "validation"}, "done": {"classifier": "b", "threshold": 0.5}}
    config = {"classifiers": {"a": {"architecture": "dr_fused"}, "b": {"onnx": "b.onnx"}}}
    rules.check({"arms": arms}, config)
    arms["done"] = {"classifier": "b", "threshold": "validation"}
    with pytest.raises(ConfigError, match=r"sampling\.arms\.done\.threshold.*Write a number"):
        rules.check({"arms": arms}, config)


def test_a_tuned_threshold_moves_precision_and_leaves_the_auc(compared: Any) -> None:
    shown = scores_table(compared[0]).set_index("arm")
    assert shown.loc["wta", "AUC"] == shown.loc["wta_threshold", "AUC"]
    assert shown.loc["wta", "precision"] != shown.loc["wta_threshold", "precision"]
    own = tiles(1)
    expected = f1_score(own["label"], own["p_tumour"] >= 0.5)
    assert shown.loc["psa", "F1"].startswith(f"{expected:.2f} (")


def test_what_an_arm_learns_from_is_said_in_numbers(compared: Any) -> None:
    table = learnt_table({**ARMS, "finished": {"classifier": "c"}}, FACTS, {**compared[2], "finished": 0.5})
    row = table.set_index("arm")
    assert row.loc["psa", ["annotation", "sampling", "loss"]].tolist() == ["PSA", "induced imbalance", "cross-entropy"]
    once = {**FACTS, "a": {**FACTS["a"], "sampling": {**FACTS["a"]["sampling"], "crops_per_area": "one"}}}
    said = learnt_table(ARMS, once, compared[2]).set_index("arm")["sampling"]
    assert said["psa"] == "induced imbalance, one crop of each area"
    assert row.loc["wta", "loss"] == "focal, γ 2, weights 0.50 : 2.00"
    assert row.loc["wta", ["tumour", "non_tumour"]].tolist() == [40, 50]
    assert row.loc["wta_threshold", "threshold"] == 0.61
    assert pd.isna(row.loc["finished", "tumour"])


def page(folder: Path, compared: Any, arms: Mapping[str, Any] = ARMS, reference: str = "psa") -> str:
    metrics, by_slide, thresholds = compared
    save(study.figure(metrics, {"psa": "PSA", "wta": "WTA", "wta_threshold": "WTA"}, "psa"), folder / FIGURE)
    tests = paired_tests(by_slide, value="f1", reference=reference)
    learnt = learnt_table(arms, FACTS, dict.fromkeys(arms, 0.5) | thresholds)
    view = study.page_view(metrics, learnt, tests, reference=reference)
    assert [len(view[table]) for table in ("scores", "learnt", "tests")] == [3, len(arms), 2]
    return render_section(folder, Path(study.__file__).with_name("page.md.j2"), view).text


def test_the_page_says_what_was_measured_and_what_was_published(compared: Any, tmp_path: Path) -> None:
    best = scores_table(compared[0]).set_index("arm")["F1"]
    assert best.idxmax() != "psa"
    words = page(tmp_path, compared)
    assert f"The highest F1 is that of {best.idxmax().replace('_', ' ')}: {best.max()}. Psa has {best['psa']}." in words
    assert "3 strategies" in words and "120 labelled tiles of 4 test slides (2 patients)" in words
    assert "without figures" in words and "slides as independent" in words
    assert "Psa has" not in page(tmp_path, compared, reference=best.idxmax())


def test_the_page_says_of_every_shipped_strategy_what_was_published(compared: Any, tmp_path: Path) -> None:
    page(tmp_path, compared, settings_and_models()[0]["arms"])
    html = json.loads((tmp_path / "section.json").read_text(encoding="utf-8"))["html"]
    table = html.partition("What Oskouei et al. 2025 say of each")[2].partition("</table>")[0]
    said = re.findall(r"<td[^>]*>([^<]*)</td></tr>", table)
    assert len(said) == len(DEFAULTS["arms"]) and all(words.endswith(".") for words in said)


def test_the_figure_shows_every_arm_once_at_its_score(compared: Any) -> None:
    metrics = compared[0]
    figure = study.figure(metrics, {"wta": "WTA", "psa": "PSA", "wta_threshold": "WTA"}, "psa")
    axes = figure.axes
    assert [a.get_xlabel() for a in axes] == ["F1", "precision", "recall", "AUC"]
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert sorted(names) == ["psa", "wta", "wta threshold"] and names.index("wta threshold") - names.index("wta") == 1
    pooled = metrics[(metrics["protocol"] == "pooled") & (metrics["metric"] == "recall")].set_index("arm")["value"]
    drawn = np.concatenate([c.get_offsets() for c in axes[2].collections if len(c.get_offsets()) == len(names)])
    drawn = {names[round(y)]: x for x, y in drawn[~np.isnan(drawn[:, 0].astype(float))].tolist()}
    assert drawn == pytest.approx({n: pooled[n.replace(" ", "_")] for n in names})
    # A line at the reference in every panel; its name over the first alone.
    assert [[text.get_text() for text in a.texts] for a in axes] == [["psa"], [""], [""], [""]]
    assert [line.get_xdata()[0] for line in axes[2].lines if line.get_linestyle() == "--"] == [pooled["psa"]]
