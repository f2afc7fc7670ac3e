"""From trained weights to an ONNX file: build the model again in float32, load, convert, check."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from drunet.export.onnx_model import write_onnx
from drunet.models import registry
from drunet.refine import HEATMAP
from drunet.settings.network import NetworkSettings
from drunet.training.classifier import builder_options
from drunet.training.refiner import refiner_options


def export_trained(
    facts: Mapping[str, Any],
    weights: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    opset: int,
    name: str,
) -> dict[str, Any]:
    """Export a model from the facts that its training left; see `write_onnx` for what is returned and raised.

    Pictures go in as 0..255: the graph itself divides by 255 (authors' code: x / 255 for both branches).
    """
    model = rebuild_trained(facts, weights)
    scales = {tensor.name: 1.0 if tensor.name == HEATMAP else 1 / 255 for tensor in model.inputs}
    return write_onnx(
        model,
        path,
        opset=opset,
        scales=scales,
        facts={"model": name, "architecture": facts["architecture"]},
        seed=facts["seed"],
    )


def rebuild_trained(facts: Mapping[str, Any], weights: str | os.PathLike[str]) -> Any:
    """Build a model as its training did and load its weights, in float32: a keras.Model that takes pictures in [0, 1].

    Raises
    ------
    ModelError
        If the weights do not fit the facts.
    """
    settings, seed = facts["settings"], facts["seed"]
    if "classifier" in settings:
        options = refiner_options(settings["options"], settings["batch_norm_momentum"], seed)
    else:
        network = NetworkSettings.among({**settings, "weights": "random"}, "settings")
        # Starting weights are about to be overwritten: they need not be there any more.
        options = builder_options(network, facts["size"], seed)
        # What is known only once the data are seen, such as the classes that clusters became.
        options |= facts.get("builder", {})
    model = registry.build(settings["architecture"], **options)
    registry.load_weights(model, weights)
    return model
