"""Settings of the cascade: a student judges every tile, its teacher those that the student is unsure of."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block, Share


class CascadeSettings(Block):
    """How a run's classifier (the teacher) is spared most tiles by another one; see `drunet.cascade`."""

    student: str
    """a classifier of this configuration, as a rule one that learnt from this one (distillation)"""
    precision: Literal["float32", "int8"] = "int8"
    """of the student"""
    teacher_precision: Literal["float32", "int8"] = "float32"
    """of the teacher where the student is unsure, and on a slide in full; the audit is in float32 in either case"""
    max_dice_loss: Share = 0.01
    """how much lower than the teacher's the Dice of the validation slides may be"""
    audit: int = Field(default=300, ge=0, le=1_000_000)
    """tiles of a slide that the teacher in float32 judges too; four times as many where too few; 0: no bound"""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """of the bound"""
    max_differing: Share = 0.03
    """largest bound of the share of tiles on the other side of measure.threshold; above it a slide is done in full"""
