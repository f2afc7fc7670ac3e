"""The configuration: the one that ships is good, and every mistake ends in one line that says where and what."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from drunet.configuration import check_references, check_repeated_keys, check_schema, merged
from drunet.errors import ConfigError, closest

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def schema() -> Json:
    text = (ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


@pytest.fixture
def config() -> Json:
    return dict(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


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


def refused(config: Json, schema: Json) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_schema(config, schema)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return caught.value


# The schema


def test_the_schema_is_a_valid_one_of_draft_2020_12(schema: Json) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def keys(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key that the schema defines, with what it says of it."""
    if isinstance(node, Mapping):
        for name, child in node.get("properties", {}).items():
            yield f"{path}.{name}", child
        for name, child in node.items():
            yield from keys(child, f"{path}.{name}")
    elif isinstance(node, list):
        for child in node:
            yield from keys(child, path)


def test_every_leaf_key_of_the_schema_is_described(schema: Json) -> None:
    def described(node: Mapping[str, Any]) -> bool:
        return bool(node.get("description")) or ("$ref" in node and described(referred(node["$ref"])))

    def referred(reference: str) -> Mapping[str, Any]:
        assert reference.startswith("#/$defs/")
        return dict(schema["$defs"][reference.removeprefix("#/$defs/")])

    def is_leaf(node: Mapping[str, Any]) -> bool:
        whole = {**(referred(node["$ref"]) if "$ref" in node else {}), **node}
        return "properties" not in whole and not (whole.get("type") == "object" and "additionalProperties" in whole)

    leaves = {path: node for path, node in keys(schema) if is_leaf(node)}
    assert len(leaves) > 60
    assert [path for path, node in leaves.items() if not described(node)] == []


def test_no_mapping_of_the_schema_lets_unknown_keys_pass(schema: Json) -> None:
    open_ended = [p for p, n in keys(schema) if "properties" in n and n.get("additionalProperties") is not False]
    assert open_ended == []
    assert schema["additionalProperties"] is False


# Means something for one strategy, loss or architecture only, and the code that reads it says what it lacks; or is read
# as null where it is absent, so that configurations of before go on.
DEPENDENT = {
    ".$defs.classifier": {"distillation"},
    ".$defs.classifier.data": {"clustering", "episodes", "validation_tiles"},
    ".$defs.training": {"decay"},
    ".$defs.sampling": {"clusters", "first_model", "tumour", "non_tumour", "hard", "threshold"},
    ".$defs.loss": {"gamma", "alpha"},
}


def test_every_setting_that_is_no_choice_of_the_user_is_required(schema: Json) -> None:
    # Rules read them without a default.
    for path, node in keys(schema):
        if "properties" in node and "resources" not in path:
            needed = set(node["properties"]) - DEPENDENT.get(path, set())
            assert set(node.get("required", [])) == needed, path


# The configuration that ships


def test_the_configuration_that_ships_is_valid(config: Json, schema: Json) -> None:
    check_schema(config, schema)
    check_references(config)


@pytest.mark.parametrize("overlay", sorted((ROOT / "resources").glob("*.yaml")), ids=lambda p: p.name)
def test_overlays_that_ship_are_valid_on_top_of_it(overlay: Path, config: Json, schema: Json) -> None:
    changed = merged(config, yaml.safe_load(overlay.read_text(encoding="utf-8")))
    check_schema(changed, schema)
    check_references(changed)


# Mistakes


