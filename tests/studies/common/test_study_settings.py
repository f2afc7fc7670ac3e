"""The settings of studies, and the models and runs that they bring along."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import operator
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import studies
from drunet.cohort import SheetRow
from drunet.errors import ConfigError, DrunetError, SheetError
from drunet.models import registry
from drunet.settings.clustering import ClusteringSettings
from drunet.settings.merging import merged, resolve_models
from drunet.settings.references import start_of
from drunet.settings.sampling import SamplingSettings
from drunet_demo.slides import SLIDES
from studies.common.study_settings import MODEL_BLOCKS, Study, join_sheets, load_studies, without_paths
from studies.ct_pneumonia.network_table import with_networks

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]


def shipped() -> Json:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def shipped_studies(config: Json) -> tuple[dict[str, Study], Json]:
    """The studies that ship, as the workflow reads them, and all models: it makes the demo slides itself."""
    made = [f"results/demo/{slide}{end}" for slide in SLIDES for end in (".tif", ".geojson")]
    return load_studies(config, ROOT / "workflow/studies", made)


@pytest.fixture
def config() -> Json:
    return shipped()


# Studies

SETTINGS = """from typing import Any
from drunet.settings.base import Block
from pydantic import Field


class Settings(Block):
    repeats: int = Field(default=1, ge=1)
    labels: dict[str, str | None] = {}
    models: list[str] = []
    arms: dict[str, dict[str, Any] | None] = {}
    reference: str = ""
    learning_sheet: str | None = None
    learning_root: str | None = None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Studies of their own, which are imported from here."""
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path / "studies")])
    settings = {"repeats": 3, "classifiers": {"small": {"like": "dr_fused", "training": {"epochs": 1}}}}
    add_study(tmp_path / "studies", "moon", settings)
    yield tmp_path / "studies"
    for name in [name for name in sys.modules if name.startswith(("studies.moon", "studies.sun", "studies.earth"))]:
        del sys.modules[name]


def add_study(folder: Path, name: str, settings: Json, models: str = SETTINGS) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / name / "settings.py").write_text(models, encoding="utf-8")


def moon_of(config: Json, folder: Path) -> Study:
    return load_studies(config, folder)[0]["moon"]


def test_a_study_brings_its_models_along_in_full(config: Json, folder: Path) -> None:
    studies, everything = load_studies(config, folder)
    assert studies["moon"].problem is None
    assert studies["moon"].settings == {"repeats": 3}
    assert everything["classifiers"]["small"]["training"]["epochs"] == 1
    assert everything["classifiers"]["small"]["architecture"] == "dr_fused"
    assert set(config["classifiers"]) == {"dr_fused"}, "the configuration itself is left alone"


def test_the_configuration_overrides_a_studys_settings_and_models(config: Json, folder: Path) -> None:
    config["study_settings"] = {"moon": {"repeats": 5, "classifiers": {"small": {"training": {"epochs": 9}}}}}
    study = moon_of(config, folder)
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
        (
            {"classifiers": {"small": {"architecture": "prototypes"}}},
            ("classifiers.small.data.clustering", "learns clusters needs this block"),
        ),
        (
            {"classifiers": {"small": {"architecture": "plain_cnn", "weights": {"model": "dr_fused"}}}},
            ("classifiers.small.weights.model", "another network", "dr_fused"),
        ),
        ({"models": ["smal"]}, ("study_settings.moon.models", "unknown classifier", "Did you mean small?")),
        (
            {"runs": {"night": {"classifier": "smal", "refiner": None}}},
            ("runs.night.classifier", "Did you mean small?"),
        ),
    ],
)
def test_a_study_that_does_not_fit_says_why_and_brings_nothing(
    config: Json, folder: Path, given: Json, said: tuple[str, ...]
) -> None:
    config["study_settings"] = {"moon": given}
    studies, everything = load_studies(config, folder)
    problem = studies["moon"].problem
    assert problem is not None
    assert all(part in problem for part in said)
    assert everything["classifiers"] == config["classifiers"]


@pytest.mark.parametrize("key", ["study_settings", "studies"])
def test_an_unknown_study_is_refused_with_the_closest(config: Json, folder: Path, key: str) -> None:
    config[key] = {"mon": {}} if key == "study_settings" else ["mon"]
    with pytest.raises(ConfigError, match=r"unknown study .*mon.* Did you mean moon\?"):
        load_studies(config, folder)


def test_a_study_may_name_the_models_of_another(config: Json, folder: Path) -> None:
    add_study(folder, "sun", {"models": ["small", "dr_fused"]})
    assert load_studies(config, folder)[0]["sun"].problem is None
    config["study_settings"] = {"moon": {"repeats": 0}}
    alone = load_studies(config, folder)[0]["sun"].problem
    assert alone is not None and alone.startswith("study_settings.sun.models: small needs study `moon`, which cannot")
    assert "study_settings.moon.repeats" in alone and "at least 1" in alone


def test_a_study_that_loses_its_ground_takes_those_that_build_on_it_along(config: Json, folder: Path) -> None:
    # `earth` is read before `moon`, whose late problem takes `small` away.
    add_study(folder, "earth", {"models": ["small"]})
    config["study_settings"] = {"moon": {"labels": {"I": "nowhere"}}}
    studies, _ = load_studies(config, folder)
    assert "unknown run" in str(studies["moon"].problem)
    assert "small needs study `moon`" in str(studies["earth"].problem)
    assert str(studies["moon"].problem) in str(studies["earth"].problem)


def test_a_sheet_that_ships_is_found_wherever_the_workflow_is_run(
    config: Json, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    studies, _ = shipped_studies(config)
    assert {name: study.problem for name, study in studies.items() if study.problem} == {}
    assert len(studies["experiments"].rows) > 1
    config["study_settings"] = {"experiments": {"learning_sheet": "demo/gone.tsv"}}
    assert "found: demo/gone.tsv" in str(shipped_studies(config)[0]["experiments"].problem)


def test_a_sheet_that_a_study_lacks_is_its_own_problem(config: Json, folder: Path) -> None:
    add_study(folder, "moon", {"learning_sheet": str(folder / "gone.tsv"), "learning_root": None})
    study = moon_of(config, folder)
    assert study.rows == {}
    assert "study_settings.moon.learning_sheet" in str(study.problem) and "gone.tsv" in str(study.problem)


@pytest.mark.parametrize("given", [{"arms": {"one": 3}}, {"models": None}, {"labels": {"I": 3}}])
def test_settings_that_break_their_model_end_in_one_message(config: Json, folder: Path, given: Json) -> None:
    config["study_settings"] = {"moon": given}
    problem = moon_of(config, folder).problem
    assert problem is not None and problem.startswith("study_settings.moon.") and "\n" not in problem


def test_null_leaves_a_run_out(config: Json, folder: Path) -> None:
    config["study_settings"] = {"experiments": {"labels": {"I": None, "II": None}}}
    study, _ = shipped_studies(config)
    assert list(study["experiments"].settings["labels"])[:2] == ["III", "IV"]


def test_a_finished_model_takes_the_place_of_one_to_be_trained(config: Json, tmp_path: Path) -> None:
    (tmp_path / "h2g.onnx").write_bytes(b"")
    finished = {"onnx": str(tmp_path / "h2g.onnx"), "tumour_index": 1}
    config["study_settings"] = {"experiments": {"refiners": {"unet_on_wta": finished}}}
    study, _ = shipped_studies(config)
    assert study["experiments"].problem is None
    assert study["experiments"].blocks["refiners"]["unet_on_wta"] == finished
    config["study_settings"] = {"experiments": {"classifiers": {"h2gnet_pretrained": finished}}}
    study, _ = shipped_studies(config)
    assert "`like` cannot refer to a finished ONNX model" in str(study["experiments"].problem)


def test_two_studies_cannot_give_two_models_one_name(config: Json, folder: Path) -> None:
    shutil.copytree(folder / "moon", folder / "sun")
    with pytest.raises(ConfigError, match=r"two studies use one name .*small"):
        load_studies(config, folder)


# The studies that ship

STUDIES = sorted(path.parent.name for path in (ROOT / "workflow/studies").glob("*/settings.yaml"))


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_that_ship_fit_the_configuration_that_ships(name: str, config: Json) -> None:
    assert shipped_studies(config)[0][name].problem is None


def places(block: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands in settings."""
    entries = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else ()
    for key, value in entries:
        yield (*above, key)
        yield from places(value, (*above, key))


