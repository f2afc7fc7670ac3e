"""Arms of the study `sampling`: which classifier each takes, and at which threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# An arm's threshold when it is tuned on the classifier's own validation slides.
TUNED = "validation"


def models_of(arms: Mapping[str, Mapping[str, Any]], *, tuned: bool = False) -> list[str]:
    """Classifiers of the arms, each once; `tuned`: only of those whose threshold is."""
    return list(dict.fromkeys(a["classifier"] for a in arms.values() if not tuned or a["threshold"] == TUNED))
