"""Keras models as ONNX files, with normalisation inside the graph and parity checked.

tf2onnx converts; TensorFlow appears by name here because conversion starts from its graph.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
import tf2onnx

from drunet.atomic import whole_file
from drunet.errors import ModelError

PARITY_LIMIT = 1e-4
OUTPUT = "probability"


def write_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    opset: int,
    scales: Mapping[str, float],
    facts: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """Convert a model, check it against Keras and move it into place.

    Parameters
    ----------
    model : keras.Model
        Inputs named, channels last, in [0, 1]; one softmax output.
    scales : mapping of input name to float
        Factor that the graph applies to that input: 1/255 for a picture fed as 0..255, 1 for a probability.
    facts : mapping
        Kept in the file's metadata.
    seed : int
        Of the random batch on which Keras and ONNX Runtime are compared.

    Returns
    -------
    dict
        ``parity`` (largest absolute difference), ``opset``, ``inputs``, ``parameters``.

    Raises
    ------
    ModelError
        If the two differ by more than `PARITY_LIMIT`; nothing is written then.
    """
    names = [tensor.name for tensor in model.inputs]
    signature = [tf.TensorSpec([None, *t.shape[1:]], tf.float32, name=n) for t, n in zip(model.inputs, names, strict=True)]

    def forward(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scaled = [x * tf.constant(scales[n], tf.float32) for x, n in zip(inputs, names, strict=True)]
        return {OUTPUT: model(scaled[0] if len(scaled) == 1 else dict(zip(names, scaled, strict=True)), training=False)}

    proto, _ = tf2onnx.convert.from_function(tf.function(forward), input_signature=signature, opset=opset)
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto)
    parity = _parity(model, proto, names, scales, seed)
    if not parity <= PARITY_LIMIT:
        raise ModelError(
            "the converted model does not answer like the Keras model",
            where=os.fspath(path),
            found=f"largest difference {parity:.2g}, allowed {PARITY_LIMIT:g}",
            mend="Try another `export.opset`, and report the versions in the report's last table.",
        )
    with whole_file(path) as temporary:
        onnx.save(proto, os.fspath(temporary))
    return {
        "parity": parity,
        "opset": opset,
        "inputs": {i.name: [d if isinstance(d, int) else None for d in t.shape] for i, t in zip(proto.graph.input, model.inputs, strict=True)},
        "parameters": int(model.count_params()),
    }


def _parity(
    model: keras.Model, proto: onnx.ModelProto, names: list[str], scales: Mapping[str, float], seed: int
) -> float:
    rng = np.random.default_rng(seed)
    # Two batch sizes, because a batch dimension that was frozen by mistake passes with one.
    worst = 0.0
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        unit = {
            n: rng.random((batch, *t.shape[1:]), dtype=np.float32) for n, t in zip(names, model.inputs, strict=True)
        }
        raw = {n: (v / np.float32(scales[n])).astype(np.float32) for n, v in unit.items()}
        expected = keras.ops.convert_to_numpy(model(unit[names[0]] if len(names) == 1 else unit, training=False))
        answer = session.run([OUTPUT], raw)[0]
        worst = max(worst, float(np.abs(expected - answer).max()))
    return worst
