"""Settings of a classifier's loss."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from drunet.settings.base import AS_GIVEN, Block, kind_of, refusal

_Weight = Annotated[float, Field(gt=0)]
ClassWeights = Annotated[
    Annotated[None, Tag("null")]
    | Annotated[Literal["balanced"], Tag("string")]
    | Annotated[list[_Weight], Field(min_length=2, max_length=2), Tag("array")],
    Discriminator(kind_of),
]


class LossSettings(Block):
    """What training minimises; see `drunet.training.losses.classification_loss`."""

    name: Literal["cross_entropy", "focal"]
    """name of the loss"""
    gamma: Annotated[float, Field(ge=0, le=10), AS_GIVEN] = 2.0
    """focal: how much easy tiles are discounted"""
    alpha: Annotated[Annotated[float, Field(ge=0, le=1)] | None, AS_GIVEN] = None
    """focal: weight of tumour, that of non-tumour being 1 - alpha; null: 1 for both"""
    class_weights: ClassWeights
    """null, balanced, or [non-tumour, tumour]"""

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        foreign = sorted({"gamma", "alpha"} & self.model_fields_set)
        if self.name != "focal" and foreign:
            found, mend = ", ".join(foreign), "Its options: class_weights."
            raise refusal(f"the loss {self.name} has no such option", found=found, mend=mend)
        return self
