"""Which crops a training epoch sees, and how often."""

from drunet.sampling.crops import Balance, Crops, GridTiles, RegionCrops, Source, check_classes, draw_epoch

__all__ = ["Balance", "Crops", "GridTiles", "RegionCrops", "Source", "check_classes", "draw_epoch"]
