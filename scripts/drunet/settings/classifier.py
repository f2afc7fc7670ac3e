"""Settings of a patch-wise classifier that is trained here."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from drunet.settings.augment import AugmentSettings
from drunet.settings.base import Block, refusal
from drunet.settings.distillation import DistillationSettings
from drunet.settings.loss import LossSettings
from drunet.settings.network import Cohorts, NetworkSettings
from drunet.settings.sampling import SamplingSettings
from drunet.settings.stains import StainNormalisation
from drunet.settings.training import TrainingSettings


class LearntSlides(Block):
    """Which slides a classifier is trained on."""

    annotation_kinds: list[Literal["wta", "psa"]] = Field(min_length=1)
    """which annotations are used: wta (whole tumour outlined), psa (parts marked)"""
    cohorts: Cohorts
    """names in the sheet's column cohort; null: every slide of cohort.sheet"""
    validation_kinds: list[Literal["wta", "psa"]] | None = Field(default=None, min_length=1)
    """annotations of the validation slides, of which there must be some; null: annotation_kinds, or wta where a psa
    model has no such slides, which the log, the card and the page say"""
    validation_tiles: int | None = Field(default=None, ge=1)
    """largest number of tiles that decide which epoch was best, drawn once; null: all"""


class LearntData(LearntSlides):
    """What a classifier is trained on."""

    sampling: SamplingSettings
    """which of the labelled tiles an epoch shows"""
    clustering: dict[str, Any] | None = None
    """how classes are found for few-shot and many-shot models"""
    episodes: dict[str, Any] | None = None
    """how few-shot models are trained"""


class ClassifierData(LearntData):
    """What a classifier is trained on, and in how many folds."""

    cross_fit_folds: int = Field(ge=2, le=20)
    """folds by patient, used only where a refiner needs heatmaps of slides that this model was trained on"""


class ClassifierRecipe(NetworkSettings):
    """What the training of a patch-wise classifier depends on: all but the number of folds."""

    data: LearntData
    """what it is trained on"""
    loss: LossSettings
    """what training minimises"""
    distillation: DistillationSettings | None = None
    """learning from another classifier's outputs; null: from labels alone"""
    training: TrainingSettings
    """optimiser, length and early stopping"""
    augment: AugmentSettings | None
    """augmentation of the tiles; null: none"""
    stain_normalisation: StainNormalisation | None = None
    """what every tile goes through, in training and later; null: tiles as they are"""

    @model_validator(mode="after")
    def _loss_beside_a_teacher(self) -> Self:
        wanted = (("name", self.loss.name, "cross_entropy"), ("class_weights", self.loss.class_weights, None))
        for key, found, only in wanted:
            if self.distillation is not None and found != only:
                mend = (
                    f"Use {only or 'null'}, or `distillation: null`: beside a teacher, labels enter by cross-entropy "
                    "alone."
                )
                raise refusal("distillation cannot use this", key=f"loss.{key}", found=found, mend=mend)
        return self


class ClassifierSettings(ClassifierRecipe):
    """A patch-wise classifier that is trained here."""

    data: ClassifierData
    """what it is trained on"""
