"""The comparison of runs: tables against numbers worked by hand, figures looked at as artists, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.stats import wilcoxon

from drunet.annotation import Annotation
from drunet.annotation.region import Region
from drunet.errors import ConfigError
from drunet.files import read_published
from drunet.report.figures import save
from studies.common.page import render_section
from studies.common.statistics import holm, long_scores
from studies.experiments import tables as page
from studies.experiments import tables as study
from studies.experiments.pictures import share_called_tumour, tumour_margin
from studies.experiments.tables import picture_grid, published_of, run_boxes

PUBLISHED = read_published(Path(__file__).parents[3] / "resources/published/drunet_experiments.tsv")
LABELS = {"I": "one", "III": "three", "VIII": "bare"}
RUNS = {
    "one": {"classifier": "breast", "refiner": "unet"},
    "three": {"classifier": "breast", "refiner": "unet_tuned"},
    "bare": {"classifier": "few_shot", "refiner": None},
}
SLIDES = [{"slide": f"S{i}", "split": "test", "kind": "wta", "patient": i // 2} for i in range(8)]
MODELS: dict[str, Any] = {
    "breast": {"weights": "random", "data": {"annotation_kinds": ["psa"], "cohorts": ["breast"]}},
    "unet": {"onnx": "x.onnx"},
    "unet_tuned": {"weights": {"model": "unet_base"}, "data": {"annotation_kinds": ["wta"], "cohorts": None}},
    "unet_base": {"weights": {"model": "unet_first"}, "data": {"annotation_kinds": ["wta"], "cohorts": ["A", "B"]}},
    "unet_first": {"weights": "imagenet", "data": {"annotation_kinds": ["wta", "psa"], "cohorts": None}},
    "few_shot": {"weights": "start.h5", "data": {"annotation_kinds": ["psa"], "cohorts": None}},
}


def measured() -> dict[str, list[dict[str, Any]]]:
    """Heatmaps depend on the classifier alone; the last stage of `three` beats that of `one` on every slide."""
    noise = np.random.default_rng(5).uniform(0, 0.05, (3, 8))
    base = {"one": (0.5, 0.6), "three": (0.5, 0.7), "bare": (0.4, 0.4)}
    results: dict[str, list[dict[str, Any]]] = {}
    for run, (before, after) in base.items():
        for i in range(8):
            first = before + noise[0 if RUNS[run]["classifier"] == "breast" else 1][i]
            stages = [("heatmap", first), ("refined", after), ("segmentation", after + noise[2][i])]
            rows = [
                {"stage": s, "dsc": d, "iou": d / (2 - d), "hd_um": None, "hd95_um": 100.0, "precision": d, "recall": d}
                for s, d in stages
                if RUNS[run]["refiner"] or s != "refined"
            ]
            results.setdefault(run, []).append({"stages": rows, "tiles": {}})
    return results


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    table = study.score_table(LABELS, measured(), SLIDES)
    return study.with_margins(table, {(r, f"S{i}"): 0.1 * (i % 2) for r in RUNS for i in range(8)})


@pytest.fixture(scope="module")
def runs(scores: pd.DataFrame) -> pd.DataFrame:
    return study.runs_table(scores, LABELS, RUNS, MODELS, resamples=200, seed=1)


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    for stage, folder, seconds in [
        ("inspect_slide", "", 1.0),
        ("extract_tiles", "", 2.0),
        ("classify_tiles", "breast", 10.0),
        ("classify_tiles", "few_shot", 20.0),
        ("refine_heatmap", "one", 3.0),
        ("refine_heatmap", "three", 4.0),
        ("postprocess", "one", 5.0),
        ("export_geojson", "one", 0.25),
        ("draw_slide_pictures", "one", 0.25),
        ("measure", "one", 1000.0),
    ]:
        path = tmp_path / stage / folder / "S0.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n", encoding="utf-8")
    return tmp_path


# --- tables


def test_what_a_model_learnt_from_is_told_from_its_first_start_on() -> None:
    assert study.learnt_from(MODELS, "breast") == "breast (PSA)"
    assert study.learnt_from(MODELS, "unet") == "a finished model"
    assert study.learnt_from(MODELS, None) == ""
    tuned = "ImageNet, then this cohort (WTA and PSA), then A, B (WTA), then this cohort (WTA)"
    assert study.learnt_from(MODELS, "unet_tuned") == tuned
    assert study.learnt_from(MODELS, "few_shot") == "a weights file, then this cohort (PSA)"
    for weights in ("last_model.h5", {"densenet201": "dense.h5", "resnet101v2": "resnet.h5"}):
        named = {"few_shot": {**MODELS["few_shot"], "weights": weights}}
        assert study.learnt_from(named, "few_shot") == "a weights file, then this cohort (PSA)"
    sampling = {"strategy": "induced_imbalance"}
    hard = {"breast": {**MODELS["breast"], "data": {**MODELS["breast"]["data"], "sampling": sampling}}}
    assert study.learnt_from(hard, "breast") == "breast (PSA, induced imbalance)"
    sampling["crops_per_area"] = "one"
    assert study.learnt_from(hard, "breast") == "breast (PSA, induced imbalance, one crop of each area)"
    # What is not trained has learnt from nothing that its settings name.
    kept = {**MODELS, "kept": {**MODELS["few_shot"], "training": {"epochs": 0}}}
    kept["tuned"] = {**MODELS["unet_tuned"], "weights": {"model": "kept"}}
    assert study.learnt_from(kept, "kept") == "a weights file, as it is"
    assert study.learnt_from(kept, "tuned") == "a weights file, as it is, then this cohort (WTA)"


def test_every_experiment_has_its_scores_with_and_without_refiner(scores: pd.DataFrame, runs: pd.DataFrame) -> None:
    assert list(runs["experiment"]) == ["I", "III", "VIII"]
    assert list(runs["refiner"]) == ["unet", "unet_tuned", "none"]
    assert (runs["slides"] == 8).all() and (runs["patients"] == 4).all()
    for _, row in runs.iterrows():
        own = scores[scores["experiment"] == row["experiment"]]
        last, first = own[own["stage"] == "segmentation"]["dsc"], own[own["stage"] == "heatmap"]["dsc"]
        expected = (last.mean(), last.std(), last.median(), first.mean())
        assert (row["dsc_mean"], row["dsc_sd"], row["dsc_median"], row["before_dsc_mean"]) == pytest.approx(expected)
        assert row["dsc_low"] <= row["dsc_mean"] <= row["dsc_high"]
        assert (row["hd_um_n"], row["hd95_um_n"]) == (0, 8)
        assert row["margin_mean"] == pytest.approx(0.05)


def test_a_margin_belongs_to_the_last_stage_alone(scores: pd.DataFrame) -> None:
    last = scores["stage"] == "segmentation"
    assert scores.loc[last, "margin"].tolist() == pytest.approx([0, 0.1] * 12)
    assert scores.loc[~last, "margin"].isna().all()


def test_tests_compare_runs_on_their_last_stage_and_classifiers_once(scores: pd.DataFrame) -> None:
    tests = study.tests_table(scores, LABELS, RUNS).set_index(["family", "arm_a", "arm_b"])
    # VIII has no refinement: Fig. 3 of the paper and its tests are of runs that have one.
    assert list(tests.loc["with refiner"].index) == [("I", "III")]
    # I and III share a classifier, whose heatmaps would be compared with themselves.
    assert list(tests.loc["without refiner"].index) == [("I, III", "VIII")]
    # VIII has no refiner whose effect there could be.
    refined = tests.loc["refiner and post-processing"]
    assert list(refined.index) == [("I with refiner", "I without"), ("III with refiner", "III without")]
    assert (refined["median_difference"] > 0).all() and (refined["effect"] == 1).all()


def test_p_values_are_those_of_the_slides_and_corrected_within_a_family(scores: pd.DataFrame) -> None:
    tests = study.tests_table(scores, LABELS, RUNS)
    last = scores[scores["stage"] == "segmentation"].pivot_table(index="slide", columns="experiment", values="dsc")
    row = tests[(tests["family"] == "with refiner") & (tests["arm_a"] == "I") & (tests["arm_b"] == "III")].iloc[0]
    assert row["p"] == pytest.approx(wilcoxon(last["I"], last["III"]).pvalue)
    for _, family in tests.groupby("family"):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))


def test_a_run_that_is_refined_by_clustering_is_one_with_a_refinement(scores: pd.DataFrame) -> None:
    clustered = {**RUNS, "bare": {**RUNS["bare"], "clustering": {}}}
    tests = study.tests_table(scores, LABELS, clustered).set_index(["family", "arm_a", "arm_b"])
    assert list(tests.loc["with refiner"].index) == [("I", "III"), ("I", "VIII"), ("III", "VIII")]
    assert ("VIII with refiner", "VIII without") in tests.loc["refiner and post-processing"].index
    assert set(study.named_after(scores, LABELS, clustered)["experiment"]) == {"I", "III", "VIII"}
    table = study.runs_table(scores, LABELS, clustered, MODELS, resamples=10, seed=1).set_index("experiment")
    assert table.loc["VIII", ["refiner", "refiner_data", "fragments_of"]].tolist() == ["clustering", "", "none"]


def test_the_long_table_holds_every_defined_score_once(scores: pd.DataFrame) -> None:
    long = long_scores(scores.rename(columns={"experiment": "arm"}), study.SCORES)
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert not long.duplicated(["arm", "protocol", "repeat", "metric"]).any()
    assert long["value"].notna().all() and "hd_um" not in set(long["metric"])
    chosen = long[(long["arm"] == "III") & (long["protocol"] == "segmentation") & (long["metric"] == "dsc")]
    assert len(chosen) == 8


def test_seconds_are_of_the_jobs_that_a_slide_passes_through_in_a_run(benchmarks: Path) -> None:
    table = study.seconds_table(benchmarks, LABELS, RUNS, ["S0", "S1"])
    totals = table.groupby("experiment", sort=False)["seconds"].sum().to_dict()
    assert totals == {"I": 21.5, "III": 17.0, "VIII": 23.0}  # measuring is no part of it; S1 has no benchmarks


def test_published_figures_are_found_by_the_number_of_the_experiment() -> None:
    rows = pd.DataFrame({"name": list("abcc"), "experiment": ["I", "III", "III, X", "III, X"]})
    assert published_of(rows, PUBLISHED, "dsc_mean") == {"a": 0.76, "c": 0.91}
    assert published_of(rows.assign(experiment="mine"), PUBLISHED, "dsc_mean") == {}


def test_a_split_without_slides_is_one_clear_message() -> None:
    with pytest.raises(ConfigError, match=r"experiments\.split: there is no slide to compare on"):
        study.score_table(LABELS, {run: [] for run in RUNS}, [])


# --- the margin


def square(kind: str = "wta", **regions: shapely.Polygon) -> Annotation:
    """Tumour from 40 to 60 of a slide of 100 × 100 px, and further regions."""
    shapes = {"tumour": shapely.box(40, 40, 60, 60), **regions}
    return Annotation(kind, tuple(Region(shape, label, label) for label, shape in shapes.items()))  # type: ignore[arg-type]


def margin(annotation: Annotation, tissue: np.ndarray, band: float) -> np.ndarray:
    return tumour_margin(annotation, tissue, slide_size=(100, 100), slide_mpp=2.0, mpp=2.0, band=band)


def test_the_margin_is_as_wide_as_asked_for_in_micrometres() -> None:
    found = margin(square(), np.ones((50, 50), bool), band=10.0)
    assert not found[40:60, 40:60].any()
    row = np.flatnonzero(found[50])
    assert (row.min(), row.max()) == (35, 64)  # 5 px of 2 µm on either side
    # Five rows along each side, and in each corner the pixels within five of the last one of tumour.
    corner = sum(a * a + b * b <= 25 for a in range(1, 6) for b in range(1, 6))
    assert found.sum() == 4 * 20 * 5 + 4 * corner


def test_the_margin_of_an_oblong_slide_is_drawn_at_the_resolution_asked_for() -> None:
    # 800 x 400 µm at 2 µm/px, and a box from 400 to 600 and 160 to 260 µm: 20 µm are 10 px on either side.
    tumour = Annotation("wta", (Region(shapely.box(800, 320, 1200, 520), "tumour", "tumour"),))
    tissue = np.ones((20, 40), bool)
    found = tumour_margin(tumour, tissue, slide_size=(1600, 800), slide_mpp=0.5, mpp=2.0, band=20.0)
    assert found.shape == (200, 400)
    assert np.flatnonzero(found[100]).tolist() == [*range(190, 200), *range(300, 310)]
    assert np.flatnonzero(found[:, 250]).tolist() == [*range(70, 80), *range(130, 140)]


def test_the_margin_leaves_out_glass_what_is_ignored_and_what_nobody_marked() -> None:
    tissue = np.zeros((100, 100), bool)
    tissue[:, 60:] = True
    assert np.flatnonzero(margin(square(), tissue, 10.0)[50]).tolist() == [60, 61, 62, 63, 64]
    ignored = margin(square(ignore=shapely.box(0, 0, 100, 50)), np.ones((100, 100), bool), 10.0)
    assert not ignored[:50].any() and ignored[50:].any()
    partial = margin(square("psa", non_tumour=shapely.box(62, 40, 90, 60)), np.ones((100, 100), bool), 10.0)
    assert np.flatnonzero(partial[50]).tolist() == [62, 63, 64] and not partial[30].any()


def test_a_slide_without_tumour_has_no_margin() -> None:
    found = margin(Annotation("wta", ()), np.ones((100, 100), bool), 10.0)
    assert not found.any()
    assert np.isnan(share_called_tumour(np.ones((100, 100), bool), found))


def test_the_share_counts_the_margin_alone() -> None:
    found = margin(square(), np.ones((100, 100), bool), 10.0)
    half = np.zeros((200, 200), bool)  # a mask at another resolution
    half[:, 100:] = True
    assert share_called_tumour(half, found) == pytest.approx(0.5)
    assert share_called_tumour(np.pad(np.ones((20, 20), bool), 40), found) == 0


# --- figures


def test_boxes_show_every_slide_the_mean_and_the_published_mean(scores: pd.DataFrame) -> None:
    named = study.named_after(scores, LABELS, RUNS)
    figure = run_boxes(named, {"I  one": 0.76}, "8 slides")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["I  one", "III  three"]
    drawn = np.concatenate([np.asarray(c.get_offsets())[:, 0] for c in axes.collections])
    assert sorted(drawn) == pytest.approx(sorted(named["dsc"]))
    diamonds = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "D"]
    means = named.groupby("name", sort=False)["dsc"].mean()
    expected = [(means.iloc[0], 0), (0.76, 0), (means.iloc[1], 1)]
    assert np.array(diamonds) == pytest.approx(np.array(expected))
    assert "8 slides" in figure.get_supxlabel()


def test_runs_that_share_a_classifier_share_a_box(scores: pd.DataFrame) -> None:
    named = study.named_before(scores, LABELS, RUNS)
    assert list(dict.fromkeys(named["name"])) == ["I, III  breast", "VIII  few_shot"]
    assert len(named) == 16


def test_a_run_without_a_score_says_so(scores: pd.DataFrame) -> None:
    axes = run_boxes(study.named_after(scores, LABELS, RUNS).assign(dsc=np.nan), {}, "slides").axes[0]
    assert [t.get_text() for t in axes.texts] == ["not defined"] * 2


def test_the_grid_has_a_place_per_run_and_slide_and_leaves_unknown_ones_empty() -> None:
    picture = np.full((30, 40, 3), 128, np.uint8)
    pictures = {("", "A"): picture, ("", "B"): picture, ("one", "A"): picture}
    scores = pd.DataFrame({"experiment": "I", "slide": ["A", "B"], "stage": study.AFTER, "dsc": [0.5, 0.9]})
    figure = picture_grid(scores, pictures, {"I": "one", "II": "two"})
    assert len(figure.axes) == 4 and sum(len(a.images) for a in figure.axes) == 3
    assert [a.get_title() for a in figure.axes] == ["A", "B", "0.50", ""]
    assert [a.get_ylabel() for a in figure.axes[::2]] == ["slide", "I\none"]


# --- the page


@pytest.fixture
def figures(scores: pd.DataFrame, tmp_path: Path) -> Path:
    """A folder with the page's figures."""
    picture = np.full((30, 40, 3), 128, np.uint8)
    pictures = {(run, slide): picture for run in ("", *RUNS) for slide in ("S0", "S1")}
    drawn = page.draw_figures(scores, pictures, LABELS, RUNS, PUBLISHED)
    for name, figure in drawn.items():
        save(figure, tmp_path / "figures" / (f"{name}.jpg" if name == "pictures" else f"{name}.png"), dpi=60)
    corners = [axes.get_title() for axes in drawn["pictures"].axes[2:]]
    after = scores[(scores["stage"] == "segmentation") & scores["slide"].isin(["S0", "S1"])]
    assert corners == [f"{dice:.2f}" for dice in after["dsc"]]
    return tmp_path


