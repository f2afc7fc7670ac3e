"""Checks of the study's settings beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError, closest
from studies.common.study_settings import Study
from studies.common.user_paths import is_folder
from studies.ct_boxes.tasks import SUBTYPES, arms_of, module_of


def completed(study: Study) -> None:
    """Refuse folders, subtypes and arms that do not fit each other.

    Raises
    ------
    DrunetError
    """
    where, settings = f"study_settings.{study.name}", study.settings
    _check_folders(f"{where}.slices", settings["slices"])
    _check_subtypes(where, settings)
    arms = {name: settings["arms"][name] for name in arms_of(settings)}
    for name in arms:
        module_of(settings, name)
    labels = [arm["label"] for arm in arms.values()]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ConfigError("two arms have one label", where=f"{where}.arms", found=twice[0], mend="Name one otherwise.")
    shown = settings["pictures"]["arm"]
    if shown not in arms:
        raise ConfigError("unknown arm", where=f"{where}.pictures.arm", found=shown, mend=closest(shown, arms))


def _check_folders(where: str, slices: Mapping[str, Any]) -> None:
    if slices["root"] is None and slices["annotations"] is not None:
        mend = "Name the folder of the slices as well, or neither: the embedded set brings its own."
        raise ConfigError("annotations without slices", where=f"{where}.root", found="null", mend=mend)
    for key in ("root", "annotations"):
        if slices[key] is not None and not is_folder(slices[key]):
            # Folders of CT are often named after patients: the path is not repeated.
            mend = "Correct the path; relative ones start in the working directory."
            raise ConfigError("there is no such folder", where=f"{where}.{key}", mend=mend)


def _check_subtypes(where: str, settings: Mapping[str, Any]) -> None:
    known = ", ".join(f"{letter} {name}" for letter, name in SUBTYPES.items())
    for key, letters in (("source", [settings["source"]]), ("targets", settings["targets"])):
        if wrong := [letter for letter in letters if letter not in SUBTYPES]:
            raise ConfigError("unknown subtype", where=f"{where}.{key}", found=wrong[0], mend=f"Known: {known}.")
    if settings["source"] in settings["targets"]:
        mend = "Leave it out of the targets, which are the other subtypes."
        raise ConfigError(
            "the source is among the targets", where=f"{where}.targets", found=settings["source"], mend=mend
        )
