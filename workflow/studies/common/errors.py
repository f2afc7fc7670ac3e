"""Errors of the studies, and the check of the keys of a study's blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from drunet.errors import ConfigError, DrunetError


class ImageSetError(DrunetError):
    """A folder of labelled images, or what is said about it, cannot be used."""


class CtError(DrunetError):
    """CT slices, their annotation or a window cannot be used; the message holds nothing that names a patient."""


def check_keys(kind: type[Any], config: Any, where: str, optional: Iterable[str] = ()) -> None:
    """Refuse a block of the configuration that lacks a field of a dataclass, or has a key that is none.

    Parameters
    ----------
    kind : type
        The dataclass.
    where : str
        The block's key, for messages.
    optional : iterable of str
        Fields that may be left out.

    Raises
    ------
    ConfigError
    """
    names = {f.name for f in fields(kind)}
    given = set(config) if isinstance(config, Mapping) else set()
    wrong = sorted((given ^ names) - (set(optional) - given))
    if wrong:
        mend = f"It has exactly the keys {', '.join(sorted(names))}."
        raise ConfigError("missing or unknown keys", where=where, found=", ".join(wrong), mend=mend)