def test_the_page_says_what_came_out_and_shows_published_figures_apart(
    scores: pd.DataFrame, runs: pd.DataFrame, benchmarks: Path, figures: Path
) -> None:
    seconds = study.seconds_table(benchmarks, LABELS, RUNS, ["S0"])
    tests = study.tests_table(scores, LABELS, RUNS)

    def rendered(runs: pd.DataFrame, **more: Any) -> tuple[dict[str, Any], str]:
        told = {"fragment_um2": None, "validated_on_wta": [], **more}
        view = page.page_view(runs, tests, seconds, PUBLISHED, band_um=200.0) | told
        return view, render_section(figures, Path(page.__file__).with_name("page.md.j2"), view).text

    view, words = rendered(runs)
    best = runs.set_index("experiment")["dsc_mean"]
    assert "3 runs on the same 8 slides of 4 patients." in words and best.idxmax() == "III"
    assert f"III (three) has the highest mean Dice, {best.max():.2f}." in words
    assert "within 200 µm around the annotated tumour" in words
    shown = view["scores"].set_index("experiment")
    assert list(shown["Dice (paper)"]) == ["0.76", "", ""]
    low, high = runs.loc[0, ["dsc_low", "dsc_high"]]
    assert shown.loc["I", "95\u00a0% interval"] == f"{low:.2f} to {high:.2f}"
    assert shown.loc["I", "margin"] == pytest.approx(0.05)
    seconds_shown = view["seconds"].set_index("experiment")
    assert seconds_shown.loc["I", "total"] == 21.5 and seconds_shown.loc["I", "paper"] == "62"
    assert list(view["families"]) == ["with refiner", "without refiner", "refiner and post-processing"]
    assert "slides as independent" in words
    bare = rendered(runs.drop(columns=[c for c in runs if c.startswith("margin")]))
    assert "Margin: the share" not in bare[1] and "with tumour" not in words
    assert "Runs without a refinement (VIII) are in the figure without refiner" in words
    # Runs that are cleaned by different sizes are no fair comparison, and the page says which.
    assert "confounds the comparison" in words and "unet (I); unet_tuned (III); none (VIII)." in " ".join(words.split())
    alike = rendered(runs.assign(fragments_of="unet", refiner="unet"))[1]
    assert "smallest tumour annotated in the training slides of unet" in " ".join(alike.split())
    assert "confounds" not in alike and "Runs without a refinement" not in alike
    assert "smaller than one cell of the heatmap" in " ".join(rendered(runs.assign(fragments_of="none"))[1].split())
    fixed = rendered(runs, fragment_um2=5000.0)[1]
    assert "Every run removes fragments under 5" in fixed and "confounds" not in fixed
    # One slide without tumour, on which the best run outlined something.
    empty = (scores["slide"] == "S0") & (scores["stage"] == "segmentation")
    zero = scores.assign(recall=scores["recall"].where(scores["slide"] != "S0"))
    zero["dsc"] = scores["dsc"].where(~empty, (scores["experiment"] != "III").astype(float))
    parted = study.runs_table(zero, LABELS, RUNS, MODELS, resamples=50, seed=1)
    others = scores[(scores["stage"] == "segmentation") & (scores["slide"] != "S0")]
    means = others.groupby("experiment", sort=False)["dsc"].mean()
    assert list(parted["tumour_dsc_mean"]) == pytest.approx(list(means)) and set(parted["tumour_dsc_n"]) == {7}
    said = rendered(parted)[1]
    assert parted.set_index("experiment")["dsc_mean"].idxmax() != "III" == means.idxmax()
    assert f"On the 7 slides with tumour III (three) has the highest, {means.max():.2f}." in said
    assert "the test is not external" not in words
    assert "breast: learnt from partially annotated slides" in rendered(runs, validated_on_wta=["breast"])[1]
