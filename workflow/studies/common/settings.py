"""Kinds of settings that several studies have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field

from drunet.settings.base import Block, refusal
from drunet.settings.training import TrainingSettings


def _each_once(entries: list[Any]) -> list[Any]:
    if twice := [entry for entry in entries if entries.count(entry) > 1]:
        raise refusal("an entry stands twice", found=twice[0], mend="Name each once.")
    return entries


def _labels_apart(arms: dict[str, Any]) -> dict[str, Any]:
    labels = [arm.label for arm in arms.values() if arm]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise refusal("two arms have one label", found=twice[0], mend="Name one otherwise.")
    return arms


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
ArmId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Text = Annotated[str, Field(min_length=1)]
Label = Annotated[str, Field(min_length=1, max_length=30)]
Resamples = Annotated[int, Field(ge=1, le=1_000_000)]
OpenShare = Annotated[float, Field(ge=0, lt=1)]
SomeShare = Annotated[float, Field(gt=0, le=1)]
TestSlides = Literal["test"]
Score = Literal["log_odds", "log_probability", "probability"]
EACH_ONCE = (AfterValidator(_each_once), Field(json_schema_extra={"uniqueItems": True}))
Names = Annotated[list[Text], Field(min_length=1), *EACH_ONCE]
LABELS_APART = AfterValidator(_labels_apart)


def told_by(key: str, model: str, other: str) -> Discriminator:
    """What chooses among two models, told by their names, for a block: one if it has this key; null stays null."""

    def chosen(block: Any) -> str:
        if block is None:
            return "null"
        return model if isinstance(block, Mapping) and key in block else other

    return Discriminator(chosen)


class ClassifierArm(Block):
    """A classifier that is compared with others."""

    classifier: str
    """a name under classifiers"""
    label: Label
    """how tables and figures call it"""


class TimingSettings(Block):
    """How the time of a network is taken."""

    batch_size: int = Field(ge=1, le=4096)
    """tiles or images in one call of the network"""
    repeats: int = Field(ge=1, le=1000)
    """timed calls per network"""
    threads: int = Field(ge=0, le=256)
    """threads of the network; 0: all cores"""


class PartsSettings(Block):
    """Parts of a set: counts or shares, of which only the proportion matters."""

    training: float = Field(gt=0)
    """training set"""
    validation: float = Field(default=0, ge=0)
    """validation set, which decides when to stop"""
    test: float = Field(gt=0)
    """test set"""


class SetTraining(TrainingSettings):
    """How long and how a network is trained on a set of pictures, every one of them once an epoch."""

    steps_per_epoch: None
    epsilon: float | None = Field(default=None, gt=0, le=1)
