"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Any, Literal

from drunet.settings.base import Block
from studies.common.images.job_settings import Lesson
from studies.common.images.settings import FolderStudy
from studies.common.images.tasks import check_tasks
from studies.common.settings import TimingSettings


class AttentionSettings(Block):
    """The figure of attention."""

    arm: str
    """name under arms"""


class Settings(FolderStudy):
    """Settings of study_histology_distillation."""

    starts: Literal["own", "random"]
    """own: every network starts from its own `weights`; random: all from random ones, the teacher too"""
    attention: AttentionSettings
    """the figure of attention"""
    distillation: Lesson
    """how an arm with a teacher learns from it"""
    timing: TimingSettings
    """how the time per image is measured"""


def completed(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the starting weights that `starts` asks for; refuses what does not fit (DrunetError)."""
    arms = dict(settings["arms"])
    if settings["starts"] == "random":
        networks = {key: arm for key, arm in arms.items() if arm and "classic" not in arm}
        arms |= {key: {**arm, "weights": "random"} for key, arm in networks.items()}
    found = {**settings, "arms": arms}
    check_tasks(name, found)
    return found
