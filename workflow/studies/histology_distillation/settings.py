"""What the settings of this study may be."""

from drunet.settings.base import Block
from studies.common.images.job_settings import Lesson
from studies.common.images.settings import ArmsSettings, ImageStudy
from studies.common.images.tasks import check_tasks
from studies.common.settings import TimingSettings


class AttentionSettings(Block):
    """The figure of attention."""

    arm: str
    """name under arms"""


class Settings(ImageStudy, ArmsSettings):
    """Settings of study_histology_distillation."""

    attention: AttentionSettings
    """the figure of attention"""
    distillation: Lesson
    """how an arm with a teacher learns from it"""
    timing: TimingSettings
    """how the time per image is measured"""


completed = check_tasks
