"""Settings of the exports."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block

Format = Literal[
    "geojson", "geojson_gz", "qupath", "qupath_tiles", "fastpathology", "pictures", "ome_tiff", "dicom_seg", "ro_crate",
    "model_card", "bound", "bound_false",
]  # fmt: skip


class ExportSettings(Block):
    """How trained models and results are exported."""

    opset: int = Field(ge=13, le=18)
    """ONNX operator set"""
    formats: list[Format] = Field(default=["geojson", "pictures"])
    """what the target `exports` makes of every slide and run"""
    calibrated: bool = False
    """write calibrated.onnx of each classifier, and calibrated probabilities of tiles in exports that show them"""
    uncertainty: bool = False
    """say of each outline how far the classifier's answers in several views lie apart there: maps of all slides"""
    parent: bool = False
    """put a run's outlines for QuPath under one annotation"""
