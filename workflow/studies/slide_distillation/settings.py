"""What the settings of this study may be."""

from typing import Annotated

from pydantic import Field

from drunet.settings.base import Block, Share
from studies.common.settings import ArmId, ClassifierArm, Resamples, TestSlides, TimingSettings


class Arm(ClassifierArm):
    """A student, or the teacher."""

    run: str | None
    """a run of it that ends in a refiner"""
    alone: str | None
    """a run of it without refiner"""


class AskedSettings(Block):
    """What makes a student good enough."""

    speed: float = Field(gt=0, le=1000)
    """times the reference's tiles per second"""
    dsc: Share
    """Dice below the reference's at most"""


class Settings(Block):
    """Settings of study_slide_distillation."""

    split: TestSlides
    """slides that no model learnt from or was chosen by"""
    bootstrap: Resamples
    """bootstrap draws of patients"""
    reference: str
    """the arm that every other is held against"""
    asked: AskedSettings
    """what makes a student good enough"""
    arms: Annotated[dict[ArmId, Arm | None], Field(min_length=2)]
    """what is compared, in this order; null leaves one out"""
    timing: TimingSettings
    """how the tiles per second are taken"""
