"""The page of the study of cancer against pneumonia, from made-up predictions: its verdict, tables and figures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from image_answers import write_study
from keras import layers
from PIL import Image
from sklearn.metrics import roc_auc_score

from drunet.errors import ConfigError
from drunet.files import read_published
from drunet.report.section import write_section
from drunet.settings.merging import merged
from studies.common.images import tables as study
from studies.common.images import tasks as image_tasks
from studies.common.study_settings import without_paths
from studies.ct_pneumonia import attention as ct_attention
from studies.ct_pneumonia import attention_figures as ct_attention_figures
from studies.ct_pneumonia import scores as ct_pneumonia
from studies.ct_pneumonia import section as ct_pneumonia_section
from studies.ct_pneumonia.attention_maps import COVERAGE, ArmMaps, read_coverage
from studies.ct_pneumonia.network_table import with_networks
from studies.ct_pneumonia.notes import authors_note, kept_epoch, maps_note
from studies.ct_pneumonia.source_probe import is_probe, probe_points, verdict

FOLDER = Path(__file__).parents[3] / "workflow/studies/ct_pneumonia"
PUBLISHED = read_published(FOLDER / "published.tsv")
CLASSES = ["Non-cancer", "Cancer"]
GROUPING = {
    "source": "sources",
    "images": 120,
    "groups": 20,
    "largest": 6,
    "singletons": 0,
    "sourced": {"Cancer": {"images": 60, "sources": 10}, "Non-cancer": {"images": 0, "sources": 0}},
    "unsourced": {"Cancer": 0, "Non-cancer": 60},
    "joined": 0,
    "search": None,
}
COLLECTED = {"images": 120, "dicom": 60, "annotated": 58, "unreadable": 1, "annotation_without_dicom": 2}
# The demo's arms, under both protocols where they take part.
TELLING = {"border": 3.0, "blur": 0.0, "file_statistics": 0.0}


def settings_of() -> dict[str, Any]:
    path = FOLDER / "settings.yaml"
    return with_networks(yaml.safe_load(path.read_text(encoding="utf-8")), FOLDER, "study")


def make(folder: Path, probes: dict[str, float], **changes: Any) -> dict[str, Any]:
    settings = {**settings_of(), **changes}
    skills = {arm: {"random": 3.0, "given": 4.0, "grouped": 2.0} for arm in settings["arms"]}
    skills |= {arm: dict.fromkeys(("random", "given", "grouped"), skill) for arm, skill in probes.items()}
    found = write_study(folder, settings, skills, sources=20)
    keys = ("arms", "predictions", "facts", "networks", "histories")
    arms = study.read_arms(settings["arms"], *(found[key] for key in keys))
    scores = study.summaries(arms, resamples=100, seed=0, positive="Cancer")
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    return {"arms": arms, "scores": scores, "settings": settings, "leak": leak}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make(tmp_path_factory.mktemp("ct"), TELLING)


def page_of(made: dict[str, Any], folder: Path, covered: pd.DataFrame | None = None, **grouping: Any) -> Any:
    shown = pd.DataFrame(
        {"file": ["a", "b"], "group": ["1", "2"], "p": [0.9, 0.8], "right": [9, 7], "networks": [9, 9]}
    )
    return ct_pneumonia_section.section_of(
        made["scores"],
        made["leak"],
        made["arms"],
        without_paths(made["settings"]),
        PUBLISHED,
        pd.DataFrame() if covered is None else covered,
        shown,
        folder / "figures",
        grouping={**GROUPING, **grouping},
        collected=COLLECTED,
    )


def test_every_network_stands_below_its_published_figures_with_scores_of_finding_cancer(made: dict[str, Any]) -> None:
    table = ct_pneumonia.performance_table(made["scores"], made["arms"], PUBLISHED, made["settings"])
    assert list(table["network"].unique()) == list(PUBLISHED["model"])
    rows = table.set_index(["network", "split"])
    assert rows.loc[("VGG16", "published, random"), "specificity"] == "0.927"
    arm = next(arm for arm in made["arms"] if arm.name == "resnet50")
    part = arm.of("grouped")
    said, own = part["p_Cancer"] > part["p_Non-cancer"], part["label"] == "Cancer"
    by_hand = {"recall (sensitivity)": (said & own).sum() / own.sum(), "precision": (said & own).sum() / said.sum()}
    by_hand["specificity"] = (~said & ~own).sum() / (~own).sum()
    by_hand["AUC"] = roc_auc_score(own, part["p_Cancer"])
    for column, value in by_hand.items():
        assert rows.loc[("ResNet50", "grouped"), column].startswith(f"{value:.3f} ("), column


def test_a_probe_that_tells_the_classes_apart_raises_the_alarm_with_both_figures(made: dict[str, Any]) -> None:
    said = verdict(made["scores"], made["arms"], made["settings"], protocol="grouped", alarm=0.7)
    assert said.alarm and said.words.startswith("The accuracy may come from the source of the images")
    border, network = (next(arm for arm in made["arms"] if arm.name == name) for name in ("border", "mobilenetv2"))
    for arm in (border, network):
        part = arm.of("grouped")
        assert f"{roc_auc_score(part['label'] == 'Cancer', part['p_Cancer']):.3f} (" in said.words
    assert "the outer 10 % of each side" in said.words and "Below the alarm: blurred" in said.words
    # The bound decides, not the mean.
    bound = made["scores"].query("key == 'ct/border' and protocol == 'grouped' and metric == 'auc'")["low"].item()
    for alarm, expected in ((bound - 1e-6, True), (bound + 1e-6, False)):
        assert (
            verdict(made["scores"], made["arms"], made["settings"], protocol="grouped", alarm=alarm).alarm is expected
        )


def test_a_probe_that_sees_nothing_is_no_proof_that_there_is_no_bias(tmp_path: Path) -> None:
    made = make(tmp_path, dict.fromkeys(TELLING, 0.0))
    said = verdict(made["scores"], made["arms"], made["settings"], protocol="grouped", alarm=0.8)
    assert not said.alarm and "found nothing" in said.words and "does not say that there is no bias" in said.words
    none = [arm for arm in made["arms"] if not is_probe(made["settings"]["arms"][arm.name])]
    said = verdict(made["scores"], none, made["settings"], protocol="grouped", alarm=0.8)
    assert not said.alarm and "No source probe was run" in said.words


def test_slices_that_name_no_patient_are_told_of(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [note for note in page_of(made, tmp_path).notes if "patient ID" in note]
    monkeypatch.setitem(COLLECTED, "without_patient", 12)
    assert [note for note in page_of(made, tmp_path).notes if " 12 DICOM files have no patient ID" in note]


def without_bounds(scores: pd.DataFrame, *arms: str) -> pd.DataFrame:
    """Scores in which these arms' intervals cannot be drawn."""
    changed = scores.copy()
    changed.loc[changed["key"].isin([f"ct/{arm}" for arm in arms]), ["low", "high", "sd"]] = np.nan
    return changed


