"""The comparison of backbones: scores, cost and the page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Annotation

from drunet.files import read_published
from drunet.inference import EngineOptions
from drunet.models import backbones
from drunet.report.figures import save
from studies.backbones import tables as study
from studies.common.classifier_arms import arm_metrics
from studies.common.cost import Arithmetic, cost_table
from studies.common.model_figures import cost_scatter
from studies.common.page import render_section

ROOT = Path(__file__).parents[3]
ARMS = {
    "vgg19": {"classifier": "m1", "label": "VGG19", "published": "VGG19"},
    "own": {"classifier": "m2", "label": "Ours", "published": None},
}


def tiles(skill: float, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    label = np.arange(120) % 2
    p = 1 / (1 + np.exp(-skill * (2 * label - 1) - rng.normal(0, 1, 120)))
    return pd.DataFrame(
        {
            "slide": np.repeat(["a", "b", "c"], 40),
            "patient": np.repeat(["1", "1", "2"], 40),
            "p_tumour": p,
            "label": label,
        }
    )


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    return arm_metrics({"vgg19": tiles(0.5), "own": tiles(2)}, dict.fromkeys(ARMS, 0.5), resamples=50, seed=0)


@pytest.fixture(scope="module")
def cost() -> pd.DataFrame:
    seconds = {"vgg19": [0.064, 0.056, 0.072], "own": [0.016, 0.012, 0.024]}
    counted = {"vgg19": Arithmetic(19_000_000, 3_000_000_000), "own": Arithmetic(2_000_000, 500_000_000)}
    return cost_table({"vgg19": 20_000_000, "own": None}, counted, seconds, EngineOptions(batch_size=8, threads=1))


@pytest.fixture
def published() -> pd.DataFrame:
    return read_published(ROOT / "resources/published/drunet_backbones.tsv")


def test_cost_is_told_in_billions_and_milliseconds_and_a_finished_file_by_its_weights(cost: pd.DataFrame) -> None:
    assert cost["arm"].tolist() == ["vgg19", "own"]
    assert cost["parameters"].tolist() == [20_000_000, 2_000_000]
    assert cost["gflops"].tolist() == [3.0, 0.5] and cost["ms_per_tile"].tolist() == pytest.approx([8, 2])
    assert cost[["fastest", "slowest"]].to_numpy().ravel().tolist() == pytest.approx([7, 9, 1.5, 3])


def test_cost_joins_the_long_table_as_a_protocol_of_its_own(metrics: pd.DataFrame, cost: pd.DataFrame) -> None:
    long = study.with_cost(metrics, cost)
    assert long.columns.tolist() == ["arm", "protocol", "repeat", "metric", "value"]
    own = long[(long["protocol"] == "cost") & (long["arm"] == "own")]
    assert dict(zip(own["metric"], own["value"], strict=True)) == {"parameters": 2e6, "gflops": 0.5, "ms_per_tile": 2}
    assert len(long) == len(metrics) + 6


def test_published_scores_stand_beside_the_measured_as_printed(metrics: pd.DataFrame, published: pd.DataFrame) -> None:
    table = study.scores_table(metrics, ARMS, published)
    assert table["backbone"].tolist() == ["VGG19", "Ours"]
    assert table[["F1 (paper)", "precision (paper)", "recall (paper)"]].to_numpy().tolist() == [
        ["0.87", "0.86", "0.87"],
        ["", "", ""],
    ]
    f1 = metrics[(metrics["arm"] == "own") & (metrics["protocol"] == "pooled") & (metrics["metric"] == "f1")]
    assert table["F1"].iloc[1].startswith(f"{f1['value'].iloc[0]:.2f} (")


def page(
    folder: Path,
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    published: pd.DataFrame,
    scaling: tuple[str, str] = ("none",) * 2,
) -> str:
    (folder / "figures").mkdir(parents=True)
    figure = cost_scatter(study.points(metrics, cost, ARMS), unit="ms", score="F1")
    save(figure, folder / "figures/f1_against_time.png")
    view = study.page_view(
        metrics, cost, arms=ARMS, published=published, size=64, scaling=dict(zip(ARMS, scaling, strict=True))
    )
    return render_section(folder, Path(study.__file__).with_name("page.md.j2"), view).text


def test_the_page_names_the_best_and_the_fastest(
    metrics: pd.DataFrame, cost: pd.DataFrame, published: pd.DataFrame, tmp_path: Path
) -> None:
    words = page(tmp_path / "a", metrics, cost, published)
    assert "Ours has the highest F1: " in words and "Ours is the fastest: 2.00 ms per tile" in words
    assert "120 labelled tiles of 3 test slides (2 patients)" in words
    assert "3 batches of 8 tiles on ONNX Runtime (cpu, 1 thread)" in words
    assert "does not show that two backbones are equally good" in words
    undefined = metrics.assign(value=metrics["value"].where(~metrics["metric"].str.startswith("f1")))
    words = page(tmp_path / "c", undefined, cost.assign(threads=0), published)
    assert "F1 is defined for none of them" in words and "(cpu, all cores)" in words


@pytest.mark.parametrize(
    ("scaling", "said", "cells"),
    [
        (("none", "none"), "Every network sees RGB in [0, 1]", ["RGB in [0, 1]"] * 2),
        (("own", "own"), "scaled as in the training of its ImageNet weights", ["as its ImageNet weights"] * 2),
        (("caffe", ""), "scaled in different ways", ["caffe", "as its file"]),
    ],
)
def test_the_page_says_what_the_networks_see(
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    published: pd.DataFrame,
    tmp_path: Path,
    scaling: tuple[str, str],
    said: str,
    cells: list[str],
) -> None:
    assert said in page(tmp_path / "a", metrics, cost, published, scaling)
    given = dict(zip(ARMS, scaling, strict=True))
    view = study.page_view(metrics, cost, arms=ARMS, published=published, size=64, scaling=given)
    assert view["cost"]["pixels"].tolist() == cells


def test_names_in_the_figure_cover_neither_each_other_nor_an_interval() -> None:
    names = ["VGG19", "ResNet101V2", "MobileNetV2", "EfficientNetV2-B0", "InceptionV3", "DenseNet201", "DR-fused"]
    f1 = np.array([0.87, 0.89, 0.86, 0.89, 0.90, 0.91, 0.94])
    frame = pd.DataFrame({"label": names, "score": f1, "low": f1 - 0.1, "high": f1 + 0.05, "parameters": 2e7})
    figure = cost_scatter(frame.assign(ms=[60, 22, 2.1, 3.2, 9, 14, 12.5]), unit="ms", score="F1")
    (axes,) = figure.axes
    figure.canvas.draw()
    words = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [w.get_text() for w in words] == [f"{name} (20.0 M)" for name in names]
    boxes = [w.get_window_extent() for w in words]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(axes.get_window_extent().contains(*corner) for box in boxes for corner in box.corners())


def test_a_classifier_without_any_f1_is_left_out_of_the_figure() -> None:
    frame = pd.DataFrame({"label": ["a"], "score": [math.nan], "low": [math.nan], "high": [math.nan]})
    figure = cost_scatter(frame.assign(ms=[1.0], parameters=[1e6]), unit="ms", score="F1")
    assert "no network has both" in figure.axes[0].texts[0].get_text()


def test_the_settings_compare_what_the_paper_compared(published: pd.DataFrame) -> None:
    content = yaml.safe_load((ROOT / "workflow/studies/backbones/settings.yaml").read_text(encoding="utf-8"))
    assert [arm["published"] for arm in content["arms"].values()] == published["architecture"].tolist()
    for name, settings in content["classifiers"].items():
        if name != "backbone_dr_fused":
            assert settings["like"] == "backbone_dr_fused" and settings["options"]["backbone"] in backbones.BACKBONES
            assert set(settings) == {"like", "architecture", "options"}
