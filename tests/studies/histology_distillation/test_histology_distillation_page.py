"""The page of the study of distillation, from made-up predictions: what they show is what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from image_answers import GROUPING, costs, write_study
from PIL import Image
from sklearn.metrics import accuracy_score

from drunet.files import read_published
from drunet.report.section import write_section
from studies.common.class_metrics import called, truth
from studies.common.images import tables as study
from studies.common.images.examples import surest
from studies.common.images.near_duplicates import check_facts
from studies.common.images.notes import grouping_note, groups_caption, training_note
from studies.common.saliency.attention import decision_maps, layer_attention
from studies.common.saliency.grad_cam import grad_cam
from studies.histology_distillation import section as histology_distillation_section
from studies.histology_distillation import tables as histology_distillation

FOLDER = Path(__file__).parents[3] / "workflow/studies/histology_distillation"
PUBLISHED = {path.stem: read_published(path) for path in (FOLDER / "published").glob("*.tsv")}


def settings_of() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8")))


def read(found: dict[str, Any], settings: dict[str, Any]) -> list[study.ImageArm]:
    keys = ("arms", "predictions", "facts", "networks", "histories")
    return study.read_arms(settings["arms"], *(found[key] for key in keys))


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A distillation study with fewer arms than it ships with."""
    settings = settings_of()
    settings["tasks"]["lung"]["arms"] = ["resnet18", "resnet18_fpn", "mfstudentlnet", "resnet50", "svm"]
    settings["tasks"]["lung_and_colon"]["arms"] = ["resnet50", "mfstudentlnet"]
    skills = {arm: {"random": 4.0, "grouped": 1.5} for arm in settings["arms"]}
    folder = tmp_path_factory.mktemp("distilled")
    found = write_study(folder, settings, skills)
    arms = read(found, settings)
    scores = study.summaries(arms, resamples=50, seed=0)
    images = pd.read_csv(found["images"], sep="\t")
    return {"arms": arms, "scores": scores, "settings": settings, "leak": study.leaks(arms, images), "folder": folder}


def with_pictures(folder: Path, figures: list[tuple[str, Path]]) -> None:
    """Stand-ins for the figures of a page."""
    for _, path in figures:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), "white").save(path)


def test_random_folds_leak_and_grouped_ones_do_not(distilled: dict[str, Any]) -> None:
    leak = distilled["leak"].set_index(["task", "protocol"])["leak"]
    assert leak["lung", "random"] > 0.99  # six images of each source
    assert leak["lung", "grouped"] == 0


def test_the_leak_is_the_share_of_test_images_with_a_relative_elsewhere() -> None:
    images = pd.DataFrame(
        {"file": list("abcde"), "label": ["x", "x", "x", "y", "y"], "group": ["1", "1", "2", "3", "3"]}
    )
    test = images.iloc[[0, 2, 3]].assign(protocol="random", fold=0, p_x=0.5, p_y=0.5)
    arm = study.ImageArm("t", "a", "A", None, test, None, {})
    assert study.leaks([arm], images)["leak"].tolist() == pytest.approx([2 / 3])  # a and d


def test_the_honest_table_shows_what_the_random_split_adds(distilled: dict[str, Any]) -> None:
    table = study.honest_table(distilled["scores"], distilled["leak"])
    assert len(table) == 7
    arm = distilled["arms"][0]
    means = [
        np.mean([accuracy_score(truth(part), called(part)) for _, part in arm.of(protocol).groupby("fold")])
        for protocol in ("random", "grouped")
    ]
    assert table.loc[0, "accuracy, random less grouped"] == f"{means[0] - means[1]:+.3f}".replace("-", "−")
    # Run under the grouped split alone: there is nothing to compare with, and nothing is made up.
    assert table.loc[6, "accuracy, random"] == "" and table.loc[6, "accuracy, random less grouped"] == ""
    assert "(" in table.loc[6, "accuracy, grouped"]  # one fold: an interval