def test_a_probe_without_an_interval_is_neither_below_the_alarm_nor_without_a_finding(
    made: dict[str, Any], tmp_path: Path
) -> None:
    few = "Too few patients or articles for an interval: "
    one = without_bounds(made["scores"], "blur")
    said = verdict(one, made["arms"], made["settings"], protocol="grouped", alarm=0.7)
    below, _, apart = said.words.partition(few)
    assert said.alarm and "Below the alarm: file statistics" in below and "blurred" not in below
    assert apart.startswith("blurred (a blur")
    said = verdict(one, made["arms"], made["settings"], protocol="grouped", alarm=1.0)
    none, _, apart = said.words.partition(few)
    assert said.alarm is False and "found nothing" in none and "blurred" not in none and apart.startswith("blurred")
    scores = without_bounds(made["scores"], *TELLING)
    said = verdict(scores, made["arms"], made["settings"], protocol="grouped", alarm=0.7)
    assert said.alarm is None and "is not known" in said.words and "found nothing" not in said.words
    assert all(arm["label"] in said.words for name, arm in made["settings"]["arms"].items() if name in TELLING)
    captions = [caption for caption, _ in page_of({**made, "scores": scores}, tmp_path).tables]
    assert any("no verdict" in caption for caption in captions)


def changed_settings(**blocks: dict[str, Any]) -> dict[str, Any]:
    """Settings as a user would change them, with the arms that they make."""
    plain = yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8"))
    return with_networks(merged(plain, blocks), FOLDER, "study")


