"""Settings of the post-processing."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block, Share


class PostprocessSettings(Block):
    """From a probability to a clean mask; see `drunet.postprocess`."""

    threshold: Share
    """a pixel is tumour at this probability or above"""
    smoothing_um: float = Field(default=0.0, ge=0, le=1000)
    """sigma of the Gaussian by which the probability is averaged within the tissue before it is thresholded, µm"""
    min_fragment_um2: float | None = Field(ge=0, allow_inf_nan=True)
    """smaller fragments are removed, µm²; null: the smallest tumour annotated in the training slides of the run's
    refiner or `smallest_tumour_of`; where there is neither, or they are not known, one cell of the heatmap"""
    opening_px: int = Field(default=7, ge=0, le=255)
    """side of the opening's kernel, px; published 7"""
    median_px: Literal[0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21] = 11
    """side of the median filter's kernel, px, odd; published 11"""
    opening_um: float | None = Field(default=None, ge=0, le=5000)
    """the same in µm, whatever the slide's size; null: opening_px"""
    median_um: float | None = Field(default=None, ge=0, le=5000)
    """the same in µm, whatever the slide's size; null: median_px"""
    order: Literal["opening_median", "median_opening"] = "opening_median"
    """which of the two comes first; the paper names the opening first, the authors' code applies the median first"""
    within_tissue: bool = True
    """whether what lies outside the tissue mask is cut off, which the paper does not do"""
    unrefined_px: int = Field(ge=64, le=8192)
    """runs without a refiner: longer side of the raster that is cleaned, px"""
    mpp: float = Field(gt=0, le=64)
    """resolution of the finest level of segmentation.tif, µm/px"""
