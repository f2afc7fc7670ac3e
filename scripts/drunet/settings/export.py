"""Settings of the exports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block


class ExportSettings(Block):
    """How trained models and results are exported."""

    opset: int = Field(ge=13, le=18)
    """ONNX operator set"""
    formats: list[Literal["geojson", "pictures"]] = Field(["geojson", "pictures"])
    """what the target `exports` makes of every slide and run"""
