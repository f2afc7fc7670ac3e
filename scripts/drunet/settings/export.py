"""Settings of the ONNX export."""

from __future__ import annotations

from pydantic import Field

from drunet.settings.base import Block


class ExportSettings(Block):
    """How trained models are exported."""

    opset: int = Field(ge=13, le=18)
    """ONNX operator set"""
