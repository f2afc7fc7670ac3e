"""The check of an option that is done or left out."""

from __future__ import annotations

from drunet.models.options import Check


def switch_check(value: object) -> Check:
    """The check of what is done or left out."""
    return value, isinstance(value, bool), "Use true or false."
