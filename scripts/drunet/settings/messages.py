"""pydantic's errors in one line: key, value found, what is allowed, the nearest known name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from drunet.errors import REFUSED, ConfigError, closest
from drunet.settings.schema import schema_of

Json = Mapping[str, Any]

FOLDER_NAME = (
    "Use letters, digits, dash, underscore and, between them, single dots; begin with a letter or digit; at most 100 "
    "characters, and no ending of a table's."
)
TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
# Error type, what it asks for, and where its limit stands.
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
    "string_too_short": ("at least this many characters:", "min_length"),
    "too_short": ("at least this many entries:", "min_length"),
    "too_long": ("at most this many entries:", "max_length"),
    "string_pattern_mismatch": ("text of the form", "pattern"),
}
_UNKNOWN = ("extra_forbidden", "invalid_key")
_schema_of = cache(schema_of)
# Where pydantic found fault with a key of a mapping, and not with its value.
_KEY = "[key]"
_DIGITS = 20


class Renamed(NamedTuple):
    """What became of a key: its name today, in full, and what is made again, as "retrains every classifier"."""

    key: str
    reruns: str


# By the full name that a key had; `*` stands for the name of a model or run. An entry is added with the change itself,
# and the configuration's `version` is raised with it.
RENAMED: dict[str, Renamed] = {}


@dataclass(frozen=True)
class _Mistake:
    """An error of pydantic's with its place: the keys that lead there, and the JSON schema of what belongs there.

    Of an unknown or missing `key`, else empty, the `path` is that of its block.
    """

    error: Json
    path: tuple[str, ...]
    schema: Json
    description: str
    key: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """The outermost comes first; an unknown key explains why another one is missing."""
        return len(self.path), {"unknown": 0, "missing": 1}.get(self.kind, 2)

    @property
    def kind(self) -> str:
        """Type of the error, all of unknown keys under one name."""
        name = self.error["type"]
        return "unknown" if name in _UNKNOWN else name


def config_error(error: ValidationError, model: type[BaseModel], where: str) -> ConfigError:
    """Translate the outermost mistake in a value of `model`; `where` is its key, empty for the whole configuration."""
    schema = _schema_of(model)
    mistakes = [_placed(one, schema) for one in error.errors(include_url=False)]
    worst = min(mistakes, key=lambda mistake: mistake.rank)
    keys = [m.key for m in mistakes if m.kind == worst.kind and m.path == worst.path and m.key]
    return _message(worst, ".".join([*([where] if where else []), *worst.path]), sorted(keys))


def _message(mistake: _Mistake, where: str, keys: list[str]) -> ConfigError:
    error, place = mistake.error, where or "configuration"
    if mistake.kind == "unknown":
        full = f"{where}.{keys[0]}" if where else keys[0]
        if new := _renamed(full):
            mend = f"It is called {new.key} now, which {new.reruns}."
            return ConfigError("this key has another name", where=place, found=keys[0], mend=mend)
        block = _not_null(mistake.schema)
        known = block.get("properties", block.get("propertyNames", {}).get("enum", ()))
        hint = closest(keys[0], known)
        return ConfigError("unknown key", where=place, found=", ".join(keys), mend=hint)
    if mistake.kind == "missing" and keys:
        mend = "Add it; config.yaml shows every key with its meaning."
        return ConfigError("a key is missing", where=place, found=f"{', '.join(keys)} not given", mend=mend)
    if error["loc"][-1:] == (_KEY,):
        what = "a name is not safe to use as a folder name"
        name = error["input"]
        found = name if str(name).isprintable() else repr(name)
        return ConfigError(what, where=place, found=found, mend=FOLDER_NAME)
    if mistake.kind == REFUSED:
        said = error["ctx"]
        place = ".".join(part for part in (where, said["key"]) if part) or place
        return ConfigError(said["what"], where=place, found=said["found"], mend=said["mend"])
    meaning = f" ({mistake.description})" if mistake.description else ""
    return ConfigError(
        "the value does not fit",
        where=place,
        found=repr(error["input"])[:80],
        mend=f"Expected {_expected(mistake)}{meaning}.",
    )


def _renamed(key: str) -> Renamed | None:
    """What became of a key, given in full; None where it never had a meaning."""
    patterns = {re.escape(old).replace(r"\*", r"[^.]+"): new for old, new in RENAMED.items()}
    return next((new for pattern, new in patterns.items() if re.fullmatch(pattern, key)), None)


def _expected(mistake: _Mistake) -> str:
    error, schema = mistake.error, mistake.schema
    if mistake.kind in _BOUNDS:
        words, limit = _BOUNDS[mistake.kind]
        return f"{words} {_plain(error['ctx'][limit])}"
    if mistake.kind == "finite_number":
        return "a finite number"
    if mistake.kind == "missing":
        return "one entry more"
    fixed = _not_null(schema)
    options = fixed.get("enum", [fixed["const"]] if "const" in fixed else [])
    if options:
        options = options + [None] * (fixed is not schema)
        words = ", ".join("null" if option is None else str(option) for option in options)
        return f"one of {words}" if len(options) > 1 else words
    kinds = _kinds(schema)
    words = " or ".join(TYPES[kind] for kind in kinds)
    if {"number", "integer"} & set(kinds) and (digits := digits_of(error["input"])):
        words += f"; to YAML this is text, write {digits}"
    if "integer" in kinds and isinstance(error["input"], float) and error["input"].is_integer():
        words += f"; write {error['input']:.0f}"
    return words


def _plain(limit: object) -> object:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def digits_of(value: Any) -> str | None:
    """A number that is text to YAML, as `1e-4` and anything in quotes, in plain digits; None if it is no number."""
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    # Written out, 1e-1000000 would fill the disk.
    return f"{number:f}" if number is not None and number.is_finite() and abs(number.adjusted()) < _DIGITS else None


def _placed(error: Any, root: Json) -> _Mistake:
    """Follow an error's steps through the schema of what was validated."""
    schema, description, key = _resolved(root, root), "", ""
    path: list[str] = []
    steps = list(error["loc"])
    # An entry that a list lacks is a mistake of the list.
    if error["type"] == "literal_error" and steps[-1] == _KEY:
        # A mapping whose keys are known by name.
        error = {**error, "type": _UNKNOWN[0]}
        steps.pop()
    if error["type"] in _UNKNOWN or (error["type"] == "missing" and isinstance(steps[-1], str)):
        key = str(steps.pop())
    for step in steps:
        if step == _KEY:
            path.pop()
        elif "oneOf" in schema:
            # Where a key has several types, pydantic names the one that it tried.
            schema = _chosen(schema, str(step), root)
        else:
            path.append(str(step))
            schema = _below(schema, step, root)
        description = schema.get("description", description)
    return _Mistake(error, tuple(path), schema, description, key)


