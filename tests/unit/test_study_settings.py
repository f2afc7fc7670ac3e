"""Models that are like others, models that start from others, and the settings of studies."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from drunet.configuration import check_references, check_schema, merged, resolve_models, start_of
from drunet.demo.slides import SLIDES
from drunet.errors import ConfigError
from drunet.studies.network_table import with_networks
from drunet.study_settings import Study, at_fault, load_studies, targets_of, with_studies, without_paths

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def shipped() -> Json:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def main_schema() -> Json:
    return dict(yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")))


def shipped_studies(config: Json) -> dict[str, Study]:
    """The studies that ship, as the workflow reads them: it makes the demo slides itself."""
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    return load_studies(config, ROOT / "resources/studies", ROOT / "workflow/schemas/studies", main_schema(), made)


@pytest.fixture
def config() -> Json:
    return shipped()


def problem_of(config: Json) -> str:
    with pytest.raises(ConfigError) as caught:
        check_references(resolve_models(config))
    message = str(caught.value)
    assert "\n" not in message
    return message


# Like another model


def test_a_model_like_another_differs_in_what_it_says_and_nothing_else(config: Json) -> None:
    config["classifiers"]["short"] = {"like": "dr_fused", "training": {"epochs": 2}, "data": {"cohorts": ["here"]}}
    resolved = resolve_models(config)["classifiers"]
    expected = copy.deepcopy(config["classifiers"]["dr_fused"])
    expected["training"]["epochs"] = 2
    expected["data"]["cohorts"] = ["here"]
    assert resolved["short"] == expected
    assert resolved["dr_fused"] == config["classifiers"]["dr_fused"]


def test_likeness_goes_over_several_steps_in_any_order_of_the_file(config: Json) -> None:
    config["classifiers"] = {
        "third": {"like": "second", "freeze_fraction": 0.5},
        "second": {"like": "dr_fused", "weights": "imagenet"},
        **config["classifiers"],
    }
    third = resolve_models(config)["classifiers"]["third"]
    assert (third["freeze_fraction"], third["weights"], third["architecture"]) == (0.5, "imagenet", "dr_fused")


def test_blocks_that_mean_something_only_as_a_whole_are_not_mixed(config: Json) -> None:
    base = config["classifiers"]["dr_fused"]
    base["weights"] = {"densenet201": "d.h5", "resnet101v2": "r.h5"}
    base["loss"] = {"name": "focal", "gamma": 2.0, "class_weights": None}
    config["classifiers"]["other"] = {
        "like": "dr_fused",
        "weights": {"model": "dr_fused"},
        "loss": {"name": "cross_entropy", "class_weights": "balanced"},
        "augment": {"multi_lens": {"lenses": 2, "radius": [3, 5], "strength": [0, 0.1]}},
    }
    other = resolve_models(config)["classifiers"]["other"]
    assert other["weights"] == {"model": "dr_fused"}
    assert other["loss"] == {"name": "cross_entropy", "class_weights": "balanced"}
    assert "probability" not in other["augment"]["multi_lens"]
    assert other["augment"]["flip"] is True


def test_options_of_one_architecture_never_reach_another(config: Json) -> None:
    config["refiners"]["nine"] = {"like": "unet", "architecture": "h2gnet_unet", "options": {"size": 256}}
    config["refiners"]["bare"] = {"like": "unet", "architecture": "h2gnet_unet"}
    resolved = resolve_models(config)["refiners"]
    assert resolved["nine"]["options"] == {"size": 256}
    assert resolved["bare"]["options"] == {}


def test_what_is_like_another_is_a_copy_of_it() -> None:
    base = {"a": {"b": [1]}}
    copied = merged(base, {"a": {"c": 2}})
    copied["a"]["b"].append(3)
    assert base == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"one": {"like": "dr_fusd"}}, ("classifiers.one.like", "unknown model", "Did you mean dr_fused?")),
        ({"one": {"like": "two"}, "two": {"like": "one"}}, ("circle", "Write one of them out")),
        ({"one": {"like": "one"}}, ("circle",)),
    ],
)
def test_a_likeness_that_leads_nowhere_is_refused(config: Json, models: Json, said: tuple[str, ...]) -> None:
    config["classifiers"].update(models)
    message = problem_of(config)
    assert all(part in message for part in said)


# Starting from another model


def test_a_fine_tuned_model_names_its_start(config: Json) -> None:
    config["classifiers"]["tuned"] = {"like": "dr_fused", "weights": {"model": "dr_fused"}}
    resolved = resolve_models(config)
    check_schema(resolved, main_schema())
    check_references(resolved)
    assert start_of(resolved["classifiers"]["tuned"]) == "dr_fused"
    assert start_of(resolved["classifiers"]["dr_fused"]) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "h2gnet_classifier"}, ("another network", "dr_fused: dr_fused", "here: h2gnet_classifier")),
        ({"options": {"dense_units": 64}}, ("another network", "dense_units")),
        ({"weights": {"model": "dr_fuse"}}, ("weights.model", "unknown classifier", "Did you mean dr_fused?")),
        ({"weights": {"model": "tuned"}}, ("circle",)),
        ({"weights": {"model": "dr_fused", "densenet201": "d.h5"}}, ("one model and nothing else",)),
        ({"weights": {"model": "finished"}}, ("cannot be trained further", "finished", "weights file")),
    ],
)
def test_a_start_that_does_not_fit_is_refused(config: Json, change: Json, said: tuple[str, ...]) -> None:
    config["classifiers"]["finished"] = {"onnx": "finished.onnx"}
    config["classifiers"]["tuned"] = {"like": "dr_fused", "weights": {"model": "dr_fused"}, **change}
    message = problem_of(config)
    assert "classifiers.tuned.weights.model" in message
    assert all(part in message for part in said)


def test_dropout_and_size_may_change_between_a_start_and_what_starts_from_it(config: Json) -> None:
    config["refiners"]["tuned"] = {
        "like": "unet",
        "weights": {"model": "unet"},
        "options": {**config["refiners"]["unet"]["options"], "size": 512, "spatial_dropout": 0.0},
    }
    check_references(resolve_models(config))


def test_a_refiner_has_no_imagenet_weights(config: Json) -> None:
    config["refiners"]["unet"]["weights"] = "imagenet"
    assert "no ImageNet weights of a refiner" in problem_of(config)


def test_a_first_model_is_another_one_that_there_is(config: Json) -> None:
    sampling = {"strategy": "induced_imbalance", "first_model": "dr_fuse", "tumour": 40, "non_tumour": 50, "hard": 10}
    config["classifiers"]["second"] = {"like": "dr_fused", "data": {"sampling": sampling}}
    assert "Did you mean dr_fused?" in problem_of(config)
    sampling["first_model"] = "second"
    assert "each other's first model" in problem_of(config)


# Studies

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "repeats": {"type": "integer", "minimum": 1},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "models": {"type": "array", "items": {"type": "string"}},
        "arms": {"type": "object"},
        "reference": {"type": "string"},
    },
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    defaults, schemas = tmp_path / "studies", tmp_path / "schemas"
    for folder in (defaults, schemas):
        folder.mkdir()
    settings = {"repeats": 3, "classifiers": {"small": {"like": "dr_fused", "training": {"epochs": 1}}}}
    (defaults / "moon.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (schemas / "moon.schema.yaml").write_text(yaml.safe_dump(SCHEMA), encoding="utf-8")
    return defaults, schemas


def test_a_study_brings_its_models_along_in_full(config: Json, folders: tuple[Path, Path]) -> None:
    studies = load_studies(config, *folders, main_schema())
    assert studies["moon"].problem is None
    assert studies["moon"].settings == {"repeats": 3}
    everything = with_studies(config, studies)
    assert everything["classifiers"]["small"]["training"]["epochs"] == 1
    assert everything["classifiers"]["small"]["architecture"] == "dr_fused"
    assert set(config["classifiers"]) == {"dr_fused"}, "the configuration itself is left alone"


def test_the_configuration_overrides_a_studys_settings_and_models(config: Json, folders: tuple[Path, Path]) -> None:
    config["study_settings"] = {"moon": {"repeats": 5, "classifiers": {"small": {"training": {"epochs": 9}}}}}
    study = load_studies(config, *folders, main_schema())["moon"]
    assert study.settings == {"repeats": 5}
    assert study.blocks["classifiers"]["small"]["training"]["epochs"] == 9


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"repeats": 0}, ("study_settings.moon.repeats", "at least 1")),
        ({"repeat": 2}, ("study_settings.moon", "unknown key", "Did you mean repeats?")),
        ({"classifiers": {"small": {"like": "dr_lost"}}}, ("classifiers.small.like", "dr_lost")),
        ({"classifiers": {"dr_fused": {"like": "small"}}}, ("would replace", "dr_fused")),
        ({"labels": {"I": "drunett"}}, ("study_settings.moon.labels.I", "unknown run", "Did you mean drunet?")),
        ({"arms": {"one": {"classifier": "smal"}}}, ("study_settings.moon.arms.one.classifier", "Did you mean small?")),
        ({"arms": {"one": None}}, ("study_settings.moon.arms", "no arm is left")),
        (
            {"arms": {"one": {"classifier": "small"}}, "reference": "two"},
            ("study_settings.moon.reference", "unknown arm", "two"),
        ),
        ({"models": ["smal"]}, ("study_settings.moon.models", "unknown classifier", "Did you mean small?")),
        (
            {"runs": {"night": {"classifier": "smal", "refiner": None}}},
            ("runs.night.classifier", "Did you mean small?"),
        ),
    ],
)
def test_a_study_that_does_not_fit_says_why_and_brings_nothing(
    config: Json, folders: tuple[Path, Path], given: Json, said: tuple[str, ...]
) -> None:
    config["study_settings"] = {"moon": given}
    study = load_studies(config, *folders, main_schema())["moon"]
    assert study.problem is not None
    assert all(part in study.problem for part in said)
    assert with_studies(config, {"moon": study})["classifiers"] == config["classifiers"]


@pytest.mark.parametrize("key", ["study_settings", "studies"])
def test_an_unknown_study_is_refused_with_the_closest(config: Json, folders: tuple[Path, Path], key: str) -> None:
    config[key] = {"mon": {}} if key == "study_settings" else ["mon"]
    with pytest.raises(ConfigError, match=r"unknown study .*mon.* Did you mean moon\?"):
        load_studies(config, *folders, main_schema())


def test_a_study_may_name_the_models_of_another(config: Json, folders: tuple[Path, Path]) -> None:
    defaults, schemas = folders
    (defaults / "sun.yaml").write_text(yaml.safe_dump({"models": ["small", "dr_fused"]}), encoding="utf-8")
    (schemas / "sun.schema.yaml").write_bytes((schemas / "moon.schema.yaml").read_bytes())
    assert load_studies(config, *folders, main_schema())["sun"].problem is None
    config["study_settings"] = {"moon": {"repeats": 0}}
    alone = load_studies(config, *folders, main_schema())["sun"].problem
    assert alone is not None and alone.startswith("study_settings.sun.models: small needs study `moon`, which cannot")
    assert "study_settings.moon.repeats" in alone and "at least 1" in alone


def test_a_study_that_loses_its_ground_takes_those_that_build_on_it_along(
    config: Json, folders: tuple[Path, Path]
) -> None:
    defaults, schemas = folders
    # `earth` is read before `moon`, whose late problem takes `small` away.
    (defaults / "earth.yaml").write_text(yaml.safe_dump({"models": ["small"]}), encoding="utf-8")
    (schemas / "earth.schema.yaml").write_bytes((schemas / "moon.schema.yaml").read_bytes())
    config["study_settings"] = {"moon": {"labels": {"I": "nowhere"}}}
    studies = load_studies(config, *folders, main_schema())
    assert "unknown run" in str(studies["moon"].problem)
    assert "small needs study `moon`" in str(studies["earth"].problem)
    assert str(studies["moon"].problem) in str(studies["earth"].problem)


def test_a_mistake_in_a_studys_settings_is_told_from_lack_of_ground(config: Json, folders: tuple[Path, Path]) -> None:
    def with_settings(config: Json, given: Json) -> Study:
        return load_studies({**config, "study_settings": given}, *folders, main_schema())["moon"]

    poor = {**config, "classifiers": {"other": config["classifiers"]["dr_fused"]}, "runs": {}, "refiners": {}}
    mistyped, good = {"moon": {"repeat": 2}}, {"moon": {"repeats": 2}}
    assert at_fault(with_settings(config, mistyped), with_settings(config, {}))
    assert not at_fault(with_settings(config, good), with_settings(config, {}))
    assert with_settings(poor, good).problem is not None
    assert not at_fault(with_settings(poor, good), with_settings(poor, {}))


def test_a_sheet_that_ships_is_found_wherever_the_workflow_is_run(
    config: Json, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    studies = shipped_studies(config)
    assert {name: study.problem for name, study in studies.items() if study.problem} == {}
    assert len(studies["experiments"].rows) > 1
    config["study_settings"] = {"experiments": {"learning_sheet": "demo/gone.tsv"}}
    assert "found: demo/gone.tsv" in str(shipped_studies(config)["experiments"].problem)


def test_a_sheet_that_a_study_lacks_is_its_own_problem(config: Json, folders: tuple[Path, Path]) -> None:
    defaults, schemas = folders
    settings = {"learning_sheet": str(defaults / "gone.tsv"), "learning_root": None}
    (defaults / "moon.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (schemas / "moon.schema.yaml").write_text("{}", encoding="utf-8")
    study = load_studies(config, *folders, main_schema())["moon"]
    assert study.rows == {}
    assert "study_settings.moon.learning_sheet" in str(study.problem) and "gone.tsv" in str(study.problem)


@pytest.mark.parametrize("given", [{"arms": {"one": {"threshold": 0.5}}}, {"models": None}, {"labels": {"I": 3}}])
def test_settings_that_break_the_schema_end_in_one_message(
    config: Json, folders: tuple[Path, Path], given: Json
) -> None:
    schema = copy.deepcopy(SCHEMA)
    arm = {"type": "object", "required": ["classifier"]}
    schema["properties"] |= {"arms": {"type": "object", "additionalProperties": arm}}  # type: ignore[operator]
    (folders[1] / "moon.schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    config["study_settings"] = {"moon": given}
    problem = load_studies(config, *folders, main_schema())["moon"].problem
    assert problem is not None and problem.startswith("study_settings.moon")


def test_null_leaves_a_run_out(config: Json, folders: tuple[Path, Path]) -> None:
    config["study_settings"] = {"experiments": {"labels": {"I": None, "II": None}}}
    study = shipped_studies(config)
    assert list(study["experiments"].settings["labels"])[:2] == ["III", "IV"]


def test_a_finished_model_takes_the_place_of_one_to_be_trained(config: Json, tmp_path: Path) -> None:
    (tmp_path / "h2g.onnx").write_bytes(b"")
    finished = {"onnx": str(tmp_path / "h2g.onnx"), "tumour_index": 1}
    config["study_settings"] = {"experiments": {"refiners": {"unet_on_wta": finished}}}
    study = shipped_studies(config)
    assert study["experiments"].problem is None
    assert study["experiments"].blocks["refiners"]["unet_on_wta"] == finished
    config["study_settings"] = {"experiments": {"classifiers": {"h2gnet_pretrained": finished}}}
    study = shipped_studies(config)
    assert "nothing can be like a finished ONNX model" in str(study["experiments"].problem)


def test_two_studies_cannot_give_two_models_one_name(config: Json, folders: tuple[Path, Path]) -> None:
    defaults, schemas = folders
    for suffix, folder in ((".yaml", defaults), (".schema.yaml", schemas)):
        (folder / f"sun{suffix}").write_bytes((folder / f"moon{suffix}").read_bytes())
    with pytest.raises(ConfigError, match=r"two studies use one name .*small"):
        load_studies(config, defaults, schemas, main_schema())


# The studies that ship

STUDIES = sorted(path.stem for path in (ROOT / "resources/studies").glob("*.yaml"))


def test_every_study_has_settings_a_schema_and_rules() -> None:
    rules = {path.stem for path in (ROOT / "workflow/studies").glob("*.smk")}
    assert {targets_of(name)[0] for name in STUDIES} == rules
    schemas = {path.name.removesuffix(".schema.yaml") for path in (ROOT / "workflow/schemas/studies").iterdir()}
    assert schemas == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_that_ship_fit_the_configuration_that_ships(name: str, config: Json) -> None:
    studies = shipped_studies(config)
    assert studies[name].problem is None


@pytest.mark.parametrize("overlays", [["full_scale"], ["full_scale", "full_scale_studies"]])
def test_the_full_scale_studies_fit_too(overlays: list[str], config: Json) -> None:
    for overlay in overlays:
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    studies = shipped_studies(config)
    assert {name: study.problem for name, study in studies.items() if study.problem} == {}
    for settings in with_studies(config, studies)["classifiers"].values():
        assert settings["training"]["epochs"] >= 1


def test_no_arm_keeps_the_demos_short_training_at_full_scale(config: Json) -> None:
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    for name, study in shipped_studies(config).items():
        for arm, own in study.settings.get("arms", {}).items() if "images" in study.settings else ():
            usual = study.settings["training"]["epochs"]
            assert merged(study.settings["training"], own.get("training", {}))["epochs"] == usual, f"{name}: {arm}"


def test_no_classifier_keeps_a_demos_lack_of_augmentation_at_full_scale(config: Json) -> None:
    """What a study switches off for weak networks comes back; H2G-Net and DRU-Net learn with all of it."""
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    classifiers = with_studies(config, shipped_studies(config))["classifiers"]
    usual = config["classifiers"]["dr_fused"]["augment"]
    for name, settings in classifiers.items():
        # The authors' code has smaller lenses on tiles of whole annotations.
        wta = settings["data"]["annotation_kinds"] == ["wta"]
        expected = {**usual, "multi_lens": {**usual["multi_lens"], "radius": [40, 70]}} if wta else usual
        assert settings["augment"] == expected, name


def test_the_ten_runs_of_the_paper_differ_as_its_table_says(config: Json) -> None:
    """Table 2: which part is H2G-Net's or DRU-Net's, and what each learnt from."""
    studies = shipped_studies(config)
    everything = with_studies(config, studies)
    labels = studies["experiments"].settings["labels"]
    assert list(labels) == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]

    def learnt(kind: str, name: str | None) -> tuple[str, ...]:
        if name is None:
            return ()
        model = everything[kind][name]
        data = (model["data"]["cohorts"] or ["lung"])[0], *model["data"]["annotation_kinds"]
        return (model["architecture"], *data, "fine-tuned" if start_of(model) else "from scratch")

    table = {}
    for label, run in labels.items():
        parts = everything["runs"][run]
        table[label] = learnt("classifiers", parts["classifier"]), learnt("refiners", parts["refiner"])
    pretrained = (
        ("h2gnet_classifier", "breast", "psa", "from scratch"),
        ("h2gnet_unet", "breast", "wta", "from scratch"),
    )
    tuned = {kind: ("h2gnet_classifier", "lung", kind, "fine-tuned") for kind in ("wta", "psa")}
    refined = ("h2gnet_unet", "lung", "wta", "fine-tuned")
    assert table["I"] == pretrained
    assert table["II"] == (tuned["wta"], pretrained[1])
    assert table["III"] == (pretrained[0], refined)
    assert table["IV"] == (tuned["wta"], refined)
    assert table["V"] == (("dr_fused", "lung", "wta", "from scratch"), ("drunet_unet", "lung", "wta", "from scratch"))
    assert table["VI"] == (tuned["psa"], pretrained[1])
    assert table["VII"] == (tuned["psa"], refined)
    assert [part[0] for part in table["VIII"][:1]] == ["prototypes"] and table["VIII"][1] == ()
    assert [part[0] for part in table["IX"][:1]] == ["clustered"] and table["IX"][1] == ()
    assert table["X"] == (("dr_fused", "lung", "psa", "from scratch"), ("drunet_unet", "lung", "wta", "from scratch"))


def test_a_refiner_of_a_run_learnt_from_the_heatmaps_of_the_runs_classifier(config: Json) -> None:
    """Or is the pretrained one, or follows the same classifier: else it would meet heatmaps of a kind it never saw."""
    studies = shipped_studies(config)
    everything = with_studies(config, studies)
    for label, run in studies["experiments"].settings["labels"].items():
        parts = everything["runs"][run]
        if parts["refiner"] not in (None, "h2gnet_unet_pretrained"):
            assert everything["refiners"][parts["refiner"]]["classifier"] == parts["classifier"], label


def test_no_model_and_no_run_stands_under_two_names(config: Json) -> None:
    """What several runs and studies need is trained and computed once."""
    studies = shipped_studies(config)
    everything = with_studies(config, studies)
    for kind in ("classifiers", "refiners", "runs"):
        written = [yaml.safe_dump(value, sort_keys=True) for value in everything[kind].values()]
        twice = [name for name, text in zip(everything[kind], written, strict=True) if written.count(text) > 1]
        assert twice == [], kind


# What a page may know

PATIENT = "Doe_Jane_1950"


def of_a_user(study: str, folder: Path) -> Json:
    """A study's settings where everything that may be a path is one, in a folder named after a patient."""
    settings = yaml.safe_load((ROOT / f"resources/studies/{study}.yaml").read_text(encoding="utf-8"))
    home = folder / PATIENT
    home.mkdir()
    if study == "ct_boxes":
        return merged(settings, {"slices": {"root": str(home), "annotations": f"{home}/xml"}})
    table = shutil.copy(ROOT / "resources/ct_networks.tsv", home)
    weights = {row.split("\t")[2]: f"{home}/weights.h5" for row in Path(table).read_text().splitlines()[1:]}
    given = {
        "collect": {"root": str(home), "annotations": f"{home}/xml", "sources": f"{home}/sources.tsv"},
        "images": {"root": str(home), "groups": f"{home}/groups.tsv"},
        "networks": {"table": table, "weights": weights},
        "arms": {"blur": {"weights": f"{home}/weights.h5"}, "border": None},
    }
    return with_networks(merged(settings, given), ROOT, study)


