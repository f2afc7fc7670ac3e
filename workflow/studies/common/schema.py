"""JSON schemas of the studies' settings: a violation ends in one sentence instead of a dump."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

from drunet.errors import ConfigError, closest
from drunet.settings.messages import FOLDER_NAME, TYPES, digits_of


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
            mend=FOLDER_NAME,
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
        expected = "Expected " + " or ".join(TYPES[t] for t in wanted)
        if {"number", "integer"} & set(wanted) and (digits := digits_of(instance)):
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
