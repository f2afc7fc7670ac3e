"""Settings of knowledge distillation: how a classifier learns from another one's outputs."""

from typing import Annotated

from pydantic import Field

from drunet.settings.base import AS_GIVEN, Block


class DistillationSettings(Block):
    """How a patch-wise classifier (the student) learns from another one (the teacher)."""

    teacher: str
    """a classifier of this configuration"""
    temperature: Annotated[float, Field(gt=0), AS_GIVEN]
    """by which the logarithms of both models' probabilities are divided; usual are 3 to 5"""
    weight: Annotated[float, Field(ge=0, le=1), AS_GIVEN]
    """share of the teacher's term in the loss of a labelled tile; the label has the rest"""
    unlabelled_share: Annotated[float, Field(ge=0, lt=1), AS_GIVEN]
    """share of each batch that are tissue tiles whatever their label"""
