"""What a network sees of an image: a random resized crop, flipped and turned, in training; a fixed centre in the test.

Source: Tian et al. 2024, pre-processing. It gives neither the crops' share of the area nor their shape: the defaults
are those of the common `RandomResizedCrop`. Chu et al. stretch whole images to a square and move them instead (shift,
zoom, shear, rotation, flips).
"""

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Strict, model_validator

from drunet.settings.augment import ORDERED
from drunet.settings.base import Block, refusal

_TRIES = 10
# Fields that studies made before them do without.
_LATER = ("fit", "shift", "zoom", "shear", "sees")
_CROPS = ("crop_scale", "crop_ratio")
_WHOLE = (1.0, 1.0)
_Scale = Annotated[float, Strict(), Field(gt=0, le=1)]
_Ratio = Annotated[float, Strict(), Field(gt=0)]
_Moved = Annotated[float, Field(ge=0, lt=1)]
Image = NDArray[np.uint8]


class Degradation(Block):
    """What is left of an image where a network is not to see the lesion: its rim, or a blur. Exactly one is a number.

    A network that distinguishes classes by what is left may do so by the whole image too, without looking at a lesion.
    """

    border: float | None = Field(default=None, gt=0, lt=0.5)
    """share of each side that is kept along it; all inside is black. Of a chest slice the outer tenth is mostly air,
    table, skin and what a journal adds: but it holds what it holds, and in a picture cropped to the lungs that may be
    lung"""
    blur: float | None = Field(default=None, gt=0, le=1)
    """standard deviation of a Gaussian blur, as a share of the side. At 0.06 a lesion narrower than an eighth of the
    picture (2.355 sigma: the blur's full width at half its height) is spread beyond itself; one that is larger, and the
    outline of the body, still show"""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.border is None) == (self.blur is None):
            mend = "Use one of border and blur; two arms may have one each."
            raise refusal("an image is degraded in one way", found=self.model_dump(exclude_none=True), mend=mend)
        return self

    def __call__(self, image: Image) -> Image:
        """Degrade an image, uint8 (h, w, c), into a new array."""
        return rim_of(image, self.border) if self.border is not None else blurred(image, self.blur or 0.0)


def rim_of(image: Image, share: float) -> Image:
    """An image whose inside is black, but for a rim of `share` of each side, at least 1 px."""
    rim = image.copy()
    down, across = (max(1, round(share * side)) for side in image.shape[:2])
    rim[down:-down, across:-across] = 0
    return rim


def blurred(image: Image, share: float) -> Image:
    """An image under a Gaussian blur with a standard deviation of `share` of its shorter side, mirrored at its edge."""
    # Here, for the settings of studies are read with this module.
    import cv2

    sigma = share * min(image.shape[:2])
    soft = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(soft, dtype=np.uint8).reshape(image.shape)


