"""Settings of a network: architecture, weights to begin with, options."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from drunet.settings.base import Block, Share, kind_of, refusal

Weights = Annotated[
    Annotated[str, Tag("string")] | Annotated[dict[str, str], Field(min_length=1), Tag("object")],
    Discriminator(kind_of),
]
Cohorts = Annotated[list[str], Field(min_length=1)] | None


def starts_whole(weights: str | Mapping[str, Any]) -> bool:
    """Whether `weights` name those of a whole model: a file's, or another trained model's."""
    return weights not in ("random", "imagenet") if isinstance(weights, str) else "model" in weights


class BuiltSettings(Block):
    """What a network is built from."""

    architecture: str
    """a name from scripts/drunet/models/registry.py"""
    weights: Weights
    """random, imagenet, a weights file, {BACKBONE: FILE, ...}, or {model: NAME}, another trained model"""
    options: dict[str, Any]
    """options of the architecture"""
    batch_norm_momentum: float | None = Field(ge=0, lt=1)
    """momentum of batch normalisation; null: Keras' own"""


class NetworkSettings(BuiltSettings):
    """What a classifier's network is built from."""

    freeze_fraction: Share
    """share of each backbone's layers that are not trained, counted from the input"""
    trainable_layers: int | None = Field(default=None, ge=0)
    """only so many of each backbone's layers are trained, counted from the output; null: freeze_fraction decides"""

    @model_validator(mode="after")
    def _one_says_what_learns(self) -> Self:
        if self.trainable_layers is not None and self.freeze_fraction:
            mend = "Leave freeze_fraction at 0, or trainable_layers at null."
            raise refusal(
                "two keys say which layers learn", key="trainable_layers", found=self.trainable_layers, mend=mend
            )
        return self
