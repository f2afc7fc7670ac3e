"""Settings of the choice of regions to annotate next."""

from pydantic import Field

from drunet.settings.base import Block, Share


class NextRegionsSettings(Block):
    """Which regions to annotate next; see `drunet.uncertainty.regions`."""

    count: int = Field(default=20, ge=1, le=10_000)
    """regions over all slides"""
    side_um: float = Field(default=500.0, gt=0, le=20_000)
    """side of a region, µm; it becomes a whole number of the heatmap's cells"""
    per_slide: int = Field(default=5, ge=1, le=10_000)
    """regions of one slide at most"""
    weight: Share = 0.5
    """1: where the classifier is unsure alone; 0: what is unlike the annotated alone"""