class View(Block):
    """How images are brought to what a network sees."""

    size: int = Field(ge=1)
    """side of what is seen, px"""
    short_side: int = Field(ge=1)
    """test: length of an image's shorter side before the centre is cut out, px; at least `size`"""
    crop_scale: Annotated[tuple[_Scale, _Scale], *ORDERED] = (0.08, 1.0)
    """training: range of the share of the image's area that a crop covers, drawn uniformly"""
    crop_ratio: Annotated[tuple[_Ratio, _Ratio], *ORDERED] = (3 / 4, 4 / 3)
    """training: range of width over height of a crop, whose logarithm is drawn uniformly"""
    flip: Literal["none", "horizontal", "both"] = "horizontal"
    """training: which mirror images are learnt from: horizontal with probability one half, both: each way, one half"""
    rotation: float = Field(default=10.0, ge=0, le=180)
    """training: largest turn either way, degrees, drawn uniformly"""
    fit: Literal["crop", "stretch"] = "crop"
    """crop, as above, or stretch: the whole image is brought to the square, whatever its shape, in training and test;
    there is no crop then, and `short_side` means nothing"""
    shift: _Moved = 0.0
    """training: largest shift either way, across and down, as a share of the side, drawn uniformly"""
    zoom: _Moved = 0.0
    """training: sides are scaled by factors from 1 - zoom to 1 + zoom, across and down apart, drawn uniformly"""
    shear: float = Field(default=0.0, ge=0, le=80)
    """training: largest shear either way, degrees, drawn uniformly"""
    sees: Degradation | None = None
    """what is left of an image, in training and test: it is stretched to a square of `size` (of `short_side`, if it is
    cropped) and degraded before anything else; what a shift brings in is the rim mirrored, never the inside"""

    @model_validator(mode="before")
    @classmethod
    def _whole_if_stretched(cls, block: Any) -> Any:
        stretched = isinstance(block, dict) and block.get("fit") == "stretch"
        return {**dict.fromkeys(_CROPS, _WHOLE), **block} if stretched else block

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.short_side < self.size:
            mend = f"Use at least `size`, {self.size} px."
            raise refusal("it is less than what is cut out", key="short_side", found=self.short_side, mend=mend)
        if self.fit == "stretch" and (self.crop_scale, self.crop_ratio) != (_WHOLE, _WHOLE):
            mend = "Leave crop_scale and crop_ratio at [1.0, 1.0], or use fit: crop."
            found = f"crop_scale {list(self.crop_scale)}, crop_ratio {list(self.crop_ratio)}"
            raise refusal("a stretched image is not cropped", found=found, mend=mend)
        return self

    def settings(self) -> dict[str, Any]:
        """The block that `of` reads, without what was added later and is not used: a digest stays the same."""
        fields, own = type(self).model_fields, self.model_dump(exclude_none=True)
        return {k: value for k, value in own.items() if k not in _LATER or value != fields[k].default}

    def training(self, rng: np.random.Generator, image: Image) -> Image:
        """Draw a view to learn from, uint8 (size, size, 3): crop or stretch, flip, turn (and shift, shear and zoom).

        What moving brings in from outside is the inside mirrored: black corners, or the streaks that come of repeating
        the nearest pixel (as Chu et al. do), would be something that no test image has.
        """
        image = self._left_of(image)
        if self.fit == "stretch":
            seen = resized(image, (self.size, self.size))
        else:
            top, left, height, width = draw_crop(rng, image.shape[:2], self.crop_scale, self.crop_ratio)
            seen = resized(image[top : top + height, left : left + width], (self.size, self.size))
        if self.flip != "none" and rng.random() < 0.5:
            seen = seen[:, ::-1]
        if self.flip == "both" and rng.random() < 0.5:
            seen = seen[::-1]
        seen = np.ascontiguousarray(seen)
        degrees = rng.uniform(-self.rotation, self.rotation) if self.rotation else 0.0
        if not (self.shift or self.zoom or self.shear):
            return turned(seen, degrees) if self.rotation else seen
        across, down = rng.uniform(-self.shift, self.shift, size=2) * self.size
        shear = rng.uniform(-self.shear, self.shear)
        wider, higher = rng.uniform(1 - self.zoom, 1 + self.zoom, size=2)
        return moved(seen, movement(degrees, (across, down), shear, (wider, higher)))

    def test(self, image: Image) -> Image:
        """The fixed view, uint8 (size, size, 3): shorter side brought to `short_side`, centre cut out; or the whole."""
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
    """An image brought to (height, width), a new array: reduced by area; enlarged, even one side alone, bilinearly."""
    if image.shape[:2] == size:
        return image.copy()
    import cv2

    smaller = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=way), dtype=np.uint8)


def movement(
    degrees: float, shift: tuple[float, float], shear: float, scale: tuple[float, float]
) -> NDArray[np.float64]:
    """Where, from the centre, pixels of a moved image come from: a matrix (2, 3), in the order of Keras' generator.

    Turns are anticlockwise, `degrees`; `shift` is across and down, px, before the turn: where the centre comes from;
    `shear` the degrees by which rows slant (columns stay upright); `scale` across and down: above 1 shows more,
    smaller.
    """
    turn, lean = math.radians(degrees), math.radians(shear)
    # Rows of an image run down: a turn that is anticlockwise to the eye has its signs changed.
    rotated = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotated @ np.array([[math.cos(lean), 0.0], [-math.sin(lean), 1.0]]) @ np.diag(scale)
    return np.column_stack([linear, rotated @ np.array(shift)])


def moved(image: Image, source: NDArray[np.float64]) -> Image:
    """An image with each pixel taken from where `source` says, see `movement`; bilinear, mirrored at its border."""
    import cv2

    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    absolute = np.column_stack([source[:, :2], source[:, 2] + centre - source[:, :2] @ centre])
    return _warped(image, absolute, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def turned(image: Image, degrees: float) -> Image:
    """An image turned anticlockwise about its centre, bilinearly, with the inside mirrored at its border."""
    import cv2

    height, width = image.shape[:2]
    about = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return _warped(image, about, cv2.INTER_LINEAR)


def _warped(image: Image, matrix: NDArray[Any], flags: int) -> Image:
    import cv2

    whole = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(whole, dtype=np.uint8)