@pytest.mark.parametrize(
    ("key", "where", "hint"),
    [
        ("tissu", "configuration", "Did you mean tissue?"),
        ("tiles.setp", "tiles", "Did you mean step?"),
        ("classifiers.dr_fused.training.learning_rat", "classifiers.dr_fused.training", "Did you mean learning_rate?"),
        ("refiners.unet.data.anotation_kinds", "refiners.unet.data", "Did you mean annotation_kinds?"),
        ("runs.drunet.refinr", "runs.drunet", "Did you mean refiner?"),
        ("export.zzz", "export", "Known: opset."),
        ("resources.train_clasifier", "resources", "Did you mean train_classifier?"),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_known_one(
    config: Json, schema: Json, key: str, where: str, hint: str
) -> None:
    error = refused(put(config, key, {}), schema)
    assert error.what == "unknown key"
    assert error.where == where
    assert error.found == key.rpartition(".")[2]
    assert error.mend == hint


@pytest.mark.parametrize("key", [1, True, None])
def test_a_key_that_yaml_does_not_read_as_text_is_an_unknown_key(config: Json, schema: Json, key: object) -> None:
    config["tiles"][key] = 3
    config["tiles"]["other"] = 3
    assert "other" in str(refused(config, schema).found)


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
    config: Json, schema: Json, key: str, value: object, expected: str
) -> None:
    error = refused(put(config, key, value), schema)
    assert error.where == key
    assert error.found == repr(value)
    assert expected in error.mend


@pytest.mark.parametrize(
    ("value", "digits"),
    [("1e-4", "0.0001"), ("1E-04", "0.0001"), ("2e3", "2000"), ("1.0e3", "1000"), ("0.5", "0.5")],
)
def test_a_number_that_yaml_takes_for_text_is_told_with_its_digits(
    config: Json, schema: Json, value: str, digits: str
) -> None:
    assert yaml.safe_load(digits) == float(value)
    for key in ("classifiers.dr_fused.training.learning_rate", "tiles.mpp"):
        assert f"to YAML this is text, write {digits}" in refused(put(config, key, value), schema).mend


@pytest.mark.parametrize("value", ["fast", "", "nan", "inf", "1e-999999999", [1], {}])
def test_what_is_no_number_is_not_told_as_one(config: Json, schema: Json, value: object) -> None:
    assert "to YAML" not in refused(put(config, "tiles.mpp", value), schema).mend


def test_a_long_value_is_cut(config: Json, schema: Json) -> None:
    assert len(str(refused(put(config, "seed", "x" * 5000), schema).found)) == 80


@pytest.mark.parametrize(
    ("key", "where"),
    [("seed", "configuration"), ("tiles.step", "tiles"), ("refiners.unet.options.size", "refiners.unet.options")],
)
def test_a_missing_key_is_named(config: Json, schema: Json, key: str, where: str) -> None:
    error = refused(drop(config, key), schema)
    assert (error.what, error.where) == ("a key is missing", where)
    assert error.found == f"{key.rpartition('.')[2]} not given"
    assert "config.yaml" in error.mend


@pytest.mark.parametrize("kind", ["classifiers", "refiners", "runs"])
@pytest.mark.parametrize("name", ["../x", "a..b", "a/b", "", "-a", 7])
def test_a_name_that_is_no_safe_folder_is_refused(config: Json, schema: Json, kind: str, name: Any) -> None:
    config[kind][name] = next(iter(config[kind].values()))
    error = refused(config, schema)
    assert error.where == kind
    assert error.found == name
    assert "folder name" in error.what


def test_a_finished_model_is_checked_as_such(config: Json, schema: Json) -> None:
    check_schema(put(config, "classifiers.dr_fused", {"onnx": "model.onnx", "sha256": "0" * 64}), schema)
    error = refused(put(config, "classifiers.dr_fused", {"onnx": "model.onnx", "scales": 1}), schema)
    assert (error.where, error.mend) == ("classifiers.dr_fused", "Did you mean scale?")
    assert refused(put(config, "classifiers.dr_fused", {"onnx": "m", "sha256": "abc"}), schema).where.endswith("sha256")


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
        check_references(put(config, key, value))
    assert (caught.value.where, caught.value.found, caught.value.mend) == (key, value, mend)


def test_a_finished_refiner_needs_no_classifier_to_learn_from(config: Json) -> None:
    check_references(put(config, "refiners.unet", {"onnx": "unet.onnx"}))


def test_two_models_of_one_name_are_refused(config: Json) -> None:
    config["refiners"]["dr_fused"] = config["refiners"]["unet"]
    with pytest.raises(ConfigError, match="same name") as caught:
        check_references(config)
    assert caught.value.found == "dr_fused"


@pytest.mark.parametrize("most", [0.05, 0.3])
def test_a_tile_cannot_be_tumour_and_non_tumour_at_once(config: Json, most: float) -> None:
    with pytest.raises(ConfigError, match="at once") as caught:
        check_references(put(config, "tiles.max_non_tumour", most))
    assert caught.value.where == "tiles.max_non_tumour"
    check_references(put(config, "tiles.max_non_tumour", 0.04))


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


@pytest.mark.parametrize("name", ["config.yaml", "resources/full_scale.yaml", "resources/full_scale_studies.yaml"])
def test_no_configuration_that_ships_repeats_a_key(name: str) -> None:
    check_repeated_keys([ROOT / name])
