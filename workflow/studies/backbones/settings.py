"""What the settings of this study may be."""

from typing import Annotated, Literal

from pydantic import Field

from drunet.settings.base import Block
from studies.common.settings import ArmId, ClassifierArm, Resamples, TimingSettings


class Arm(ClassifierArm):
    """A backbone."""

    published: (
        Literal["VGG19", "ResNet101V2", "MobileNetV2", "EfficientNetV2", "InceptionV3", "DenseNet201", "DR-fused"]
        | None
    )
    """the architecture of the published table that is shown beside it"""


class Settings(Block):
    """Settings of study_backbones."""

    bootstrap: Resamples
    """bootstrap draws of patients"""
    arms: Annotated[dict[ArmId, Arm | None], Field(min_length=1)]
    """what is compared, in this order; null leaves one out"""
    timing: TimingSettings
    """how the time per tile is taken"""