def _below(schema: Json, step: str | int, root: Json) -> Json:
    block = _not_null(schema)
    if isinstance(step, int) and block.get("type") == "array":
        entries = block.get("prefixItems", [])
        return _resolved(entries[step] if step < len(entries) else block.get("items", {}), root)
    inner = [block.get("properties", {}).get(step), *block.get("patternProperties", {}).values()]
    inner.append(block.get("additionalProperties"))
    return next((_resolved(found, root) for found in inner if isinstance(found, Mapping)), {})


def _chosen(schema: Json, label: str, root: Json) -> Json:
    """The option that pydantic tried; what is said of the key says more than what is said of a model."""
    options = [_resolved(option, root) for option in schema["oneOf"]]
    kinds = {"number", "integer"} if label == "number" else {label}
    fits = next(option for option in options if kinds & {option.get("type"), option.get("title")})
    return {**fits, "description": schema.get("description", fits.get("description", ""))}


def _resolved(schema: Json, root: Json) -> Json:
    """The schema itself in place of a reference to it; what stands beside the reference counts."""
    if "$ref" in schema:
        named = root["$defs"][schema["$ref"].rpartition("/")[2]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_resolved(option, root) for option in schema["anyOf"]]}
    return schema


def _not_null(schema: Json) -> Json:
    """What a value that may be null is otherwise."""
    return next((option for option in schema.get("anyOf", ()) if option.get("type") != "null"), schema)


def _kinds(schema: Json) -> list[str]:
    """JSON types that a value may have."""
    options = schema.get("anyOf", schema.get("oneOf"))
    return [kind for option in options for kind in _kinds(option)] if options else [schema.get("type", "object")]
