"""What the study of tumour boxes trains: its arms, and the checks that its settings must pass before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError, closest
from drunet.models import registry
from drunet.settings.merging import merged
from drunet.user_paths import is_folder
from studies.common.images.protocols import PROTOCOLS

# Lung-PET-CT-Dx: the letter in a patient's name.
SUBTYPES = {
    "A": "adenocarcinoma",
    "B": "small cell carcinoma",
    "E": "large cell carcinoma",
    "G": "squamous cell carcinoma",
}
_UNDECISIVE = ("label", "published", "training", "fine_tuning")


def subtypes_of(settings: Mapping[str, Any]) -> list[str]:
    """Subtypes that the study reads, that which is learnt from first."""
    return [settings["source"], *settings["targets"]]


def arms_of(settings: Mapping[str, Any]) -> list[str]:
    """Names of the arms; one that is null in the settings is left out."""
    return [name for name, arm in settings["arms"].items() if arm]


def arm_settings(settings: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """What decides an arm's trainings, in full.

    Returns
    -------
    dict
        architecture, options, loss, coordinates, augment; training (`TrainingSettings` of the source) and
        fine_tuning (parts, and training: `TrainingSettings` on each target, which differs from that of the source
        where the settings say so).
    """
    own = settings["arms"][arm]
    training = merged(settings["training"], own.get("training", {}))
    tuning = merged(settings["fine_tuning"], own.get("fine_tuning", {}))
    return {
        **{key: value for key, value in own.items() if key not in _UNDECISIVE},
        "training": training,
        "fine_tuning": {**tuning, "training": merged(training, tuning["training"])},
    }


def keys_of(settings: Mapping[str, Any]) -> list[str]:
    """`protocol/arm` of all trainings: a job each."""
    return [f"{protocol}/{arm}" for protocol in settings["protocols"] for arm in arms_of(settings)]


def shown_protocol(settings: Mapping[str, Any]) -> str:
    """The protocol that pictures are of: the most honest."""
    return max(settings["protocols"], key=PROTOCOLS.index)


def module_of(settings: Mapping[str, Any], arm: str) -> str:
    """Name of the module that holds an arm's architecture."""
    return registry.module_of(settings["arms"][arm]["architecture"])


def check_tasks(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse a study whose folders, subtypes and arms do not fit each other.

    Raises
    ------
    DrunetError
    """
    where = f"study_settings.{name}"
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
        mend = "Leave it out of the targets, which are those that were not learnt from."
        raise ConfigError(
            "the source is among the targets", where=f"{where}.targets", found=settings["source"], mend=mend
        )