WRONG = [3, -1, 0.5, 1e9, float("nan"), "x", "1e-4", True, None, [], [None], {}, {"a b/": 1}]


@pytest.mark.parametrize("name", STUDIES)
def test_any_value_in_any_place_is_taken_or_refused_in_one_line(name: str) -> None:
    module = importlib.import_module(f"studies.{name}.settings")
    settings = yaml.safe_load((ROOT / f"workflow/studies/{name}/settings.yaml").read_text(encoding="utf-8"))
    settings = {key: value for key, value in settings.items() if key not in MODEL_BLOCKS}
    refused = 0
    for number, (*above, last) in enumerate(places(settings)):
        changed = copy.deepcopy(settings)
        place = functools.reduce(operator.getitem, above, changed)
        place[last] = WRONG[number % len(WRONG)]
        try:
            module.Settings.of(changed, f"study_settings.{name}")
            if hasattr(module, "completed"):
                module.completed(name, changed)
        except DrunetError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
    assert refused > number / 2


def at_full_scale(config: Json, *overlays: str) -> Json:
    for overlay in overlays or ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    return resolve_models(config)


@pytest.mark.parametrize("overlays", [["full_scale"], ["full_scale", "full_scale_studies"]])
def test_the_full_scale_studies_fit_too(overlays: list[str], config: Json) -> None:
    studies, everything = shipped_studies(at_full_scale(config, *overlays))
    problems = {name: study.problem for name, study in studies.items() if study.problem}
    # A refiner's options are written out in full: the study's own overlay lets them follow the configuration's.
    assert set(problems) == ({"top_skip"} if overlays == ["full_scale"] else set()), problems
    for settings in everything["classifiers"].values():
        assert settings["training"]["epochs"] >= 1


