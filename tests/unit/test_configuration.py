"""The configuration: the one that ships is good, and every mistake ends in one line that says where and what."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drunet.errors import ConfigError, closest
from drunet.files import is_safe_id
from drunet.fingerprint import reached
from drunet.settings.base import Block
from drunet.settings.config import Configuration
from drunet.settings.merging import check_repeated_keys, merged, resolve_models
from drunet.settings.messages import Renamed
from drunet.settings.references import check_model_files, check_references
from drunet.settings.resources import check_rules
from schemas.make_schema import whole_schema

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def shipped() -> Json:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def config() -> Json:
    return shipped()


def put(config: Json, key: str, value: object) -> Json:
    changed = copy.deepcopy(config)
    *path, last = key.split(".")
    place: Any = changed
    for step in path:
        place = place[step]
    place[last] = value
    return changed


def drop(config: Json, key: str) -> Json:
    changed = copy.deepcopy(config)
    *path, last = key.split(".")
    place: Any = changed
    for step in path:
        place = place[step]
    del place[last]
    return changed


def accepted(config: Json) -> None:
    check_references(Configuration.of(config, ""))


def refused(config: Json) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Configuration.of(config, "")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return caught.value


# The schema for editors


@pytest.fixture(scope="module")
def schema() -> Json:
    return dict(json.loads((ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8")))


def test_the_schema_in_the_repository_is_that_of_the_models(schema: Json) -> None:
    # Written anew by `make schema`.
    assert schema == whole_schema()


def test_the_schema_is_a_valid_one_that_the_configuration_that_ships_fulfils(schema: Json, config: Json) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(config)
    first = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert (ROOT / first.removeprefix("# yaml-language-server: $schema=")).is_file()


def test_an_editor_is_told_of_mistakes_and_lets_a_model_be_like_another(schema: Json, config: Json) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(put(config, "classifiers.second", {"like": "dr_fused", "weights": "imagenet"}))
    for key, value in (("tiles.sise", 3), ("tiles.size", "64"), ("classifiers.second", {}), ("runs.a/b", {})):
        assert not validator.is_valid(put(config, key, value)), key


def models() -> Iterator[type[Block]]:
    todo: list[type[Block]] = [Block]
    while todo:
        kinds = todo.pop().__subclasses__()
        # The studies' are imported with the schema.
        yield from (kind for kind in kinds if kind.__module__.startswith("drunet."))
        todo += kinds


def test_every_setting_is_described(schema: Json) -> None:
    assert len(schema["$defs"]) > 20
    for name, node in {**schema["$defs"], "the whole": schema}.items():
        assert [key for key, child in node.get("properties", {}).items() if not child.get("description")] == [], name


# Means something for one strategy, loss or architecture only; or is read as null where it is absent, so that
# configurations of before go on.
OPTIONAL = {
    "Configuration": {
        "version",
        "encoders",
        "resources",
        "container",
        "model_lists",
        "model_folder",
        "pinned",
        "studies",
        "study_settings",
        "next_regions",
    },
    "NextRegionsSettings": {"count", "side_um", "per_slide", "weight"},
    "CohortSettings": {"max_untangled"},
    "LearntSlides": {"validation_kinds", "validation_tiles"},
    "LearntData": {"clustering", "episodes"},
    "ClassifierRecipe": {"distillation", "stain_normalisation"},
    "StainNormalisation": {"haematoxylin", "eosin", "maximum"},
    "NetworkSettings": {"trainable_layers"},
    "ExportSettings": {"formats", "parent", "calibrated", "uncertainty"},
    "InferenceSettings": {"int8", "views", "set_aside"},
    "CascadeSettings": {"precision", "teacher_precision", "max_dice_loss", "audit", "confidence", "max_differing"},
    "QuantisationSettings": {"tiles", "held", "max_difference", "max_sides"},
    "HeadTraining": {"averaging", "decay", "epsilon", "keep", "min_delta"},
    "TrainingSettings": {"l2"},
    "EncoderSettings": {
        "sha256",
        "channels_last",
        "size",
        "scale",
        "mean",
        "deviation",
        "output",
        "pooling",
        "patches_from",
        "kept",
        "stain_normalisation",
    },
    "SamplingSettings": {"crops_per_area", "clusters", "first_model", "tumour", "non_tumour", "hard", "threshold"},
    "LossSettings": {"gamma", "alpha"},
    "FinishedModel": {
        "sha256",
        "channels_last",
        "scale",
        "size",
        "mpp",
        "tumour_index",
        "inputs",
        "output",
        "activation",
        "appearance",
        "licence",
    },
    "ListedModel": {"settings"},
    "RuleResources": {"mem_mb", "runtime", "threads"},
    "MultiLensSettings": {"probability", "centres"},
    "AugmentSettings": {
        "flip",
        "quarter_turns",
        "zoom",
        "shear",
        "hed",
        "hue",
        "contrast",
        "saturation",
        "brightness",
        "multi_lens",
    },
    "RefinerSettings": {"mpp", "loss"},
    "RunSettings": {"clustering", "smallest_tumour_of", "cascade"},
    "ClusteringSettings": {"clusters", "min_heat", "smoothing_px", "px"},
    "MeasureSettings": {"missed_at_most", "false_at_most"},
    "PostprocessSettings": {
        "smoothing_um",
        "opening_px",
        "median_px",
        "opening_um",
        "median_um",
        "order",
        "within_tissue",
    },
}


def test_every_setting_that_is_no_choice_of_the_user_is_required() -> None:
    # Rules read them without a default.
    for model in models():
        optional = set().union(*(OPTIONAL.get(kind.__name__, set()) for kind in model.__mro__))
        assert {name for name, field in model.model_fields.items() if not field.is_required()} == optional, model
        assert model.model_config["strict"] and model.model_config["frozen"] and model.model_config["extra"] == "forbid"


# The configuration that ships


def test_the_configuration_that_ships_is_valid(config: Json) -> None:
    accepted(config)


@pytest.mark.parametrize("overlay", sorted((ROOT / "resources").glob("*.yaml")), ids=lambda p: p.name)
def test_overlays_that_ship_are_valid_on_top_of_it(overlay: Path, config: Json) -> None:
    changed = merged(config, yaml.safe_load(overlay.read_text(encoding="utf-8")))
    accepted(resolve_models(changed))


# Mistakes


@pytest.mark.parametrize(
    ("key", "where", "hint"),
    [
        ("tissu", "configuration", "Did you mean tissue?"),
        ("tiles.setp", "tiles", "Did you mean step?"),
        ("classifiers.dr_fused.training.learning_rat", "classifiers.dr_fused.training", "Did you mean learning_rate?"),
        ("refiners.unet.data.anotation_kinds", "refiners.unet.data", "Did you mean annotation_kinds?"),
        ("runs.drunet.refinr", "runs.drunet", "Did you mean refiner?"),
        ("measure.zzz", "measure", "Known: bootstrap, false_at_most, missed_at_most, mpp, threshold."),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_known_one(config: Json, key: str, where: str, hint: str) -> None:
    error = refused(put(config, key, {}))
    assert error.what == "unknown key"
    assert error.where == where
    assert error.found == key.rpartition(".")[2]
    assert error.mend == hint


@pytest.mark.parametrize("key", [1, True, None])
def test_a_key_that_yaml_does_not_read_as_text_is_an_unknown_key(config: Json, key: object) -> None:
    config["tiles"][key] = 3
    config["tiles"]["other"] = 3
    assert "other" in str(refused(config).found)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", "one", "Expected a whole number"),
        ("seed", 1.5, "Expected a whole number"),
        ("seed", True, "Expected a whole number"),
        ("tiles", [1, 2], "Expected a mapping"),
        ("tiles.mpp", "1.0", "Expected a number"),
        ("tissue.exclude_pen", "yes", "Expected true or false"),
        ("cohort.sheet", 5, "Expected text or a list"),
        ("cohort.annotation_classes.tumour", "tumor", "Expected a list"),
        ("classifiers.dr_fused.training.epochs", None, "Expected a whole number"),
        ("classifiers.dr_fused.training.steps_per_epoch", "all", "Expected a whole number or null"),
        ("tiles.min_tissue", 25, "Expected at most 1"),
        ("tiles.size", 8, "Expected at least 32"),
        ("tissue.gradient_threshold", 0, "Expected more than 0"),
        ("classifiers.dr_fused.batch_norm_momentum", 1, "Expected less than 1"),
        ("report.title", "", "Expected at least this many characters: 1"),
        ("runs", {}, "Expected at least this many entries: 1"),
        ("cohort.annotation_classes.tumour", [], "Expected at least this many entries: 1"),
        ("cohort.on_bad_slide", "ignore", "Expected one of skip, fail"),
        ("inference.provider", "gpu", "Expected one of cpu, cuda, tensorrt, openvino"),
        ("refiners.unet.data.annotation_kinds", ["psa"], "a refiner learns from whole outlines"),
        ("postprocess.median_px", 4, "Expected one of 0, 1, 3"),
    ],
)
def test_a_value_that_does_not_fit_is_shown_with_what_is_expected(
    config: Json, key: str, value: object, expected: str
) -> None:
    error = refused(put(config, key, value))
    assert error.where == key
    assert error.found == repr(value)
    assert expected in error.mend


@pytest.mark.parametrize(
    ("value", "digits"),
    [("1e-4", "0.0001"), ("1E-04", "0.0001"), ("2e3", "2000"), ("1.0e3", "1000"), ("0.5", "0.5")],
)
def test_a_number_that_yaml_takes_for_text_is_told_with_its_digits(config: Json, value: str, digits: str) -> None:
    assert yaml.safe_load(digits) == float(value)
    for key in ("classifiers.dr_fused.training.learning_rate", "tiles.mpp"):
        assert f"to YAML this is text, write {digits}" in refused(put(config, key, value)).mend


def test_a_whole_number_with_a_point_is_told_without_it(config: Json) -> None:
    assert "a whole number; write 64" in refused(put(config, "tiles.size", 64.0)).mend


def test_a_hole_of_any_size_may_be_filled(config: Json) -> None:
    Configuration.of(put(config, "tissue.max_hole_um2", math.inf), "")
    assert "finite" in refused(put(config, "tissue.mpp", math.inf)).mend
    assert refused(put(config, "tissue.max_hole_um2", math.nan)).where == "tissue.max_hole_um2"


@pytest.mark.parametrize("value", ["fast", "", "nan", "inf", "1e-999999999", [1], {}])
def test_what_is_no_number_is_not_told_as_one(config: Json, value: object) -> None:
    assert "to YAML" not in refused(put(config, "tiles.mpp", value)).mend


def test_a_long_value_is_cut(config: Json) -> None:
    assert len(str(refused(put(config, "seed", "x" * 5000)).found)) == 80


@pytest.mark.parametrize(
    ("key", "where"),
    [("seed", "configuration"), ("tiles.step", "tiles"), ("refiners.unet.options.size", "refiners.unet.options")],
)
def test_a_missing_key_is_named(config: Json, key: str, where: str) -> None:
    error = refused(drop(config, key))
    assert (error.what, error.where) == ("a key is missing", where)
    assert error.found == f"{key.rpartition('.')[2]} not given"
    assert "config.yaml" in error.mend


@pytest.mark.parametrize("kind", ["classifiers", "refiners", "runs"])
@pytest.mark.parametrize("name", ["../x", "a..b", "a/b", "", "-a", 7])
def test_a_name_that_is_no_safe_folder_is_refused(config: Json, kind: str, name: Any) -> None:
    config[kind][name] = next(iter(config[kind].values()))
    error = refused(config)
    assert error.where == kind
    assert error.found == name
    assert "folder name" in error.what


@given(st.from_regex(r"[A-Za-z0-9._ /-]{0,9}\n?", fullmatch=True) | st.just("n" * 101))
def test_a_model_may_bear_the_names_that_a_slide_may(name: str) -> None:
    config = shipped()
    config["runs"] = {name: config["runs"]["drunet"]}
    if is_safe_id(name):
        Configuration.of(config, "")
    else:
        assert refused(config).found in (name, repr(name))


def limits() -> list[tuple[str, float, float, float]]:
    """Key, the least and the largest value that fit, and how far beyond it is too far."""
    return [
        ("tissue.mpp", 0.5, 64, 0.01),
        ("tiles.mpp", 0.1, 16, 0.01),
        ("tiles.size", 32, 2048, 1),
        ("tiles.step", 8, 2048, 1),
        ("tiles.min_tissue", 0, 1, 0.01),
        ("export.opset", 13, 18, 1),
        ("inference.batch_size", 1, 4096, 1),
        ("inference.readers", 1, 64, 1),
        ("postprocess.opening_px", 0, 255, 1),
        ("postprocess.unrefined_px", 64, 8192, 1),
        ("measure.bootstrap", 100, 1_000_000, 1),
        ("report.overlay_px", 200, 2000, 1),
        ("classifiers.dr_fused.data.cross_fit_folds", 2, 20, 1),
        ("classifiers.dr_fused.augment.hue", 0, 0.5, 0.01),
        ("classifiers.dr_fused.augment.brightness", 0, 1, 0.01),
        ("seed", 0, 4_294_960_000, 1),
    ]


@pytest.mark.parametrize(("key", "least", "most", "step"), limits(), ids=str)
def test_bounds_are_part_of_what_fits(config: Json, key: str, least: float, most: float, step: float) -> None:
    for value in (least, most):
        Configuration.of(put(config, key, value), "")
    assert f"at least {least:.9g}" in refused(put(config, key, least - step)).mend.replace(",", "")
    assert f"at most {most:.9g}".replace("e+09", "") in refused(put(config, key, most + step)).mend or most > 1e9


def test_values_keep_the_type_that_yaml_gave_them(config: Json) -> None:
    taught = {"teacher": "dr_fused", "temperature": 4, "weight": 1, "unlabelled_share": 0}
    model = Configuration.of(put(config, "classifiers.dr_fused.distillation", taught), "").classifiers["dr_fused"]
    assert json.dumps(model.distillation.model_dump()) == json.dumps(taught)


def test_a_renamed_key_is_told_with_its_new_name_and_what_it_reruns(
    config: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {
        "tiles.overlap": Renamed("tiles.step", "reruns nothing"),
        "classifiers.*.training.rate": Renamed("classifiers.*.training.learning_rate", "retrains every classifier"),
    }
    monkeypatch.setattr("drunet.settings.messages.RENAMED", table)
    error = refused(put(config, "tiles.overlap", 3))
    assert (error.where, error.found, error.mend) == (
        "tiles",
        "overlap",
        "It is called tiles.step now, which reruns nothing.",
    )
    error = refused(put(config, "classifiers.dr_fused.training.rate", 3))
    assert "learning_rate now, which retrains every classifier" in error.mend
    assert refused(put(config, "tissue.overlap", 3)).what == "unknown key"


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_another_version_of_the_configuration_is_refused(config: Json, version: object) -> None:
    assert Configuration.of(put(config, "version", 2), "").version == 2
    assert Configuration.of(drop(config, "version"), "").version == 2
    error = refused(put(config, "version", version))
    assert error.where == "version" and "Expected 2" in error.mend


def test_no_script_reaches_what_compares_the_blocks() -> None:
    """So an edit to cross-references, to messages or to another block's settings reruns nothing."""
    scripts = ROOT / "scripts"
    main = ("inspect_slide", "postprocess", "train_classifier", "train_refiner", "classify_tiles", "measure", "report")
    for name in main:
        modules = reached(scripts / f"{name}.py", [scripts])
        assert modules.isdisjoint({f"drunet.settings.{m}" for m in ("config", "references", "messages")})
        assert "drunet.settings.report" not in modules, name


