"""Settings of encoders, which are finished ONNX files, and of classifiers whose head alone is trained here."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict, model_validator

from drunet.settings.base import Block, refusal
from drunet.settings.classifier import LearntSlides
from drunet.settings.loss import LossSettings
from drunet.settings.stains import StainNormalisation
from drunet.settings.training import HeadTraining

_Mean = Annotated[float, Strict(), Field(ge=-1000, le=1000)]
_Deviation = Annotated[float, Strict(), Field(gt=0, le=1000)]


class EncoderSettings(Block):
    """A finished ONNX file that turns a tile into features; see `drunet.export.encoder`."""

    onnx: str = Field(min_length=1)
    """path of the file"""
    sha256: str = Field(default="", pattern="^[0-9a-f]{64}$")
    """the file's digest, checked before use; left out: not checked"""
    channels_last: bool | None = None
    """whether it takes [n, h, w, 3], and not [n, 3, h, w]; null: read from the file"""
    size: int | None = Field(default=None, ge=16, le=2048)
    """side of the square that it takes, px, where its file leaves it open; null: tiles.size"""
    scale: float = Field(default=1.0, gt=0)
    """factor on 0..255, before mean and deviation; 1 where the graph normalises by itself"""
    mean: Annotated[tuple[_Mean, _Mean, _Mean], Strict(False)] = (0.0, 0.0, 0.0)
    """of R, G and B: subtracted from the scaled pixels"""
    deviation: Annotated[tuple[_Deviation, _Deviation, _Deviation], Strict(False)] = (1.0, 1.0, 1.0)
    """of R, G and B: what the difference is divided by"""
    output: str = ""
    """name of the output with the features; left out: the only one"""
    pooling: Literal["none", "class_token", "mean", "class_token_and_mean"] = "none"
    """how tokens [n, tokens, features] become one row; mean: over the tokens from patches_from on, or over a map"""
    patches_from: int | None = Field(default=None, ge=0)
    """position of the first token of a patch, behind the class token and registers; null: 0 for mean, else 1"""
    stain_normalisation: StainNormalisation | None = None
    """what every tile goes through before the encoder sees it; null: tiles as they are"""
    kept: Literal["float16", "float32"] = "float16"
    """type of the features that are kept per slide"""

    @model_validator(mode="after")
    def _patches_are_averaged(self) -> Self:
        if self.patches_from is not None and not self.pooling.endswith("mean"):
            mend = "Leave it out: it belongs to the poolings mean and class_token_and_mean."
            raise refusal("no token is averaged", key="patches_from", found=self.patches_from, mend=mend)
        return self


class HeadSampling(Block):
    """How the classes of an epoch are evened out; see `drunet.sampling.strategies.sampled`."""

    first_model: ClassVar[None] = None
    strategy: Literal["as_is", "oversample", "undersample"]
    """which of the labelled tiles an epoch shows"""


class HeadData(LearntSlides):
    """What a head is trained on: labelled tiles of the grid, those of partial annotations too."""

    sampling: HeadSampling
    """which of the labelled tiles an epoch shows"""


class FoldedHeadData(HeadData):
    """What a head is trained on, and in how many folds."""

    cross_fit_folds: int = Field(ge=2, le=20)
    """folds by patient, used only where a refiner needs heatmaps of slides that this model was trained on"""


class HeadRecipe(Block):
    """What the training of a head on an encoder's features depends on: all but the number of folds."""

    # A head starts at random and has no teacher: to what looks for either, it is a model without.
    weights: ClassVar[str] = "random"
    distillation: ClassVar[None] = None

    architecture: Literal["encoder_head"]
    """encoder_head: a small network on the features of an encoder"""
    encoder: str
    """a key under encoders"""
    options: dict[str, Any]
    """options of the head: dense_units (0: none), dropout"""
    data: HeadData
    """what it is trained on"""
    loss: LossSettings
    """what training minimises"""
    training: HeadTraining
    """optimiser, length and early stopping"""


class EncoderHead(HeadRecipe):
    """A patch-wise classifier of an encoder and a head that is trained here."""

    data: FoldedHeadData
    """what it is trained on"""
