"""What the settings of this study may be."""

from typing import Annotated

from pydantic import Field

from drunet.settings.base import Block
from studies.common.images.settings import FolderStudy
from studies.common.images.tasks import check_tasks
from studies.common.settings import EACH_ONCE


class ConfusedSettings(Block):
    """The figure of confused images."""

    arm: str
    """name under arms whose answers are shown"""
    classes: Annotated[list[str], Field(min_length=2), *EACH_ONCE]
    """the malignant classes"""
    pairs: int = Field(ge=1, le=50)
    """images per pair of classes and direction"""
    at_most: int = Field(ge=1, le=50)
    """images in all"""


class Settings(FolderStudy):
    """Settings of study_histology_resnet50."""

    confused: ConfusedSettings
    """the figure of confused images"""


completed = check_tasks
