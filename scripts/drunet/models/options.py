"""Checking a builder's options, which may come from a configuration and be anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

from drunet.errors import ModelError

SMALLEST = 32  # px; what Keras' applications need, but for a few, and the side from which other networks start


def within(value: object, least: float, below: float = math.inf) -> bool:
    """Say whether a value is a number in [least, below)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < below


def refuse_unfit(where: str, checks: Mapping[str, tuple[object, bool, str]]) -> None:
    """Refuse the first option that does not fit, before anything costly is built.

    Parameters
    ----------
    where : str
        The architecture.
    checks : mapping of option to (value, fits, mend)

    Raises
    ------
    ModelError
    """
    for name, (value, fits, mend) in checks.items():
        if not fits:
            raise ModelError(f"'{name}' is out of range", where=where, found=value, mend=mend)


def whole(value: object, least: int) -> bool:
    """Say whether a value is a whole number of at least `least`."""
    return isinstance(value, int) and within(value, least)


def whole_check(value: object, least: int = 1) -> tuple[object, bool, str]:
    """The check of what is counted."""
    return value, whole(value, least), f"Use a whole number of at least {least}."


def momentum_check(momentum: float | None) -> tuple[object, bool, str]:
    """The check of a batch normalisation's momentum, where None stands for Keras' own."""
    return momentum, momentum is None or within(momentum, 0, 1), "Use null, or from 0 to below 1."


def freeze_check(share: float) -> tuple[object, bool, str]:
    """The check of the share of layers that is held fixed."""
    return share, share == 1 or within(share, 0, 1), "Use a share from 0 to 1."


def switch_check(value: object) -> tuple[object, bool, str]:
    """The check of what is done or left out."""
    return value, isinstance(value, bool), "Use true or false."


def check_own_network(
    where: str,
    *,
    size: int,
    weights: object,
    classes: int,
    dropout: float,
    freeze_fraction: float,
    batch_norm_momentum: float | None,
    more: Mapping[str, tuple[object, bool, str]],
) -> None:
    """Check what the classifiers that stand on no backbone of Keras' are told alike.

    Parameters
    ----------
    where : str
        The architecture.
    more : mapping of option to (value, fits, mend)
        Its own options, see `refuse_unfit`.

    Raises
    ------
    ModelError
        For the first option out of range.
    """
    start = "Use random; to begin with a whole trained model, name its weights file as the model's `weights`."
    refuse_unfit(
        where,
        {
            "size": (size, whole(size, SMALLEST), f"Use a whole number of pixels, at least {SMALLEST}."),
            "weights": (weights, weights == "random", start),
            "classes": whole_check(classes, 2),
            "dropout": (dropout, within(dropout, 0, 1), "Use a rate from 0 to below 1."),
            "freeze_fraction": freeze_check(freeze_fraction),
            "batch_norm_momentum": momentum_check(batch_norm_momentum),
            **more,
        },
    )
