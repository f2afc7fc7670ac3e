"""Settings of the tissue mask."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block


class TissueSettings(Block):
    """How tissue is distinguished from glass; see `drunet.tissue.tissue_mask`."""

    method: Literal["gradient", "distance_from_white", "otsu_saturation"]
    """how tissue is distinguished from glass"""
    mpp: float = Field(ge=0.5, le=64)
    """resolution of the mask, µm/px"""
    gradient_threshold: float = Field(gt=0, allow_inf_nan=True)
    """for gradient: grey levels per 10 µm, local mean"""
    white_distance: float = Field(gt=0, le=442)
    """for distance_from_white: Euclidean distance in RGB"""
    min_area_um2: float = Field(ge=0, allow_inf_nan=True)
    """smaller pieces are removed, µm²"""
    max_hole_um2: float = Field(ge=0, allow_inf_nan=True)
    """smaller holes are filled, µm²"""
    exclude_pen: bool
    """whether saturated ink is excluded"""
