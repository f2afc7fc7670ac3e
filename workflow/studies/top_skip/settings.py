"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError
from drunet.settings.base import Block
from studies.common.settings import TestSlides


class Settings(Block):
    """Settings of study_top_skip."""

    split: TestSlides
    """slides that no model learnt from or was chosen by"""
    with_run: str
    """the run whose refiner has the skip connection at full resolution"""
    without_run: str
    """the run whose refiner is the same without it"""


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse two runs whose refiners differ in more, or less, than the top skip connection (raises ConfigError)."""
    where, keys = "study_settings.top_skip", ("with_run", "without_run")
    names = [config["runs"][settings[key]]["refiner"] for key in keys]
    for key, name in zip(keys, names, strict=True):
        if name is None or "onnx" in config["refiners"][name]:
            mend = "Name a run with a refiner that is trained here."
            found = f"{settings[key]} with {'none' if name is None else f'the finished {name}'}"
            raise ConfigError("a run without such a refiner", where=f"{where}.{key}", found=found, mend=mend)
    check_pair(config["refiners"][names[0]], config["refiners"][names[1]], where)


def check_pair(with_skip: Mapping[str, Any], without: Mapping[str, Any], where: str) -> None:
    """Check that two refiners differ in the top skip connection and in nothing else (raises ConfigError)."""
    options = [dict(settings.get("options", {})) for settings in (with_skip, without)]
    has = [bool(o.pop("top_skip", False)) for o in options]
    if has != [True, False]:
        what = "the first refiner must have the top skip connection, and the second must not"
        mend = "Set options.top_skip of the refiners of with_run and without_run to true and false."
        raise ConfigError(what, where=where, found=f"top_skip {has[0]} and {has[1]}", mend=mend)
    both = [{**settings, "options": o} for settings, o in zip((with_skip, without), options, strict=True)]
    other = [key for key in sorted({*both[0], *both[1]}) if both[0].get(key) != both[1].get(key)]
    if other:
        what = "the two refiners differ in more than the top skip connection"
        mend = "Give both the same settings, so that the comparison tells what the connection does."
        raise ConfigError(what, where=where, found=", ".join(other), mend=mend)
