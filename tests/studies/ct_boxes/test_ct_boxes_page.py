"""The page of the study of boxes, from made-up predictions: what it shows is what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from box_answers import TRUE, answers, facts, history, slice_list
from PIL import Image

from drunet.errors import ConfigError, DrunetError
from drunet.files import read_published
from drunet.settings.merging import merged
from studies.common.images.tables import ImageArm
from studies.common.page import render_section
from studies.common.study_settings import without_paths
from studies.ct_boxes import settings as rules
from studies.ct_boxes import tables as study
from studies.ct_boxes import tasks as box_tasks
from studies.ct_boxes import trials
from studies.ct_boxes.figures import study_figures
from studies.ct_boxes.pictures import choose_slices
from studies.ct_boxes.tables import page_view, scores_table

ROOT = Path(__file__).parents[3]
PUBLISHED = read_published(ROOT / "workflow/studies/ct_boxes/published.tsv")
MOVED = {"source": 2.0, "untouched": 20.0, "fine-tuned": 5.0}
MATCHING = {
    "slices": 84,
    "annotated": 86,
    "dicom_without_annotation": 11,
    "annotation_without_dicom": 2,
    "several_boxes": 1,
    "unreadable": 0,
    "not_ct": 0,
    "left_out": 3,
    "rule": "largest",
}


def shipped() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "workflow/studies/ct_boxes/settings.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def slices() -> pd.DataFrame:
    return slice_list({"B": 8, "A": 6, "G": 6}, 4)


def measured(arms: list[ImageArm], slices: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that the page is made of."""
    what = study.judged(settings["source"], settings["targets"])
    arms = study.with_mean_box(arms, slices)
    return {
        "scores": study.scores(arms, what, good=0.7, resamples=50, seed=0),
        "leak": study.leaks(arms, what, slices),
        "arms": arms,
        "what": what,
        "slices": slices,
        "settings": settings,
    }


@pytest.fixture(scope="module")
def made(slices: pd.DataFrame) -> dict[str, Any]:
    settings = {**shipped(), "targets": ["A", "G"]}
    networks = [
        ImageArm(
            protocol,
            name,
            settings["arms"][name]["label"],
            None,
            answers(slices, protocol, {k: v * (1 if name == "simple" else 0.5) for k, v in MOVED.items()}),
            history(),
            facts(1_000_000 if name == "simple" else 90_000),
        )
        for protocol in ("random", "grouped")
        for name in ("simple", "compact")
    ]
    return measured(networks, slices, settings)


# What only a page of two protocols and of targets says.
OF_BOTH = (
    "with the published, random split and",
    "has a leak",
    "Effect of the random split",
    "split, 100 % of the test",
)
OF_TARGETS = ("from one subtype to others", "other subtypes (", "each before and after")


def page_of(made: dict[str, Any], folder: Path, matching: dict[str, Any] = MATCHING) -> str:
    """The words of the page."""
    for name in ("boxes", "iou", "losses", "protocols"):
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), "white").save(folder / f"figures/{name}.png")
    settings = without_paths(made["settings"])
    view = page_view(**{**made, "settings": settings}, published=PUBLISHED, matching=matching)
    return render_section(folder, ROOT / "workflow/studies/ct_boxes/page.md.j2", view).text


# What is measured


def test_means_are_those_of_the_slices_that_are_spoken_of(made: dict[str, Any], slices: pd.DataFrame) -> None:
    known = made["scores"].set_index(["arm", "protocol", "metric"])
    for metric, moved in (
        ("iou_B_source_test", 2),
        ("iou_A_untouched", 20),
        ("iou_A_fine_tuned_whole", 5),
        ("iou_A_fine_tuned_test", 5),
    ):
        assert known.loc[("simple", "grouped", metric), "mean"] == pytest.approx((30 - moved) / (30 + moved))
    assert known.loc[("simple", "random", "iou_A_untouched"), "n"] == 24
    assert known.loc[("simple", "random", "iou_A_fine_tuned_test"), "n"] < 24
    assert known.loc[("simple", "grouped", "iou_B_source_test"), "good"] == 1
    assert known.loc[("simple", "grouped", "iou_A_untouched"), "good"] == 0


