"""What the settings of this study may be."""

from __future__ import annotations

from pydantic import Field

from drunet.settings.base import Block


class Settings(Block):
    """Settings of study_active_learning."""

    side_um: float = Field(gt=0, le=20_000)
    """side of a region, µm; it becomes a whole number of the heatmap's cells"""
    rounds: int = Field(ge=1, le=200)
    """of annotation, after the first two regions"""
    per_round: int = Field(ge=1, le=100)
    """regions annotated in a round"""
    draws: int = Field(ge=2, le=1000)
    """of the first two regions, and of random choice"""
