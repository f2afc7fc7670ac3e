"""Settings of the models: classifiers, refiners, finished ONNX files, and runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from drunet.settings.augment import AugmentSettings
from drunet.settings.base import Block, Share, kind_of, refusal
from drunet.settings.distillation import DistillationSettings
from drunet.settings.loss import LossSettings
from drunet.settings.sampling import SamplingSettings
from drunet.settings.training import TrainingSettings

Weights = Annotated[
    Annotated[str, Tag("string")] | Annotated[dict[str, str], Field(min_length=1), Tag("object")],
    Discriminator(kind_of),
]
Cohorts = Annotated[list[str], Field(min_length=1)] | None


def starts_whole(weights: str | dict[str, str]) -> bool:
    """Whether `weights` name those of a whole model: a file's, or another trained model's."""
    return weights not in ("random", "imagenet") if isinstance(weights, str) else "model" in weights


class NetworkSettings(Block):
    """What a classifier's network is built from."""

    architecture: str
    """a name from scripts/drunet/models/registry.py"""
    weights: Weights
    """random, imagenet, a weights file, {BACKBONE: FILE, ...}, or {model: NAME}, another
    trained model"""
    options: dict[str, Any]
    """options of the architecture"""
    freeze_fraction: Share
    """share of each backbone's layers that are not trained, counted from the input"""
    batch_norm_momentum: float | None = Field(ge=0, lt=1)
    """momentum of batch normalisation; null: Keras' own"""


class LearntData(Block):
    """What a classifier is trained on."""

    annotation_kinds: list[Literal["wta", "psa"]] = Field(min_length=1)
    """which annotations are used: wta (whole tumour outlined), psa (parts marked)"""
    cohorts: Cohorts
    """names in the sheet's column cohort; null: every slide of cohort.sheet"""
    sampling: SamplingSettings
    """which of the labelled tiles an epoch shows"""
    validation_tiles: int | None = Field(default=None, ge=1)
    """largest number of tiles that decide which epoch was best, drawn once; null: all"""
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


class RefinerSettings(Block):
    """A refinement network that is trained here."""

    architecture: str
    """a name from scripts/drunet/models/registry.py"""
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
    batch_norm_momentum: float | None = Field(ge=0, lt=1)
    """momentum of batch normalisation; null: Keras' own"""
    data: RefinerData
    """what it is trained on"""
    training: TrainingSettings
    """optimiser, length and early stopping"""
    augment: AugmentSettings | None
    """augmentation of slide, heatmap and mask alike; null: none"""


class FinishedModel(Block):
    """A finished ONNX model, which is not trained here."""

    onnx: str = Field(min_length=1)
    """path of the file"""
    sha256: str = Field(default="", pattern="^[0-9a-f]{64}$")
    """the file's digest, checked before use; left out: not checked"""
    channels_last: bool = True
    """whether it takes [n, h, w, 3], and not [n, 3, h, w]"""
    scale: float = Field(default=1.0, gt=0)
    """factor on 0..255; 1 where the graph normalises by itself"""
    tumour_index: int = Field(default=1, ge=0)
    """position of the tumour class in the output"""


class RunSettings(Block):
    """A classifier, and the refiner that follows it."""

    classifier: str
    """a key under classifiers"""
    refiner: str | None
    """a key under refiners; null: outlines directly from the heatmap"""


def _is_finished(model: Any) -> bool:
    return isinstance(model, FinishedModel) or (isinstance(model, dict) and "onnx" in model)


Classifier = Annotated[
    Annotated[ClassifierSettings, Tag("ClassifierSettings")] | Annotated[FinishedModel, Tag("FinishedModel")],
    Discriminator(lambda model: "FinishedModel" if _is_finished(model) else "ClassifierSettings"),
]
Refiner = Annotated[
    Annotated[RefinerSettings, Tag("RefinerSettings")] | Annotated[FinishedModel, Tag("FinishedModel")],
    Discriminator(lambda model: "FinishedModel" if _is_finished(model) else "RefinerSettings"),
]