def test_the_mean_box_is_the_mean_of_what_was_learnt_from(made: dict[str, Any], slices: pd.DataFrame) -> None:
    constant = next(arm for arm in made["arms"] if arm.name == study.MEAN_BOX and arm.task == "grouped")
    network = next(arm for arm in made["arms"] if arm.name == "simple" and arm.task == "grouped")
    tested = study.Judged("B", trials.SOURCE).rows(network.predictions)["file"]
    learnt = slices[(slices["subtype"] == "B") & ~slices["file"].isin(tested)]
    said = constant.predictions[constant.predictions["stage"].isin(["source", "untouched"])]
    # Every slice is 100 px: shares and px differ by a factor alone.
    assert np.allclose(said[study.PREDICTED], learnt[TRUE].mean().to_numpy())
    tuned = network.predictions.query("stage == 'fine-tuned' and subtype == 'G' and part != 'test'")
    own = constant.predictions.query("stage == 'fine-tuned' and subtype == 'G'")
    assert np.allclose(own[study.PREDICTED], tuned[TRUE].mean().to_numpy())
    row = said.iloc[3]
    a, b = (shapely.box(*row[list(columns)]) for columns in (TRUE, study.PREDICTED))
    assert row["iou"] == pytest.approx(a.intersection(b).area / a.union(b).area)


def test_the_random_split_leaks_and_the_grouped_one_does_not(made: dict[str, Any]) -> None:
    leak = made["leak"].set_index(["protocol", "subtype"])["leak"]
    assert leak["random", "B"] > 0.9 and leak["random", "A"] > 0.9
    assert (leak["grouped"] == 0).all()
    assert list(made["leak"]["protocol"].unique()) == ["random", "grouped"]
    counts = made["leak"].set_index(["protocol", "subtype", "stage"])
    assert counts.loc[("random", "B", "source"), ["learnt", "judged"]].sum() == 32


def test_the_long_table_has_a_row_per_arm_protocol_and_metric(made: dict[str, Any]) -> None:
    long = study.long_metrics(made["scores"], made["leak"], made["arms"])
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert not long.duplicated(["arm", "protocol", "metric"]).any() and long["value"].notna().all()
    found = long.set_index(["arm", "protocol", "metric"])["value"]
    assert found["simple", "random", "parameters"] == 1_000_000
    assert found["simple", "grouped", "leak_B_source"] == 0
    assert {"good_A_untouched", "iou_G_fine_tuned_whole"} <= set(long["metric"])


def test_a_study_of_one_subtype_has_no_targets(slices: pd.DataFrame) -> None:
    own = slices[slices["subtype"] == "B"]
    arm = ImageArm("grouped", "simple", "simple CNN (MSE)", None, answers(own, "grouped", MOVED), history(()), facts())
    made = measured([arm], own, {**shipped(), "targets": []})
    assert list(made["scores"]["metric"]) == ["iou_B_source_test"] * 2
    assert len(made["leak"]) == 1
    drawn = study_figures(made["scores"], made["leak"], made["arms"], made["what"], shipped())
    assert set(drawn) == {"iou", "losses"}
    (panel,) = (axes for axes in drawn["losses"].axes if axes.lines)
    assert panel.get_title(loc="left") == "simple CNN (MSE):\nsubtype B" and panel.get_yscale() == "log"
    losses = history(()).set_index("epoch")["loss"]
    assert panel.lines[0].get_ydata() == pytest.approx(losses.to_numpy())


# What is shown