def test_every_arm_stands_below_its_published_figures_as_printed(distilled: dict[str, Any]) -> None:
    tables = histology_distillation.score_tables(
        distilled["scores"], distilled["arms"], PUBLISHED, distilled["settings"]
    )
    assert list(tables) == ["ablation", "comparison", "generalisation", "prior"]
    ablation = tables["ablation"].set_index(["arm", "split"])
    assert ablation.loc[("MFStudentLNet", "published, random"), "MCC"] == "0.9827"
    comparison = tables["comparison"].set_index(["arm", "split"])
    # The paper's own contradiction, kept in sight.
    assert comparison.loc[("MFStudentLNet", "published, random"), "MCC"] == "0.9883"
    assert comparison.loc[("MFStudentLNet", "published, random"), "s per epoch"] == "91"
    prior = tables["prior"].set_index(["arm", "split"])
    assert prior.loc[("SVM", "published, random"), "accuracy"] == "0.32"
    assert prior.loc[("MFStudentLNet", "published, random"), "accuracy"] == "0.9885"
    assert set(tables["generalisation"]["split"]) == {"published, random", "grouped"}
    measured = distilled["scores"].query("key == 'lung/resnet18' and protocol == 'grouped' and metric == 'mcc'").iloc[0]
    assert ablation.loc[("ResNet18", "grouped"), "MCC"] == f"{measured['mean']:.3f} ± {measured['sd']:.3f}"


def test_the_long_table_names_tasks_folds_and_costs(distilled: dict[str, Any]) -> None:
    long = study.long_metrics(distilled["arms"], {"lung": costs(["resnet18"])})
    assert list(long.columns) == ["arm", "protocol", "repeat", "metric", "value"]
    assert not long.duplicated(["arm", "protocol", "repeat", "metric"]).any()
    cost = long[long["protocol"] == "cost"]
    assert set(cost["arm"]) == {"lung/resnet18"} and set(cost["metric"]) == {"parameters", "gflops", "ms_per_image"}
    student = long[(long["arm"] == "lung/mfstudentlnet") & (long["metric"] == "accuracy")]
    assert sorted(student["repeat"].tolist()) == [0, 0, 1]
    assert "seconds_per_epoch" not in set(long.loc[long["arm"] == "lung/svm", "metric"])


def test_the_page_of_the_distillation_study_is_whole(distilled: dict[str, Any], tmp_path: Path) -> None:
    scores, leak, arms, settings = (distilled[k] for k in ("scores", "leak", "arms", "settings"))
    tables = histology_distillation.score_tables(scores, arms, PUBLISHED, settings)
    cost = costs(["resnet18", "resnet18_fpn", "mfstudentlnet", "resnet50"])
    section = histology_distillation_section.section_of(
        scores, leak, tables, arms, cost, settings, tmp_path / "figures", grouping=GROUPING, unreadable=2
    )
    with_pictures(tmp_path, list(section.figures))
    write_section(tmp_path, section)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (
        "100 % of the random split&#39;s test images come from a source that was also learnt",
        "2 images could not be read and were left out",
        "gamma of 0.7",
        "R_K",
        "say nothing of medicine",
        "temperature 4",
        "Not trained in this run: Ablation in steps (Table 2): + FPN + SE",
        "For two classes MCC is the formula that the paper prints",
        "MFStudentLNet learns from ResNet50, trained on the same part of the data",
        "a difference of +",
        "mean ± sd over folds, or in brackets the 95 % interval where one fold was run",
        "Step by step, accuracy under the grouped split: ResNet18 0.",
    ):
        assert said in page, said
    captions = [caption for caption, _ in section.tables]
    assert captions[1].endswith("mean ± sd over folds, or in brackets the 95 % interval where one fold was run")
    assert captions[3].startswith("Lung and colon (Table 4)") and captions[3].endswith("one fold was run")
    drawn = histology_distillation.figures(scores, leak, arms, cost, settings, time_axis="ms")
    made = {path.stem for _, path in section.figures}
    assert made == set(drawn) | {"attention", "groups"}


def test_a_study_without_its_main_task_still_has_a_page(distilled: dict[str, Any], tmp_path: Path) -> None:
    arms = [arm for arm in distilled["arms"] if arm.task == "lung_and_colon"]
    scores = distilled["scores"][distilled["scores"]["task"] == "lung_and_colon"]
    leak, cost, settings = distilled["leak"].iloc[2:], costs(["resnet50", "mfstudentlnet"]), distilled["settings"]
    tables = histology_distillation.score_tables(scores, arms, PUBLISHED, settings)
    assert list(tables) == ["generalisation"]
    section = histology_distillation_section.section_of(
        scores, leak, tables, arms, cost, settings, tmp_path, grouping=GROUPING, unreadable=0, picture=False
    )
    assert "attention" not in {path.stem for _, path in section.figures}
    assert "under the grouped split" in section.lead
    assert set(histology_distillation.figures(scores, leak, arms, cost, settings, time_axis="ms"))


