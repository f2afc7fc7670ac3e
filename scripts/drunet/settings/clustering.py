"""Settings of the refinement by clustering."""

from pydantic import Field

from drunet.settings.base import Block, Share


class ClusteringSettings(Block):
    """Refinement without a network; see `drunet.clustering`. The defaults are the authors' code's."""

    clusters: int = Field(default=3, ge=2, le=32)
    """number of clusters, one of which is the tumour"""
    min_heat: Share = 0.7
    """lower values of the heatmap, stretched to 0..1, count as 0"""
    smoothing_px: int = Field(default=79, ge=0, le=511)
    """side of the blur that joins and widens the cluster's parts, px; 0: none"""
    px: int = Field(default=1120, ge=64, le=8192)
    """longer side of the raster that is clustered, px"""
