"""Settings of the tiles: their grid, and how they are labelled."""

from typing import Self

from pydantic import Field, model_validator

from drunet.settings.base import Block, Share, refusal


class TilesSettings(Block):
    """Grid of the tiles, and the shares of a tile's area that decide its label; see `drunet.tiles`."""

    mpp: float = Field(ge=0.1, le=16)
    """resolution, µm/px; 1.0 is what pathologists call 10x"""
    size: int = Field(ge=32, le=2048)
    """side of a tile, px"""
    step: int = Field(ge=8, le=2048)
    """distance between neighbouring tiles, px; smaller than size: tiles overlap"""
    min_tissue: Share
    """tiles with a smaller share of tissue are left out"""
    min_tumour: Share
    """a tile with at least this share of tumour is tumour"""
    max_non_tumour: Share
    """a tile with at most this share of tumour is non-tumour; tiles in between are not used for training"""
    min_annotated: Share
    """partially annotated slides: share of a tile that must lie in regions of its class"""
    save_images: bool
    """whether labelled tiles are also written as PNG"""

    @model_validator(mode="after")
    def _one_label(self) -> Self:
        if self.max_non_tumour >= self.min_tumour:
            raise refusal(
                "a tile could be tumour and non-tumour at once",
                key="max_non_tumour",
                found=f"{self.max_non_tumour}, with min_tumour {self.min_tumour}",
                mend="Keep max_non_tumour below min_tumour.",
            )
        return self