def test_the_surest_right_image_of_each_class_and_the_surest_mistake_are_chosen() -> None:
    frame = pd.DataFrame(
        {
            "file": list("abcdef"),
            "label": ["x", "x", "y", "y", "y", "x"],
            "p_x": [0.9, 0.7, 0.2, 0.1, 0.95, 0.4],
            "p_y": [0.1, 0.3, 0.8, 0.9, 0.05, 0.6],
        }
    )
    chosen = surest(frame)
    assert chosen["file"].tolist() == ["a", "d", "e"]
    assert chosen["kind"].tolist() == ["right", "right", "wrong"]


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


def test_the_note_on_groups_tells_of_the_check() -> None:
    words = grouping_note(GROUPING)
    assert "1,765 pairs of look-alikes within a class were compared and 901 linked" in words
    assert "at most 0.17 %" in words and "at least 99.7 % of the links are right" in words
    known = grouping_note({**GROUPING, "source": "file"})
    assert known.startswith("Which images were made from one source is told by a file: 420 images in 70 groups")


def test_links_are_called_unchecked_where_no_other_class_was_searched() -> None:
    """Of a study of CT the images of one class alone may be of unknown source."""
    alone = {**GROUPING, "check": {**check_facts(0, 0, 1765, 901), "examples": []}}
    words = grouping_note(alone)
    assert "1,765 pairs of look-alikes within a class were compared and 901 linked" in words
    assert "The links are unchecked: no other class was searched" in words
    assert "of 0 look-alike pairs" not in words and "at most 100 %" not in words and "at least 0 %" not in words


def test_the_note_on_training_names_what_was_trained_otherwise(distilled: dict[str, Any]) -> None:
    arms = distilled["arms"]
    words = training_note(arms)
    assert "All networks start from random weights" in words
    assert "Trained otherwise: ResNet50: epochs 4." in words
    size, plan = distilled["settings"]["view"]["size"], distilled["settings"]["training"]
    usual = f"{size} px for at most {plan['epochs']} epochs in batches of {plan['batch_size']} (adam at 0.001)"
    assert usual in words
    teacher = next(arm for arm in arms if arm.name == "resnet50")
    other = {**teacher.facts["training"], "epochs": 777, "decay": None}
    changed = {**teacher.facts, "weights": "imagenet", "training": other}
    words = training_note([replace(arm, facts=changed) if arm.name == "resnet50" else arm for arm in arms])
    assert "Networks start from random weights (ResNet50: ImageNet's weights)" in words
    assert usual in words and "Trained otherwise: ResNet50: decay none, epochs 777." in words


def page_of(settings: dict[str, Any], folder: Path, *, drawn: bool = True) -> dict[str, Any]:
    """The section of a distillation study, as its report's script makes it."""
    skills = {arm: {"random": 4.0, "grouped": 1.5} for arm in settings["arms"]}
    found = write_study(folder, settings, skills)
    arms = read(found, settings)
    scores = study.summaries(arms, resamples=20, seed=0)
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    tables = histology_distillation.score_tables(scores, arms, PUBLISHED, settings)
    cost = pd.read_csv(found["costs"][0], sep="\t")
    section = histology_distillation_section.section_of(
        scores, leak, tables, arms, cost, settings, folder, grouping=GROUPING, unreadable=0
    )
    if drawn:
        histology_distillation.figures(scores, leak, arms, cost, settings, time_axis="ms")
    text = "\n".join([section.lead, *section.notes, *(c for c, _ in [*section.tables, *section.figures])])
    return {"section": section, "tables": tables, "text": text, "leak": leak}


def small(arms: list[str], **task: Any) -> dict[str, Any]:
    """A distillation study of one task, named otherwise."""
    settings = settings_of()
    settings["tasks"] = {"own_lungs": {**settings["tasks"]["lung"], "arms": arms, **task}}
    return settings


def test_a_task_of_any_name_has_its_tables_and_one_without_a_task_says_why(tmp_path: Path) -> None:
    settings = small(["resnet50", "mfstudentlnet", "resnet18"])
    page = page_of(settings, tmp_path / "one", drawn=False)
    assert list(page["tables"]) == ["ablation", "comparison", "prior"]
    assert "Lung and colon (Table 4): not made, because no task is left beside own lungs." in page["text"]
    assert "Not trained in this run: Ablation in steps (Table 2): + FPN, + FPN + SE; Against other" in page["text"]
    settings["tasks"]["more_classes"] = {**settings_of()["tasks"]["lung_and_colon"]}
    page = page_of(settings, tmp_path / "two")
    assert "generalisation" in page["tables"] and "not made" not in page["text"]


