"""Tasks and arms of studies on folders of images: which trainings there are, and settings that cannot be followed."""

from __future__ import annotations

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.errors import DrunetError
from studies.common.images import tasks as image_tasks
from studies.common.study_settings import Study, load_studies

ROOT = Path(__file__).resolve().parents[4]
STUDIES = ("histology_distillation", "histology_resnet50")


def shipped(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / f"workflow/studies/{name}/settings.yaml").read_text(encoding="utf-8")))


def problem_with(name: str, settings: dict[str, Any]) -> str | None:
    """What the check of a study's settings ends in, or None."""
    try:
        import_module(f"studies.{name}.settings").Settings.of(settings, f"study_settings.{name}")
        image_tasks.check_tasks(name, settings)
    except DrunetError as error:
        return str(error)
    return None


@pytest.fixture
def settings() -> dict[str, Any]:
    return shipped("histology_distillation")


@pytest.mark.parametrize("name", STUDIES)
def test_the_settings_that_ship_can_be_carried_out(name: str) -> None:
    assert problem_with(name, shipped(name)) is None


@pytest.mark.parametrize("name", STUDIES)
def test_tables_name_arms_that_there_are(name: str) -> None:
    settings = shipped(name)
    assert {arm for arms in settings["tables"].values() for arm in arms} <= set(settings["arms"])


def test_trainings_are_protocols_times_folds(settings: dict[str, Any]) -> None:
    task = {**settings["tasks"]["lung"], "protocols": ["random", "grouped"], "split": {"folds": 5, "run": [0, 3]}}
    assert image_tasks.trials_of(task) == ["random.0", "random.3", "grouped.0", "grouped.3"]
    apart = {**task, "split": {"folds": 5, "run": {"random": [0], "grouped": [0, 3]}}}
    assert image_tasks.trials_of(apart) == ["random.0", "grouped.0", "grouped.3"]
    parts = {**task, "split": {"parts": {"training": 2, "validation": 1, "test": 1}}}
    assert image_tasks.trials_of(parts) == ["random.0", "grouped.0"]


def test_pictures_show_the_honest_protocol(settings: dict[str, Any]) -> None:
    task = settings["tasks"]["lung"]
    for protocols in (["random", "grouped"], ["grouped", "random"]):
        assert image_tasks.shown_trial({**task, "protocols": protocols}) == "grouped.0"
    assert image_tasks.shown_trial({**task, "protocols": ["random"]}) == "random.0"


def test_the_protocol_that_is_shown_can_be_chosen_among_those_of_the_task(settings: dict[str, Any]) -> None:
    task = settings["tasks"]["lung"]
    assert image_tasks.shown_trial({**task, "shown": "random"}) == "random.0"
    task["shown"] = "random"
    assert image_tasks.kept_trials(settings, "lung", "resnet101") == ["random.0"]
    for arm in settings["arms"].values():
        arm["only"] = None
    image_tasks.check_tasks("study", settings)
    task["shown"] = "given"
    with pytest.raises(DrunetError, match=r"tasks\.lung\.shown: unknown protocol of this task \(found: given\)"):
        image_tasks.check_tasks("study", settings)


def test_all_weights_of_a_teacher_are_kept_and_one_of_any_other(settings: dict[str, Any]) -> None:
    assert image_tasks.kept_trials(settings, "lung", "resnet50") == ["random.0", "grouped.0", "grouped.1"]
    assert image_tasks.kept_trials(settings, "lung", "resnet101") == ["grouped.0"]


def test_an_arm_trains_as_its_study_but_for_what_it_says(settings: dict[str, Any]) -> None:
    settings["arms"]["vit"]["training"] = {"learning_rate": 0.0003}
    training = image_tasks.arm_settings(settings, "vit")["training"]
    assert training == {**settings["training"], "learning_rate": 0.0003}
    assert image_tasks.arm_settings(settings, "cnn")["training"] == settings["training"]


