"""A classifier's ONNX file with its temperature inside: logits are scaled before the softmax."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from scipy import special

from drunet.errors import ModelError
from drunet.files import whole_file

PARITY_LIMIT = 1e-5
_TRIED = 8


def write_calibrated(
    source: str | os.PathLike[str], target: str | os.PathLike[str], temperature: float, *, seed: int, where: str
) -> float:
    """Write a classifier that answers softmax(logits / temperature); returns the largest difference from that.

    It is tried on random pictures, whose logits NumPy divides. Raises ModelError, and writes nothing, where the graph
    does not end in a softmax, or the two differ by more than `PARITY_LIMIT`.
    """
    model = onnx.load(os.fspath(source))
    graph, makers = model.graph, {name: node for node in model.graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in ("Identity", "Cast"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Softmax":
        mend = "Leave out `export.calibrated`, or scale its answers by the temperature in calibration.json."
        raise ModelError(
            "the graph does not end in a softmax", where=where, found=getattr(node, "op_type", ""), mend=mend
        )
    logits = node.input[0]
    inverse = numpy_helper.from_array(np.array(1 / temperature, np.float32), "inverse_temperature")
    graph.initializer.append(inverse)
    scaled = helper.make_node("Mul", [logits, inverse.name], ["tempered_logits"], name="tempered")
    graph.node.insert(list(graph.node).index(node), scaled)
    node.input[0] = "tempered_logits"
    model.metadata_props.add(key="temperature", value=repr(temperature))
    onnx.checker.check_model(model)
    difference = _difference(model, logits, temperature, seed, where)
    if not difference <= PARITY_LIMIT:
        what, found = (
            "the calibrated model does not answer as its logits say",
            f"largest difference {difference:.2g}",
        )
        raise ModelError(what, where=where, found=found, mend="Please report it.")
    with whole_file(target) as temporary:
        onnx.save(model, os.fspath(temporary))
    return difference


def _difference(model: onnx.ModelProto, logits: str, temperature: float, seed: int, where: str) -> float:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    sides = [side if isinstance(side, int) else _TRIED for side in taken.shape]
    pictures = np.random.default_rng(seed).uniform(0, 255, sides).astype(np.float32)
    answer, found = session.run(None, {taken.name: pictures})
    if found.shape[-1] != 2:
        what, mend = "a temperature is fitted for two classes", "Leave out `export.calibrated`."
        raise ModelError(what, where=where, found=f"{found.shape[-1]} classes", mend=mend)
    return float(np.abs(answer - special.softmax(found.astype(np.float64) / temperature, axis=-1)).max())
