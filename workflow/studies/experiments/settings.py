"""What the settings of this study may be."""

from typing import Annotated

from pydantic import Field

from drunet.settings.base import Block
from studies.common.settings import Resamples, TestSlides

_Experiment = Annotated[str, Field(pattern="^[^,]{1,24}$")]


class Settings(Block):
    """Settings of the experiments."""

    learning_sheet: str | None
    """sheet of slides that only models learn from, a file of resources/ or a path; null, the main sheet holds all"""
    learning_root: str | None
    """where that sheet's relative paths start; null, its own folder"""
    split: TestSlides
    """slides that no model learnt from or was chosen by"""
    bootstrap: Resamples
    """bootstrap draws of patients"""
    band_um: float = Field(gt=0, le=100_000)
    """width in µm of the margin around the annotated tumour in which false positives are counted"""
    pictures: int = Field(ge=1, le=6)
    """slides in the grid of pictures, the first ones of the split"""
    labels: Annotated[dict[_Experiment, str | None], Field(min_length=1)]
    """run by the name of its experiment, in the order in which they are shown; I to X have published figures, null
    leaves one out"""