@pytest.mark.parametrize(
    ("blocks", "said", "unsaid"),
    [
        ({}, ["as many learn as the table", "squares; so it is here.", "Zero-centred"], ["held fixed"]),
        ({"networks": {"freeze": 0.7}}, ["here 70 % of the layers of every backbone are held"], ["follows the code"]),
        ({"networks": {"freeze": 0.0}}, ["here all layers learn"], ["held fixed"]),
        ({"arms": {"vgg16": {"options": {"trainable_layers": None}}}}, ["differ in how that is told"], ["all layers"]),
        ({"view": {"fit": "crop"}}, ["here a square is cut out of each"], ["so it is here"]),
        ({"arms": {"vgg19": {"view": {"fit": "crop"}}}}, ["for some networks, for the others a square"], []),
        ({"arms": {"resnet50": None, "resnet101": None}}, [], ["Zero-centred"]),
    ],
    ids=["shipped", "a share held", "nothing held", "held differently", "cut", "one cut", "no zero-centred network"],
)
def test_what_is_said_of_the_authors_code_is_what_these_settings_do(
    made: dict[str, Any], blocks: dict[str, Any], said: list[str], unsaid: list[str]
) -> None:
    settings = changed_settings(**blocks)
    networks = ct_pneumonia.whole_image_arms(made["arms"], made["settings"])
    words = authors_note([arm for arm in networks if settings["arms"][arm.name]], without_paths(settings))
    assert all(part in words for part in said) and not any(part in words for part in unsaid), words


def test_what_is_said_of_maps_is_what_was_differentiated() -> None:
    said = {
        score: maps_note({"attention": {"score": score}}) for score in ("log_odds", "log_probability", "probability")
    }
    assert "here it is its log odds" in said["log_odds"] and "here it is its logarithm" in said["log_probability"]
    assert "and so it is here" in said["probability"] and "log odds" not in said["probability"]


def test_the_epoch_that_is_tested_is_told_by_the_loss_that_was_watched(made: dict[str, Any], tmp_path: Path) -> None:
    def without(*protocols: str) -> list[study.ImageArm]:
        return [
            arm
            if arm.history is None
            else replace(
                arm,
                history=arm.history.assign(
                    val_loss=arm.history["val_loss"].where(~arm.history["protocol"].isin(protocols))
                ),
            )
            for arm in made["arms"]
        ]

    assert kept_epoch(made["arms"]) == "the lowest validation loss"
    assert "or under the given split, which has no validation part, training loss" in kept_epoch(without("given"))
    page = page_of({**made, "arms": without("given", "grouped")}, tmp_path)
    text = "\n".join([*page.notes, *(caption for caption, _ in page.figures)])
    assert text.count("the lowest training loss, as no image was set aside") == 2 and "validation loss" not in text


def test_the_page_says_its_verdict_at_the_top_and_shows_every_figure_that_is_drawn(
    made: dict[str, Any], tmp_path: Path
) -> None:
    section = page_of(made, tmp_path)
    first, second = section.lead.split("\n\n")
    assert "120 images (60 Cancer of 10 patients or articles, 60 Non-cancer)" in first
    assert "Published, on the paper's images under a random split: 0.907 to 0.977." in first
    assert "the patient or article is not known (60 of Non-cancer): of these near-duplicates alone" in first
    assert "Under the given split" in first and "% of its test images come from a source that was also learnt" in first
    assert second.startswith("The accuracy may come from the source")
    drawn = ct_pneumonia.figures(made["scores"], made["leak"], made["arms"], made["settings"])
    made_elsewhere = {"attention_last", "attention_layers", "attention_averages", "groups"}
    assert {path.stem for _, path in section.figures} == set(drawn) | made_elsewhere
    for _, path in section.figures:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), "white").save(path)
    write_section(tmp_path, section)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (
        "All networks call 1 of the 2 rightly",
        "say nothing of medicine",
        "a window of 1500 HU about -600 HU",
        "2 annotations fit no slice",
        "1 file could not be read",
        "no annotated image is in the test part",
        "All networks start from random weights",
    ):
        assert said in page, said
    assert "LC25000" not in page


def test_the_size_of_each_network_stands_beside_the_published_one(made: dict[str, Any]) -> None:
    table = ct_pneumonia.parameters_table(made["arms"], PUBLISHED, made["settings"]).set_index("network")
    assert table.loc["VGG19", ["million parameters", "million, published", "input, published"]].tolist() == [
        23.6,
        "20.1",
        "320",
    ]
    assert table.loc["ResNet101", "million, published"] == ""
    assert (table["of which learn"] == 1.2).all()


