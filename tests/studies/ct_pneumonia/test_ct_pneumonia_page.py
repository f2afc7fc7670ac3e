"""The page of the study of cancer against pneumonia, from made-up predictions: tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from image_answers import write_study
from PIL import Image
from sklearn.metrics import roc_auc_score

from drunet.errors import ConfigError
from drunet.files import read_published
from drunet.settings.merging import merged
from studies.common.images import tables as study
from studies.common.images import tasks as image_tasks
from studies.common.page import render_section
from studies.common.study_settings import without_paths
from studies.ct_pneumonia import tables
from studies.ct_pneumonia.network_table import with_networks
from studies.ct_pneumonia.settings import completed

HOME = Path(__file__).parents[3] / "workflow/studies/ct_pneumonia"
PUBLISHED = read_published(HOME / "published.tsv")
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
COLLECTED = {
    "images": 120,
    "dicom": 60,
    "annotated": 58,
    "unreadable": 1,
    "passed_over": 0,
    "annotation_without_dicom": 2,
}
# The probe's models, under both protocols where they take part.
PROBES = {"border": 3.0, "blur": 0.0, "file_statistics": 0.0}
PROTOCOLS = ("random", "given", "grouped")


def settings_of(**blocks: dict[str, Any]) -> dict[str, Any]:
    """Settings as a user would change them, with the models that they make."""
    plain = yaml.safe_load((HOME / "settings.yaml").read_text(encoding="utf-8"))
    return {**with_networks(merged(plain, blocks), HOME, "study"), "embedded": True}


def make(folder: Path, probes: dict[str, float]) -> dict[str, Any]:
    settings = settings_of()
    skills = {arm: {"random": 3.0, "given": 4.0, "grouped": 2.0} for arm in settings["arms"]}
    skills |= {arm: dict.fromkeys(PROTOCOLS, skill) for arm, skill in probes.items()}
    found = write_study(folder, settings, skills, sources=20)
    keys = ("arms", "predictions", "facts", "networks", "histories")
    arms = study.read_arms(settings["arms"], *(found[key] for key in keys))
    scores = study.summaries(arms, resamples=100, seed=0, positive="Cancer")
    leak = study.leaks(arms, pd.read_csv(found["images"], sep="\t"))
    return {"arms": arms, "scores": scores, "settings": settings, "leak": leak}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make(tmp_path_factory.mktemp("ct"), PROBES)


def view_of(made: dict[str, Any], covered: pd.DataFrame | None = None) -> dict[str, Any]:
    return tables.page_view(
        made["scores"],
        made["leak"],
        made["arms"],
        without_paths(made["settings"]),
        PUBLISHED,
        pd.DataFrame() if covered is None else covered,
        grouping=GROUPING,
        collected=COLLECTED,
    )


def page_of(made: dict[str, Any], folder: Path, covered: pd.DataFrame | None = None, **changes: Any) -> str:
    """The words of the page; changes are of its view."""
    view = view_of(made, covered)
    (folder / "figures").mkdir(exist_ok=True)
    drawn = (
        "protocols",
        "roc",
        "probe",
        "confusion",
        "losses",
        "accuracies",
        "attention_last",
        "attention_layers",
        "attention_averages",
    )
    for name in drawn:
        Image.new("RGB", (40, 20), "white").save(folder / "figures" / f"{name}.png")
    section = render_section(folder, HOME / "page.md.j2", {**view, **changes})
    assert all(f"figures/{name}.png" in section.html for name in drawn) and "> " not in section.text
    return section.text


def test_every_network_stands_below_its_published_figures_with_scores_of_finding_cancer(made: dict[str, Any]) -> None:
    table = view_of(made)["performance"]
    assert list(table["network"].unique()) == list(PUBLISHED["model"])
    rows = table.set_index(["network", "split"])
    assert rows.loc[("VGG16", "random, published"), "specificity"] == "0.927"
    part = next(arm for arm in made["arms"] if arm.name == "resnet50").of("grouped")
    said, own = part["p_Cancer"] > part["p_Non-cancer"], part["label"] == "Cancer"
    by_hand = {"sensitivity (recall)": (said & own).sum() / own.sum(), "precision": (said & own).sum() / said.sum()}
    by_hand["specificity"] = (~said & ~own).sum() / (~own).sum()
    by_hand["AUC"] = roc_auc_score(own, part["p_Cancer"])
    for column, value in by_hand.items():
        assert rows.loc[("ResNet50", "grouped"), column].startswith(f"{value:.3f} ("), column


def test_what_is_said_of_maps_is_what_was_differentiated(made: dict[str, Any], tmp_path: Path) -> None:
    assert "this study uses its log odds" in page_of(made, tmp_path)
    assert "this study uses its logarithm" in page_of(made, tmp_path, score="log_probability")
    text = page_of(made, tmp_path, score="probability")
    assert "so does this study, although it vanishes" in text and "log odds" not in text


def test_the_page_says_what_a_reader_must_know(made: dict[str, Any], tmp_path: Path) -> None:
    text = page_of(made, tmp_path)
    assert "The data set has 120 images." in text and "published 0.907 to 0.977, on their own images" in text
    shares = made["leak"].set_index("protocol")["leak"]
    assert "training set: " + ", ".join(f"{100 * v:.0f} % under the {k} split" for k, v in shares.items()) in text
    for name, words in (("border", "border alone (outer 10 % of each side, inside black)"), ("blur", "blurred (image")):
        part = next(arm for arm in made["arms"] if arm.name == name).of("grouped")
        auc = roc_auc_score(part["label"] == "Cancer", part["p_Cancer"])
        assert words in text and f"{auc:.3f} (" in text.partition(words)[2][:90]
    none = [arm for arm in made["arms"] if not tables.is_probe(made["settings"]["arms"][arm.name])]
    assert "No source probe was run." in page_of({**made, "arms": none}, tmp_path)
    for said in (
        "does not mean that there is no bias",
        "They have no medical meaning",
        "in a window of 1 500 HU around −600 HU",
        "Annotations that fit no slice: 2.",
        "Files that could not be read: 1.",
        "no annotated image is in the test set",
        "Confidence intervals resample these groups",
        "A test set from the same two sources cannot show that",
        "not where the tumour is",
    ):
        assert said in text, said
    assert "LC25000" not in text and "patient ID" not in text and "under a random split" in text
    counts = {"images": 1014, "sources": 101, "of_images": 31000, "of_sources": 355}
    collected = {**COLLECTED, "without_patient": 12, "passed_over": 3, "drawn": {"Cancer": counts}, "balanced": True}
    page = page_of(made, tmp_path, collected=collected)
    assert "DICOM files without a patient ID: 12." in page and "which were passed over: 3." in page
    assert (
        "Of Cancer, 1 014 images of 101 patients or other sources were drawn at random, from 31 000 of 355, to balance"
        in page
    )


def test_the_size_of_each_network_stands_beside_the_published_one(made: dict[str, Any]) -> None:
    table = tables.parameters_table(made["arms"], PUBLISHED, made["settings"]).set_index("network")
    columns = ["million parameters", "million, published", "input, published"]
    assert table.loc["VGG19", columns].tolist() == [23.6, "20.1", "320"]
    assert table.loc["ResNet101", "million, published"] == "" and (table["trainable (million)"] == 1.2).all()


@pytest.mark.slow
def test_the_probes_figure_has_networks_apart_from_probes_and_chance_of_the_test_images(made: dict[str, Any]) -> None:
    points = tables.probe_points(made["scores"], tables.probing_arms(made["arms"], made["settings"]))
    assert list(points["row"].unique()) == ["MobileNetV2", "border alone", "blurred", "file statistics"]
    first = points[(points["row"] == "MobileNetV2") & (points["metric"] == "auc")].set_index("group")["mean"]
    known = made["scores"].query("key == 'ct/mobilenetv2' and metric == 'auc'").set_index("protocol")["mean"]
    assert first.to_dict() == known.to_dict()
    tested = made["arms"][0].of("grouped")["label"].value_counts()
    assert tables.chance(made["arms"], made["scores"]) == tested.max() / tested.sum()
    drawn = tables.figures(made["scores"], made["leak"], made["arms"], made["settings"])
    assert list(drawn) == ["protocols", "roc", "probe", "confusion", "losses", "accuracies"]
    assert [text.get_text() for text in drawn["probe"].axes[1].texts] == ["chance", "alarm"]
    part = next(arm for arm in made["arms"] if arm.name == "densenet121").of("grouped")
    said, own = part["p_Cancer"] > part["p_Non-cancer"], part["label"] == "Cancer"
    panels = {axes.get_title(loc="left"): axes for axes in drawn["confusion"].axes}
    panel = panels[f"grouped split, {len(part)} test images\nDenseNet121"]
    counts = [int(text.get_text().split()[0]) for text in panel.texts]
    # Rows are true: Non-cancer, Cancer.
    assert counts == [(~said & ~own).sum(), (said & ~own).sum(), (~said & own).sum(), (said & own).sum()]
    assert "border alone" not in panels


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"positive": "cancer"}, "positive"),
        ({"attention": {**settings_of()["attention"], "layers_of": {"resnet": 3}}}, "attention.layers_of.resnet"),
        ({"attention": {**settings_of()["attention"], "layer": {"inception": "mixed10"}}}, "attention.layer.inception"),
    ],
)
def test_a_class_or_an_arm_that_there_is_not_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"study_settings\.ct_pneumonia\.{key}"):
        image_tasks.check_tasks("ct_pneumonia", {**settings_of(), **change})


def test_a_draw_of_a_class_that_there_is_not_is_refused() -> None:
    plain = yaml.safe_load((HOME / "settings.yaml").read_text(encoding="utf-8"))
    plain["collect"]["draw"] = {"cancer": {"images": 3}}
    with pytest.raises(ConfigError, match=r"collect\.draw: unknown class \(found: cancer\)\. Did you mean Cancer"):
        completed("ct_pneumonia", plain)
    # Of a study on other classes nothing is drawn where nothing is asked for.
    plain["collect"]["draw"] = {"Benign": None}
    completed("ct_pneumonia", plain)


def test_a_study_of_probes_alone_is_refused() -> None:
    settings = settings_of()
    settings["tasks"]["ct"]["arms"] = ["border", "blur"]
    with pytest.raises(ConfigError, match="sees whole images"):
        image_tasks.check_tasks("ct_pneumonia", settings)
