"""Settings of all models, trained here or finished, and of the runs that pair them."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Tag, model_validator

from drunet.settings.base import Block, refusal
from drunet.settings.cascade import CascadeSettings
from drunet.settings.classifier import ClassifierSettings
from drunet.settings.clustering import ClusteringSettings
from drunet.settings.encoder import EncoderHead
from drunet.settings.finished import FinishedModel
from drunet.settings.refiner import RefinerSettings


class RunSettings(Block):
    """A classifier, and the refiner that follows it."""

    classifier: str
    """a key under classifiers"""
    refiner: str | None
    """a key under refiners; null: outlines directly from the heatmap, or by clustering"""
    clustering: ClusteringSettings | None = None
    """refinement by clustering, which needs no training; null: none"""
    cascade: CascadeSettings | None = None
    """another classifier judges every tile, this run's those that it is unsure of, with an audit of every slide; null:
    this run's judges all"""
    smallest_tumour_of: str | None = None
    """a refiner, whose training slides say which fragments are too small (postprocess.min_fragment_um2: null), so that
    several runs are cleaned alike; null: this run's own"""

    @model_validator(mode="after")
    def _one_refinement(self) -> Self:
        if self.refiner is not None and self.clustering is not None:
            mend = "Set `refiner: null`, or leave `clustering` out."
            raise refusal("a run is refined once", key="clustering", found=f"refiner {self.refiner} too", mend=mend)
        return self


def _is_finished(model: Any) -> bool:
    return isinstance(model, FinishedModel) or (isinstance(model, dict) and "onnx" in model)


def _kind_of_classifier(model: Any) -> str:
    if _is_finished(model):
        return "FinishedModel"
    told = model if isinstance(model, dict) else {"encoder": getattr(model, "encoder", None)}
    head = told.get("encoder") is not None or told.get("architecture") == "encoder_head"
    return "EncoderHead" if head else "ClassifierSettings"


Classifier = Annotated[
    Annotated[ClassifierSettings, Tag("ClassifierSettings")]
    | Annotated[EncoderHead, Tag("EncoderHead")]
    | Annotated[FinishedModel, Tag("FinishedModel")],
    Discriminator(_kind_of_classifier),
]
Refiner = Annotated[
    Annotated[RefinerSettings, Tag("RefinerSettings")] | Annotated[FinishedModel, Tag("FinishedModel")],
    Discriminator(lambda model: "FinishedModel" if _is_finished(model) else "RefinerSettings"),
]