def test_the_probes_figure_has_networks_apart_from_probes_and_chance_of_the_test_images(made: dict[str, Any]) -> None:
    points = probe_points(made["scores"], ct_pneumonia.probing_arms(made["arms"], made["settings"]), made["settings"])
    assert points.groupby("arm")["probe"].first().to_dict() == {
        "MobileNetV2": False,
        "border alone": True,
        "blurred": True,
        "file statistics": True,
    }
    tested = made["arms"][0].of("grouped")["label"].value_counts()
    assert ct_pneumonia.chance(made["arms"], made["scores"]) == tested.max() / tested.sum()


def test_a_class_or_an_arm_that_there_is_not_is_refused_by_its_key() -> None:
    for change, key in (
        ({"positive": "cancer"}, "positive"),
        ({"attention": {**settings_of()["attention"], "layers_of": {"resnet": 3}}}, "attention.layers_of.resnet"),
    ):
        with pytest.raises(ConfigError, match=rf"study_settings\.ct_pneumonia\.{re.escape(key)}"):
            image_tasks.check_tasks("ct_pneumonia", {**settings_of(), **change})
    with_probes = settings_of()
    with_probes["tasks"]["ct"]["arms"] = ["border", "blur"]
    with pytest.raises(ConfigError, match="sees whole images"):
        image_tasks.check_tasks("ct_pneumonia", with_probes)


# Choosing images, and the maps of a network.


def answers(files: list[str], groups: list[str], p: list[float], label: str = "Cancer") -> pd.DataFrame:
    frame = pd.DataFrame({"file": files, "label": label, "group": groups, "protocol": "grouped", "fold": 0})
    return frame.assign(**{"p_Non-cancer": 1 - np.array(p), "p_Cancer": p})


def boxes_of(files: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"file": files, "xmin": "8", "ymin": "8", "xmax": "24", "ymax": "20"})


def test_images_that_all_call_rightly_come_first_then_the_surest_one_per_patient() -> None:
    files, groups = list("abcdef"), ["1", "1", "2", "3", "4", "5"]
    first = answers(files, groups, [0.9, 0.95, 0.99, 0.7, 0.6, 0.99])
    second = answers(files, groups, [0.9, 0.95, 0.4, 0.7, 0.6, 0.99])
    other = answers(["z"], ["9"], [0.99], "Non-cancer")
    chosen = ct_attention.choose_images(
        [pd.concat([first, other]), pd.concat([second, other])],
        boxes_of(list("abcde")),  # f has none
        trial="grouped.0",
        positive="Cancer",
        images=4,
        coverage_images=3,
    )
    # c is surer than d and e, but one network is wrong about it; a is of b's patient.
    assert chosen.shown["file"].tolist() == ["b", "d", "e", "c"]
    assert chosen.shown["right"].tolist() == [2, 2, 2, 1] and (chosen.shown["networks"] == 2).all()
    assert chosen.shown["p"].tolist() == pytest.approx([0.95, 0.7, 0.6, 0.695])
    assert chosen.covered["file"].tolist() == ["a", "c", "e"]
    bare = ct_attention.choose_images(
        [first, second], boxes_of([]), trial="grouped.0", positive="Cancer", images=2, coverage_images=3
    )
    assert bare.shown["file"].tolist() == ["f", "b"] and bare.covered.empty


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArmMaps, pd.DataFrame, Path]:
    """A small network whose class score is the mean of its red channel's convolution: the map is the picture's red."""
    folder = tmp_path_factory.mktemp("maps")
    image = keras.Input((16, 16, 3), name="input_image")
    x = layers.Conv2D(3, 1, use_bias=False, trainable=False, name="first")(image)
    x = layers.Conv2D(2, 1, use_bias=False, name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, use_bias=False, activation="softmax", name="softmax")(x))
    model.set_weights(
        [
            np.eye(3).reshape(1, 1, 3, 3),
            np.array([[1, 0], [0, 0], [0, 0]]).reshape(1, 1, 3, 2),
            np.array([[-1, 1], [0, 0]]),
        ]
    )
    pictures = {}
    for name, (left, right) in {"a": (8, 24), "b": (0, 8)}.items():
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[8:20, left:right, 0] = 255
        Image.fromarray(pixels).save(folder / f"{name}.png")
        pictures[name] = pixels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ct_attention, "rebuild_arm", lambda facts, weights: model)
        facts = {
            "classes": CLASSES,
            "view": {
                "size": 16,
                "short_side": 16,
                "fit": "stretch",
                "crop_scale": [1.0, 1.0],
                "crop_ratio": [1.0, 1.0],
            },
        }
        frame = answers(["a.png", "b.png"], ["1", "2"], [0.9, 0.4])
        boxes = boxes_of(["a.png", "b.png"])
        chosen = ct_attention.choose_images(
            [frame], boxes, trial="grouped.0", positive="Cancer", images=3, coverage_images=9
        )
        maps, covered = ct_attention.map_arm(
            facts,
            folder,
            folder,
            boxes,
            chosen,
            frame,
            trial="grouped.0",
            positive="Cancer",
            options={"score": "log_odds", "threshold": 0.5, "found": 0.5},
            layers=2,
        )
    maps.write(folder / "maps.npz")
    covered.to_csv(folder / "coverage.tsv", sep="\t", index=False)
    return maps, covered, folder


