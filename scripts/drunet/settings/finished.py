"""Settings of a finished ONNX model."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block


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
    inputs: list[str] = Field(default_factory=list, max_length=2)
    """names of a refiner's inputs, the slide's first, then the heatmap's; left out: by their channels"""
    size: int | None = Field(default=None, ge=16, le=8192)
    """side of a refiner's square, px, where its file leaves it open"""
    mpp: float | None = Field(default=None, ge=1, le=64)
    """µm/px of a refiner's windows; null: it sees the whole slide, stretched to its square"""
    output: str = ""
    """name of the output with the probabilities; left out: the only one that holds such"""
    appearance: str = ""
    """path of the appearance.json that came with a classifier: what the slides looked like that it learnt from"""
    licence: str = ""
    """under which terms it may be used; shown on its card"""
    activation: Literal["", "softmax", "sigmoid", "none"] = ""
    """what turns the output into probabilities; none: it holds one per class, which need not sum to 1"""