def test_what_an_arm_is_called_decides_no_training(settings: dict[str, Any]) -> None:
    before = image_tasks.arm_settings(settings, "vit")
    settings["arms"]["vit"].update(label="another", published=None, only=None)
    assert image_tasks.arm_settings(settings, "vit") == before


def test_an_arms_task_does_not_hang_on_the_other_arms(settings: dict[str, Any]) -> None:
    before = image_tasks.arm_task(settings, "lung", "cnn")
    settings["tasks"]["lung"]["arms"].remove("vit")
    assert image_tasks.arm_task(settings, "lung", "cnn") == before


def test_an_arm_may_take_part_in_some_of_a_tasks_trainings_only(settings: dict[str, Any]) -> None:
    settings["arms"]["cnn"]["only"] = {"protocols": ["grouped"], "run": [0]}
    assert image_tasks.trials_of(image_tasks.arm_task(settings, "lung", "cnn")) == ["grouped.0"]
    settings["arms"]["cnn"]["only"] = None
    everything = ["random.0", "grouped.0", "grouped.1"]
    assert image_tasks.trials_of(image_tasks.arm_task(settings, "lung", "cnn")) == everything
    settings["arms"]["cnn"]["only"] = {"run": [0]}
    assert image_tasks.trials_of(image_tasks.arm_task(settings, "lung", "cnn")) == ["random.0", "grouped.0"]


@pytest.mark.parametrize("arm", ["vit", "mfstudentlnet"])
def test_an_arm_that_is_null_is_left_out(arm: str) -> None:
    study = loaded("histology_distillation", {"arms": {arm: None}})
    assert study.problem is None
    assert problem_with("histology_distillation", study.settings) is None
    assert arm not in image_tasks.arms_of(study.settings, "lung")


def test_the_picture_is_of_the_arm_that_is_named_where_it_is_trained(settings: dict[str, Any]) -> None:
    assert image_tasks.pictured(settings, "attention") == "lung/mfstudentlnet"
    settings["tasks"]["lung"]["arms"].remove("mfstudentlnet")
    assert image_tasks.pictured(settings, "attention") == "lung_and_colon/mfstudentlnet"
    settings["arms"]["mfstudentlnet"] = None
    assert image_tasks.pictured(settings, "attention") is None


def test_classes_of_all_tasks_are_listed_once(settings: dict[str, Any]) -> None:
    assert image_tasks.classes_of(settings) == ["lung_aca", "lung_n", "lung_scc", "colon_aca", "colon_n"]


def changed(settings: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(settings)
    *parents, key = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    place[key] = value
    return result


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("images.root", "nowhere", ["no such path", "nowhere", "images.root"]),
        ("images.groups", "nowhere.csv", ["no such path", "nowhere.csv", "images.groups"]),
        ("tasks", {"lung": None}, ["no task is left"]),
        ("tasks.lung.arms", ["resnet18", "vitt"], ["unknown arm", "vitt", "Did you mean vit?"]),
        ("tasks.lung.split", {"folds": 3, "run": [0, 3]}, ["no such fold", "found: 3", "0 to 2"]),
        ("tasks.lung.split", {"folds": 3, "run": {"grouped": [4]}}, ["no such fold", "found: 4", "0 to 2"]),
        ("arms.mfstudentlnet.teacher", "resnet5", ["unknown teacher", "resnet5", "Did you mean resnet50?"]),
        ("arms.mfstudentlnet.teacher", "knn", ["unknown teacher", "another network of the same task"]),
        ("arms.mfstudentlnet.teacher", "mfstudentlnet", ["unknown teacher"]),
        ("arms.resnet50", None, ["unknown teacher", "resnet50"]),
        ("arms.resnet50.teacher", "vit", ["the teacher has a teacher itself"]),
        (
            "arms.resnet50.only",
            {"protocols": ["grouped"]},
            ["its teacher is not trained on the same sides", "random.0"],
        ),
        ("arms.cnn.only", {"protocols": ["random"]}, ["it leaves out what is shown", "grouped.0"]),
        ("tasks.lung.arms", ["svm", "knn"], ["no network is left"]),
        ("arms.cnn.label", "ViT", ["two arms have one label", "ViT"]),
        ("attention.arm", "mfstudentnet", ["unknown arm", "Did you mean mfstudentlnet?"]),
        ("arms.cnn.architecture", "plain_cn", ["unknown architecture", "plain_cn", "plain_cnn"]),
    ],
)
def test_settings_that_cannot_be_carried_out_end_in_one_message(
    settings: dict[str, Any], path: str, value: Any, words: list[str]
) -> None:
    message = problem_with("histology_distillation", changed(settings, path, value))
    assert message is not None
    assert message.startswith("study_settings.histology_distillation") or "architecture" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("confused.classes", ["lung_aca", "squamous"], ["unknown class", "squamous", "lung_scc"]),
        ("tasks.other", {"classes": ["lung_aca", "lung_scc"]}, ["this study has one task", "lung, other"]),
    ],
)
def test_what_the_page_of_resnet50_cannot_show_is_refused(path: str, value: Any, words: list[str]) -> None:
    settings = shipped("histology_resnet50")
    if isinstance(value, dict):
        value = {**settings["tasks"]["lung"], **value}
    message = problem_with("histology_resnet50", changed(settings, path, value))
    assert message is not None
    for word in words:
        assert word in message