def test_the_thesis_figures_stand_beside_as_printed(made: dict[str, Any]) -> None:
    table = scores_table(made["scores"], made["what"], PUBLISHED).set_index(["subtype", "stage"])
    assert table["published"].to_dict() == {
        ("B", "training subtype, test part"): "0.8",
        ("A", "before fine-tuning"): "0.07",
        ("A", "fine-tuned, whole set"): "0.73",
        ("A", "fine-tuned, test part"): "0.67",
        ("G", "before fine-tuning"): "0.15",
        ("G", "fine-tuned, whole set"): "0.77",
        ("G", "fine-tuned, test part"): "0.73",
    }
    assert table.loc[("A", "before fine-tuning"), "simple CNN (MSE), grouped"] == "0.20 (0.20 to 0.20)"
    # The honest split first.
    assert [name.rpartition(", ")[2] for name in table.columns] == ["published", *["grouped"] * 3, *["random"] * 3]


def test_no_figure_of_the_thesis_stands_where_another_subtype_was_learnt_from(made: dict[str, Any]) -> None:
    assert {one.published(PUBLISHED, "A") for one in study.judged("A", ["B", "G", "E"])} == {""}
    assert "" not in {one.published(PUBLISHED, "B") for one in study.judged("B", ["A", "G", "E"])}
    assert study.Judged("A", trials.SOURCE).published(PUBLISHED, "B") == ""
    assert study.Judged("B", trials.TUNED).published(PUBLISHED, "B") == ""
    assert "published" not in scores_table(made["scores"], study.judged("A", ["G"]), PUBLISHED).columns


def test_what_was_matched_is_told_in_words(made: dict[str, Any], tmp_path: Path) -> None:
    listed = page_of(made, tmp_path).partition("matched by SOPInstanceUID")[2]
    listed = listed[: listed.index("slices above the maximum number per subtype 3")]
    assert "slices with several boxes (the largest box counts) 1" in listed
    assert "CT slices without an annotation, left out 11" in listed and "unreadable files 0" in listed
    assert "duplicate" not in listed and "not CT slices" not in listed  # what never happened, but unreadable files


def test_the_page_is_whole(made: dict[str, Any], tmp_path: Path) -> None:
    page = page_of(made, tmp_path)
    of = made["scores"].set_index(["arm", "protocol", "metric"])["mean"]
    means = {arm: f"{of[arm, 'grouped', 'iou_B_source_test']:.2f}" for arm in ("simple", "compact", "mean_box")}
    for said in (
        "80 slices of 20 patients",
        "The test set has 8 slices of 2 patients, none of whom is in the training set (grouped split).",
        f"on it: simple CNN (MSE) {means['simple']} (",
        f"attention CNN (GIoU, L1) {means['compact']} (",
        f"does not depend on the image, it is {means['mean_box']} (",
        "With the published, random split, 100 % of the test slices are of a patient who is also in the training set.",
        "The slices are synthetic",
        "Most of the whole set is training data",
        "−160 to 240 HU",
        "It does not tell whether there is a tumour",
        "It is not a segmentation, and nobody has checked it",
        "The weights of the epoch with the lowest loss are tested",
        "the network's own attention map",
        "at equal steps from all test slices, sorted by their final IoU; a single slice is the median",
    ):
        assert said in page, said
    assert all(said in page for said in (*OF_BOTH, *OF_TARGETS))
    assert "patient ID" not in page and "No fine-tuning" not in page
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<figure") == 4


def test_the_page_says_that_the_last_epoch_is_tested(made: dict[str, Any], tmp_path: Path) -> None:
    training = {**made["settings"]["training"], "keep": "last"}
    page = page_of({**made, "settings": {**made["settings"], "training": training}}, tmp_path)
    assert "The weights of the last epoch are tested." in page and "lowest loss" not in page


def test_slices_that_name_no_patient_are_told_of(made: dict[str, Any], tmp_path: Path) -> None:
    page = page_of(made, tmp_path, {**MATCHING, "without_patient": 12})
    assert "12 slices without a patient ID: " in page and "slices without a patient ID 12" in page


