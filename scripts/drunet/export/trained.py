"""From trained weights to an ONNX file: build the network again in float32, load, convert, check."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from drunet.export.onnx_model import write_onnx
from drunet.refine import HEATMAP
from drunet.training.trained import rebuild


def export_trained(
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str] | None,
    path: str | os.PathLike[str],
    *,
    opset: int,
    name: str,
    model: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Export a model from the facts that its training left; see `write_onnx` for what is returned and raised.

    Pictures go in as 0..255: the graph itself divides by 255 (authors' code: x / 255 for both branches). `facts` and
    `weights` are as for `drunet.training.trained.rebuild`; `model` is the network itself, where it is built already and
    holds its weights. The file keeps `name`, the architecture and `metadata`.
    """
    model = model or rebuild(facts, weights)
    return write_onnx(
        model,
        path,
        opset=opset,
        scales={tensor.name: 1.0 if tensor.name == HEATMAP else 1 / 255 for tensor in model.inputs},
        facts={"model": name, "architecture": facts["architecture"], **(metadata or {})},
        seed=facts["seed"],
    )
