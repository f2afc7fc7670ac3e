"""Which classifiers learn from another one, and how: the `distillation` blocks of the configuration.

Without Keras, so that a configuration can be checked where nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drunet.errors import ConfigError, check_keys, closest

_LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: 0 < value < math.inf, "Use a number above 0; usual are 3 to 5."),
    "weight": (lambda value: 0 <= value <= 1, "Use a number from 0 to 1."),
    "unlabelled_share": (lambda value: 0 <= value < 1, "Use a number from 0 to below 1."),
}


@dataclass(frozen=True)
class Teaching:
    """How a patch-wise classifier (the student) learns from another one; keys as under `distillation`.

    Attributes
    ----------
    teacher : str
        A classifier of the configuration.
    temperature : float
        By which the logarithms of both models' probabilities are divided (000, "Model construction", leaves it open).
    weight : float
        Share of the soft term in the loss of a labelled tile; the rest is cross-entropy (left open there as well).
    unlabelled_share : float
        Share of each batch that are tissue tiles without regard to any label, below 1.
    """

    teacher: str
    temperature: float
    weight: float
    unlabelled_share: float

    @classmethod
    def from_config(cls, settings: Mapping[str, Any], where: str) -> Teaching | None:
        """Read the `distillation` of a classifier's settings; None where it learns from labels alone.

        Parameters
        ----------
        settings : mapping
            An entry under `classifiers` in the configuration.
        where : str
            The entry's key, for messages.

        Raises
        ------
        ConfigError
            For keys that are missing or unknown, values out of range, and a loss that distillation has no room for.
        """
        block = settings.get("distillation")
        if block is None:
            return None
        check_keys(cls, block, f"{where}.distillation")
        for key, (fits, mend) in _LIMITS.items():
            value = block[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
                key_ = f"{where}.distillation.{key}"
                raise ConfigError("the value does not fit", where=key_, found=value, mend=mend)
        _check_loss(settings["loss"], f"{where}.loss")
        return cls(**block)


def teacher_of(settings: Mapping[str, Any]) -> str | None:
    """Name of the classifier that another one learns from, by that one's settings; None where it has no teacher."""
    block = settings.get("distillation")
    return block["teacher"] if block else None


def check_teachers(classifiers: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that every `distillation` block can be followed, and leads to a model that has no teacher itself.

    Raises
    ------
    ConfigError
        For a teacher that there is not (with the closest name), one that is the student itself or learns from it, and
        as `Teaching.from_config`.
    """
    for name, settings in classifiers.items():
        Teaching.from_config(settings, f"classifiers.{name}")
        _follow(classifiers, name)


def _follow(classifiers: Mapping[str, Mapping[str, Any]], name: str) -> None:
    path = [name]
    while (teacher := teacher_of(classifiers[path[-1]])) is not None:
        where = f"classifiers.{path[-1]}.distillation.teacher"
        if teacher not in classifiers:
            raise ConfigError("unknown classifier", where=where, found=teacher, mend=closest(teacher, classifiers))
        if teacher in path:
            mend = "Name another, or let one of them learn from labels alone: `distillation: null`."
            raise ConfigError("models teach each other in a circle", where=where, found=teacher, mend=mend)
        path.append(teacher)


def _check_loss(loss: Mapping[str, Any], where: str) -> None:
    for key, only in (("name", "cross_entropy"), ("class_weights", None)):
        if loss.get(key) != only:
            mend = (
                f"Use {only or 'null'}, or `distillation: null`: beside a teacher, labels enter by cross-entropy alone."
            )
            raise ConfigError("distillation cannot use this", where=f"{where}.{key}", found=loss.get(key), mend=mend)
