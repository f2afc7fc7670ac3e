"""Settings of the report."""

from pydantic import Field

from drunet.settings.base import Block


class ReportSettings(Block):
    """The report and its preview images."""

    title: str = Field(min_length=1)
    """heading of the report"""
    overlay_px: int = Field(ge=200, le=2000)
    """longest side of an overlay, px"""
