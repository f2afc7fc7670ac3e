"""Settings of the measurements."""

from pydantic import Field

from drunet.settings.base import Block, Share

# What may be bounded, by the name of its file: the setting that asks for it.
BOUNDS = {"bound": "missed_at_most", "bound_false": "false_at_most"}


class MeasureSettings(Block):
    """How segmentations are compared with annotations; see `drunet.evaluation`."""

    mpp: float = Field(gt=0, le=64)
    """resolution of the raster on which masks are compared, µm/px"""
    threshold: Share
    """threshold on heatmap and refined probability"""
    missed_at_most: float | None = Field(default=None, gt=0, lt=1)
    """share of a patient's tumour that may be missed on average, for the bound of each run; null: none is made"""
    false_at_most: float | None = Field(default=None, gt=0, lt=1)
    """share of a patient's tissue that is no tumour and may be called so on average; null: no such bound is made"""
    bootstrap: int = Field(ge=100, le=1_000_000)
    """bootstrap resamples, by patient"""
