"""Configuration files and blocks put together: repeated keys, merged blocks, models that are `like` another."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from drunet.errors import ConfigError, closest
from drunet.files import AnyPath

try:
    # As safe as the other, written in C and ten times as fast: every job reads the settings anew.
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

# Blocks that mean something only as a whole: a part of another model's would be a mixture of the two.
_WHOLE = (
    "options",
    "weights",
    "multi_lens",
    "hed",
    "stain_normalisation",
    "sampling",
    "clustering",
    "loss",
    "distillation",
)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, by the safe loader."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)


def check_repeated_keys(paths: Iterable[AnyPath]) -> None:
    """Refuse a key that stands twice in one block of a configuration file: YAML keeps the last, without a word.

    `paths` are YAML or JSON files; what cannot be parsed is passed over, as whoever loads them has refused it. Raises
    ConfigError with file, key and both lines.
    """
    for path in paths:
        try:
            tree = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=SafeLoader)
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


def _check_keys_once(block: yaml.MappingNode, path: AnyPath) -> None:
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


def merged(base: Mapping[str, Any], over: Mapping[str, Any], whole: Iterable[str] = ()) -> dict[str, Any]:
    """A copy of `base` with what `over` says: mappings merge, anything else, and what is in `whole`, is replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value, whole) if both and key not in whole else copy.deepcopy(value)
    return result


def resolve_models(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write out models that say `like: NAME`: everything as in that model but for what they say themselves.

    `options`, `weights`, `loss`, `distillation`, `data.sampling`, `data.clustering`, `augment.multi_lens`,
    `augment.hed` and `stain_normalisation` are taken whole or not at all, and options never from another architecture.
    Raises ConfigError if there is no such model, or circular `like` reference.
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
        raise ConfigError("circular `like` reference", where=where, found=base, mend=mend)
    own = {key: value for key, value in model.items() if key != "like"}
    other = _resolved_model(kind, base, models, (name, *above))
    if "onnx" in other:
        mend = "Write it out in full, or let it be like a model that is trained here."
        raise ConfigError("`like` cannot refer to a finished ONNX model", where=where, found=base, mend=mend)
    if own.get("architecture", other.get("architecture")) != other.get("architecture"):
        other = {**other, "options": {}}
    return merged(other, own, _WHOLE)
