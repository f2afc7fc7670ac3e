"""Augmentation of one training sample, as the configuration's `augment` blocks ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.augment.colour import adjust_contrast, adjust_hue_saturation
from drunet.augment.multi_lens import coordinate_map, draw_lenses, resample
from drunet.settings.augment import AugmentSettings, HedSettings
from drunet.settings.base import Block
from drunet.stains import jitter_hed

# OpenCV's names of what reverses rows and columns, and of anticlockwise quarter turns.
_FLIPS = {(True, False): 0, (False, True): 1, (True, True): -1}
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class Orientation:
    """One of eight ways in which a square can lie: rows and columns reversed, then so many quarters anticlockwise."""

    upside_down: bool = False
    mirrored: bool = False
    quarter_turns: int = 0


def draw_orientation(
    rng: np.random.Generator, size: tuple[int, int], *, flip: bool = True, quarter_turns: bool = True
) -> Orientation:
    """Draw each flip with probability one half and the number of quarter turns uniformly, if they may be drawn at all.

    A sample whose `size` (height, width) is not square is turned by 180 degrees only, to keep its shape.
    """
    upside_down, mirrored = (bool(side) for side in rng.integers(0, 2, size=2)) if flip else (False, False)
    turns = int(rng.integers(0, 4)) if quarter_turns else 0
    if size[0] != size[1]:
        turns &= 2
    return Orientation(upside_down, mirrored, turns)


def reorient(orientation: Orientation, *arrays: NDArray) -> tuple[NDArray, ...]:
    """Lay arrays (h, w) or (h, w, channels) of any dtype as an orientation says; what comes back is contiguous.

    >>> (turned,) = reorient(Orientation(quarter_turns=1), np.array([[1, 2], [3, 4]]))
    >>> turned
    array([[2, 4],
           [1, 3]])
    """
    rows, columns = (
        slice(None, None, -1 if flipped else 1) for flipped in (orientation.upside_down, orientation.mirrored)
    )
    turns = orientation.quarter_turns

    def laid(array: NDArray) -> NDArray:
        if array.dtype != np.uint8 or array.shape[2:] != (3,):
            return np.ascontiguousarray(np.rot90(array[rows, columns], turns, axes=(0, 1)))
        # Ten times as fast on a picture: NumPy copies three bytes one by one.
        if flip is not None:
            array = np.asarray(cv2.flip(array, flip))
        return np.asarray(cv2.rotate(array, _TURNS[turns % 4])) if turns % 4 else np.ascontiguousarray(array)

    flip = _FLIPS.get((orientation.upside_down, orientation.mirrored))
    return tuple(laid(array) for array in arrays)


def move(sources: NDArray[np.float64], *arrays: NDArray) -> tuple[NDArray, ...]:
    """Take arrays (h, w) or (h, w, 3) at the places that an affine map (2, 3) of x and y names.

    Numbers are interpolated, masks (bool) keep their edges; beyond the border the picture is mirrored.
    """

    def moved(array: NDArray) -> NDArray:
        mask = array.dtype == bool
        how = (cv2.INTER_NEAREST if mask else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        given = array.astype(np.uint8) if mask else array
        out = cv2.warpAffine(given, sources, given.shape[1::-1], flags=how, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(out).astype(array.dtype, copy=False)

    return tuple(moved(array) for array in arrays)


@dataclass(frozen=True)
class MultiLens:
    """How lenses are drawn, see `drunet.augment.multi_lens.draw_lenses`, and the share of the samples that get some."""

    lenses: int
    radius: tuple[int, int]
    strength: tuple[float, float]
    probability: float = 1.0
    centres: str = "anywhere"


@dataclass(frozen=True)
class Augmentation:
    """A callable that changes one sample at random.

    Orientation, of all arrays, comes first, then zoom and shear, then colour (stains, hue, saturation, contrast,
    brightness), then lenses. What is left at its default is not done and draws nothing. `zoom` is a range of the factor
    by which each axis is enlarged, `shear` the largest angle either way, degrees. `hue` and `brightness` are the
    largest change either way, share of the colour circle and of the full range; `contrast` and `saturation` are ranges
    of the factor.
    """

    flip: bool = False
    quarter_turns: bool = False
    zoom: tuple[float, float] | None = None
    shear: float = 0.0
    hed: HedSettings | None = None
    hue: float = 0.0
    contrast: tuple[float, float] | None = None
    saturation: tuple[float, float] | None = None
    brightness: float = 0.0
    multi_lens: MultiLens | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | AugmentSettings | None, *, where: str = "augment") -> Augmentation:
        """Read an `augment` block; null, for the block or for a key, means that nothing is done.

        `where` is the block's key, for messages. Raises ConfigError for an unknown key or a value out of range.
        """
        values = _given(AugmentSettings.of({} if config is None else config, where))
        if lens := values.get("multi_lens"):
            values["multi_lens"] = MultiLens(**_given(lens))
        return cls(**values)

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8], *others: NDArray) -> tuple[NDArray, ...]:
        """Change one sample: the image, uint8 (h, w, 3) RGB, and others, (h, w) or (h, w, channels) of any dtype.

        The image takes every change; heatmap and mask take the geometric ones, the same as the image. They come back in
        the order given; those that came in are left as they were.
        """
        if any(other.shape[:2] != image.shape[:2] for other in others):
            raise ValueError("all arrays of a sample have the same height and width")
        if self.flip or self.quarter_turns:
            orientation = draw_orientation(rng, image.shape[:2], flip=self.flip, quarter_turns=self.quarter_turns)
            image, *rest = reorient(orientation, image, *others)
        else:
            rest = list(others)
        if self.zoom or self.shear:
            image, *rest = move(self._movement(rng, image.shape[:2]), image, *rest)
        arrays = (self._recolour(rng, image), *rest)
        lens = self.multi_lens
        if lens is None or rng.random() >= lens.probability:
            return arrays
        size = image.shape[:2]
        drawn = draw_lenses(rng, size, lens.lenses, lens.radius, lens.strength, centres=lens.centres)
        sources = coordinate_map(size, drawn)
        return tuple(resample(array, sources) for array in arrays)

    def _movement(self, rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
        """Where each pixel is taken from, as an affine map (2, 3) of x and y that keeps the middle in its place."""
        along, down = rng.uniform(*self.zoom, size=2) if self.zoom else (1.0, 1.0)
        angle = np.deg2rad(rng.uniform(-self.shear, self.shear)) if self.shear else 0.0
        linear = np.array([[1, -np.sin(angle)], [0, np.cos(angle)]]) / np.array([[along], [down]])
        middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
        return np.column_stack([linear, middle - linear @ middle])

    def _recolour(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.hed:
            sigma, bias = np.array(self.hed.sigma), np.array(self.hed.bias)
            image = jitter_hed(image, rng.uniform(1 - sigma, 1 + sigma), rng.uniform(-bias, bias))
        hue = rng.uniform(-self.hue, self.hue) if self.hue else 0.0
        saturation = rng.uniform(*self.saturation) if self.saturation else 1.0
        if self.hue or self.saturation:
            image = adjust_hue_saturation(image, hue, saturation)
        contrast = rng.uniform(*self.contrast) if self.contrast else 1.0
        brightness = rng.uniform(-self.brightness, self.brightness) if self.brightness else 0.0
        return adjust_contrast(image, contrast, brightness) if self.contrast or self.brightness else image


def _given(settings: Block) -> dict[str, Any]:
    """Return what is set."""
    return {key: value for key, value in settings if value is not None}
