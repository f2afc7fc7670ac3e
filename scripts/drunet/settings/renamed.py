"""Keys that have another name than in an earlier version of the configuration.

An entry is added with the change itself, and the configuration's `version` is raised with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Renamed:
    """What became of a key: its name today, in full, and what the new version makes again, as the end of a sentence.

    Such as "retrains every classifier", "reruns nothing".
    """

    key: str
    reruns: str


# By the full name that a key had; `*` stands for the name of a model or run.
RENAMED: dict[str, Renamed] = {}


def renamed(key: str, table: Mapping[str, Renamed] | None = None) -> Renamed | None:
    """What became of a key, given in full; None where it never had a meaning."""
    for old, new in (RENAMED if table is None else table).items():
        if re.fullmatch(re.escape(old).replace(r"\*", r"[^.]+"), key):
            return new
    return None