def test_a_page_of_one_protocol_and_no_target_claims_nothing_more(slices: pd.DataFrame, tmp_path: Path) -> None:
    own = slices[slices["subtype"] == "B"]
    label = "attention CNN (GIoU, L1)"
    arm = ImageArm("grouped", "compact", label, None, answers(own, "grouped", MOVED), history(()), facts())
    made = measured([arm], own, {**shipped(), "targets": [], "protocols": ["grouped"]})
    page = page_of(made, tmp_path / "grouped")
    assert [said for said in (*OF_BOTH, *OF_TARGETS) if said in page] == []
    assert "Only the split by patient was run" in page
    assert (tmp_path / "grouped/report.html").read_text(encoding="utf-8").count("<figure") == 3
    arm = replace(arm, task="random", predictions=answers(own, "random", MOVED))
    page = page_of(measured([arm], own, {**made["settings"], "protocols": ["random"]}), tmp_path / "random")
    assert "; 100 % of the slices are of a patient who is also in the training set (random split)" in page
    assert page.count("This run has no split by patient.") == 1 and "The grouped split keeps" not in page


def test_a_target_without_fine_tuning_is_told_of(made: dict[str, Any], tmp_path: Path) -> None:
    without = {key: made[key].query("not (subtype == 'G' and stage == 'fine-tuned')") for key in ("scores", "leak")}
    arms = [replace(arm, facts={**arm.facts, "skipped": {"G": "too few patients"}}) for arm in made["arms"]]
    page = page_of({**made, **without, "arms": arms}, tmp_path)
    assert "too few slices to divide: grouped: G: too few patients; random: G: too few patients." in page


def test_a_study_that_learnt_elsewhere_does_not_quote_the_thesis(slices: pd.DataFrame, tmp_path: Path) -> None:
    moved = answers(slices, "grouped", MOVED, source="A")
    arm = ImageArm("grouped", "simple", "simple CNN (MSE)", None, moved, history(), {**facts(), "source": "A"})
    settings = {**shipped(), "source": "A", "targets": ["B", "G"], "protocols": ["grouped"]}
    page = page_of(measured([arm], slices, settings), tmp_path)
    assert "stage published" not in page
    assert "around a lung tumour (adenocarcinoma, A)" in page


def test_outlines_go_out_as_geojson_in_px_of_the_slice() -> None:
    from studies.ct_boxes.figures import BoxPicture
    from studies.ct_boxes.pictures import outlines_geojson

    def shown(outline: Any) -> BoxPicture:
        row = {"file": "00001.png", "subtype": "A", "stage": "fine-tuned", "iou": 0.51234}
        return BoxPicture(row, "", np.zeros((4, 4), np.uint8), outline, np.zeros((4, 4), np.float32))

    found = outlines_geojson([shown(shapely.box(1, 2, 5, 7)), shown(None)])
    assert found["type"] == "FeatureCollection" and len(found["features"]) == 1
    feature = found["features"][0]
    assert shapely.geometry.shape(feature["geometry"]).equals(shapely.box(1, 2, 5, 7))
    assert feature["properties"] == {"file": "00001.png", "subtype": "A", "stage": "fine-tuned", "iou": 0.5123}


