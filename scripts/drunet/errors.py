"""What can go wrong for a user, as one small hierarchy.

Every message is built from the same four parts: what is wrong, where, the value found, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SLIDE_STATUSES = (
    "ok",
    "missing",
    "unreadable",
    "resolution_missing",
    "not_brightfield",
    "no_tissue",
    "annotation_unusable",
)
# The one key of a JSON file that stands in the place of a result, see `drunet.outcome`.
OUTCOME = "drunet_outcome"


class DrunetError(Exception):
    """A mistake that the user can mend.

    Parameters
    ----------
    what : str
        What is wrong, without a full stop.
    where : str
        The slide ID, file or configuration key concerned.
    found : object, optional
        The offending value.
    mend : str
        What to do about it.
    """

    def __init__(self, what: str, *, where: str, found: object = None, mend: str) -> None:
        self.what, self.where, self.found, self.mend = what, where, found, mend
        super().__init__(what, where, found, mend)

    def __str__(self) -> str:
        found = "" if self.found is None else f" (found: {self.found})"
        return f"{self.where}: {self.what}{found}. {self.mend}"


class ConfigError(DrunetError):
    """The configuration asks for something that does not exist or does not fit."""


class SheetError(DrunetError):
    """The sample sheet is incomplete, unsafe or contradicts itself."""


class SlideError(DrunetError):
    """A slide cannot be used; `status` says why in one of `SLIDE_STATUSES`."""

    def __init__(self, what: str, *, status: str, where: str, found: object = None, mend: str) -> None:
        if status not in SLIDE_STATUSES:
            raise ValueError(f"unknown slide status {status!r}, expected one of {SLIDE_STATUSES}")
        self.status = status
        super().__init__(what, where=where, found=found, mend=mend)


class FailedSlideError(SlideError):
    """A slide has no result here, because it could not be used at an earlier `stage` (a rule); see `drunet.outcome`."""

    def __init__(self, what: str, *, stage: str, status: str, where: str, found: object = None, mend: str) -> None:
        self.stage = stage
        super().__init__(what, status=status, where=where, found=found, mend=mend)


class AnnotationError(DrunetError):
    """An annotation file cannot be understood."""


class TrainingDataError(DrunetError):
    """There is nothing to learn from: no tiles, one class only, no held-out slides."""


class ImageSetError(DrunetError):
    """A folder of labelled images, or what is said about it, cannot be used."""


class CtError(DrunetError):
    """CT slices, their annotation or a window cannot be used; the message holds nothing that names a patient."""


class ModelError(DrunetError):
    """A model, or its weights, does not fit what it is asked to do."""


class ProviderError(DrunetError):
    """What was asked to compute is not there: ONNX Runtime's execution provider, or a GPU for Keras."""


def spelt_alike(value: object, known: Iterable[str], *, at_most: int = 1, alike: float = 0.6) -> list[str]:
    """The known names that are most like `value`, the best first; `alike` is the share of letters in common."""
    return difflib.get_close_matches(str(value), list(known), n=at_most, cutoff=alike)


def closest(value: object, known: Iterable[str]) -> str:
    """A hint `Did you mean x?` when something known is spelt alike, else the list of what is known."""
    names = sorted(known)
    match = spelt_alike(value, names)
    return f"Did you mean {match[0]}?" if match else f"Known: {', '.join(names) or 'none'}."
