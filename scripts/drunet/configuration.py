"""Checks of the configuration that end in one sentence instead of a schema dump."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from drunet.errors import ConfigError

_FOLD_NAME = re.compile(r"\.fold\d+of\d+$")
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Validate against a JSON schema (draft 2020-12).

    Raises
    ------
    ConfigError
        For the outermost violation: the key, what was found, what is expected, and for an unknown key the closest
        known one.
    """
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        raise _translated(jsonschema.exceptions.best_match(errors) or errors[0])


def check_references(config: Mapping[str, Any], studies: Iterable[str] = ()) -> None:
    """Check that names lead somewhere: runs and refiners to models of the configuration, studies to those there are.

    Raises
    ------
    ConfigError
    """
    for name in config.get("studies", []):
        _known("studies", name, dict.fromkeys(studies), "study")
    for name in config["classifiers"]:
        if _FOLD_NAME.search(name):
            raise ConfigError(
                "a classifier's name reads like a fold of another",
                where="classifiers",
                found=name,
                mend="Leave out `.fold…of…`: the workflow gives such names itself when it cross-fits.",
            )
    for run, parts in config["runs"].items():
        _known(f"runs.{run}.classifier", parts["classifier"], config["classifiers"], "classifier")
        if parts["refiner"] is not None:
            _known(f"runs.{run}.refiner", parts["refiner"], config["refiners"], "refiner")
    for name, refiner in config["refiners"].items():
        if "onnx" not in refiner:
            _known(f"refiners.{name}.classifier", refiner["classifier"], config["classifiers"], "classifier")
    both = sorted(set(config["classifiers"]) & set(config["refiners"]))
    if both:
        raise ConfigError(
            "a classifier and a refiner have the same name",
            where="classifiers, refiners",
            found=", ".join(both),
            mend="They share the folder results/models: rename one.",
        )
    tiles = config["tiles"]
    if tiles["max_non_tumour"] >= tiles["min_tumour"]:
        raise ConfigError(
            "a tile could be tumour and non-tumour at once",
            where="tiles.max_non_tumour",
            found=f"{tiles['max_non_tumour']}, with min_tumour {tiles['min_tumour']}",
            mend="Keep max_non_tumour below min_tumour.",
        )


def check_model_files(config: Mapping[str, Any]) -> None:
    """Check that finished models and starting weights that the configuration names are there.

    Raises
    ------
    ConfigError
    """
    for kind in ("classifiers", "refiners"):
        for name, settings in config[kind].items():
            for key, path in _named_files(settings):
                if not Path(path).is_file():
                    raise ConfigError(
                        "the file is not there",
                        where=f"{kind}.{name}.{key}",
                        found=path,
                        mend="Correct the path; relative ones start in the working directory.",
                    )


def _named_files(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "onnx" in settings:
        return [("onnx", settings["onnx"])]
    weights = settings["weights"]
    if isinstance(weights, str):
        return [] if weights in ("random", "imagenet") else [("weights", weights)]
    return [(f"weights.{backbone}", path) for backbone, path in weights.items()]


def closest(value: str, known: Iterable[str]) -> str:
    """A hint `Did you mean x?` when something known is spelt alike, else the list of what is known."""
    names = sorted(known)
    match = difflib.get_close_matches(value, names, n=1)
    return f"Did you mean {match[0]}?" if match else f"Known: {', '.join(names) or 'none'}."


def _known(where: str, name: str, defined: Mapping[str, Any], what: str) -> None:
    if name not in defined:
        raise ConfigError(f"unknown {what}", where=where, found=name, mend=closest(name, defined))


def _translated(error: jsonschema.ValidationError) -> ConfigError:
    where = ".".join(str(p) for p in error.absolute_path) or "configuration"
    # `schema` and `instance` are what the failing keyword was applied to.
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    instance: Any = error.instance
    rule: Any = error.validator_value
    if "propertyNames" in error.absolute_schema_path:
        return ConfigError(
            "a name is not safe to use as a folder name",
            where=where,
            found=instance,
            mend="Use letters, digits, dash, underscore and, between them, single dots; begin with a letter or digit.",
        )
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        extra = sorted(str(key) for key in set(instance) - set(known))
        return ConfigError("unknown key", where=where, found=", ".join(extra), mend=closest(extra[0], known))
    if error.validator == "required":
        lacking = [k for k in rule if k not in instance]
        return ConfigError(
            "a key is missing",
            where=where,
            found=f"{', '.join(lacking)} not given",
            mend="Add it; config.yaml shows every key with its meaning.",
        )
    if error.validator == "type":
        wanted = rule if isinstance(rule, list) else [rule]
        expected = "Expected " + " or ".join(_TYPES[t] for t in wanted)
    elif error.validator == "enum":
        expected = "Expected one of " + ", ".join("null" if v is None else str(v) for v in rule)
    elif error.validator in _BOUNDS:
        expected = f"Expected {_BOUNDS[error.validator]} {rule}"
    else:
        expected = f"Expected what the schema says under {error.validator}"
    meaning = schema.get("description")
    return ConfigError(
        "the value does not fit",
        where=where,
        found=repr(instance)[:80],
        mend=f"{expected}{f' ({meaning})' if meaning else ''}.",
    )


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "minLength": "at least this many characters:",
    "minItems": "at least this many entries:",
    "maxItems": "at most this many entries:",
    "minProperties": "at least this many entries:",
    "multipleOf": "a multiple of",
    "pattern": "text of the form",
}
