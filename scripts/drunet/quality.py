"""Quality of a slide inside its tissue: tiles that are out of focus, on a fold, or under a pen's ink.

Measured are the pixels that the network is shown, against the slide's own tissue: plain stroma has few edges however
sharp it is, and stains differ in strength. docs/trust.md has the formulas and what they find.
"""

import warnings
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.stains import DENSITY
from drunet.tissue import pen_ink

MEASURES = ("grain", "fine", "middle", "coarse", "unbroken", "ink", "red", "green", "blue")
FAULTS = ("blurred", "folded", "pen")
# µm/px of three looks at edges; tiles whose own pixels are coarser than the limit tell no sharpness.
FINE, MIDDLE, COARSE, COARSEST = 1.0, 2.0, 5.0, 1.6
# µm over which a fold has no pale pixel, and the summed density above which a pixel is stained.
UNBROKEN, STAINED = 15.0, 0.15
# Logarithm of fine edges for coarse ones: a tile this far below the slide's own cell-rich tiles is out of focus, and
# so is any below the floor.
BLURRED, FLOOR = 1.0, -0.9
# Spreads (median absolute deviations, scaled to a normal's) above the slide's median from which tissue is folded.
FOLDED, LEAST_SPREAD = 3.0, 0.025
# Least share of a tile within tissue, and under ink; share of a slide's tiles with a fault from which its page says so.
WITHIN, INKED, MANY = 0.05, 0.1, 0.05


class TileMeasures:
    """What is measured of a slide's tiles while they are read: to be called with each batch, from any thread."""

    def __init__(self, count: int, mpp: float) -> None:
        self.values, self.mpp = np.full((count, len(MEASURES)), np.nan, np.float32), mpp

    def __call__(self, index: NDArray[np.intp], tiles: NDArray[np.uint8], readable: NDArray[np.bool_]) -> None:
        """Measure the readable ones of a batch, uint8 (n, s, s, 3), whose places among all tiles are `index`."""
        for place, tile in zip(index[readable], tiles[readable], strict=True):
            self.values[place] = measures(tile, self.mpp)

    def table(self) -> pd.DataFrame:
        """A column, float32, per measure, and `fault`: one of `FAULTS`, or empty."""
        table = pd.DataFrame(self.values, columns=list(MEASURES))
        return table.assign(fault=faults(table))


def measures(tile: NDArray[np.uint8], mpp: float) -> NDArray[np.float64]:
    """What tells the quality of a tile, uint8 RGB (s, s, 3) at `mpp` µm/px, in the order of `MEASURES`.

    grain: mean squared Laplacian of the tile's own pixels. fine, middle, coarse: mean squared gradient of the grey
    levels at 1 µm/px (or the tile's own, if coarser), 2 and 5 µm/px. All within tissue, NaN if there is too little.
    unbroken: density, summed over the channels, of the darkest places of 15 µm without a pale pixel, less half of the
    tile's median. ink: share under a pen. red, green, blue: mean densities of what is stained, NaN if nothing is.
    """
    small = _shrunk(tile, mpp, COARSE)
    density = DENSITY[small]
    stained = density.sum(axis=2) > STAINED
    colours = density[stained].mean(axis=0) if stained.any() else np.full(3, np.nan)
    sharp = tile if mpp >= FINE else _shrunk(tile, mpp, FINE)
    grey = cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY)
    own = grey if sharp is tile else cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)
    # The border of tissue and glass is an edge however blurred it is: only what lies within tissue counts.
    within = cv2.erode(stained.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    if mpp <= COARSEST and within.mean() >= WITHIN:
        grain = _mean(cv2.Laplacian(own, cv2.CV_32F) ** 2, within)
        fine, middle = _energy(grey, within), _energy(_shrunk(grey, max(mpp, FINE), MIDDLE), within)
        coarse = _energy(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), within)
    else:
        grain = fine = middle = coarse = np.nan
    summed = cv2.transform(cv2.LUT(sharp, DENSITY[None]), np.ones((1, 3), np.float32))
    side = max(1, round(UNBROKEN / max(mpp, FINE)))
    # An eroded image changes slowly: every fourth pixel tells its percentile.
    darkest = np.percentile(cv2.erode(summed, np.ones((side, side), np.uint8))[::4, ::4], 95)
    unbroken = darkest - np.median(density.sum(axis=2)[stained]) / 2 if stained.any() else 0.0
    ink = pen_ink(small, tile.shape[0] * mpp / small.shape[0]).mean()
    return np.array([grain, fine, middle, coarse, unbroken, ink, *colours], np.float64)


def focus(table: pd.DataFrame) -> NDArray[np.float64]:
    """Sharpness of a slide's tiles, (n,): logarithm of fine edges for coarse ones; NaN where there are too few to tell.

    Of these the half with most coarse edges, the cell-rich ones, tell how sharp the slide can be.
    """
    fine, coarse = (table[name].to_numpy(np.float64) for name in ("fine", "coarse"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        enough = coarse >= max(np.nanmedian(coarse) / 10, 1.0)
        return np.where(enough, np.log(np.maximum(fine, 1e-3) / coarse), np.nan)


def cell_rich(table: pd.DataFrame) -> NDArray[np.bool_]:
    """The half of a slide's tiles with most coarse edges, bool (n,)."""
    coarse = table["coarse"].to_numpy(np.float64)
    return coarse >= (np.nanmedian(coarse) if np.isfinite(coarse).any() else np.inf)


def faults(table: pd.DataFrame) -> NDArray[Any]:
    """The fault of each tile of one slide, one of `FAULTS` or empty; ink hides a blur, and a blur a fold."""
    sharpness, unbroken = focus(table), table["unbroken"].to_numpy(np.float64)
    rich = sharpness[cell_rich(table) & np.isfinite(sharpness)]
    lowest = max(np.median(rich) - BLURRED, FLOOR) if len(rich) else FLOOR
    middle = np.nanmedian(unbroken) if np.isfinite(unbroken).any() else np.nan
    spread = max(1.4826 * np.nanmedian(np.abs(unbroken - middle)), LEAST_SPREAD) if np.isfinite(middle) else np.nan
    found = [table["ink"].to_numpy() > INKED, sharpness < lowest, unbroken > middle + FOLDED * spread]
    return np.select(found, ["pen", "blurred", "folded"], "").astype(object)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Shares of a slide's tiles with each fault, and `quality`: a plain verdict; empty where nothing was measured."""
    if "fault" not in table or not len(table):
        return dict.fromkeys((*FAULTS, "quality"))
    shares = {fault: float((table["fault"] == fault).mean()) for fault in FAULTS}
    words = {"blurred": "out of focus", "folded": "folded", "pen": "under ink"}
    many = [f"{shares[fault]:.0%} {words[fault]}" for fault in FAULTS if shares[fault] >= MANY]
    return {**shares, "quality": ", ".join(many) or "good"}


def _shrunk(tile: NDArray[Any], mpp: float, wanted: float) -> NDArray[np.uint8]:
    side = max(8, round(tile.shape[0] * mpp / wanted))
    return np.asarray(cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _energy(grey: NDArray[Any], within: NDArray[Any]) -> float:
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    return _mean(across**2 + down**2, within)


def _mean(values: NDArray[Any], within: NDArray[Any]) -> float:
    mask = cv2.resize(within, values.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return float(cv2.mean(values, mask)[0])
