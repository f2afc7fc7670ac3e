"""What a network sees of an image: a random resized crop, flipped and turned, in training; a fixed centre in the test.

Source: Tian et al. 2024, pre-processing (random crop to 224 px, horizontal flip, up to 10 degrees; shorter side 256 px,
centre crop). It gives neither the crops' share of the area nor their shape: the defaults are those of the common
`RandomResizedCrop` (a share of 0.08 to 1, sides of 3:4 to 4:3, ten tries, then the centre).

Chu et al. stretch whole images to a square and move them instead (shift, zoom, shear, rotation, flips).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.errors import ConfigError
from studies.common.errors import check_keys
from studies.common.images.degraded import Degradation

FITS = ("crop", "stretch")
FLIPS = ("none", "horizontal", "both")
_TRIES = 10
_OPTIONAL = ("crop_scale", "crop_ratio", "flip", "rotation", "fit", "shift", "zoom", "shear", "sees")

# Fields that studies made before them do without.
_LATER = ("fit", "shift", "zoom", "shear", "sees")

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """How images are brought to what a network sees; keys as under `view` in a study's settings.

    Attributes
    ----------
    size : int
        Side of what is seen, px.
    short_side : int
        Test: length of an image's shorter side before the centre is cut out, px; at least `size`.
    crop_scale : (float, float)
        Training: share of the image's area that a crop covers, drawn uniformly; in (0, 1].
    crop_ratio : (float, float)
        Training: width over height of a crop, its logarithm drawn uniformly.
    flip : str
        Training: "none", "horizontal" (with probability one half) or "both" (each way, one half).
    rotation : float
        Training: largest turn either way, degrees, drawn uniformly.
    fit : str
        "crop", as above, or "stretch": the whole image is brought to the square, whatever its shape, in training and
        test. There is no crop then, and `short_side` means nothing.
    shift : float
        Training: largest shift either way, across and down, as a share of the side, drawn uniformly; below 1.
    zoom : float
        Training: sides are scaled by factors from 1 - zoom to 1 + zoom, across and down apart, drawn uniformly.
    shear : float
        Training: largest shear either way, degrees, drawn uniformly.
    sees : Degradation or None
        What is left of an image, in training and test. It is stretched to a square of `size` (of `short_side`, if it is
        cropped) and degraded before anything else. What a shift brings in is the rim mirrored, never the inside.
    """

    size: int
    short_side: int
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: str = "horizontal"
    rotation: float = 10.0
    fit: str = "crop"
    shift: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    sees: Degradation | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "view") -> View:
        """Read a `view` block; `where` is its key, for messages.

        Raises
        ------
        ConfigError
            For a key missing or unknown, or a value out of range.
        """
        check_keys(cls, config, where, optional=_OPTIONAL)
        for key in ("crop_scale", "crop_ratio"):
            if key in config and not (isinstance(config[key], list | tuple) and len(config[key]) == 2):
                mend = "Write it as [lowest, highest]."
                raise ConfigError("a range is needed", where=f"{where}.{key}", found=config[key], mend=mend)
        ranges = {k: (float(config[k][0]), float(config[k][1])) for k in ("crop_scale", "crop_ratio") if k in config}
        sees = config.get("sees")
        left = None if sees is None else Degradation.from_config(sees, f"{where}.sees")
        whole = dict.fromkeys(("crop_scale", "crop_ratio"), (1.0, 1.0)) if config.get("fit") == "stretch" else {}
        view = cls(**{**whole, **config, **ranges, "sees": left})
        view._check(where)
        return view

    def _check(self, where: str) -> None:
        (least, most), (narrow, wide) = self.crop_scale, self.crop_ratio
        fits = {
            "size": (self.size >= 1, "Use at least 1 px."),
            "short_side": (self.short_side >= self.size, f"Use at least `size`, {self.size} px."),
            "crop_scale": (0 < least <= most <= 1, "Use shares above 0 and up to 1, the smaller first."),
            "crop_ratio": (0 < narrow <= wide, "Use positive ratios of width to height, the smaller first."),
            "flip": (self.flip in FLIPS, f"Use one of: {', '.join(FLIPS)}."),
            "rotation": (0 <= self.rotation <= 180, "Use degrees from 0 to 180."),
            "fit": (self.fit in FITS, f"Use one of: {', '.join(FITS)}."),
            "shift": (0 <= self.shift < 1, "Use a share from 0 to below 1."),
            "zoom": (0 <= self.zoom < 1, "Use a share from 0 to below 1."),
            "shear": (0 <= self.shear <= 80, "Use degrees from 0 to 80."),
        }
        if self.fit == "stretch" and (self.crop_scale, self.crop_ratio) != ((1.0, 1.0), (1.0, 1.0)):
            mend = "Leave crop_scale and crop_ratio at [1.0, 1.0], or use fit: crop."
            found = f"crop_scale {list(self.crop_scale)}, crop_ratio {list(self.crop_ratio)}"
            raise ConfigError("a stretched image is not cropped", where=where, found=found, mend=mend)
        for key, (good, mend) in fits.items():
            if not good:
                raise ConfigError("out of range", where=f"{where}.{key}", found=getattr(self, key), mend=mend)

    def settings(self) -> dict[str, Any]:
        """The block that `from_config` reads, without what was added later and is not used: a digest stays the same."""
        own: dict[str, Any] = {**asdict(self), "sees": self.sees and self.sees.settings()}
        return {f.name: own[f.name] for f in fields(self) if f.name not in _LATER or own[f.name] != f.default}

    def training(self, rng: np.random.Generator, image: Image) -> Image:
        """Draw a view to learn from: crop or stretch, then flip, then turn (and shift, shear and zoom).

        Parameters
        ----------
        rng : numpy.random.Generator
        image : uint8 (h, w, 3)

        Returns
        -------
        uint8 (size, size, 3)
            A new array. What moving brings in from outside is the inside mirrored: black corners, or the streaks that
            come of repeating the nearest pixel (as Chu et al. do), would be something that no test image has, and
            tissue goes on beyond an edge.
        """
        image = self._left_of(image)
        if self.fit == "stretch":
            seen = resized(image, (self.size, self.size))
        else:
            top, left, height, width = draw_crop(rng, image.shape[:2], self.crop_scale, self.crop_ratio)
            seen = resized(image[top : top + height, left : left + width], (self.size, self.size))
        seen = self._flipped(rng, seen)
        degrees = rng.uniform(-self.rotation, self.rotation) if self.rotation else 0.0
        if self.shift or self.zoom or self.shear:
            return moved(seen, self._movement(rng, degrees))
        return turned(seen, degrees) if self.rotation else seen

    def test(self, image: Image) -> Image:
        """The fixed view, uint8 (size, size, 3), a new array.

        Shorter side brought to `short_side`, centre cut out; or the whole, stretched.
        """
        image = self._left_of(image)
        if self.fit == "stretch":
            return resized(image, (self.size, self.size))
        height, width = image.shape[:2]
        # Whole pixels by truncation, as is usual; the shorter side comes out exact.
        short = min(height, width)
        sides = self.short_side * height // short, self.short_side * width // short
        whole = resized(image, sides)
        top, left = (round((side - self.size) / 2) for side in sides)
        return np.ascontiguousarray(whole[top : top + self.size, left : left + self.size])

    def _left_of(self, image: Image) -> Image:
        """What there is to be seen of an image."""
        if self.sees is None:
            return image
        side = self.size if self.fit == "stretch" else self.short_side
        return self.sees(resized(image, (side, side)))

    def _movement(self, rng: np.random.Generator, degrees: float) -> NDArray[np.float64]:
        across, down = rng.uniform(-self.shift, self.shift, size=2) * self.size
        shear = rng.uniform(-self.shear, self.shear)
        wider, higher = rng.uniform(1 - self.zoom, 1 + self.zoom, size=2)
        return movement(degrees, (across, down), shear, (wider, higher))

    def _flipped(self, rng: np.random.Generator, image: Image) -> Image:
        if self.flip != "none" and rng.random() < 0.5:
            image = image[:, ::-1]
        if self.flip == "both" and rng.random() < 0.5:
            image = image[::-1]
        return np.ascontiguousarray(image)


def draw_crop(
    rng: np.random.Generator, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw a crop of an image of size (height, width): (top, left, height, width), px.

    Area share and ratio are drawn until the crop fits, ten times at most; then it is the largest crop in the centre
    whose ratio is allowed, whatever its share.
    """
    height, width = size
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < across <= width and 0 < down <= height:
            top, left = (int(rng.integers(0, room + 1)) for room in (height - down, width - across))
            return top, left, down, across
    across, down = width, height
    if width / height < ratio[0]:
        down = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        across = max(1, round(height * ratio[1]))
    return (height - down) // 2, (width - across) // 2, down, across


