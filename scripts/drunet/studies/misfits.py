"""Why a study cannot be made with the settings at hand, or None: what the workflow asks before it plans anything.

The workflow is read anew for every job, so that nothing heavy may be imported here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drunet.clustering.sharing import ARCHITECTURES, cluster_owners
from drunet.errors import ConfigError, closest
from drunet.studies.sampling_arms import TUNED


def clustering(arms: Mapping[str, Mapping[str, Any]], classifiers: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the study cannot be made with these classifiers; None if it can."""
    if cluster_owners(arms, classifiers):
        return None
    mend = f"Name a classifier of architecture {' or '.join(ARCHITECTURES)}."
    return str(ConfigError("no arm learns clusters", where="study_settings.clustering.arms", mend=mend))


def saliency(models: Sequence[str], classifiers: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the study cannot be made with these classifiers; None if all that are asked for have gradients."""
    where = "study_settings.saliency.models"
    trained = {name for name, settings in classifiers.items() if "onnx" not in settings}
    for name in models:
        if name not in classifiers:
            return str(ConfigError("unknown classifier", where=where, found=name, mend=closest(name, trained)))
        if name not in trained:
            mend = f"Name a classifier that is trained here: {', '.join(sorted(trained)) or 'there is none'}."
            return str(ConfigError("a finished ONNX model has no gradients", where=where, found=name, mend=mend))
    return None


def sampling(arms: Mapping[str, Mapping[str, Any]], classifiers: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the study cannot be made with these classifiers; None if it can."""
    for name, arm in arms.items():
        if arm["threshold"] == TUNED and "onnx" in classifiers[arm["classifier"]]:
            error = ConfigError(
                "a finished model has no validation slides, on which its threshold could be tuned",
                where=f"study_settings.sampling.arms.{name}.threshold",
                found=f"{TUNED}, of {arm['classifier']}",
                mend="Write a number, or name a classifier that is trained here.",
            )
            return str(error)
    return None


def scores(settings: Mapping[str, Any], folder: str | os.PathLike[str]) -> str | None:
    """Say what in the study's settings leads nowhere, or None.

    Parameters
    ----------
    settings : mapping
        `study_settings.scores`, which obeys its schema.
    folder : path
        Where the study's own files go: no filled sheet may lie there, for what lies there is made anew.
    """
    for reader, path in settings["filled"].items():
        where = f"study_settings.scores.filled.{reader}"
        if reader not in settings["readers"]:
            return f"{where}: unknown reader. {closest(reader, settings['readers'])}"
        if Path(folder).resolve() in Path(path).resolve().parents:
            return f"{where}: the sheet lies where sheets are made anew (found: {path}). Move it to another folder."
        if not Path(path).is_file():
            return f"{where}: the file is not there (found: {path}). Relative paths start in the working directory."
    return None


def top_skip(settings: Mapping[str, Any], runs: Mapping[str, Any], refiners: Mapping[str, Any]) -> str | None:
    """Why the study cannot be made of these runs and refiners; None if it can."""
    where = "study_settings.top_skip"
    names = [runs[settings[key]]["refiner"] for key in ("with_run", "without_run")]
    try:
        for key, name in zip(("with_run", "without_run"), names, strict=True):
            if name is None or "onnx" in refiners[name]:
                mend = "Name a run with a refiner that is trained here."
                found = f"{settings[key]} with {'none' if name is None else f'the finished {name}'}"
                raise ConfigError("a run without such a refiner", where=f"{where}.{key}", found=found, mend=mend)
        check_pair(refiners[names[0]], refiners[names[1]], where)
    except ConfigError as error:
        return str(error)
    return None


def check_pair(with_skip: Mapping[str, Any], without: Mapping[str, Any], where: str) -> None:
    """Check that two refiners differ in the top skip connection and in nothing else.

    Raises
    ------
    ConfigError
        Naming what else differs, or that the connection does not.
    """
    options = [dict(settings.get("options", {})) for settings in (with_skip, without)]
    has = [bool(o.pop("top_skip", False)) for o in options]
    if has != [True, False]:
        raise ConfigError(
            "the first refiner must have the top skip connection, and the second must not",
            where=where,
            found=f"top_skip {has[0]} and {has[1]}",
            mend="Set options.top_skip of the refiners of with_run and without_run to true and false.",
        )
    both = [{**settings, "options": o} for settings, o in zip((with_skip, without), options, strict=True)]
    other = [key for key in sorted({*both[0], *both[1]}) if both[0].get(key) != both[1].get(key)]
    if other:
        raise ConfigError(
            "the two refiners differ in more than the top skip connection",
            where=where,
            found=", ".join(other),
            mend="Give both the same settings, so that the comparison tells what the connection does.",
        )