def test_no_arm_keeps_the_demos_short_training_at_full_scale(config: Json) -> None:
    config = at_full_scale(config)
    for name, study in shipped_studies(config)[0].items():
        for arm, own in study.settings.get("arms", {}).items() if "images" in study.settings else ():
            usual = study.settings["training"]["epochs"]
            assert merged(study.settings["training"], own.get("training", {}))["epochs"] == usual, f"{name}: {arm}"


def test_the_ct_studies_read_as_many_slices_as_published(config: Json) -> None:
    """Chu et al., sections 2.1 and 3.1; Pravdyvets, sections 3.2 and 3.4."""
    for overlay in ("full_scale", "full_scale_studies"):
        config = merged(config, yaml.safe_load((ROOT / f"resources/{overlay}.yaml").read_text(encoding="utf-8")))
    studies = shipped_studies(config)[0]
    draw = studies["ct_pneumonia"].settings["collect"]["draw"]
    assert draw["Cancer"] == {"annotated": True, "patients": 101, "images": 1014}
    assert draw["Non-cancer"] == {"images": 1014}
    assert sum(studies["ct_pneumonia"].settings["tasks"]["ct"]["split"]["parts"].values()) == 1014
    boxes = studies["ct_boxes"].settings
    assert boxes["slices"]["at_most"] == 1000 and boxes["parts"] == {"training": 800, "test": 200}


def test_no_classifier_keeps_a_demos_lack_of_augmentation_at_full_scale(config: Json) -> None:
    """What a study switches off for weak networks comes back; H2G-Net and DRU-Net learn with all of it."""
    config = at_full_scale(config)
    classifiers = shipped_studies(config)[1]["classifiers"]
    usual = config["classifiers"]["dr_fused"]["augment"]
    for name, settings in classifiers.items():
        # The authors' code has smaller lenses on tiles of whole annotations.
        wta = settings["data"]["annotation_kinds"] == ["wta"]
        lenses = {**usual["multi_lens"], "radius": [40, 70]} if wta else usual["multi_lens"]
        if name.startswith("lenses_"):
            # What these differ in: none, or others of the same size.
            drawn = settings["augment"]["multi_lens"]
            lenses = drawn and {**lenses, "strength": drawn["strength"]}
        assert settings["augment"] == {**usual, "multi_lens": lenses}, name