def test_several_slices_of_a_subtype_stand_at_equal_steps(slices: pd.DataFrame) -> None:
    predictions = answers(slices, "random", MOVED)
    predictions["iou"] = np.random.default_rng(1).random(len(predictions))
    chosen = choose_slices(predictions, "B", [], 3)
    tested = predictions.query("subtype == 'B' and part == 'test'")
    middles = sorted(g.sort_values("iou")["iou"].iloc[(len(g) - 1) // 2] for _, g in tested.groupby("patient"))
    assert [rows[0]["iou"] for _, rows in chosen] == [middles[int(len(middles) * k / 6)] for k in (1, 3, 5)]


def test_a_slice_of_the_source_is_called_by_its_part(
    slices: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.ct_boxes import pictures as box_pictures

    chosen = box_pictures.choose_slices(answers(slices, "grouped", MOVED), "B", ["A"], 2)
    for file, _ in chosen:
        Image.new("L", (100, 100)).save(tmp_path / file)
    empty = np.zeros((8, 8), np.float32)
    monkeypatch.setattr(box_pictures, "_attention", lambda rows, *_: [empty] * len(rows))
    shown = box_pictures.show_slices(chosen, {}, "", tmp_path)
    said = [each.words.splitlines()[:2] for each in shown]
    names = ["B, small cell", "A, adenocarcinoma", "A, adenocarcinoma"]
    assert said == [list(pair) for pair in zip(names, ("test part", "before fine-tuning", "fine-tuned"), strict=True)]


def test_a_target_without_a_test_part_is_shown_untouched(slices: pd.DataFrame) -> None:
    predictions = answers(slices, "grouped", MOVED).query("not (subtype == 'G' and stage == 'fine-tuned')")
    shown = [[row["stage"] for row in rows] for _, rows in choose_slices(predictions, "B", ["A", "G"], 3)]
    assert shown == [["source"], ["untouched", "fine-tuned"], ["untouched"]]


def test_shown_slices_are_the_middle_ones_of_different_patients(slices: pd.DataFrame) -> None:
    predictions = answers(slices, "grouped", MOVED)
    predictions["iou"] = np.random.default_rng(0).random(len(predictions))
    chosen = choose_slices(predictions, "B", ["A", "G"], 4)
    assert [rows[-1]["subtype"] for _, rows in chosen] == ["B", "B", "A", "G"]
    assert [len(rows) for _, rows in chosen] == [1, 1, 2, 2]
    first, second = (rows[0] for _, rows in chosen[:2])
    assert first["patient"] != second["patient"]
    tested = predictions.query("stage == 'fine-tuned' and subtype == 'A' and part == 'test'")
    middles = [g.sort_values("iou")["iou"].iloc[(len(g) - 1) // 2] for _, g in tested.groupby("patient")]
    assert chosen[2][1][-1]["iou"] == sorted(middles)[len(middles) // 2]


# Settings


def checked(settings: dict[str, Any]) -> None:
    rules.Settings.of(settings, "study_settings.ct_boxes")
    rules.completed("ct_boxes", settings)


def problem_of(differs: dict[str, Any]) -> str:
    with pytest.raises(DrunetError) as caught:
        checked(merged(shipped(), differs))
    return str(caught.value)


def test_the_settings_that_ship_fit() -> None:
    checked(shipped())


def test_subtypes_that_are_learnt_together_are_measured_jointly_and_each(slices: pd.DataFrame, tmp_path: Path) -> None:
    settings = {**shipped(), "source": ["A", "B"], "targets": ["G"]}
    checked(settings)
    networks = [
        ImageArm(
            protocol,
            "simple",
            "simple CNN (MSE)",
            None,
            answers(slices, protocol, MOVED, source="A+B"),
            history(("G",)),
            {**facts(), "source": "A+B"},
        )
        for protocol in ("random", "grouped")
    ]
    made = measured(networks, slices, {**settings, "arms": {**settings["arms"], "compact": None}})
    made["settings"]["pictures"] = {"arm": "simple", "slices": 4, "protocol": "random"}
    known = made["scores"].query("arm == 'simple' and protocol == 'grouped'").set_index("metric")
    own = [known.loc[f"iou_{name}_source_test", "n"] for name in ("A+B", "A", "B")]
    assert own[0] == own[1] + own[2] > 0 and "iou_A_untouched" not in known.index
    # The constant is the mean box of what was learnt of both subtypes.
    constant = next(arm for arm in made["arms"] if arm.name == study.MEAN_BOX and arm.task == "grouped")
    predictions = networks[1].predictions
    learnt = predictions.query("stage == 'source' and part == 'training'")["file"]
    expected = slices[slices["file"].isin(learnt)][list(TRUE)].mean()
    np.testing.assert_allclose(constant.predictions.query("stage == 'source'")["pxmin"], expected["xmin"])
    text = page_of(made, tmp_path)
    assert "(adenocarcinoma and small cell carcinoma, A+B), and does it also work for other subtypes (G)?" in text
    assert f"The test set has {own[0]} slices" in text and "(random split), each before and after" in text
    assert not made["scores"].empty and scores_table(made["scores"], made["what"], PUBLISHED).columns[2] != "published"
    chosen = choose_slices(predictions, "A+B", ["G"], 6)
    assert [[row["stage"] for row in rows] for _, rows in chosen] == [["source"]] * 4 + [
        ["untouched", "fine-tuned"]
    ] * 2


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"source": ["B", "B"]}, "source"),
        ({"source": ["B", "A"], "targets": ["G", "A"]}, "the source is among the targets (found: A)"),
        ({"protocols": ["random"], "pictures": {"protocol": "grouped"}}, "pictures of a split that is not run"),
        ({"source": "C"}, "source: the value does not fit (found: 'C'). "),
        ({"targets": ["A", "X"]}, "study_settings.ct_boxes.targets.1: the value does not fit (found: 'X'). "),
        ({"targets": ["A", "B"]}, "the source is among the targets (found: B)"),
        ({"slices": {"root": "Doe^Jane"}}, "slices.root: there is no such folder. "),
        ({"slices": {"root": "Doe^Jane" * 40}}, "slices.root: there is no such folder. "),
        ({"slices": {"annotations": "boxes"}}, "annotations without slices"),
        ({"pictures": {"arm": "simpel"}}, "unknown arm (found: simpel). Did you mean simple?"),
        ({"arms": {"simple": {"architecture": "simple_box_cn"}}}, "Did you mean simple_box_cnn?"),
        ({"arms": {"simple": {"label": "attention CNN (GIoU, L1)"}}}, "two arms have one label"),
        ({"arms": {"compact": None}}, "unknown arm (found: compact)"),
        (
            {"arms": {"compact": {"coordinates": "pixels"}}},
            "coordinates: compact_box_regressor answers in shares",
        ),
        (
            {"arms": {"simple": {"fine_tuning": {"training": {"precision": "mixed_bfloat16"}}}}},
            "fine_tuning.training.precision: fine-tuning in another precision (found: mixed_bfloat16). Use f",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(differs: dict[str, Any], said: str) -> None:
    problem = problem_of(differs)
    assert said in problem and "\n" not in problem


@pytest.mark.parametrize(
    "differs",
    [
        {"slices": {"window": {"width": 0}}},
        {"slices": {"rule": "smallest"}},
        {"protocols": ["given"]},
        {"size": 50},
        {"size": 16},
        {"arms": {"simple": {"fine_tuning": {"parts": {"training": 1, "test": 1}}}}},
        {"arms": {"simple": {"fine_tuning": {"training": {"epoch": 1}}}}},
        {"parts": {"train": 3}},
        {"arms": {"simple": {"loss": "l2"}}},
        {"arms": {"simple": {"coordinates": "px"}}},
        {"training": {"keep": "best_accuracy"}},
        {"arms": {"simple": {"fine_tuning": {"training": {"keep": "best_f1"}}}}},
    ],
)
def test_a_typing_error_is_found_by_the_models(differs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(merged(shipped(), differs))
    assert "\n" not in str(caught.value)


def test_an_arm_trains_as_the_study_says_but_for_what_it_says_itself() -> None:
    settings = merged(
        shipped(), {"arms": {"simple": {"training": {"epochs": 7}, "fine_tuning": {"training": {"batch_size": 2}}}}}
    )
    checked(settings)
    arm = box_tasks.arm_settings(settings, "simple")
    assert arm["training"] == {**shipped()["training"], "epochs": 7}
    tuned = arm["fine_tuning"]["training"]
    assert (tuned["epochs"], tuned["batch_size"], tuned["optimiser"]) == (40, 2, "adam")
    assert arm["fine_tuning"]["parts"] == {"training": 80, "test": 20}
    assert "label" not in arm


def test_a_job_stands_for_every_protocol_and_arm_that_is_left_in() -> None:
    settings = merged(shipped(), {"arms": {"simple": None}})
    assert box_tasks.keys_of(settings) == ["random/compact", "grouped/compact"]
    assert box_tasks.shown_protocol(settings) == "grouped"
    assert box_tasks.shown_protocol({"protocols": ["grouped", "random"]}) == "grouped"
