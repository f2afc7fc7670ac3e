"""Subtypes, arms and jobs of the study of tumour boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

from drunet.models import registry
from drunet.settings.merging import merged
from studies.common.images.protocols import PROTOCOLS

# Lung-PET-CT-Dx: the letter in a patient's name.
SUBTYPES = {
    "A": "adenocarcinoma",
    "B": "small cell carcinoma",
    "E": "large cell carcinoma",
    "G": "squamous cell carcinoma",
}
# Between subtypes that are learnt together, in the name of their set.
_JOINT = "+"
_UNDECISIVE = ("label", "training", "fine_tuning")


def source_of(source: str | Sequence[str]) -> str:
    """Name of the set that is learnt: its subtype, or several, `A+B`."""
    return source if isinstance(source, str) else _JOINT.join(source)


def subtypes_in(name: str) -> list[str]:
    """The subtypes of a set that is called as by `source_of`."""
    return name.split(_JOINT)


def arms_of(settings: Mapping[str, Any]) -> list[str]:
    """Names of the arms; one that is null in the settings is left out."""
    return [name for name, arm in settings["arms"].items() if arm]


def arm_settings(settings: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """The settings that decide an arm's trainings, in full.

    They are architecture, options, loss, coordinates, augment; training (`TrainingSettings` of the source) and
    fine_tuning (parts, and training: `TrainingSettings` on each target, which differs from that of the source where the
    settings say so).
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
    """The protocol that the page speaks of first: the one without a leak, if it was run."""
    return max(settings["protocols"], key=PROTOCOLS.index)


def pictured_protocol(settings: Mapping[str, Any]) -> str:
    """The protocol that the figure of slices is of: as the settings say, or `shown_protocol`."""
    return settings["pictures"].get("protocol") or shown_protocol(settings)


def module_of(settings: Mapping[str, Any], arm: str) -> str:
    """Name of the module that holds an arm's architecture."""
    return registry.module_of(settings["arms"][arm]["architecture"])
