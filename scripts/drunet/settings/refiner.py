"""Settings of a refinement network that is trained here."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from drunet.settings.augment import AugmentSettings
from drunet.settings.base import Block, refusal
from drunet.settings.network import BuiltSettings, Cohorts, Weights
from drunet.settings.training import ClasslessTraining


def _whole_outlines(kinds: list[str]) -> list[str]:
    if kinds != ["wta"]:
        mend = "Write [wta]: a refiner learns from whole outlines."
        raise refusal("the value does not fit", found=repr(kinds), mend=mend)
    return kinds


def _with_size(options: dict[str, Any]) -> dict[str, Any]:
    if "size" not in options:
        mend = "Add it; config.yaml shows every key with its meaning."
        raise refusal("a key is missing", found="size not given", mend=mend)
    return options


class RefinerData(Block):
    """What a refiner is trained on."""

    annotation_kinds: Annotated[list[str], AfterValidator(_whole_outlines), WithJsonSchema({"const": ["wta"]})]
    """[wta]: a refiner learns from whole outlines"""
    cohorts: Cohorts
    """names in the sheet's column cohort; null: every slide of cohort.sheet"""


class RefinerSettings(BuiltSettings):
    """A refinement network that is trained here."""

    weights: Weights
    """random, a weights file, or {model: NAME}: the weights of another trained refiner"""
    classifier: str
    """the classifier whose heatmaps it is trained on"""
    options: Annotated[
        dict[str, Any],
        AfterValidator(_with_size),
        WithJsonSchema({"type": "object", "required": ["size"], "additionalProperties": True}),
    ]
    """options of the architecture"""
    mpp: float | None = Field(default=None, ge=1, le=64)
    """µm/px of the windows that it sees; null: the whole slide stretched to one square, as published"""
    loss: Literal["dice", "dice_of_batch", "dice_cross_entropy"] = "dice"
    """dice of each sample; of a whole batch (authors' code); of a whole batch plus cross-entropy"""
    data: RefinerData
    """what it is trained on"""
    training: ClasslessTraining
    """optimiser, length and early stopping"""
    augment: AugmentSettings | None
    """augmentation of slide, heatmap and mask alike; null: none"""
