"""What can go wrong for a user, as one small hierarchy."""

import difflib
from collections.abc import Iterable

SLIDE_STATUSES = (
    "ok", "missing", "unreadable", "resolution_missing", "not_brightfield", "no_tissue", "annotation_unusable",
)  # fmt: skip
# The one key of a JSON file that stands in the place of a result, see `drunet.outcome`.
OUTCOME = "drunet_outcome"
# The type of pydantic's error that carries a `ConfigError` of our own words, see `drunet.settings.base.refusal`.
REFUSED = "refused"

# Characters of a value that a message repeats.
_MOST_FOUND = 400


def printable(text: object, at_most: int = 2000) -> str:
    r"""Text for one line of a terminal: what a terminal would obey, or not show, is escaped; what is long is cut.

    >>> printable("\x1b[2Jtumour\n"), printable("x" * 9, at_most=4)
    ('\\x1b[2Jtumour\\n', 'xxxx... (9 characters)')
    """
    whole = str(text)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole[:at_most])
    return shown if len(whole) <= at_most else f"{shown}... ({len(whole)} characters)"


class DrunetError(Exception):
    """A mistake that the user can mend.

    `what` is wrong, without a full stop; `where`: the slide ID, file or configuration key concerned; `found`: the
    offending value; `mend`: what to do about it.

    >>> print(DrunetError("the slide does not say its resolution", where="s01", found="no µm/px", mend="Add `mpp`."))
    s01: the slide does not say its resolution (found: no µm/px). Add `mpp`.
    """

    def __init__(self, what: str, *, where: str, found: object = None, mend: str) -> None:
        # What others wrote (names, cells, tags of a file) may hold escapes that a terminal obeys, or a book.
        self.what, self.where, self.mend = printable(what), printable(where), printable(mend)
        self.found = printable(found, _MOST_FOUND) if isinstance(found, str) else found
        super().__init__(self.what, self.where, self.found, self.mend)

    def __str__(self) -> str:
        found = "" if self.found is None else f" (found: {printable(self.found, _MOST_FOUND)})"
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


class ModelError(DrunetError):
    """A model, or its weights, does not fit what it is asked to do."""


class ProviderError(DrunetError):
    """What was asked to compute is not there: ONNX Runtime's execution provider, or a GPU for Keras."""


def spelt_alike(value: object, known: Iterable[str], *, at_most: int = 1, alike: float = 0.6) -> list[str]:
    """The known names that are most like `value`, the best first; `alike` is the share of letters in common."""
    return difflib.get_close_matches(str(value), list(known), n=at_most, cutoff=alike)


def closest(value: object, known: Iterable[str]) -> str:
    """A hint `Did you mean x?` when something known is spelt alike, else the list of what is known.

    >>> closest("gradeint", ["gradient", "otsu_saturation"])
    'Did you mean gradient?'
    """
    names = sorted(known)
    match = spelt_alike(value, names)
    return f"Did you mean {match[0]}?" if match else f"Known: {', '.join(names) or 'none'}."