def test_the_ten_runs_of_the_paper_differ_as_its_table_says(config: Json) -> None:
    """Table 2: which part is H2G-Net's or DRU-Net's, and what each learnt from."""
    studies, everything = shipped_studies(config)
    labels = studies["experiments"].settings["labels"]
    assert list(labels) == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]

    def learnt(kind: str, name: str | None) -> tuple[str, ...]:
        if name is None:
            return ()
        model = everything[kind][name]
        data = (model["data"]["cohorts"] or ["lung"])[0], *model["data"]["annotation_kinds"]
        return (model["architecture"], *data, "fine-tuned" if start_of(model["weights"]) else "from scratch")

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


def test_the_runs_learn_at_full_scale_from_what_the_paper_says(config: Json) -> None:
    """Oskouei et al. 2025: X by two passes over areas in numbers (Model training), WTA over strata (Discussion)."""
    studies, everything = shipped_studies(at_full_scale(config))
    labels, runs, classifiers = (
        studies["experiments"].settings["labels"],
        everything["runs"],
        everything["classifiers"],
    )
    sampling = {
        name: SamplingSettings.of(model["data"]["sampling"], name) for name, model in classifiers.items() if model
    }
    x = runs[labels["X"]]
    own = sampling[x["classifier"]]
    assert (own.strategy, own.tumour, own.non_tumour, own.hard) == ("induced_imbalance", 40, 50, 10)
    assert own.crops_per_area == "one"
    first = classifiers[own.first_model]
    assert sampling[own.first_model].strategy == "as_is" and first["data"]["annotation_kinds"] == ["psa"]
    # But for what they learn from, the two are one.
    assert {**first, "data": None} == {**classifiers[x["classifier"]], "data": None}
    # The run goes on to a refiner that learns from this classifier's heatmaps of whole outlines.
    refiner = everything["refiners"][x["refiner"]]
    assert refiner["classifier"] == x["classifier"] and refiner["data"]["annotation_kinds"] == ["wta"]
    for label in ("II", "IV", "V"):
        wta = sampling[runs[labels[label]]["classifier"]]
        assert (wta.strategy, wta.clusters) == ("strata", 4), label
    # Authors' code, FewShot.py: plain distances from the means of two shots; ClustringRefinement.py: its own numbers.
    few = classifiers["few_shot"]
    assert few["options"] == {"temperature": 1.0, "distance": "euclidean"}
    episodes = few["data"]["episodes"]
    assert (episodes["shots"], episodes["queries"], episodes["prototypes"]) == (2, 3, "shots")
    assert episodes["count"] * few["training"]["epochs"] == 100
    for label in ("VIII", "IX"):
        clustering = ClusteringSettings.of(runs[labels[label]]["clustering"], label)
        assert (clustering.clusters, clustering.min_heat, clustering.smoothing_px) == (3, 0.7, 79)
    # Paper, Post-processing: one threshold, the smallest area in the ground truth.
    refiners = {runs[run].get("smallest_tumour_of") or runs[run]["refiner"] for run in labels.values()}
    assert refiners == {x["refiner"]}
    # The strategies are compared by the models that the runs train anyway, each by its own strategy.
    arms = studies["sampling"].settings["arms"]
    names = {"psa": "as_is", "psa_induced_imbalance": "induced_imbalance", "wta": "as_is", "wta_threshold": "as_is"}
    names |= {"wta_oversample": "oversample", "wta_undersample": "undersample", "wta_strata": "strata"}
    assert {arm: sampling[arms[arm]["classifier"]].strategy for arm in names} == names
    assert {arms[arm]["classifier"] for arm in ("psa_induced_imbalance", "wta_strata")} == {"dr_fused", "dr_fused_wta"}


@pytest.mark.parametrize("scale", ["demo", "full"])
@pytest.mark.slow
def test_every_refiner_that_ships_can_be_built(scale: str, config: Json) -> None:
    """Whether options fit an architecture is known only when it is built, hours after the settings were read."""
    refiners = shipped_studies(at_full_scale(config) if scale == "full" else config)[1]["refiners"]
    built = {json.dumps([model["architecture"], model["options"]], sort_keys=True) for model in refiners.values()}
    for architecture, options in map(json.loads, built):
        assert registry.build(architecture, **options).inputs[0].shape[1] == options["size"]


