"""ONNX files as others write them: the small classifier and refiner of `tiny_onnx`, each with one thing changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import BIAS, ROWS, SIZE, WEIGHTS

FLOAT, HALF, DOUBLE, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8
SIDE = 16
N = helper.make_node


def classifier(
    path: Path,
    *,
    tail: list[Any] | None = None,
    outputs: dict[str, list[Any]] | None = None,
    shape: list[Any] | None = None,
    kind: int = FLOAT,
    channels_last: bool = True,
    scale: float = 1.0,
    gain: float = 1.0,
    classes: int = 2,
    more: dict[str, np.ndarray] | None = None,
    inputs: dict[str, list[Any]] | None = None,
    opset: int = 18,
    ir: int = 9,
) -> Path:
    """Tiles to `logits` [n, classes] by their mean colour, the tumour's second; `tail` makes the outputs of them."""
    columns, offset = np.zeros((3, classes), np.float32), np.zeros(classes, np.float32)
    columns[:, min(1, classes - 1)] = WEIGHTS * gain / scale
    offset[min(1, classes - 1)] = BIAS * gain
    rows = ROWS.astype(np.float32)
    numbers = {"axes": np.array([1, 2] if channels_last else [2, 3]), "columns": columns, "offset": offset}
    numbers |= {"rows": rows if channels_last else rows.transpose(2, 0, 1), **(more or {})}
    nodes = [
        N("Cast", ["tiles"], ["single"], to=FLOAT),
        N("Mul", ["single", "rows"], ["weighted"]),
        N("ReduceMean", ["weighted", "axes"], ["mean"], keepdims=0),
        N("MatMul", ["mean", "columns"], ["product"]),
        N("Add", ["product", "offset"], ["logits"]),
        *(tail or [N("Softmax", ["logits"], ["p"], axis=-1)]),
    ]
    shape = shape or (["n", SIZE, SIZE, 3] if channels_last else ["n", 3, SIZE, SIZE])
    taken = [("tiles", kind, shape), *((name, FLOAT, s) for name, s in (inputs or {}).items())]
    return _save(path, nodes, taken, outputs or {"p": [shape[0], classes]}, numbers, opset, ir)


def refiner(
    path: Path,
    *,
    names: tuple[str, str] = ("input_image", "input_pred"),
    tail: list[Any] | None = None,
    outputs: dict[str, list[Any]] | None = None,
    kind: int = FLOAT,
    channels_last: bool = True,
    scale: float = 1.0,
    batch: Any = "n",
    side: Any = SIDE,
    heat_channels: Any = 1,
    joined: bool = False,
) -> Path:
    """Heatmap times (0.5 + 0.5 * grey / 255) as `tumour` [n, s, s, 1], and what is left to 1 as `background`."""
    axis = 3 if channels_last else 1

    def shape(channels: Any) -> list[Any]:
        return [batch, side, side, channels] if channels_last else [batch, channels, side, side]

    numbers = {"axes": np.array([axis]), "half": np.float32([0.5]), "one": np.float32([1])}
    numbers["nought"] = np.float32([0])
    numbers["scale"] = np.float32([0.5 / 255 / scale])
    nodes = [
        N("Cast", [names[0]], ["picture"], to=FLOAT),
        N("Cast", [names[1]], ["heat"], to=FLOAT),
        N("ReduceMean", ["picture", "axes"], ["mean"], keepdims=1),
        N("Mul", ["mean", "scale"], ["lit"]),
        N("Add", ["lit", "half"], ["factor"]),
        N("Mul", ["heat", "factor"], ["tumour"]),
        N("Sub", ["one", "tumour"], ["background"]),
        *(tail or [N("Concat", ["background", "tumour"], ["p"], axis=axis)]),
    ]
    taken = [(names[0], kind, shape(3)), (names[1], kind, shape(heat_channels))]
    if joined:
        numbers["parts"] = np.array([3, 1])
        nodes.insert(0, N("Split", ["four", "parts"], list(names), axis=axis))
        taken = [("four", kind, shape(4))]
    return _save(path, nodes, taken, outputs or {"p": shape(2)}, numbers, 18, 9)


def endless(path: Path) -> Path:
    """A classifier with a loop that has no end."""
    always = numpy_helper.from_array(np.array(True), "always")
    body = helper.make_graph(
        [N("Identity", ["go"], ["go_on"]), N("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", FLOAT, ["n", 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", FLOAT, ["n", 2]),
        ],
    )
    tail = [N("Loop", ["", "always", "logits"], ["looped"], body=body), N("Softmax", ["looped"], ["p"], axis=-1)]
    return classifier(path, tail=tail, more={"always": numpy_helper.to_array(always)})


def beside(path: Path, name: str = "net.onnx.data") -> Path:
    """Move the weights of a file into another beside it, as PyTorch's exporter does."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location=name, size_threshold=0, all_tensors_to_one_file=True)
    return path


def _save(
    path: Path,
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: dict[str, list[Any]],
    numbers: dict[str, np.ndarray],
    opset: int,
    ir: int,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "strange",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path