def test_a_study_without_a_student_speaks_of_no_teacher(tmp_path: Path) -> None:
    settings = small(["resnet50", "resnet18"])
    settings["arms"]["mfstudentlnet"] = None
    text = page_of(settings, tmp_path)["text"]
    assert "learns from" not in text.replace("Table", "") and "temperature" not in text and "teacher" not in text
    assert "Prior models see" not in text


def test_a_random_headline_comes_with_its_leak(tmp_path: Path) -> None:
    settings = small(["resnet50", "mfstudentlnet"], protocols=["random"], split={"folds": 5, "run": [0]})
    page = page_of(settings, tmp_path)
    assert "right under the random split (in brackets the 95 % interval, one fold was run)" in page["section"].lead
    assert (
        "100 % of the random split's test images come from a source that was also learnt from" in page["section"].lead
    )
    assert "difference" not in page["text"] and "both ways" not in page["text"]
    assert "the grouped split, which would tell of new ones, was left out" in page["text"]
    columns = page["section"].tables[0][1].columns
    assert not [name for name in columns if "grouped" in name]


def test_an_arm_with_fewer_protocols_and_folds_shows_gaps_and_no_difference(tmp_path: Path) -> None:
    settings = small(["resnet18", "svm", "resnet50", "mfstudentlnet"])
    settings["arms"]["resnet18"]["only"] = {"protocols": ["grouped"], "run": [0]}
    settings["arms"]["svm"]["only"] = {"protocols": ["random"]}
    settings["arms"]["mfstudentlnet"]["only"] = {"protocols": ["grouped"]}
    settings["tables"]["ablation"] = ["resnet18", "svm", "mfstudentlnet"]
    page = page_of(settings, tmp_path)
    table = page["section"].tables[0][1].set_index("arm")
    gap = table["accuracy, random less grouped"]
    assert (gap[["ResNet18", "SVM", "MFStudentLNet"]] == "").all() and gap["ResNet50"] != ""
    assert np.isnan(table.loc["ResNet18", "leak of the random split (%)"])
    # The first arm is no longer in every fold: leaks come from those that are.
    leak = page["leak"].set_index("protocol")["leak"]
    assert leak["random"] > 0.9 and leak["grouped"] == 0
    lead = page["section"].lead
    assert "right under the grouped split (mean ± sd over 2 folds)." in lead and "difference" not in lead
    assert "Step by step, accuracy under the grouped split: ResNet18 0." in lead and "SVM" not in lead
    assert "an arm with one point was run under one of them alone" in page["text"]
    sizes = list(study.matrices(read_again(tmp_path, settings)))
    assert " to " in sizes[1] and " to " not in sizes[0]


def read_again(folder: Path, settings: dict[str, Any]) -> list[study.ImageArm]:
    homes = [folder / "own_lungs" / arm for arm in settings["tasks"]["own_lungs"]["arms"]]
    keys = [f"own_lungs/{home.name}" for home in homes]
    networks = [home for home in homes if (home / "history.tsv").is_file()]
    return study.read_arms(
        settings["arms"],
        keys,
        [home / "predictions.parquet" for home in homes],
        [home / "training.json" for home in homes],
        [f"own_lungs/{home.name}" for home in networks],
        [home / "history.tsv" for home in networks],
    )


def test_the_groups_shown_are_called_what_they_are() -> None:
    assert (
        groups_caption(GROUPING) == "Images that were found to be made from one source: under each heading one group."
    )
    told = groups_caption({**GROUPING, "source": "file", "largest": 20})
    assert told.startswith("Images that a file says were made from one source") and "8 images at most" in told
    assert groups_caption({**GROUPING, "largest": 1}).startswith("Some of the images: no two were found")


def test_published_figures_are_the_papers() -> None:
    for name in ("ablation", "comparison", "generalisation"):
        table = PUBLISHED[name]
        f1, precision, recall = (table[c].astype(float) for c in ("f1", "precision", "recall"))
        # Macro F1 lies near the harmonic mean of macro precision and recall; a misprint of a digit would not.
        assert (f1 - 2 * precision * recall / (precision + recall)).abs().max() < 0.005
