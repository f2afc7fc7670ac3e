"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from drunet.errors import ConfigError
from drunet.settings.base import Block
from studies.common.settings import Names, Score, Text


class NamedTile(Block):
    """A tile that somebody picked, by its place in the grid, as tiles.parquet counts it."""

    slide: Text
    """slide_id"""
    column: int
    """of the grid"""
    row: int
    """of the grid"""


class Settings(Block):
    """Settings of study_saliency."""

    models: Names
    """classifiers that this workflow trains"""
    split: Literal["train", "val", "test"]
    """the slides whose tiles are looked into"""
    true_positives: int = Field(ge=0, le=13)
    """tumour tiles called tumour"""
    false_positives: int = Field(ge=0, le=13)
    """other tiles called tumour"""
    tiles: list[NamedTile] = Field(default_factory=list)
    """these and no others, for each model; empty: those of the highest probabilities"""
    apart: int = Field(ge=1)
    """columns or rows between tiles of one kind and slide"""
    score: Score
    """what is differentiated"""
    baseline: Literal["black", "white", "mean"]
    """where integrated gradients start"""
    steps: int = Field(ge=1, le=10_000)
    """of integrated gradients"""
    layers: dict[str, Annotated[list[Text], Field(min_length=1)]]
    """layers of Grad-CAM per model"""
    batch_size: int = Field(ge=1, le=4096)
    """tiles per pass"""


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse classifiers that have no gradients (raises ConfigError)."""
    where, classifiers = "study_settings.saliency.models", config["classifiers"]
    trained = {n for n, m in classifiers.items() if not any(map(m.get, ("onnx", "encoder", "stain_normalisation")))}
    for name in settings["models"]:
        if name not in trained:
            mend = f"Name a classifier that is trained here: {', '.join(sorted(trained)) or 'there is none'}."
            raise ConfigError("no gradients in the pixels of tiles as they are", where=where, found=name, mend=mend)
