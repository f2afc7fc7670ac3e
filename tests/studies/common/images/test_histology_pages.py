"""The pages of the two histology studies, from made-up predictions: what they show is what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from image_answers import GROUPING, LUNG, answers, costs, image_list, write_study
from jinja2 import Environment
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score

from drunet.files import read_published
from studies.common.class_metrics import called, confused, confusion, count_confused, surest, truth
from studies.common.images import pictures
from studies.common.images import tables as study
from studies.common.images.near_duplicates import check_facts
from studies.common.images.pictures import decision_maps, layer_attention
from studies.common.page import render_section, templates
from studies.common.saliency.maps import grad_cam
from studies.histology_distillation import tables as distillation
from studies.histology_resnet50 import tables as resnet50

STUDIES = Path(__file__).parents[4] / "workflow/studies"
PUBLISHED = {path.stem: read_published(path) for path in (STUDIES / "histology_distillation/published").glob("*.tsv")}
PRINTED = read_published(STUDIES / "histology_resnet50/published.tsv").set_index("figure")["value"].to_dict()
MALIGNANT = ("lung_aca", "lung_scc")


def settings_of(name: str) -> dict[str, Any]:
    return yaml.safe_load((STUDIES / name / "settings.yaml").read_text(encoding="utf-8"))


def small(arms: list[str], **task: Any) -> dict[str, Any]:
    """A distillation study of one task, named otherwise."""
    settings = settings_of("histology_distillation")
    settings["tasks"] = {"own_lungs": {**settings["tasks"]["lung"], "arms": arms, **task}}
    return settings


def made(name: str, settings: dict[str, Any], folder: Path, **more: Any) -> dict[str, Any]:
    """A study's models, scores, view and page, as its script makes them, with pictures for figures."""
    found = write_study(folder, settings, {arm: {"random": 4.0, "grouped": 1.5} for arm in settings["arms"]})
    keys = ("arms", "predictions", "facts", "networks", "histories")
    arms = study.read_arms(settings["arms"], *(found[key] for key in keys))
    scores = study.summaries(arms, resamples=20, seed=0)
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    options = {"grouping": GROUPING, "unreadable": 2, "picture": True, **more}
    if name == "histology_resnet50":
        view = resnet50.page_view(scores, leak, arms, settings, PRINTED, **options)
        drawn = {"confused", "saliency", *resnet50.figures(scores, leak, arms)}
    else:
        cost = pd.read_csv(found["costs"][0], sep="\t")
        view = distillation.page_view(scores, leak, arms, cost, settings, PUBLISHED, **options)
        drawn = {"attention", *distillation.figures(scores, leak, arms, cost, settings)}
    (folder / "figures").mkdir()
    for figure in drawn:
        Image.new("RGB", (40, 20), "white").save(folder / "figures" / f"{figure}.png")
    section = render_section(folder, STUDIES / name / "page.md.j2", view)
    assert all(f"figures/{figure}.png" in section.html for figure in drawn) or not options["picture"]
    return {"arms": arms, "scores": scores, "leak": leak, "view": view, "text": section.text, "html": section.html}


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A distillation study with fewer models than it ships with."""
    settings = settings_of("histology_distillation")
    settings["tasks"]["lung"]["arms"] = ["resnet18", "resnet18_fpn", "mfstudentlnet", "resnet50", "svm"]
    settings["tasks"]["lung_and_colon"]["arms"] = ["resnet50", "mfstudentlnet"]
    return made("histology_distillation", settings, tmp_path_factory.mktemp("distilled"))


@pytest.mark.slow
def test_random_folds_leak_and_grouped_ones_do_not(distilled: dict[str, Any]) -> None:
    assert study.leak_of(distilled["leak"], "lung") == {"random": pytest.approx(1, abs=0.01), "grouped": 0}


def test_the_leak_is_the_share_of_test_images_with_a_relative_elsewhere() -> None:
    images = pd.DataFrame(
        {"file": list("abcde"), "label": ["x", "x", "x", "y", "y"], "group": ["1", "1", "2", "3", "3"]}
    )
    test = images.iloc[[0, 2, 3]].assign(protocol="random", fold=0, p_x=0.5, p_y=0.5)
    arm = study.ImageArm("t", "a", "A", None, test, None, {})
    assert study.leaks([arm], images)["leak"].tolist() == pytest.approx([2 / 3])  # a and d


def test_the_table_of_splits_shows_what_the_random_split_adds(distilled: dict[str, Any]) -> None:
    table, arm = distilled["view"]["splits"], distilled["arms"][0]
    assert len(table) == 7
    means = [
        np.mean([accuracy_score(truth(part), called(part)) for _, part in arm.of(protocol).groupby("fold")])
        for protocol in ("random", "grouped")
    ]
    assert table.loc[0, "accuracy, random − grouped"] == f"{means[0] - means[1]:+.3f}".replace("-", "−")
    # Run under the grouped split alone: there is nothing to compare with, and nothing is made up.
    assert table.loc[6, "accuracy, random"] == "" and table.loc[6, "accuracy, random − grouped"] == "–"
    assert "(" in table.loc[6, "accuracy, grouped"]  # one fold: an interval


def test_every_model_stands_below_its_published_figures_as_printed(distilled: dict[str, Any]) -> None:
    tables = {own["name"]: own["table"].set_index(["model", "split"]) for own in distilled["view"]["comparisons"]}
    assert list(tables) == ["ablation", "comparison", "generalisation", "prior"]
    student = ("MFStudentLNet", "random, published")
    # The paper's own contradiction, kept in sight.
    assert (tables["ablation"].loc[student, "MCC"], tables["comparison"].loc[student, "MCC"]) == ("0.9827", "0.9883")
    assert tables["comparison"].loc[student, "s per epoch"] == "91"
    assert tables["prior"].loc[("SVM", "random, published"), "accuracy"] == "0.32"
    assert tables["prior"].loc[student, "accuracy"] == "0.9885"
    measured = distilled["scores"].query("key == 'lung/resnet18' and protocol == 'grouped' and metric == 'mcc'").iloc[0]
    shown = tables["ablation"].loc[("ResNet18", "grouped"), "MCC"]
    assert shown == f"{measured['mean']:.3f} ± {measured['sd']:.3f}"


def test_the_long_table_names_tasks_folds_and_costs(distilled: dict[str, Any]) -> None:
    long = study.long_metrics(distilled["arms"], {"lung": costs(["resnet18"])})
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert not long.duplicated(["arm", "protocol", "repeat", "metric"]).any()
    cost = long[long["protocol"] == "cost"]
    assert set(cost["arm"]) == {"lung/resnet18"} and set(cost["metric"]) == {"parameters", "gflops", "ms_per_image"}
    student = long[(long["arm"] == "lung/mfstudentlnet") & (long["metric"] == "accuracy")]
    assert sorted(student["repeat"].tolist()) == [0, 0, 1]
    assert "seconds_per_epoch" not in set(long.loc[long["arm"] == "lung/svm", "metric"])


@pytest.mark.slow
def test_the_page_says_who_starts_otherwise_and_that_the_last_epoch_is_tested(tmp_path: Path) -> None:
    settings = small(["resnet18", "mfstudentlnet", "resnet50", "svm"])
    settings["arms"]["resnet50"]["weights"] = "imagenet"
    settings["training"]["keep"] = "last"
    page = made("histology_distillation", settings, tmp_path / "page")
    assert page["view"]["starts"] == {"random": ["ResNet18", "MFStudentLNet"], "ImageNet": ["ResNet50"]}
    said = "random weights: ResNet18, MFStudentLNet; ImageNet weights: ResNet50. Tian et al. 2024 name ImageNet weights"
    assert said in page["text"] and "on equal terms: " not in page["text"]
    assert "The tested weights are those of the last epoch." in page["text"]


def test_the_page_of_the_distillation_study_says_what_a_reader_must_know(distilled: dict[str, Any]) -> None:
    for said in (
        "Under the random split 100 % of the test images come from a source that is also in the training set, under "
        "the grouped split 0 %.",
        "could not be read: 2.",
        "All networks start alike, so that Tables 3 and 4 compare them on equal terms: from random weights.",
        "The tested weights are those of the epoch with the lowest loss in validation, or in training where nothing",
        "gamma of 0.7",
        "R_K",
        "They have no medical meaning",
        "Confidence intervals resample whole groups",
        "A distilled network and its teacher were trained on the same part of the data.",
        "Not trained in this run: Ablation (Table 2): + FPN + SE; Comparison",
        "the formula that Tian et al. 2024 print",
        "a difference of +",
        "(mean ± standard deviation over folds, or the 95 % confidence interval in brackets where one fold was run)",
        "Ablation, accuracy under the grouped split: ResNet18 0.",
        "Lung and colon (Table 4); 95 % confidence interval in brackets, one fold was run",
    ):
        assert said in distilled["text"], said
    lesson = (
        distilled["view"]["training"].set_index("network").loc["MFStudentLNet", ["teacher", "temperature", "weight"]]
    )
    assert lesson.tolist() == ["resnet50", "4", "0.7"]
    assert '<div class="note">' in distilled["html"] and "> " not in distilled["text"].replace("p > 0", "")


def test_a_study_without_its_main_task_still_has_a_page(tmp_path: Path) -> None:
    settings = settings_of("histology_distillation")
    settings["tasks"]["lung"] = None
    page = made("histology_distillation", settings, tmp_path, picture=False)
    assert [own["name"] for own in page["view"]["comparisons"]] == ["generalisation"]
    assert "attention.png" not in page["html"] and "under the grouped split" in page["text"]


@pytest.mark.slow
def test_the_page_of_resnet50_counts_confused_cancers_beside_the_published_17(tmp_path: Path) -> None:
    page = made("histology_resnet50", settings_of("histology_resnet50"), tmp_path)
    table, frozen = page["view"]["published"], page["arms"][0]
    assert table.loc[0, "malignant confused"] == "17 of 2\u202f250 (0.8 %)" and table.loc[0, "accuracy"] == "0.988"
    counts = confusion(frozen.of("grouped"))
    expected, tested = counts[0, 2] + counts[2, 0], counts.sum()
    row = table[(table["model"] == "frozen backbone") & (table["split"] == "grouped")].iloc[0]
    assert row["malignant confused"] == f"{expected} of {tested} ({100 * expected / tested:.1f} %)"
    assert f"frozen backbone {row['malignant confused']}" in page["text"]
    training = page["view"]["training"]
    assert set(training["million parameters"]) == {23.6} and set(training["trainable (million)"]) == {1.2}
    assert "nothing here is about CT" in page["text"] and "17 of them are confusions" in page["text"]
    # Formulas and teachers are the other paper's.
    assert "Tian et al." not in page["text"] and "learns from" not in page["text"]
    best = page["view"]["best"]
    own = {p: accuracy_score(truth(f), called(f)) for p in ("random", "grouped") for f in [arm_of(page, best).of(p)]}
    assert best["gap"] == pytest.approx(own["random"] - own["grouped"])
    extra = resnet50.confused_metrics(page["arms"], MALIGNANT)
    assert list(extra.columns) == ["arm", "protocol", "repeat", "metric", "value"] and len(extra) == 12


def arm_of(page: dict[str, Any], best: dict[str, Any]) -> study.ImageArm:
    return next(arm for arm in page["arms"] if arm.label == best["label"])


def test_resnet50_under_the_random_split_alone_tells_of_the_leak(tmp_path: Path) -> None:
    settings = settings_of("histology_resnet50")
    settings["tasks"]["lung"]["protocols"] = ["random"]
    text = made("histology_resnet50", settings, tmp_path)["text"]
    assert "Under the random split 100 % of the test images" in text and "known images, not for new ones" in text
    assert "a difference of" not in text


def test_the_most_certain_correct_image_of_each_class_and_the_most_certain_mistake_are_chosen() -> None:
    frame = pd.DataFrame(
        {
            "file": list("abcdef"),
            "label": ["x", "x", "y", "y", "y", "x"],
            "p_x": [0.9, 0.7, 0.2, 0.1, 0.95, 0.4],
            "p_y": [0.1, 0.3, 0.8, 0.9, 0.05, 0.6],
        }
    )
    chosen = surest(frame)
    assert chosen["file"].tolist() == ["a", "d", "e"] and chosen["kind"].tolist() == ["right", "right", "wrong"]


def test_confused_images_are_one_per_source_and_few_per_pair() -> None:
    frame = answers(image_list(), {"random": 0.0}, run=range(5))
    chosen = confused(frame, MALIGNANT, pairs=2, at_most=3)
    assert len(chosen) == 3 and chosen["group"].is_unique and chosen["p"].is_monotonic_decreasing
    assert chosen.groupby(["label", "called"]).size().max() <= 2
    assert set(chosen["label"]) | set(chosen["called"]) <= set(MALIGNANT)
    counts = confusion(frame)
    assert count_confused(frame, MALIGNANT) == (counts[0, 2] + counts[2, 0], counts.sum())


def test_every_class_has_its_roc_curve(distilled: dict[str, Any]) -> None:
    arms = [arm for arm in distilled["arms"] if arm.task == "lung"]
    curves = study.class_curves(arms, "random")
    assert list(curves) == [arm.label for arm in arms] and list(curves["ResNet18"]) == list(LUNG)
    parts = [part for _, part in arms[0].of("random").groupby("fold")]
    expected = [roc_auc_score(part["label"] == "lung_n", part["p_lung_n"]) for part in parts]
    assert curves["ResNet18"]["lung_n"].auc == pytest.approx(np.mean(expected))


def test_the_time_of_trainings_is_the_median_over_folds(distilled: dict[str, Any]) -> None:
    table = distilled["view"]["times"].set_index("network")
    assert list(table.index) == ["ResNet18", "+ FPN", "MFStudentLNet", "ResNet50"]
    # Six epochs of 2.1 to 2.6 s in fold 0, five of 2.1 to 2.5 s in fold 1.
    row = table.loc["ResNet18"]
    assert (row["epochs"], row["s per epoch"]) == (5.5, pytest.approx((2.35 + 2.3) / 2))
    assert row["minutes"] == pytest.approx((14.1 + 11.5) / 2 / 60) and row["trainable (million)"] == 1.2
    assert row["accuracy"] == distilled["view"]["splits"].set_index("model")["accuracy, grouped"].iloc[0]


def test_saliency_is_shown_of_every_class_the_benign_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = answers(image_list(), {"random": 1.0}, run=[0])
    for file in frame["file"]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), "pink").save(tmp_path / file)
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    monkeypatch.setattr(pictures, "rebuild", lambda facts, weights: model)
    facts = {"view": settings_of("histology_resnet50")["view"]}
    figure = pictures.surest_figure(frame, facts, tmp_path, tmp_path, "random.0")
    rows = [axes.get_ylabel() for axes in figure.axes if "true:" in axes.get_ylabel()]
    assert [row.splitlines()[0] for row in rows[:3]] == [f"true: {name}" for name in LUNG]
    assert [row.splitlines()[-1] for row in rows] == ["right"] * 3 + ["wrong"]
    assert {"image", "gradient", "Grad-CAM"} <= {axes.get_title() for axes in figure.axes}


def test_each_image_is_explained_for_its_own_class() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="early")(image)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="late")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    images = np.random.default_rng(0).random((4, 16, 16, 3), dtype=np.float32)
    classes = np.array([2, 0, 2, 1])
    found = layer_attention(model, images, classes, ["early", "late"])
    assert list(found) == ["early", "late"]
    for i, index in enumerate(classes):
        alone = grad_cam(model, images[i : i + 1], int(index), layers=["late"]).branches["late"][0]
        top = alone.max()
        np.testing.assert_allclose(found["late"][i], alone / top if top > 0 else alone, atol=1e-4)
    maps = decision_maps(model, images, classes)
    assert set(maps) == {"gradient", "Grad-CAM"} and all(m.shape == (4, 16, 16) for m in maps.values())


def partial(name: str, **grouping: Any) -> str:
    """A shared template filled from groups.json."""
    environment: Environment = templates(STUDIES)
    environment.globals["figure"] = lambda file, caption: caption
    view = {"grouping": {"search": None, **GROUPING, **grouping}, "protocols": ["grouped"]}
    return " ".join(environment.get_template(f"common/images/{name}.md.j2").render(view).split())


def test_the_note_on_groups_tells_of_the_check() -> None:
    words = partial("grouping")
    assert "1 765 pairs of similar images of one class were compared, and 901 of them were linked" in words
    assert "0 were linked (with 95 % confidence at most 0.17 %)" in words and "12 were linked (at most 1.14 %)" in words
    assert "some leak in the grouped split" in words
    known = partial("grouping", source="file")
    assert (
        "A file states which images come from one source: 420 images in 70 groups" in known
        and "As a check" not in known
    )


def test_links_are_called_unchecked_where_no_other_class_was_searched() -> None:
    """Of a study of CT the images of one class alone may be of unknown source."""
    words = partial("grouping", check={**check_facts(0, 0), "examples": []})
    assert "No other class was searched" in words
    assert "As a check" not in words and "100 %" not in words


def test_the_note_on_groups_claims_no_precision_and_tells_of_links_that_were_left_out() -> None:
    words = partial("grouping")
    assert "Of 1 700 pairs of one class drawn at random, some of which may share a source, 12 were linked" in words
    assert "How many of the links are right is therefore not known" in words and "left out" not in words
    words = partial("grouping", over_largest=3, bound=20, same_class={"known": True, **check_facts(200, 1)})
    assert "200 pairs of similar images of one class that are known to be of different sources, 1 were linked" in words
    assert "3 links would have made a group larger than 20 images and were left out" in words


def test_the_table_of_trainings_shows_where_networks_were_trained_otherwise(distilled: dict[str, Any]) -> None:
    arms, plan = distilled["arms"], settings_of("histology_distillation")["training"]
    table = study.training_table(arms).set_index("network")
    assert "SVM" not in table.index and set(table["starting weights"]) == {"random"}
    assert table["epochs, at most"].to_dict() == {
        label: "4" if label == "ResNet50" else str(plan["epochs"]) for label in table.index
    }
    assert "decay" not in table and set(table["learning rate"]) == {"0.001"}
    teacher = next(arm for arm in arms if arm.name == "resnet50")
    other = {**teacher.facts, "weights": "imagenet", "training": {**teacher.facts["training"], "decay": None}}
    table = study.training_table([replace(arm, facts=other) if arm.name == "resnet50" else arm for arm in arms])
    row = table.set_index("network").loc["ResNet50"]
    assert (row["starting weights"], row["decay"]) == ("ImageNet", "none")
    assert table["decay"][0] == "factor 0.8, epochs 10"


@pytest.mark.slow
def test_a_task_of_any_name_has_its_tables_and_models_of_others_are_named(tmp_path: Path) -> None:
    settings = small(["resnet50", "mfstudentlnet", "resnet18"])
    page = made("histology_distillation", settings, tmp_path / "one")
    assert [own["name"] for own in page["view"]["comparisons"]] == ["ablation", "comparison", "prior"]
    assert "; Lung and colon (Table 4): " in page["text"]
    assert "Not trained in this run: Ablation (Table 2): + FPN, + FPN + SE; Comparison" in page["text"]
    settings["tasks"]["more_classes"] = settings_of("histology_distillation")["tasks"]["lung_and_colon"]
    page = made("histology_distillation", settings, tmp_path / "two")
    assert page["view"]["comparisons"][2]["name"] == "generalisation"


def test_a_study_without_a_student_speaks_of_no_teacher(tmp_path: Path) -> None:
    settings = small(["resnet50", "resnet18"])
    settings["arms"]["mfstudentlnet"] = None
    text = made("histology_distillation", settings, tmp_path)["text"]
    assert "learns from" not in text and "temperature" not in text and "teacher" not in text
    assert "prior models see" not in text


@pytest.mark.slow
def test_a_random_headline_comes_with_its_leak(tmp_path: Path) -> None:
    settings = small(["resnet50", "mfstudentlnet"], protocols=["random"], split={"folds": 5, "run": [0]})
    page = made("histology_distillation", settings, tmp_path)
    assert (
        "under the random split, as published (95 % confidence interval in brackets, one fold was run)." in page["text"]
    )
    assert "Under the random split 100 % of the test images come from a source" in page["text"]
    assert "difference" not in page["text"] and "but was left out of this run" in page["text"]
    assert not [name for name in page["view"]["splits"] if "grouped" in name]


@pytest.mark.slow
def test_a_model_with_fewer_protocols_and_folds_shows_gaps_and_no_difference(tmp_path: Path) -> None:
    settings = small(["resnet18", "svm", "resnet50", "mfstudentlnet"])
    settings["arms"]["resnet18"]["only"] = {"protocols": ["grouped"], "run": [0]}
    settings["arms"]["svm"]["only"] = {"protocols": ["random"]}
    settings["arms"]["mfstudentlnet"]["only"] = {"protocols": ["grouped"]}
    settings["tables"]["ablation"] = ["resnet18", "svm", "mfstudentlnet"]
    page = made("histology_distillation", settings, tmp_path)
    table = page["view"]["splits"].set_index("model")
    gap = table["accuracy, random − grouped"]
    assert (gap[["ResNet18", "SVM", "MFStudentLNet"]] == "–").all() and gap["ResNet50"] != "–"
    assert np.isnan(table.loc["ResNet18", "leak, random split (%)"])
    # The first model is no longer in every fold: leaks come from those that are.
    leak = study.leak_of(page["leak"], "own_lungs")
    assert leak["random"] > 0.9 and leak["grouped"] == 0
    lead = page["text"].partition("Test scores by split")[0]
    assert "under the grouped split (mean ± standard deviation over 2 folds)." in lead and "difference" not in lead
    assert "Ablation, accuracy under the grouped split: ResNet18 0." in lead and "SVM" not in lead
    sizes = list(study.matrices(page["arms"]))
    assert " to " in sizes[1] and " to " not in sizes[0]


def test_published_figures_are_the_papers() -> None:
    for name in ("ablation", "comparison", "generalisation"):
        f1, precision, recall = (PUBLISHED[name][c].astype(float) for c in ("f1", "precision", "recall"))
        # Macro F1 lies near the harmonic mean of macro precision and recall; a misprint of a digit would not.
        assert (f1 - 2 * precision * recall / (precision + recall)).abs().max() < 0.005
    assert tuple(settings_of("histology_resnet50")["tasks"]["lung"]["classes"]) == LUNG
