"""The configuration as a whole, checked in one way; no script imports this module: an edit here reruns nothing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drunet.export import listed
from drunet.settings import merging, references, resources


def read_listed(config: Mapping[str, Any], shipped: Path) -> dict[str, listed.ListedModel]:
    """Models that can be fetched, by name: of the list that ships, and of the configuration's own.

    Raises ConfigError for a list that cannot be read; `model_lists` that is no list is refused by `checked`.
    """
    own = config.get("model_lists")
    return listed.read_lists([shipped, *(own if isinstance(own, list) else [])])


def checked(
    config: Mapping[str, Any],
    models: Mapping[str, listed.ListedModel],
    files: Iterable[str] = (),
    rules: Path | None = None,
) -> dict[str, Any]:
    """The configuration with models written out, once all of it is sound; raises ConfigError, ModelError.

    `models` are those of `read_listed`, `files` the configuration's own, in which a key may stand twice, and `rules`
    the folder of the rules, whose names stand under `resources`; a job's own process needs neither.
    """
    merging.check_repeated_keys(files)
    settled = merging.resolve_models(listed.with_listed(config, models))
    references.checked(settled)
    if rules:
        texts = [path.read_text(encoding="utf-8") for path in sorted(rules.rglob("*.smk"))]
        resources.check_rules(settled.get("resources", {}), "\n".join(texts))
    return settled