@pytest.mark.parametrize("study", ["ct_boxes", "ct_pneumonia"])
def test_a_page_of_ct_knows_no_path_and_everything_else(study: str, tmp_path: Path) -> None:
    settings = of_a_user(study, tmp_path)
    before = copy.deepcopy(settings)
    told = without_paths(settings)
    assert PATIENT in json.dumps(settings) and PATIENT not in json.dumps(told)
    assert told["embedded"] is False and settings == before
    shipped_settings = yaml.safe_load((ROOT / f"resources/studies/{study}.yaml").read_text(encoding="utf-8"))
    assert without_paths(shipped_settings)["embedded"] is True
    window = told["collect" if study == "ct_pneumonia" else "slices"]["window"]
    assert set(window) == {"centre", "width"} and set(told) == {*settings, "embedded"}
    assert {name: arm and arm["label"] for name, arm in told["arms"].items()} == {
        name: arm and arm["label"] for name, arm in settings["arms"].items()
    }


@pytest.mark.parametrize("study", ["ct_boxes", "ct_pneumonia"])
def test_rules_whose_parameters_a_report_copies_take_settings_of_ct_without_paths(study: str) -> None:
    text = (ROOT / f"workflow/studies/study_{study}.smk").read_text(encoding="utf-8")
    copied = [rule for rule in text.split("\nrule ") if "=report(" in rule]
    assert [rule.partition(":")[0] for rule in copied] == [f"report_{study}"]
    assert "        settings=study_settings.without_paths(" in copied[0]
