"""The one place that converts level-0 pixels <-> tile index <-> heatmap cell <-> low-resolution pixel.

Cells of `step` x `step` tile pixels begin at the slide's top left corner, and the last ones reach past it: who lays a
heatmap over a picture has to crop it by the exact fraction (`resample_to_slide`), or everything drifts to the bottom
right. A tile is centred on its cell; with `size == step` the two are the same square.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

# How far two downsampling factors may differ and still count as equal: scanners write 4.0003 for 4.
LEVEL_TOLERANCE = 0.02


@dataclass(frozen=True)
class Grid:
    """Tiles of one physical resolution over one slide.

    `width` and `height` are the slide's in level-0 pixels, `mpp` its µm per such pixel. Tiles are seen at `tile_mpp`
    µm/px: `size` is the side of one, `step` the distance between two, in pixels of that resolution.

    >>> grid = Grid(1000, 600, mpp=0.5, tile_mpp=1.0, size=64, step=64)
    >>> grid.shape, grid.cell
    ((5, 8), 128.0)
    >>> x, y = grid.tile_origin(column=3, row=2)
    >>> int(x), int(y)
    (384, 256)
    """

    width: int
    height: int
    mpp: float
    tile_mpp: float
    size: int
    step: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.size, self.step) < 1 or self.mpp <= 0 or self.tile_mpp <= 0:
            raise ValueError(f"a grid needs positive sizes and resolutions: {self}")

    @property
    def downsample(self) -> float:
        """Level-0 pixels per tile pixel."""
        return self.tile_mpp / self.mpp

    @property
    def cell(self) -> float:
        """Side of a cell in level-0 pixels."""
        return self.step * self.downsample

    @property
    def columns(self) -> int:
        """Cells across the slide; the last may reach past it."""
        return max(1, math.ceil(round(self.width / self.cell, 9)))

    @property
    def rows(self) -> int:
        """Cells down the slide; the last may reach past it."""
        return max(1, math.ceil(round(self.height / self.cell, 9)))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the heatmap."""
        return self.rows, self.columns

    def tile_origin(self, column: np.ndarray | int, row: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Level-0 pixel (x, y) of the top left corner of tiles; negative at the border where tiles overlap."""
        margin = (self.size - self.step) * self.downsample / 2
        x = np.rint(np.asarray(column) * self.cell - margin).astype(np.int64)
        y = np.rint(np.asarray(row) * self.cell - margin).astype(np.int64)
        return x, y

    def tile_boxes(self, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Level-0 boxes (n, 4) as x0, y0, x1, y1 of tiles, clipped to the slide."""
        x, y = self.tile_origin(column, row)
        side = self.size * self.downsample
        boxes = np.stack([x, y, x + side, y + side], axis=-1).astype(np.float64)
        np.clip(boxes[..., 0::2], 0, self.width, out=boxes[..., 0::2])
        np.clip(boxes[..., 1::2], 0, self.height, out=boxes[..., 1::2])
        return boxes

    def resample_to_slide(self, heatmap: np.ndarray, shape: tuple[int, int], *, smooth: bool = False) -> np.ndarray:
        """Lay a heatmap, float32 (rows, columns), over a picture (h, w) that covers exactly the slide: float32 (h, w).

        A cell without a value is NaN. With `smooth` it is bilinear between cell centres, else each cell has its own
        value; NaN does not spread: it is left out of the average, and stays where the nearest cell has no value.

        The second cell reaches half its width past the slide, and so is half as wide on the picture.

        >>> grid = Grid(96, 64, mpp=1.0, tile_mpp=1.0, size=64, step=64)
        >>> grid.resample_to_slide(np.float32([[0, 1]]), (1, 3))
        array([[0., 0., 1.]], dtype=float32)
        """
        if heatmap.shape != self.shape:
            raise ValueError(f"the heatmap is {heatmap.shape}, the grid {self.shape}")
        height, width = shape
        # Position of every pixel centre in units of cells: the exact fraction, not a stretch of the whole heatmap.
        u = (np.arange(width) + 0.5) / width * (self.width / self.cell)
        v = (np.arange(height) + 0.5) / height * (self.height / self.cell)
        column = np.minimum(u.astype(np.int64), self.columns - 1)
        row = np.minimum(v.astype(np.int64), self.rows - 1)
        nearest = heatmap[row[:, None], column[None, :]].astype(np.float32)
        if not smooth:
            return nearest
        known = np.isfinite(heatmap).astype(np.float32)
        map_x = np.broadcast_to((u - 0.5).astype(np.float32), shape)
        map_y = np.broadcast_to((v - 0.5).astype(np.float32)[:, None], shape)

        def bilinear(field: np.ndarray) -> np.ndarray:
            return cv2.remap(field, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

        weight = bilinear(known)
        value = bilinear(np.where(known > 0, heatmap, 0).astype(np.float32))
        with np.errstate(invalid="ignore", divide="ignore"):
            smoothed = value / weight
        return np.where(np.isfinite(nearest), smoothed, np.nan).astype(np.float32)

    def raster(self, mpp: float) -> tuple[int, int]:
        """(h, w) of a raster of about `mpp` µm/px that covers the slide.

        >>> Grid(400, 200, mpp=0.5, tile_mpp=1.0, size=64, step=64).raster(4.0)
        (25, 50)
        """
        return max(1, round(self.height * self.mpp / mpp)), max(1, round(self.width * self.mpp / mpp))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for tables and tags."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Grid:
        """From what `to_dict` gave."""
        return cls(**value)


def nearest_finer_level(downsamples: tuple[float, ...], wanted: float) -> int:
    """Index of the coarsest level that is not coarser than `wanted`, with `LEVEL_TOLERANCE`.

    OpenSlide's own choice has no tolerance: for 4.0 it rejects a level of 4.0003 and decodes sixteen times the pixels.

    >>> nearest_finer_level((1.0, 4.0003, 16.0), wanted=4.0)
    1
    """
    fitting = [i for i, d in enumerate(downsamples) if d <= wanted * (1 + LEVEL_TOLERANCE)]
    return max(fitting, key=lambda i: downsamples[i]) if fitting else int(np.argmin(downsamples))


def square_to_slide(size: int, grid: Grid) -> tuple[int, int]:
    """(h, w) with the slide's aspect whose longer side is `size`.

    >>> square_to_slide(1120, Grid(4000, 1000, mpp=1.0, tile_mpp=1.0, size=64, step=64))
    (280, 1120)
    """
    longer = max(grid.width, grid.height)
    return max(1, round(size * grid.height / longer)), max(1, round(size * grid.width / longer))
