"""Settings of the inference engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block, Share


class InferenceSettings(Block):
    """Where and how ONNX Runtime computes; see `drunet.inference.EngineOptions`."""

    provider: Literal["cpu", "cuda", "tensorrt", "openvino"]
    """where ONNX Runtime computes"""
    precision: Literal["float32", "float16"]
    """of weights and arithmetic"""
    batch_size: int = Field(ge=1, le=4096)
    """tiles per call of the network"""
    readers: int = Field(ge=1, le=64)
    """threads that read tiles"""
    max_unreadable: Share
    """share of unreadable tiles above which a slide fails"""
    views: int = Field(default=4, ge=1, le=8)
    """turned and mirrored views of a tile that the map of uncertainty compares"""
