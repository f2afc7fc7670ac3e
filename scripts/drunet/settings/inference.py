"""Settings of the inference engine."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from drunet.settings.base import Block, Share, refusal


class QuantisationSettings(Block):
    """How classifiers are brought to int8, and how far from before they may then be; see `drunet.quantisation`."""

    tiles: int = Field(default=256, ge=8, le=100_000)
    """tiles that the ranges of the activations are taken from"""
    held: int = Field(default=1024, ge=8, le=1_000_000)
    """further tiles, which the limits are held against"""
    max_difference: Share = 0.02
    """largest mean difference of the tumour probability from float32"""
    max_sides: Share = 0.01
    """largest share of tiles on the other side of measure.threshold"""


class InferenceSettings(Block):
    """Where and how networks are computed; see `drunet.session.EngineOptions`."""

    provider: Literal["cpu", "cuda", "tensorrt", "openvino"]
    """what computes: ONNX Runtime on cpu, cuda or tensorrt, or OpenVINO (on the processor)"""
    precision: Literal["float32", "float16", "bfloat16", "int8"]
    """of weights and arithmetic; bfloat16: with openvino; int8: of classifiers alone, on cpu or openvino"""
    batch_size: int = Field(ge=1, le=4096)
    """tiles per call of the network"""
    readers: int = Field(ge=1, le=64)
    """threads that read tiles"""
    max_unreadable: Share
    """share of unreadable tiles above which a slide fails"""
    views: int = Field(default=4, ge=1, le=8)
    """turned and mirrored views of a tile that the map of uncertainty compares"""
    set_aside: list[Literal["blurred", "folded", "pen"]] = Field(default_factory=list)
    """faults whose tiles become unknown, as if they could not be read; see `drunet.quality`"""
    int8: QuantisationSettings = Field(default_factory=QuantisationSettings)
    """how classifiers are brought to int8; left out: the values above"""

    @model_validator(mode="after")
    def _computed_there(self) -> Self:
        fit = {"bfloat16": ("openvino",), "int8": ("cpu", "openvino")}.get(self.precision, (self.provider,))
        if self.provider not in fit:
            mend = f"Use `provider: {' or '.join(fit)}`, or another precision."
            found = f"{self.precision} on {self.provider}"
            raise refusal("the provider does not compute in this precision", key="precision", found=found, mend=mend)
        return self

    def engine(self) -> dict[str, Any]:
        """What `drunet.session.EngineOptions` has of it."""
        return {key: value for key, value in self if key not in ("int8", "views", "set_aside")}
