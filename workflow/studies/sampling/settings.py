"""Which classifiers the arms of this study take, and what its settings must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError

# An arm's threshold when it is tuned on the classifier's own validation slides.
TUNED = "validation"


def models_of(arms: Mapping[str, Mapping[str, Any]], *, tuned: bool = False) -> list[str]:
    """Classifiers of the arms, each once; `tuned`: only of those whose threshold is."""
    return list(dict.fromkeys(a["classifier"] for a in arms.values() if not tuned or a["threshold"] == TUNED))


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a threshold that would be tuned where there are no validation slides (raises ConfigError)."""
    for name, arm in settings["arms"].items():
        if arm["threshold"] == TUNED and "onnx" in config["classifiers"][arm["classifier"]]:
            raise ConfigError(
                "a finished model has no validation slides, on which its threshold could be tuned",
                where=f"study_settings.sampling.arms.{name}.threshold",
                found=f"{TUNED}, of {arm['classifier']}",
                mend="Write a number, or name a classifier that is trained here.",
            )
