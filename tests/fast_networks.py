"""Small networks of the operators that Keras' are made of, for FAST: its OpenVINO takes no product of a mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_cohort import TISSUE, TUMOUR

MIDDLE = (TISSUE[1] + TUMOUR[1]) / 2


def save_tone(path: Path, side: int, opset: int = 17, middle: float = MIDDLE) -> None:
    """A classifier by mean green, undecided at `middle`: [n, side, side, 3] in 0..255 to [n, 2]."""
    weights, bias = np.zeros((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)
    # Not steep, so that a grey level more or less shows.
    weights[1, 1], bias[1] = -0.05, 0.05 * middle
    nodes = [
        helper.make_node("Transpose", ["input_image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights", "bias"], ["logits"]),
        helper.make_node("GlobalAveragePool", ["logits"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "axes"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["probability"], axis=1),
    ]
    constants = {"weights": weights, "bias": bias, "axes": np.array([2, 3], np.int64)}
    _save(path, nodes, {"input_image": [side, side, 3]}, [2], constants, opset)


def save_square(path: Path, side: int, opset: int = 17) -> None:
    """A refiner: the heatmap made steeper, and a little of the slide's green."""
    weights, bias = np.zeros((2, 4, 1, 1), np.float32), np.array([0, -4], np.float32)
    weights[1, :, 0, 0] = [0, -0.004, 0, 9]
    nodes = [
        helper.make_node("Concat", ["input_image", "input_pred"], ["both"], axis=3),
        helper.make_node("Transpose", ["both"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights", "bias"], ["logits"]),
        helper.make_node("Transpose", ["logits"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Softmax", ["last"], ["probability"], axis=3),
    ]
    inputs = {"input_image": [side, side, 3], "input_pred": [side, side, 1]}
    _save(path, nodes, inputs, [side, side, 2], {"weights": weights, "bias": bias}, opset)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    output: list[int],
    constants: dict[str, np.ndarray],
    opset: int,
) -> None:
    def value(name: str, sides: list[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *sides])

    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    given = [value(name, sides) for name, sides in inputs.items()]
    graph = helper.make_graph(nodes, path.stem, given, [value("probability", output)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
