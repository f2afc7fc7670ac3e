"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.errors import ConfigError, closest


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse filled sheets of nobody, that are not there, or that lie where sheets are made anew.

    Raises ConfigError.
    """
    folder = Path(config["results"], "studies/scores").resolve()
    for reader, path in settings["filled"].items():
        where = f"study_settings.scores.filled.{reader}"
        if reader not in settings["readers"]:
            raise ConfigError("unknown reader", where=where, mend=closest(reader, settings["readers"]))
        if folder in Path(path).resolve().parents:
            mend = "Move it to another folder."
            raise ConfigError("the sheet lies where sheets are made anew", where=where, found=path, mend=mend)
        if not Path(path).is_file():
            mend = "Relative paths start in the working directory."
            raise ConfigError("the file is not there", where=where, found=path, mend=mend)
