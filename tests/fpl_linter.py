"""Faults of FAST's pipeline files (.fpl) and of the models that they name.

Written from FAST's Pipeline.cpp and from the ports and attributes that its classes declare; it knows no code of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import onnx

# Per class: number of input ports (0: renderers, which take any), and attributes with their number of values.
CLASSES: dict[str, tuple[int, dict[str, int]]] = {
    "WholeSlideImageImporter": (0, {"filename": 1}),
    "TissueSegmentation": (1, {"threshold": 1, "dilate-kernel-size": 1, "erode-kernel-size": 1, "filter-zeros": 1}),
    "PatchGenerator": (
        2,
        {"patch-size": 2, "patch-level": 1, "patch-magnification": 1, "patch-overlap": 1, "mask-threshold": 1},
    ),
    "NeuralNetwork": (1, {"model": 1, "scale-factor": 1, "inference-engine": 1}),
    "SegmentationNetwork": (2, {"model": 1, "scale-factor": 1, "threshold": 1, "inference-engine": 1}),
    "PatchStitcher": (1, {"patches-are-cropped": 1}),
    "RunUntilFinished": (1, {}),
    "TensorToImage": (1, {"channels": 1}),
    "ImagePyramidLevelExtractor": (1, {"level": 1, "magnification": 1}),
    "HDF5TensorExporter": (1, {"filename": 1, "name": 1}),
    "TIFFImagePyramidExporter": (1, {"filename": 1}),
    "ImagePyramidRenderer": (1, {"sharpening": 1}),
    "HeatmapRenderer": (1, {"channel-colors": 4, "hidden-channels": 1, "interpolation": 1, "max-opacity": 1}),
    "SegmentationRenderer": (1, {"opacity": 1, "border-opacity": 1, "border-radius": 1, "label-colors": 2}),
}
IMAGE, PYRAMID, TENSOR = "image", "pyramid", "tensor"
# What comes out, and what goes into each port.
GIVES = {
    "WholeSlideImageImporter": PYRAMID,
    "TissueSegmentation": IMAGE,
    "PatchGenerator": IMAGE,
    "NeuralNetwork": TENSOR,
    "SegmentationNetwork": IMAGE,
    "PatchStitcher": TENSOR,
    "RunUntilFinished": TENSOR,
    "TensorToImage": IMAGE,
    "ImagePyramidLevelExtractor": IMAGE,
}
TAKES: dict[str, list[tuple[str, ...]]] = {
    "TissueSegmentation": [(PYRAMID,)],
    "PatchGenerator": [(PYRAMID,), (IMAGE,)],
    "NeuralNetwork": [(IMAGE,)],
    "SegmentationNetwork": [(IMAGE,), (IMAGE,)],
    "PatchStitcher": [(TENSOR, IMAGE)],
    "RunUntilFinished": [(TENSOR,)],
    "TensorToImage": [(TENSOR,)],
    "ImagePyramidLevelExtractor": [(PYRAMID,)],
    "HDF5TensorExporter": [(TENSOR,)],
    "TIFFImagePyramidExporter": [(PYRAMID, IMAGE)],
    "ImagePyramidRenderer": [(PYRAMID,)],
    "HeatmapRenderer": [(TENSOR,)],
    "SegmentationRenderer": [(IMAGE, PYRAMID)],
}
# Operators of opset 13 that ONNX Runtime 1.14, TensorRT 8.2 and OpenVINO 2022.3 all have, as their tables list them.
_NAMES = (
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv Div Exp Flatten Gather Gemm "
    "GlobalAveragePool Identity LeakyRelu Log MatMul Max MaxPool Min Mul Pad ReduceMean Relu Reshape "
    "Resize Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze "
)
OPERATORS = set(_NAMES.split())


@dataclass
class Pipeline:
    """What a file says: objects with class, attributes and inputs by port, and the outputs that the app saves."""

    name: str = ""
    objects: dict[str, tuple[str, dict[str, list[str]], dict[int, str]]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, int]] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def parse(path: Path) -> Pipeline:
    """Read a file in the order in which FAST reads it."""
    found, current, data = Pipeline(), "", {"WSI": PYRAMID}
    inputs_begun = False
    # FAST leaves out blank lines before it parses: an object ends where something other than its lines begins.
    for line in filter(None, (raw.strip() for raw in path.read_text(encoding="utf-8").splitlines())):
        if line.startswith("#"):
            continue
        key, *words = re.findall(r'"[^"]*"|\S+', line)
        if key in ("PipelineName", "PipelineDescription"):
            if len(words) != 1 or not words[0].startswith('"'):
                found.faults.append(f"not one text in quotes: {line}")
                continue
            found.name = words[0].strip('"') if key == "PipelineName" else found.name
        elif key == "PipelineInputData":
            data[words[0]] = PYRAMID
        elif key == "PipelineOutputData":
            if len(words) != 3:
                found.faults.append(f"not three values: {line}")
            found.outputs[words[0]] = (words[1], int(words[2]))
        elif key in ("ProcessObject", "Renderer"):
            if len(words) != 2 or words[1] not in CLASSES:
                found.faults.append(f"not `{key} ID CLASS`: {line}")
                continue
            current, inputs_begun = words[0], False
            if current in found.objects:
                found.faults.append(f"defined twice: {current}")
            found.objects[current] = (words[1], {}, {})
        elif key == "Attribute" and (not current or inputs_begun):
            found.attributes[words[0]] = words[1].strip('"')
            current = ""
        elif key == "Attribute":
            known = CLASSES[found.objects[current][0]][1]
            if len(words) - 1 != known.get(words[0]):
                found.faults.append(f"{current} has no such attribute, or not with so many values: {line}")
            found.objects[current][1][words[0]] = [word.strip('"') for word in words[1:]]
        elif key == "Input" and current:
            inputs_begun = True
            _connect(found, current, words, data)
        else:
            found.faults.append(f"no line of a pipeline: {line}")
    for output, (source, port) in found.outputs.items():
        if source not in found.objects or port != 0:
            found.faults.append(f"no such output: {output}")
    _check_whole(found)
    return found


def _connect(found: Pipeline, current: str, words: list[str], data: dict[str, str]) -> None:
    kind, _, inputs = found.objects[current]
    port, source = int(words[0]), words[1]
    if port in inputs or port >= CLASSES[kind][0]:
        found.faults.append(f"{current} has no port {port}, or has it twice")
        return
    inputs[port] = source
    if source in found.objects and source != current:
        gives = GIVES.get(found.objects[source][0], "")
    elif source in data and len(words) == 2:
        gives = data[source]
    else:
        found.faults.append(f"{current} takes {source}, which is not there yet")
        return
    if gives not in TAKES[kind][port]:
        found.faults.append(f"{current} takes {gives} of {source} at port {port}")


def _check_whole(found: Pipeline) -> None:
    if not found.name:
        found.faults.append("no name")
    used = {source for _, _, inputs in found.objects.values() for source in inputs.values()}
    used |= {source for source, _ in found.outputs.values()}
    for name, (kind, attributes, inputs) in found.objects.items():
        if len(inputs) != CLASSES[kind][0]:
            found.faults.append(f"{name} has {len(inputs)} inputs")
        if name not in used and not kind.endswith(("Renderer", "Exporter")):
            found.faults.append(f"nothing takes what {name} gives")
        for value in (v for values in attributes.values() for v in values):
            if value in ("True", "False", "None", "nan"):
                found.faults.append(f"{name}: no value that FAST reads: {value}")


def model_faults(path: Path, inputs: list[str], side: int | None = None) -> list[str]:
    """What keeps a model from running in FastPathology 1.1.3; `inputs` by port, `side` of its squares, if known."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    faults = []
    opsets = {own.domain: own.version for own in model.opset_import}
    if set(opsets) - {"", "ai.onnx"} or max(opsets.values()) > 13:
        faults.append(f"opset {opsets}")
    if model.ir_version > 8:
        faults.append(f"IR version {model.ir_version}")
    if unknown := {node.op_type for node in model.graph.node} - OPERATORS:
        faults.append(f"operators {sorted(unknown)}")
    constants = {tensor.name for tensor in model.graph.initializer}
    taken = [value for value in model.graph.input if value.name not in constants]
    # FAST numbers its ports by the alphabet.
    if sorted(value.name for value in taken) != inputs:
        faults.append(f"inputs {[value.name for value in taken]}")
    for value in (*taken, *model.graph.output):
        tensor = value.type.tensor_type
        sides = [axis.dim_value for axis in tensor.shape.dim]
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            faults.append(f"{value.name} is not float32")
        if not all(sides[1:]) or sides[0] > 1:
            faults.append(f"{value.name} has sides {sides}")
        if value in taken and (len(sides) != 4 or not 1 <= sides[-1] <= 4 or (side and sides[1:3] != [side, side])):
            faults.append(f"{value.name} has sides {sides}")
    if len(model.graph.output) != 1:
        faults.append("more than one output")
    return faults
