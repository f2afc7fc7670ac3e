"""What the settings of this study may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from drunet.errors import ConfigError, closest
from drunet.settings.base import Block, Share, refusal
from drunet.settings.config import Id
from studies.common.settings import EACH_ONCE, Names, TestSlides, Text


class Settings(Block):
    """Settings of study_scores."""

    scored_runs: Names
    """names under runs whose outlines are scored"""
    split: TestSlides
    """slides that no model learnt from or was chosen by"""
    readers: Annotated[list[Id], Field(min_length=1), *EACH_ONCE]
    """names of the readers: letters, digits, dash, underscore and, between them, single dots"""
    repeats: Share
    """share of the cases that every reader sees twice"""
    picture_px: int = Field(ge=200, le=12_000)
    """longer side of a picture in pixels"""
    filled: dict[Id, Text]
    """per reader the path of the filled sheet"""

    @model_validator(mode="after")
    def _known_readers(self) -> Self:
        for reader in self.filled:
            if reader not in self.readers:
                mend = closest(reader, self.readers)
                raise refusal("unknown reader", key="filled", found=reader, mend=mend)
        return self


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse, by a ConfigError, filled sheets that are not there, or that lie where sheets are made anew."""
    folder = Path(config["results"], "studies/scores").resolve()
    for reader, path in settings["filled"].items():
        where = f"study_settings.scores.filled.{reader}"
        if folder in Path(path).resolve().parents:
            mend = "Move it to another folder."
            raise ConfigError("the sheet lies where sheets are made anew", where=where, found=path, mend=mend)
        if not Path(path).is_file():
            mend = "Relative paths start in the working directory."
            raise ConfigError("the file is not there", where=where, found=path, mend=mend)
