"""From the weights of an arm's trials to ONNX files: one network, built once, with each trial's weights in turn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.errors import ModelError
from drunet.export.onnx_model import export_trained
from drunet.files import sha256, write_json
from drunet.models import registry
from drunet.training.distillation import CLASSES
from drunet.training.trained import rebuild

_SUFFIX = ".weights.h5"


def export_arm(
    facts: Mapping[str, Any], weights: str | Path, folder: str | Path, *, opset: int, name: str
) -> list[str]:
    """Export every trial of an arm whose weights are there, as `{protocol}.{fold}.onnx` and a JSON file about it.

    Pictures go in as 0..255: the graph itself divides by 255. `facts` is what `train_arm` left. Returns the trials;
    raises ModelError if there are no weights, they do not fit the facts, or ONNX Runtime does not answer like Keras.
    """
    files = sorted(Path(weights).glob(f"*{_SUFFIX}"))
    if not files:
        mend = "Train the arm again."
        raise ModelError("there are no weights to export", where=name, found=Path(weights).name, mend=mend)
    model = rebuild(facts)
    keys = [file.name.removesuffix(_SUFFIX) for file in files]
    for key, file in zip(keys, files, strict=True):
        registry.load_weights(model, file)
        path = Path(folder) / f"{key}.onnx"
        classes = {CLASSES: json.dumps(list(facts["classes"]))}
        report = export_trained(facts, file, path, opset=opset, name=f"{name} {key}", model=model, metadata=classes)
        known = {"name": name, "trial": key, "architecture": facts["architecture"], "classes": facts["classes"]}
        write_json(path.with_suffix(".json"), {**report, **known, "sha256": sha256(path)})
    return keys
