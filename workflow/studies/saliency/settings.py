"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError, closest


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse classifiers that are not there, or have no gradients (raises ConfigError)."""
    where, classifiers = "study_settings.saliency.models", config["classifiers"]
    trained = {name for name, model in classifiers.items() if "onnx" not in model}
    for name in settings["models"]:
        if name not in classifiers:
            raise ConfigError("unknown classifier", where=where, found=name, mend=closest(name, trained))
        if name not in trained:
            mend = f"Name a classifier that is trained here: {', '.join(sorted(trained)) or 'there is none'}."
            raise ConfigError("a finished ONNX model has no gradients", where=where, found=name, mend=mend)
