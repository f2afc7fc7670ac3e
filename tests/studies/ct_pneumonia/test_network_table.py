"""Models made of a table of networks: what ships, what settings change, and tables that cannot be used."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.errors import ConfigError
from drunet.models import backbones, image_normalisation
from drunet.models.names import APPLICATIONS, NORMALISATIONS
from studies.common.images import tasks as image_tasks
from studies.common.study_settings import load_studies
from studies.ct_pneumonia.network_table import COLUMNS, read_table, with_networks

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / "workflow/studies/ct_pneumonia"
Json = dict[str, Any]
# What the authors' code says: dense, dropout, learning rate, epsilon, size, scaling.
UPSTREAM = {
    "DenseNet121": ([256], 0.5, 6e-5, 1e-2, 224, "symmetric"),
    "MobileNetV2": ([256], 0.3, 1e-5, 5e-3, 320, "symmetric"),
    "InceptionV3": ([256], 0.3, 1e-5, 1e-2, 299, "none"),
    "InceptionResNetV2": ([512], 0.5, 1e-4, 7.5e-2, 299, "symmetric"),
    "ResNet50": ([256, 128], 0.3, 5e-5, 1e-2, 224, "caffe"),
    "ResNet101": ([512, 256], 0.3, 1e-5, 1e-2, 224, "caffe"),
    "VGG16": ([256], 0.0, 5e-6, 1e-2, 320, "none"),
    "VGG19": ([256], 0.0, 5e-6, 5e-3, 320, "none"),
    "Xception": ([256, 128], 0.5, 1e-4, 1e-1, 299, "none"),
}
PUBLISHED: Json = {
    "table": "networks.tsv",
    "size": None,
    "weights": "imagenet",
    "freeze": "published",
    "learning_rate": None,
    "epsilon": None,
}


def settings_of(arms: Json | None = None, **networks: Any) -> Json:
    return {"networks": {**PUBLISHED, **networks}, "arms": arms or {}}


def arms_of(arms: Json | None = None, **networks: Any) -> Json:
    return dict(with_networks(settings_of(arms, **networks), HOME, "here")["arms"])


def shipped() -> Json:
    return dict(yaml.safe_load((HOME / "settings.yaml").read_text(encoding="utf-8")))


def test_the_table_that_ships_says_what_the_authors_code_says() -> None:
    found = {
        arm["published"]: (
            arm["options"]["dense_units"],
            arm["options"]["dropout"],
            arm["training"]["learning_rate"],
            arm["training"]["epsilon"],
            arm["view"]["size"],
            arm["options"]["normalise"],
        )
        for arm in arms_of().values()
    }
    assert found == UPSTREAM
    without = [arm["label"] for arm in arms_of().values() if not arm["options"]["first_dropout"]]
    assert without == ["Xception"]


def test_input_sizes_are_those_of_the_published_table() -> None:
    with (HOME / "published.tsv").open(encoding="utf-8") as file:
        published = {row["model"]: int(row["input_size"]) for row in csv.DictReader(file, delimiter="\t")}
    assert {arm["published"]: arm["view"]["size"] for arm in arms_of().values()} == published


def test_size_rates_and_frozen_share_of_all_networks_can_be_set() -> None:
    for arm in arms_of(size=48, learning_rate=0.001, epsilon=1e-7, freeze=0.7).values():
        assert arm["view"] == {"size": 48, "short_side": 48}
        assert arm["training"] == {"learning_rate": 0.001, "epsilon": 1e-7}
        assert arm["freeze_fraction"] == 0.7 and "trainable_layers" not in arm["options"]


def test_each_network_may_have_a_size_of_its_own_and_the_others_keep_the_tables() -> None:
    arms = arms_of(size={"vgg16": 64})
    assert arms["vgg16"]["view"] == {"size": 64, "short_side": 64}
    assert arms["vgg19"]["view"] == {"size": 320, "short_side": 320}
    with pytest.raises(ConfigError, match=r"networks\.size: the table has no such arm \(found: vgg61\)"):
        arms_of(size={"vgg61": 64})


def test_settings_differ_from_a_row_by_what_they_say_alone() -> None:
    rows = arms_of()
    arms = arms_of({"vgg16": {"options": {"dropout": 0.2}, "training": {"epochs": 3}}, "vgg19": None})
    assert arms["vgg16"]["options"] == {**rows["vgg16"]["options"], "dropout": 0.2}
    assert arms["vgg16"]["training"] == {**rows["vgg16"]["training"], "epochs": 3}
    assert arms["vgg19"] is None
    assert {k: v for k, v in arms.items() if not k.startswith("vgg")} == {
        k: v for k, v in rows.items() if not k.startswith("vgg")
    }


def test_an_arm_like_another_is_it_but_for_its_name_and_what_it_says() -> None:
    own = {
        "mobilenetv2": {"only": {"protocols": ["grouped"]}, "options": {"dropout": 0.1}},
        "border": {"like": "mobilenetv2", "label": "border", "sees": {"border": 0.1}},
        "narrow": {"like": "border", "label": "narrow", "sees": {"border": 0.05}},
    }
    arms = arms_of(own)
    expected = {k: v for k, v in arms["mobilenetv2"].items() if k not in ("label", "published", "only")}
    assert arms["border"] == {**expected, "label": "border", "published": None, "sees": {"border": 0.1}}
    assert arms["narrow"] == {**arms["border"], "label": "narrow", "sees": {"border": 0.05}}


def test_a_file_of_weights_is_handed_to_its_own_network_alone() -> None:
    files = {name: f"/weights/{name}.h5" for name in APPLICATIONS}
    assert arms_of(weights=files)["vgg16"]["weights"] == {"vgg16": "/weights/vgg16.h5"}
    del files["vgg16"]
    with pytest.raises(ConfigError, match=r"here\.networks\.weights: a backbone has no file .*vgg16"):
        arms_of(weights=files)
    assert arms_of({"vgg16": None}, weights=files)["vgg16"] is None


def test_the_settings_that_ship_can_be_carried_out() -> None:
    settings = with_networks(shipped(), HOME, "here")
    image_tasks.check_tasks("ct_pneumonia", settings)
    known = {name for names in settings["tables"].values() for name in names}
    assert known <= set(settings["arms"]) and settings["positive"] in image_tasks.classes_of(settings)
    assert set(image_tasks.arms_of(settings, "ct")) == set(settings["arms"])


def test_a_study_whose_table_is_bad_says_so() -> None:
    problem = problem_of(networks={"table": "absent.tsv"})
    assert problem is not None
    assert problem.startswith("study_settings.ct_pneumonia.networks.table: there is no such table")


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (
            {"a": {"like": "mobilnetv2", "label": "A"}},
            "arms.a: it is like an arm that there is not (found: mobilnetv2)",
        ),
        ({"vgg16": None, "a": {"like": "vgg16", "label": "A"}}, "arms.a: it is like an arm that there is not"),
        ({"a": {"like": "b"}, "b": {"like": "a"}}, "circular `like` reference (found: a, b, a)"),
        ({"vgg17": {"only": None}}, "arms.vgg17: an arm is not told in full (found: without label, published"),
        ({"a": {"like": "vgg16"}}, "arms.a: an arm is not told in full (found: without label)"),
    ],
)
def test_an_arm_that_says_too_little_is_refused_in_one_line(arms: Json, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        arms_of(arms)
    assert words in str(caught.value) and "\n" not in str(caught.value)


ROW = "a\tA\tvgg16\t224\tnone\t256,128\t0.5\ttrue\t1e-5\t1e-2\t7"


def table_of(folder: Path, *lines: str, header: str = "\t".join(COLUMNS)) -> str:
    (folder / "own.tsv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return str(folder / "own.tsv")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("arm", "a/b"),
        ("label", ""),
        ("backbone", "vgg17"),
        ("size", "31"),
        ("size", "224.5"),
        ("normalise", "zero"),
        ("dense", "256,"),
        ("dense", "0"),
        ("dropout", "1"),
        ("dropout", "nan"),
        ("first_dropout", "yes"),
        ("learning_rate", "fast"),
        ("learning_rate", "0"),
        ("epsilon", "inf"),
        ("trainable_layers", "-1"),
    ],
)
def test_a_cell_that_is_no_such_value_is_named_by_row_and_column(tmp_path: Path, column: str, value: str) -> None:
    cells = (
        dict(zip(COLUMNS, ROW.split("\t"), strict=True)) | {column: value, "arm": "b", "label": "B"} | {column: value}
    )
    with pytest.raises(ConfigError) as caught:
        read_table(table_of(tmp_path, ROW, "\t".join(cells.values())), tmp_path, "networks")
    message = str(caught.value)
    place = {"256,": "dense.1", "0": "dense.0"}.get(value, "dense") if column == "dense" else column
    found = value.removeprefix("256,")
    assert message.startswith(f"networks.table, row 3.{place}: ") and f"(found: {found}" in message.replace("'", "")
    assert "\n" not in message
    assert column != "backbone" or "Did you mean vgg1" in message


@pytest.mark.parametrize(
    ("lines", "header", "words"),
    [
        ([ROW], "\t".join(COLUMNS[:-1]), "row 1: a column is missing or wrong (found: trainable_layers)"),
        ([ROW], "\t".join([*COLUMNS, "epochs"]), "row 1: a column is missing or wrong (found: epochs)"),
        ([ROW], "\t".join([*COLUMNS, "arm"]), "row 1: a column is missing or wrong (found: arm)"),
        ([ROW, ROW], "\t".join(COLUMNS), "row 3: an arm stands twice (found: a)"),
        ([ROW, "b\tB"], "\t".join(COLUMNS), "row 3: a row of another length (found: 2)"),
        (["a" * 140_000], "\t".join(COLUMNS), "table: the table cannot be read (found: Error)"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, lines: list[str], header: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_table(table_of(tmp_path, *lines, header=header), tmp_path, "networks")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_users_own_table_makes_its_arms(tmp_path: Path) -> None:
    row = read_table(table_of(tmp_path, ROW, ""), HOME, "networks")["a"]
    assert row.dense == [256, 128] and row.trainable_layers == 7 and row.first_dropout is True
    bare = ROW.replace("256,128", "").removesuffix("7")
    arms = arms_of(table=table_of(tmp_path, bare))
    assert arms["a"]["options"]["dense_units"] == [] and "trainable_layers" not in arms["a"]["options"]


def test_names_told_without_keras_are_those_that_keras_knows() -> None:
    assert tuple(backbones.BACKBONES) == tuple(APPLICATIONS)
    # Neither the absence of a scaling nor the choice of one is a scaling.
    for how in set(NORMALISATIONS) - {"none", "own"}:
        image_normalisation.ImageNormalisation(how)
    for how in ("none", "own"):
        with pytest.raises(ValueError):
            image_normalisation.ImageNormalisation(how)


# Through the models, as the workflow reads them


def problem_of(**changes: Any) -> str | None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["study_settings"], config["studies"] = {"ct_pneumonia": changes}, []
    return load_studies(config, HOME.parent)[0]["ct_pneumonia"].problem


def test_what_a_user_changes_passes_the_models() -> None:
    assert problem_of(arms={"vgg16": {"options": {"dropout": 0.2}}, "vgg19": None}) is None
    assert problem_of(tasks={"ct": {"protocols": ["random", "grouped"]}}, networks={"size": None}) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": {"border": {"sees": {"border": 0.7}}}}, "sees"),
        ({"arms": {"vgg16": {"view": {"size": 8}}}}, "view"),
        ({"arms": {"vgg16": {"dropout": 0.1}}}, "dropout"),
        ({"networks": {"freeze": "all"}}, "freeze"),
        ({"networks": {"epsilon": 0}}, "epsilon"),
        ({"collect": {"window": {"centre": 0, "width": 0}}}, "width"),
        ({"collect": {"root": "/absent"}}, "study_settings.ct_pneumonia.collect.root: there is no such path."),
        ({"collect": {"sources": str(ROOT / "config.yaml")}}, "collect.sources: it tells of files that are not named"),
        ({"collect": {"root": "Doe^Jane" * 40}}, "collect.root: there is no such path. "),
        ({"images": {"root": str(ROOT)}}, "images.root: this study reads what it collects. "),
        ({"networks": {"table": "a" * 300}}, "networks.table: there is no such table"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: Json, words: str) -> None:
    problem = problem_of(**changes)
    assert problem is not None and words in problem and "\n" not in problem
