"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError
from studies.sampling.arms import TUNED


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a threshold that would be tuned where there are no validation slides.

    Raises
    ------
    ConfigError
    """
    for name, arm in settings["arms"].items():
        if arm["threshold"] == TUNED and "onnx" in config["classifiers"][arm["classifier"]]:
            raise ConfigError(
                "a finished model has no validation slides, on which its threshold could be tuned",
                where=f"study_settings.sampling.arms.{name}.threshold",
                found=f"{TUNED}, of {arm['classifier']}",
                mend="Write a number, or name a classifier that is trained here.",
            )
