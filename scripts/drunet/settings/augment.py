"""Settings of augmentation. What is null or left out is not done, and draws no random number."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, Strict

from drunet.settings.base import Block, Share, refusal

_Pair = TypeVar("_Pair", tuple[int, int], tuple[float, float])


def _ordered(pair: _Pair) -> _Pair:
    if pair[0] > pair[1]:
        found, mend = f"[{pair[0]:g}, {pair[1]:g}]", "Write it as [lowest, highest]."
        raise refusal("the lower end exceeds the upper end", found=found, mend=mend)
    return pair


def _not_empty(pair: tuple[int, int]) -> tuple[int, int]:
    if pair[0] == pair[1]:
        mend = "The upper end is never drawn: for one fixed radius write [r, r + 1]."
        raise refusal("the range is empty", found=list(pair), mend=mend)
    return pair


# YAML has lists and no tuples: not strict themselves, they leave their entries strict.
ORDERED = (Strict(False), AfterValidator(_ordered))
_Entry = Annotated[float, Strict(), Field(ge=0)]
Factors = Annotated[tuple[_Entry, _Entry], *ORDERED]
_Zoom = Annotated[float, Strict(), Field(ge=0.25, le=4)]
Zoom = Annotated[tuple[_Zoom, _Zoom], *ORDERED]
_Strength = Annotated[float, Strict(), Field(ge=-1, le=1)]
_Share = Annotated[float, Strict(), Field(ge=0, le=1)]
_Radius = Annotated[int, Strict(), Field(ge=1)]
Radius = Annotated[tuple[_Radius, _Radius], *ORDERED, AfterValidator(_not_empty)]


class MultiLensSettings(Block):
    """Multi-lens distortion; see `drunet.augment.multi_lens.draw_lenses`."""

    lenses: int = Field(ge=0)
    """lenses per sample"""
    radius: Radius
    """range of the radius, px; the upper end is never drawn"""
    strength: Annotated[tuple[_Strength, _Strength], *ORDERED]
    """range of the strength: positive magnifies, negative shrinks"""
    probability: Share | None = None
    """share of the samples that are distorted; null: all"""
    centres: Literal["anywhere", "inside"] | None = None
    """where centres may lie; inside: no lens crosses the border; null: anywhere"""


class HedSettings(Block):
    """Random amounts of stains; see `drunet.stains.jitter_hed`."""

    sigma: Annotated[tuple[_Share, _Share, _Share], Strict(False)]
    """largest change of the factor on haematoxylin, eosin and DAB; published: 0.05 each"""
    bias: Annotated[tuple[_Share, _Share, _Share], Strict(False)]
    """largest amount of each that is added or taken away, optical density (base 10)"""


class AugmentSettings(Block):
    """Random changes of one training sample; see `drunet.augment.pipeline.Augmentation`."""

    flip: bool | None = None
    """whether samples are flipped"""
    quarter_turns: bool | None = None
    """whether samples are turned by multiples of 90°"""
    zoom: Zoom | None = None
    """range of the factor by which samples are enlarged, for each axis; what a shrunk one lacks is mirrored"""
    shear: float | None = Field(default=None, ge=0, le=45)
    """largest shear either way, degrees"""
    hed: HedSettings | None = None
    """random amounts of stains; null: none"""
    hue: float | None = Field(default=None, ge=0, le=0.5)
    """largest turn of the hue either way, share of the colour circle"""
    contrast: Factors | None = None
    """range of the factor on contrast"""
    saturation: Factors | None = None
    """range of the factor on saturation"""
    brightness: Share | None = None
    """largest shift of brightness either way, share of the full range"""
    multi_lens: MultiLensSettings | None = None
    """multi-lens distortion; null: none"""
