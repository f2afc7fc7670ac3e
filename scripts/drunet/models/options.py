"""Checking a builder's options, which may come from a configuration and be anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

from drunet.errors import ModelError


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


def momentum_check(momentum: float | None) -> tuple[object, bool, str]:
    """The check of a batch normalisation's momentum, where None stands for Keras' own."""
    return momentum, momentum is None or within(momentum, 0, 1), "Use null, or from 0 to below 1."
