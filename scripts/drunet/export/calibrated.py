"""A classifier's ONNX file with its temperature inside: logits are scaled before the softmax."""

import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from scipy import special

from drunet.errors import ModelError
from drunet.files import AnyPath, whole_file

PARITY_LIMIT = 1e-5
_MEND = "Leave out `export.calibrated`, or scale its answers by the temperature in calibration.json."


def write_calibrated(source: AnyPath, target: AnyPath, temperature: float, *, seed: int, where: str) -> float:
    """Write a classifier that answers softmax(logits / temperature); returns the largest difference from that.

    It is tried on random pictures, whose logits NumPy divides. Raises ModelError, and writes nothing, where the graph
    does not end in a softmax of two classes, or the two differ by more than `PARITY_LIMIT`.
    """
    model = onnx.load(os.fspath(source))
    graph, makers = model.graph, {name: node for node in model.graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in ("Identity", "Cast"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Softmax":
        found = node.op_type if node else None
        raise ModelError("the graph does not end in a softmax", where=where, found=found, mend=_MEND)
    logits, scaled, inverse = node.input[0], "tempered_logits", "inverse_temperature"
    graph.initializer.append(numpy_helper.from_array(np.array(1 / temperature, np.float32), inverse))
    graph.node.insert(list(graph.node).index(node), helper.make_node("Mul", [logits, inverse], [scaled]))
    node.input[0] = scaled
    model.metadata_props.add(key="temperature", value=repr(temperature))
    onnx.checker.check_model(model)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    sides = [side if isinstance(side, int) else 8 for side in session.get_inputs()[0].shape]
    pictures = np.random.default_rng(seed).uniform(0, 255, sides).astype(np.float32)
    answer, found = session.run(None, {session.get_inputs()[0].name: pictures})
    difference = float(np.abs(answer - special.softmax(found.astype(np.float64) / temperature, axis=-1)).max())
    if found.shape[-1] != 2 or not difference <= PARITY_LIMIT:
        what, found = (
            "the calibrated model is not one of two classes, or does not answer as its logits say",
            answer.shape,
        )
        raise ModelError(what, where=where, found=f"{found}, difference {difference:.2g}", mend=_MEND)
    with whole_file(target) as temporary:
        onnx.save(model, os.fspath(temporary))
    return difference
