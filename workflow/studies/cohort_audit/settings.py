"""What the settings of this study may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from drunet.errors import ConfigError, closest
from drunet.settings.base import Block


class Settings(Block):
    """Settings of study_cohort_audit."""

    alpha: float = Field(gt=0, le=0.2)
    """chance of a false alarm per question, all traits of a slide together"""
    permutations: int = Field(ge=99, le=1_000_000)
    """of the labels of patients"""
    tiles_per_slide: int = Field(ge=4, le=10_000)
    """labelled tiles whose colours are looked at"""
    copies: float = Field(gt=0.5, lt=1)
    """correlation of two overviews from which slides are taken for copies"""
    classifier: str | None
    """a name under classifiers, whose answers are watched under changes of stain and scanner; null: none"""


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a classifier that is not there, or that does not see tiles as they are (raises ConfigError)."""
    name, where = settings["classifier"], "study_settings.cohort_audit.classifier"
    if name is None:
        return
    if name not in config["classifiers"]:
        raise ConfigError("unknown classifier", where=where, found=name, mend=closest(name, config["classifiers"]))
    for key in ("encoder", "stain_normalisation"):
        if config["classifiers"][name].get(key):
            what, mend = f"the classifier does not see tiles as they are, but by its `{key}`", "Name another, or null."
            raise ConfigError(what, where=where, found=name, mend=mend)