def loaded(name: str, given: dict[str, Any]) -> Study:
    """A study as a configuration gets it that sets this for it."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config = {**config, "study_settings": {name: given}}
    return load_studies(config, ROOT / "workflow/studies")[0][name]


def problem_of(name: str, given: dict[str, Any]) -> str | None:
    """What a configuration that sets this for a study is told, by its schema."""
    return loaded(name, given).problem


@pytest.mark.parametrize("name", STUDIES)
def test_the_settings_that_ship_fit_what_all_image_studies_share(name: str) -> None:
    assert problem_of(name, {}) is None


def test_a_split_into_parts_takes_the_place_of_folds() -> None:
    parts = {"training": 8, "validation": 1, "test": 1}
    assert problem_of("histology_distillation", {"tasks": {"lung": {"split": {"parts": parts}}}}) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"view": {"sizes": 32}}, ["view", "sizes", "size"]),
        ({"training": {"decay": {"factor": 0}}}, ["decay", "factor"]),
        ({"tasks": {"lung": {"protocols": ["leaking"]}}}, ["protocols", "leaking"]),
        ({"tasks": {"lung": {"split": {"folds": 5}}}}, ["split"]),
        ({"distillation": {"temperature": 0.5}}, ["temperature"]),
        ({"arms": {"svm": {"classic": "svn"}}}, ["arms", "svm"]),
    ],
)
def test_a_slip_in_a_study_of_images_is_named(given: dict[str, Any], words: list[str]) -> None:
    problem = problem_of("histology_distillation", given)
    assert problem is not None
    for word in words:
        assert word in problem


def test_an_arm_sees_as_its_study_but_for_what_it_says(settings: dict[str, Any]) -> None:
    assert image_tasks.arm_view(settings, "vit") == settings["view"]
    settings["arms"]["vit"].update(view={"size": 64, "short_side": 72}, sees={"border": 0.1})
    expected = {**settings["view"], "size": 64, "short_side": 72, "sees": {"border": 0.1}}
    assert image_tasks.arm_view(settings, "vit") == expected
    # Told once: what trains an arm is not told it a second time.
    assert not {"view", "sees"} & set(image_tasks.arm_settings(settings, "vit"))


def test_given_parts_are_one_training_beside_folds(settings: dict[str, Any]) -> None:
    task = {**settings["tasks"]["lung"], "protocols": ["given", "grouped"], "split": {"folds": 5, "run": [1, 3]}}
    assert image_tasks.trials_of(task) == ["given.0", "grouped.1", "grouped.3"]
    assert image_tasks.shown_trial(task) == "grouped.1"
    assert image_tasks.shown_trial({**task, "protocols": ["given", "random"]}) == "given.0"
