"""A small encoder as an ONNX file: a convolution, a ReLU and the mean of what it gives; and the same by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, FEATURES, CLASS = 16, 6, 0.5
KERNEL = np.random.default_rng(5).normal(0, 0.4, (FEATURES, 3, 4, 4)).astype(np.float32)


def patches_by_hand(pictures: np.ndarray) -> np.ndarray:
    """Tokens of the encoder without its class token, (n, 16, features): squares of 4 px of (n, 16, 16, 3)."""
    n = len(pictures)
    squares = pictures.reshape(n, 4, 4, 4, 4, 3).transpose(0, 1, 3, 5, 2, 4).reshape(n, 16, 48)
    return np.maximum(squares @ KERNEL.reshape(FEATURES, 48).T, 0)


def save_encoder(
    path: Path,
    *,
    form: str = "pooled",
    last: bool = False,
    side: Any = SIDE,
    batch: Any = "n",
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write an encoder that gives `pooled` features (n, 6), a `map` (n, 6, 4, 4), or `tokens` (n, 17, 6).

    The first token, as a class token, is the first patch and `CLASS`.
    """
    shape = [batch, side, side, 3] if last else [batch, 3, side, side]
    nodes = [helper.make_node("Transpose", ["pictures"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node("Conv", ["first" if last else "pictures", "kernel"], ["cells"], strides=[4, 4]),
        helper.make_node("Relu", ["cells"], ["map"]),
    ]
    out: list[Any] = [batch, FEATURES, 4, 4]
    if form == "pooled":
        nodes += [
            helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
            helper.make_node("Flatten", ["mean"], [form]),
        ]
        out = [batch, FEATURES]
    elif form == "map" and last:
        nodes[-1].output[0] = "channels_first"
        nodes.append(helper.make_node("Transpose", ["channels_first"], ["map"], perm=[0, 2, 3, 1]))
        out = [batch, 4, 4, FEATURES]
    elif form == "tokens":
        nodes += [
            helper.make_node("Reshape", ["map", "flat"], ["row"]),
            helper.make_node("Transpose", ["row"], ["patches"], perm=[0, 2, 1]),
            helper.make_node("Slice", ["patches", "zero", "one", "one"], ["one_patch"]),
            helper.make_node("Add", ["one_patch", "class"], ["class_token"]),
            helper.make_node("Concat", ["class_token", "patches"], [form], axis=1),
        ]
        out = [batch, 17, FEATURES]
    real = {"kernel": KERNEL, "class": np.float32([CLASS])}
    whole = {"flat": np.array([0, FEATURES, 16]), "zero": np.array([0]), "one": np.array([1])}
    halved = {name: v.astype(helper.tensor_dtype_to_np_dtype(kind)) for name, v in real.items()}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info(form, kind, out)],
        [numpy_helper.from_array(value, name) for name, value in {**halved, **whole}.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path
