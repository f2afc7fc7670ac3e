"""Checks of the configuration that end in one sentence instead of a schema dump."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from drunet.errors import ConfigError, closest
from drunet.models import registry
from drunet.training.teaching import check_teachers

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


def check_repeated_keys(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a key that stands twice in one block of a configuration file: YAML keeps the last, without a word.

    Parameters
    ----------
    paths : iterable of path
        YAML or JSON files. What cannot be parsed is passed over, as whoever loads them has refused it.

    Raises
    ------
    ConfigError
        With file, key and both lines.
    """
    for path in paths:
        try:
            tree = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        waiting = [tree]
        seen: set[int] = set()
        while waiting:
            node = waiting.pop(0)
            # An anchor's block stands wherever it is named.
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                _check_keys_once(node, path)
                waiting += [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                waiting += node.value


def _check_keys_once(block: yaml.MappingNode, path: str | os.PathLike[str]) -> None:
    first: dict[tuple[str, str], int] = {}
    # `<<` may be repeated: YAML merges them all.
    keys = [key for key, _ in block.value if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge")]
    for key in keys:
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in first:
            raise ConfigError(
                "a key stands twice, and only what follows the second would count",
                where=f"{path}, line {line}",
                found=f"{key.value}, first in line {first[name]}",
                mend="Put what belongs to it under one.",
            )
        first[name] = line


# Blocks that mean something only as a whole: a part of another model's would be a mixture of the two.
_WHOLE = ("options", "weights", "multi_lens", "sampling", "clustering", "loss", "distillation")


def merged(base: Mapping[str, Any], over: Mapping[str, Any], whole: Iterable[str] = ()) -> dict[str, Any]:
    """A copy of `base` with what `over` says: mappings merge, anything else, and what is in `whole`, is replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value, whole) if both and key not in whole else copy.deepcopy(value)
    return result


def resolve_models(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write out models that say `like: NAME`: everything as in that model but for what they say themselves.

    `options`, `weights`, `loss`, `distillation`, `data.sampling`, `data.clustering` and `augment.multi_lens` are taken
    whole or not at all, and options never from another architecture.

    Raises
    ------
    ConfigError
        If there is no such model, or models are like each other in a circle.
    """
    result = dict(config)
    for kind in ("classifiers", "refiners"):
        models = config.get(kind)
        if isinstance(models, Mapping):
            result[kind] = {name: _resolved_model(kind, name, models, ()) for name in models}
    return result


def _resolved_model(kind: str, name: str, models: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    model = models[name]
    if not isinstance(model, Mapping) or "like" not in model:
        return model
    where, base = f"{kind}.{name}.like", model["like"]
    if base not in models:
        raise ConfigError("unknown model", where=where, found=base, mend=closest(str(base), models))
    if base in (name, *above):
        mend = "Write one of them out in full."
        raise ConfigError("models are like each other in a circle", where=where, found=base, mend=mend)
    own = {key: value for key, value in model.items() if key != "like"}
    other = _resolved_model(kind, base, models, (name, *above))
    if "onnx" in other:
        mend = "Write it out in full, or let it be like a model that is trained here."
        raise ConfigError("nothing can be like a finished ONNX model", where=where, found=base, mend=mend)
    if own.get("architecture", other.get("architecture")) != other.get("architecture"):
        other = {**other, "options": {}}
    return merged(other, own, _WHOLE)


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> None:
    """Validate against a JSON schema (draft 2020-12).

    Parameters
    ----------
    prefix : str
        Where the mapping stands in the configuration, for messages.

    Raises
    ------
    ConfigError
        For the outermost violation: the key, what was found, what is expected, and for an unknown key the closest
        known one.
    """
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        raise _translated(jsonschema.exceptions.best_match(errors) or errors[0], prefix)


def check_references(config: Mapping[str, Any]) -> None:
    """Check that names lead somewhere: runs, refiners, starts, first models and teachers to models that there are.

    Raises
    ------
    ConfigError
    ModelError
        For an architecture that there is not.
    """
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
        if "onnx" in refiner:
            continue
        _known(f"refiners.{name}.classifier", refiner["classifier"], config["classifiers"], "classifier")
        if refiner["weights"] == "imagenet":
            where = f"refiners.{name}.weights"
            mend = "Use random, a weights file, or {model: NAME}."
            raise ConfigError("there are no ImageNet weights of a refiner", where=where, found="imagenet", mend=mend)
    for kind in ("classifiers", "refiners"):
        for name, settings in config[kind].items():
            if "architecture" in settings:
                registry.module_of(settings["architecture"])
            _check_start(config[kind], kind, name)
    for name in config["classifiers"]:
        _check_first_models(config["classifiers"], name)
    check_teachers(config["classifiers"])
    both = sorted(set(config["classifiers"]) & set(config["refiners"]))
    if both:
        raise ConfigError(
            "a classifier and a refiner have the same name",
            where="classifiers, refiners",
            found=", ".join(both),
            mend="They share the folder `models` of the results: rename one.",
        )
    tiles = config["tiles"]
    if tiles["max_non_tumour"] >= tiles["min_tumour"]:
        raise ConfigError(
            "a tile could be tumour and non-tumour at once",
            where="tiles.max_non_tumour",
            found=f"{tiles['max_non_tumour']}, with min_tumour {tiles['min_tumour']}",
            mend="Keep max_non_tumour below min_tumour.",
        )


def _first_model(settings: Mapping[str, Any]) -> str | None:
    first: str | None = settings.get("data", {}).get("sampling", {}).get("first_model")
    return first


def _check_first_models(classifiers: Mapping[str, Any], name: str) -> None:
    """Follow a model's first model, and that one's, to one that needs none."""
    path = [name]
    while (first := _first_model(classifiers[path[-1]])) is not None:
        where = f"classifiers.{path[-1]}.data.sampling.first_model"
        _known(where, first, classifiers, "classifier")
        if first in path:
            raise ConfigError("models are each other's first model", where=where, found=first, mend="Name another.")
        path.append(first)


# Options that decide nothing about the arrays of weights: a fine-tuned model may differ from its start in them.
_FREE_OPTIONS = {"size", "dropout", "spatial_dropout"}


def start_of(settings: Mapping[str, Any]) -> str | None:
    """Name of the trained model that a model starts from, if it is fine-tuned."""
    weights = settings.get("weights")
    return weights["model"] if isinstance(weights, Mapping) and "model" in weights else None


def _check_start(models: Mapping[str, Any], kind: str, name: str) -> None:
    """Follow the starts of a model back to one that is not fine-tuned."""
    path, settings = [name], models[name]
    while (start := start_of(settings)) is not None:
        where = f"{kind}.{path[-1]}.weights.model"
        _known(where, start, models, kind[:-1])
        if set(settings["weights"]) != {"model"}:
            found = ", ".join(settings["weights"])
            raise ConfigError("a start is one model and nothing else", where=where, found=found, mend="Keep `model`.")
        if start in path:
            mend = "Let one of them start from random weights, imagenet or a file."
            raise ConfigError("models start from each other in a circle", where=where, found=start, mend=mend)
        if "onnx" in models[start]:
            mend = "Name the weights file that the ONNX file was made from: weights: FILE."
            raise ConfigError("a finished ONNX model cannot be trained further", where=where, found=start, mend=mend)
        _check_same_network(settings, models[start], where, start)
        path.append(start)
        settings = models[start]


def _check_same_network(settings: Mapping[str, Any], start: Mapping[str, Any], where: str, name: str) -> None:
    # An architecture that is not the library's says itself what it can take over from another one.
    if settings["architecture"] not in (*registry.ARCHITECTURES, start["architecture"]):
        return
    here, there = _network(settings), _network(start)
    if here != there:
        raise ConfigError(
            "the model to start from is another network",
            where=where,
            found=f"{name}: {there}; here: {here}",
            mend="Start from a model with the same architecture and options, or from random weights.",
        )


def _network(settings: Mapping[str, Any]) -> str:
    """What decides which arrays of weights a model has, as text."""
    options = {k: v for k, v in sorted(settings["options"].items()) if k not in _FREE_OPTIONS}
    return f"{settings['architecture']} {options or ''}".strip()


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
    return [(f"weights.{backbone}", path) for backbone, path in weights.items() if backbone != "model"]


def _known(where: str, name: str, defined: Mapping[str, Any], what: str) -> None:
    if name not in defined:
        raise ConfigError(f"unknown {what}", where=where, found=name, mend=closest(name, defined))


def _translated(error: jsonschema.ValidationError, prefix: str) -> ConfigError:
    steps = [prefix] if prefix else []
    where = ".".join([*steps, *map(str, error.absolute_path)]) or "configuration"
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
        if {"number", "integer"} & set(wanted) and (digits := _digits(instance)):
            expected += f"; to YAML this is text, write {digits}"
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


def _digits(value: Any) -> str | None:
    """A number that is text to YAML, as `1e-4` and anything in quotes, in plain digits; None if it is no number."""
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    # Written out, 1e-1000000 would fill the disk.
    return f"{number:f}" if number is not None and number.is_finite() and abs(number.adjusted()) < _DIGITS else None


_DIGITS = 20
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
