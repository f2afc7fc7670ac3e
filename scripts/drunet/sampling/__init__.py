"""Which crops a training epoch sees, and how often.

`crops` draws them, `balance` evens out classes, `strata` tissues as well, and `areas` chooses what is learnt from at
all.
"""

from __future__ import annotations

from drunet.sampling.crops import Balance, Crops, GridTiles, RegionCrops, Source, check_classes, draw_epoch

__all__ = ["Balance", "Crops", "GridTiles", "RegionCrops", "Source", "check_classes", "draw_epoch"]
