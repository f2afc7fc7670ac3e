"""Settings of all models: those that are trained here, finished ONNX files, and runs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from drunet.settings.base import Block
from drunet.settings.classifier import ClassifierSettings
from drunet.settings.refiner import RefinerSettings


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