def resized(image: Image, size: tuple[int, int]) -> Image:
    """An image brought to (height, width), a new array: reduced by area, enlarged bilinearly.

    Where one side grows and the other shrinks, which the ratio of a crop bounds, it is bilinear too.
    """
    if image.shape[:2] == size:
        return image.copy()
    smaller = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=way), dtype=np.uint8)


def movement(
    degrees: float, shift: tuple[float, float], shear: float, scale: tuple[float, float]
) -> NDArray[np.float64]:
    """Where, from the centre, each pixel of a moved image comes from: turn, shift, shear and scale, as one matrix.

    The order is that of Keras' image generator, whose ranges Chu et al. state.

    Parameters
    ----------
    degrees : float
        Turn, anticlockwise.
    shift : (float, float)
        Across and down, px, before the turn: where the centre comes from.
    shear : float
        Degrees by which rows slant; columns stay upright.
    scale : (float, float)
        Across and down; above 1 shows more of the image, smaller.

    Returns
    -------
    float64 (2, 3)
        For (x, y, 1) of a pixel, both from the centre.
    """
    turn, lean = math.radians(degrees), math.radians(shear)
    # Rows of an image run down: a turn that is anticlockwise to the eye has its signs changed.
    rotated = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotated @ np.array([[math.cos(lean), 0.0], [-math.sin(lean), 1.0]]) @ np.diag(scale)
    return np.column_stack([linear, rotated @ np.array(shift)])


def moved(image: Image, source: NDArray[np.float64]) -> Image:
    """An image with each pixel taken from where `source` says, see `movement`; bilinear, mirrored at its border."""
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    absolute = np.column_stack([source[:, :2], source[:, 2] + centre - source[:, :2] @ centre])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = cv2.warpAffine(image, absolute, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(whole, dtype=np.uint8)


def turned(image: Image, degrees: float) -> Image:
    """An image turned anticlockwise about its centre, bilinearly, with the inside mirrored at its border."""
    height, width = image.shape[:2]
    about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    whole = cv2.warpAffine(image, about, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(whole, dtype=np.uint8)
