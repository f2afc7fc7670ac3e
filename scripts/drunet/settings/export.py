"""Settings of the exports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block

Format = Literal["geojson", "pictures", "ome_tiff", "dicom_seg", "ro_crate", "model_card"]


class ExportSettings(Block):
    """How trained models and results are exported."""

    opset: int = Field(ge=13, le=18)
    """ONNX operator set"""
    formats: list[Format] = Field(default=["geojson", "pictures"])
    """what the target `exports` makes of every slide and run"""