def test_a_pinned_weights_file_is_the_one_that_is_meant(config: Json, tmp_path: Path) -> None:
    weights = tmp_path / "ours.weights.h5"
    weights.write_bytes(b"tumour")
    config["classifiers"]["dr_fused"]["weights"] = str(weights)

    def pinned(path: object, digest: str) -> None:
        check_model_files(Configuration.of({**config, "pinned": {str(path): digest}}, ""))

    pinned(weights, hashlib.sha256(b"tumour").hexdigest())
    with pytest.raises(ConfigError, match=r"not the one that is pinned.*Nothing of it was read"):
        pinned(weights, "0" * 64)
    with pytest.raises(ConfigError, match=r"no model starts from this file.*Did you mean"):
        pinned(tmp_path / "our.weights.h5", "0" * 64)


RULES = """
rule slow:
    threads: resource("slow", "threads", 8)
    resources:
        mem_mb=resource("slow", "mem_mb", 100),
rule quick:
    resources:
        mem_mb=resource("quick", "mem_mb", 100),
        runtime=resource("quick", "runtime", 10),
"""


def test_resources_are_those_of_rules_that_there_are() -> None:
    check_rules({"slow": {"threads": 2}, "quick": {"mem_mb": 5, "runtime": 1}}, RULES)
    for block, words in (
        ({"slw": {"mem_mb": 5}}, ("unknown key", "slw", "Did you mean slow?")),
        ({"quick": {"threads": 2}}, ("one thread", "resources.quick", "mem_mb, runtime")),
        ({"slow": {"runtime": 2}}, ("does not take", "runtime")),
    ):
        with pytest.raises(ConfigError) as caught:
            check_rules(block, RULES)
        assert all(word in str(caught.value) for word in words)


