"""Resources of the rules: memory, run time, threads."""

import re
from collections.abc import Mapping

from pydantic import Field

from drunet.errors import ConfigError, closest
from drunet.settings.base import Block

_SET_BY_CONFIGURATION = re.compile(r'\bresource\(\s*"(\w+)",\s*"(\w+)"')


class RuleResources(Block):
    """What a job of a rule may use; what is left out keeps its default."""

    mem_mb: int = Field(default=0, ge=1)
    """memory, MB"""
    runtime: int = Field(default=0, ge=1)
    """run time, minutes"""
    threads: int = Field(default=0, ge=1)
    """processor cores, of rules that compute in parallel"""


ResourcesSettings = dict[str, RuleResources]


def check_rules(resources: Mapping[str, Mapping[str, int]], rules: str) -> None:
    """Check that `resources` names rules that there are, and keys that they take; raises ConfigError.

    `resources` is the block of the configuration, which obeys its model; `rules` is the text of all files of rules:
    what calls `resource("rule", "key", …)` can be set.
    """
    known: dict[str, set[str]] = {}
    for rule, key in _SET_BY_CONFIGURATION.findall(rules):
        known.setdefault(rule, set()).add(key)
    for rule, own in resources.items():
        if rule not in known:
            raise ConfigError("unknown key", where="resources", found=rule, mend=closest(rule, known))
        if unknown := sorted(set(own) - known[rule]):
            what = "the rule computes in one thread" if unknown == ["threads"] else "the rule does not take this"
            mend = f"Known: {', '.join(sorted(known[rule]))}."
            raise ConfigError(what, where=f"resources.{rule}", found=", ".join(unknown), mend=mend)
