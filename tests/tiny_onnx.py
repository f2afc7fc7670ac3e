"""Networks small enough to work out by hand, as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
# The classifier of these tests: softmax of (0, mean colour · WEIGHTS + BIAS) on 0..255, where lower rows count more.
ROWS = np.linspace(0, 2, SIZE)[:, None, None]
WEIGHTS, BIAS = np.array([0.02, -0.015, 0.01]), -1.5


def by_hand(tiles: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-((tiles * ROWS).mean((1, 2)) @ WEIGHTS + BIAS)))


def colour_model(
    path: Path,
    *,
    channels_last: bool = True,
    scale: float = 1.0,
    tumour: int = 1,
    size: Any = SIZE,
    last: str = "Softmax",
    bias: float = BIAS,
) -> Path:
    columns = np.zeros((3, 2), np.float32)
    columns[:, tumour] = WEIGHTS / scale
    offset = np.zeros(2, np.float32)
    offset[tumour] = bias
    shape = ["n", size, size, 3] if channels_last else ["n", 3, size, size]
    nodes = [
        helper.make_node("Mul", ["tiles", "rows"], ["weighted"]),
        helper.make_node("ReduceMean", ["weighted", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "columns"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["logit"]),
        helper.make_node(last, ["logit"], ["probability"]),
    ]
    axes = np.array([1, 2] if channels_last else [2, 3])
    rows = ROWS.astype(np.float32) if size == SIZE else np.ones((1, 1, 1), np.float32)
    numbers = {"axes": axes, "rows": rows if channels_last else rows.transpose(2, 0, 1)}
    _save(path, nodes, {"tiles": shape}, ["n", 2], {**numbers, "columns": columns, "offset": offset})
    return path


def refiner_model(
    path: Path, *, size: Any = 16, channels: int = 3, heat: str = "input_pred", last: str = "Concat"
) -> Path:
    """The heatmap, halved where the picture is black, as [n, s, s, 2]: background and tumour.

    On a pixel whose channels have the mean m (0..255) the tumour's probability is heat * (0.5 + 0.5 * m / 255).
    """
    numbers = {
        "axes": np.array([3]),
        "half": np.float32([0.5]),
        "scale": np.float32([0.5 / 255]),
        "one": np.float32([1]),
    }
    nodes = [
        helper.make_node("ReduceMean", ["input_image", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "scale"], ["lit"]),
        helper.make_node("Add", ["lit", "half"], ["factor"]),
        helper.make_node("Mul", [heat, "factor"], ["tumour"]),
        helper.make_node("Sub", ["one", "tumour"], ["background"]),
        helper.make_node("Concat", ["background", "tumour"], ["both"], axis=3),
        helper.make_node("Log" if last == "Log" else "Identity", ["both"], ["probability"]),
    ]
    if last == "tumour":
        nodes[-1] = helper.make_node("Identity", ["tumour"], ["probability"])
    inputs = {"input_image": ["n", size, size, channels], heat: ["n", size, size, 1]}
    _save(path, nodes, inputs, ["n", size, size, 1 if last == "tumour" else 2], numbers)
    return path


def _save(
    path: Path, nodes: list[Any], inputs: dict[str, list[Any]], output: list[Any], numbers: dict[str, Any]
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