@pytest.mark.parametrize("scale", ["demo", "full"])
def test_released_weights_take_the_place_of_the_pretrained_networks(scale: str, config: Json, tmp_path: Path) -> None:
    """Run I is then H2G-Net as it came, without breast slides, and the others go on from it."""
    given = {"weights": str(tmp_path / "released.h5"), "training": {"epochs": 0}}
    (tmp_path / "released.h5").touch()
    block = {"classifiers": {"h2gnet_pretrained": given}, "refiners": {"h2gnet_unet_pretrained": given}}
    config = at_full_scale(config) if scale == "full" else config
    config["study_settings"] = merged(
        config.get("study_settings", {}), {"experiments": {**block, "learning_sheet": None, "learning_root": None}}
    )
    studies, everything = shipped_studies(config)
    assert studies["experiments"].problem is None and studies["experiments"].rows == {}
    for kind, models in block.items():
        for name in models:
            assert everything[kind][name]["training"]["epochs"] == 0
            others = [m for m in everything[kind].values() if start_of(m["weights"]) == name]
            assert others and all(m["training"]["epochs"] > 0 for m in others)


def test_a_refiner_of_a_run_learnt_from_the_heatmaps_of_the_runs_classifier(config: Json) -> None:
    """Or is the pretrained one, or follows the same classifier: else it would meet heatmaps of a kind it never saw."""
    studies, everything = shipped_studies(config)
    for label, run in studies["experiments"].settings["labels"].items():
        parts = everything["runs"][run]
        if parts["refiner"] not in (None, "h2gnet_unet_pretrained"):
            assert everything["refiners"][parts["refiner"]]["classifier"] == parts["classifier"], label


def test_no_model_and_no_run_stands_under_two_names(config: Json) -> None:
    """What several runs and studies need is trained and computed once."""
    _, everything = shipped_studies(config)
    for kind in ("classifiers", "refiners", "runs"):
        written = [yaml.safe_dump(value, sort_keys=True) for value in everything[kind].values()]
        twice = [name for name, text in zip(everything[kind], written, strict=True) if written.count(text) > 1]
        assert twice == [], kind


# What a page may know

PATIENT = "Doe_Jane_1950"


def of_a_user(study: str, folder: Path) -> Json:
    """A study's settings where everything that may be a path is one, in a folder named after a patient."""
    settings = yaml.safe_load((ROOT / f"workflow/studies/{study}/settings.yaml").read_text(encoding="utf-8"))
    home = folder / PATIENT
    home.mkdir()
    if study == "ct_boxes":
        return merged(settings, {"slices": {"root": str(home), "annotations": f"{home}/xml"}})
    table = shutil.copy(ROOT / "workflow/studies/ct_pneumonia/networks.tsv", home)
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
    shipped_settings = yaml.safe_load((ROOT / f"workflow/studies/{study}/settings.yaml").read_text(encoding="utf-8"))
    assert without_paths(shipped_settings)["embedded"] is True
    window = told["collect" if study == "ct_pneumonia" else "slices"]["window"]
    assert set(window) == {"centre", "width"} and set(told) == {*settings, "embedded"}
    assert {name: arm and arm["label"] for name, arm in told["arms"].items()} == {
        name: arm and arm["label"] for name, arm in settings["arms"].items()
    }


@pytest.mark.parametrize("study", ["ct_boxes", "ct_pneumonia"])
def test_rules_whose_parameters_a_report_copies_take_settings_of_ct_without_paths(study: str) -> None:
    text = (ROOT / f"workflow/studies/{study}/rules.smk").read_text(encoding="utf-8")
    copied = [rule for rule in text.split("\nrule ") if "=report(" in rule]
    assert [rule.partition(":")[0] for rule in copied] == [f"report_{study}"]
    assert "        settings=study_settings.without_paths(" in copied[0]


def test_a_slide_file_in_two_sheets_that_are_joined_is_refused() -> None:
    main, other = ({slide: SheetRow(slide, "p1", "a.tif", "train", "", "")} for slide in "ab")
    assert list(join_sheets(main, {}, "here")) == ["a"]
    with pytest.raises(SheetError, match=r"here: a slide file stands in two rows .*a and b"):
        join_sheets(main, other, "here")