def test_a_map_lies_where_its_evidence_is_and_boxes_are_measured_there(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    maps, covered, folder = mapped
    assert str(maps.last_name) == "second" and maps.layer_names.tolist() == ["first", "second"]
    np.testing.assert_allclose(maps.last[0], maps.images[0][..., 0] / 255, atol=1e-5)
    assert maps.boxes_of(0).tolist() == [[4, 4, 12, 10]]  # half of the image's size
    assert maps.group_sizes.tolist() == [1, 1, 2] and np.isfinite(maps.groups).all()
    assert list(covered.columns) == list(COVERAGE)
    rows = covered.set_index("file")
    assert rows["share"].tolist() == pytest.approx([1.0, 0.0]) and rows["found"].tolist() == [True, False]
    assert rows["right"].tolist() == [True, False]
    assert rows["highlighted"].tolist() == pytest.approx([16 * 12 / 32**2, 8 * 12 / 32**2])
    again, table = ArmMaps.read(folder / "maps.npz"), read_coverage(folder / "coverage.tsv")
    np.testing.assert_array_equal(again.groups, maps.groups)
    assert table["right"].tolist() == [True, False] and table["group"].tolist() == ["1", "2"]


def test_the_table_of_boxes_counts_what_is_found_and_averages_shares(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    _, covered, _ = mapped
    table = ct_attention_figures.coverage_table({"net": covered, "other": covered.iloc[:0]}, resamples=50, seed=0)
    row = table.iloc[0]
    assert len(table) == 1 and row["boxes"] == 2
    assert row["found"] == "1 of 2" and row["found, of those called rightly"] == "1 of 1"
    assert row["share of the box covered"].startswith("0.500 (")
    long = ct_attention_figures.coverage_metrics(["ct/net"], [covered], "grouped").set_index("metric")["value"]
    assert long["box_covered"] == pytest.approx(0.5) and long["box_found"] == 0.5


def test_the_figures_of_maps_have_a_picture_for_every_network_and_say_where_there_is_none(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    maps, _, _ = mapped
    shown = pd.DataFrame({"file": ["a", "b"], "group": ["1", "2"], "p": [0.9, 0.4], "right": [7, 3], "networks": 7})
    by_label = {f"network {k}": maps for k in range(7)}
    for figure, pictures in (
        (ct_attention_figures.last_maps_figure(by_label, shown), 2 * 8),
        (ct_attention_figures.layers_figure(by_label, shown), 7 * 3),
        (ct_attention_figures.averages_figure(by_label, shown), 3 * 7),
    ):
        assert sum(bool(axes.get_images()) for axes in figure.axes[:-1]) == pictures
    empty = ct_attention_figures.last_maps_figure(by_label, shown.iloc[:0])
    assert "no test image" in empty.axes[0].texts[0].get_text()
    shallow = {"net": replace(maps, layer_names=maps.layer_names[:0], layers=maps.layers[:0])}
    for images, said in ((shown, "no layers over the depth were asked for"), (shown.iloc[:0], "no test image")):
        assert said in ct_attention_figures.layers_figure(shallow, images).axes[0].texts[0].get_text()