def test_a_finished_model_is_checked_as_such(config: Json) -> None:
    Configuration.of(put(config, "classifiers.dr_fused", {"onnx": "model.onnx", "sha256": "0" * 64}), "")
    error = refused(put(config, "classifiers.dr_fused", {"onnx": "model.onnx", "scales": 1}))
    assert (error.where, error.mend) == ("classifiers.dr_fused", "Did you mean scale?")
    assert refused(put(config, "classifiers.dr_fused", {"onnx": "m", "sha256": "abc"})).where.endswith("sha256")


# References


@pytest.mark.parametrize(
    ("key", "value", "mend"),
    [
        ("runs.drunet.classifier", "dr_fussed", "Did you mean dr_fused?"),
        ("runs.drunet.refiner", "zzz", "Known: unet."),
        ("refiners.unet.classifier", "DR", "Known: dr_fused."),
    ],
)
def test_a_reference_to_a_model_that_is_not_there_is_refused(config: Json, key: str, value: str, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        accepted(put(config, key, value))
    assert (caught.value.where, caught.value.found, caught.value.mend) == (key, value, mend)


def test_a_finished_refiner_needs_no_classifier_to_learn_from(config: Json) -> None:
    accepted(put(config, "refiners.unet", {"onnx": "unet.onnx"}))


def test_two_models_of_one_name_are_refused(config: Json) -> None:
    config["refiners"]["dr_fused"] = config["refiners"]["unet"]
    with pytest.raises(ConfigError, match="same name") as caught:
        accepted(config)
    assert caught.value.found == "dr_fused"


@pytest.mark.parametrize("most", [0.05, 0.3])
def test_a_tile_cannot_be_tumour_and_non_tumour_at_once(config: Json, most: float) -> None:
    with pytest.raises(ConfigError, match="at once") as caught:
        accepted(put(config, "tiles.max_non_tumour", most))
    assert caught.value.where == "tiles.max_non_tumour"
    accepted(put(config, "tiles.max_non_tumour", 0.04))


@pytest.mark.parametrize(
    ("value", "known", "hint"),
    [("stpe", ["step", "size"], "Did you mean step?"), ("q", ["b", "a"], "Known: a, b."), ("q", [], "Known: none.")],
)
def test_the_hint_is_the_closest_or_all_that_is_known(value: str, known: list[str], hint: str) -> None:
    assert closest(value, known) == hint


# Keys that stand twice


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("tiles:\n  size: 32\nseed: 1\ntiles:\n  step: 16\n", 4, "tiles, first in line 1"),
        ("tiles:\n  size: 32\n  # later\n  size: 64\n", 4, "size, first in line 2"),
        ("runs: [{a: 1}, {b: 1, b: 2}]\n", 1, "b, first in line 1"),
        ('{"seed": 1,\n "seed": 2}', 2, "seed, first in line 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path, text: str, line: int, found: str) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("seed: 1\n", encoding="utf-8")
    bad.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="a key stands twice") as caught:
        check_repeated_keys([good, bad])
    assert (caught.value.where, caught.value.found) == (f"{bad}, line {line}", found)


@pytest.mark.parametrize(
    "text",
    [
        "a: {size: 1}\nb: {size: 1}\n",
        "a: &a {size: 1}\nb: {<<: *a, size: 2}\nc: *a\n",
        "1: a\n'1': b\n",
        "a: &a [*a]\n",
        "",
        "# nothing\n",
        "[",
        '{"a":\t1}',
    ],
)
def test_one_key_in_two_blocks_and_what_others_refuse_are_let_through(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.yaml").write_text(text, encoding="utf-8")
    check_repeated_keys([tmp_path / "some.yaml", tmp_path / "gone.yaml"])


@pytest.mark.parametrize(
    "name",
    ["config.yaml", *(f"resources/{name}.yaml" for name in ("full_scale", "full_scale_studies", "small_cohort"))],
)
def test_no_configuration_that_ships_repeats_a_key(name: str) -> None:
    check_repeated_keys([ROOT / name])


def test_one_key_says_which_layers_learn(config: Json) -> None:
    accepted(put(config, "classifiers.dr_fused.trainable_layers", 8))
    both = put(put(config, "classifiers.dr_fused.trainable_layers", 8), "classifiers.dr_fused.freeze_fraction", 0.3)
    assert "two keys say which layers learn" in str(refused(both))
