"""Keras models as ONNX files, normalised inside the graph, parity checked; tf2onnx starts from TensorFlow's graph."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
import tf2onnx
from onnx import helper, numpy_helper

from drunet.errors import ModelError
from drunet.files import AnyPath, whole_file
from drunet.models.encoder_head import FEATURES, typical_features
from drunet.refine import HEATMAP
from drunet.training.trained import rebuild

PARITY_LIMIT = 1e-4
_CANDIDATES, _COMPARED = 24, 4
OUTPUT = "probability"
# How names end that tf2onnx counts, and the number of an output behind them.
_NUMBERED = re.compile(r"(__\d+)+(:\d+)?$")


def export_trained(
    facts: Mapping[str, Any],
    weights: AnyPath | None,
    path: AnyPath,
    *,
    opset: int,
    name: str,
    model: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Export a model from the facts that its training left; see `write_onnx` for what is returned and raised.

    Pictures go in as 0..255, features as they are: the graph itself divides by 255 (authors' code: x / 255 for both
    branches). `facts` and `weights` are as for `drunet.training.trained.rebuild`; `model` is the network itself, where
    it is built already and holds its weights. The file keeps `name`, the architecture and `metadata`.
    """
    model = model or rebuild(facts, weights)
    return write_onnx(
        model,
        path,
        opset=opset,
        scales={tensor.name: 1.0 if tensor.name in (HEATMAP, FEATURES) else 1 / 255 for tensor in model.inputs},
        facts={"model": name, "architecture": facts["architecture"], **(metadata or {})},
        seed=facts["seed"],
    )


def write_onnx(
    model: keras.Model, path: AnyPath, *, opset: int, scales: Mapping[str, float], facts: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Convert a model, check it against Keras and move it into place.

    The model has named inputs, channels last, in [0, 1], and one softmax output. `scales` are the factors that the
    graph applies to its inputs, by name: 1/255 for a picture fed as 0..255, 1 for a probability or features. `facts`
    are kept in the file's metadata; `seed` is of the random batch on which Keras and ONNX Runtime are compared. Returns
    ``parity`` (largest absolute difference), ``opset``, ``inputs``, ``parameters``. Raises ModelError, and writes
    nothing, if the two differ by more than `PARITY_LIMIT`.
    """
    names = [tensor.name for tensor in model.inputs]
    signature = [
        tf.TensorSpec([None, *t.shape[1:]], tf.float32, name=n) for t, n in zip(model.inputs, names, strict=True)
    ]

    def forward(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scaled = [x * tf.constant(scales[n], tf.float32) for x, n in zip(inputs, names, strict=True)]
        return {OUTPUT: model(scaled[0] if len(scaled) == 1 else dict(zip(names, scaled, strict=True)), training=False)}

    proto, _ = tf2onnx.convert.from_function(tf.function(forward), input_signature=signature, opset=opset)
    settle_names(proto.graph, names)
    guard_padded_pools(proto)
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(proto)
    parity = _parity(model, proto, names, scales, seed)
    if not parity <= PARITY_LIMIT:
        what = "the converted model does not answer like the Keras model"
        found = f"largest difference {parity:.2g}, allowed {PARITY_LIMIT:g}"
        mend = "Try another `export.opset`, and report the versions in the report's last table."
        raise ModelError(what, where=os.fspath(path), found=found, mend=mend)
    with whole_file(path) as temporary:
        onnx.save(proto, os.fspath(temporary))
    return {
        "parity": parity,
        "opset": opset,
        "inputs": {tensor.name: list(tensor.shape) for tensor in model.inputs},
        "parameters": int(model.count_params()),
    }


def settle_names(graph: onnx.GraphProto, inputs: Sequence[str]) -> None:
    """Put the inputs into this order, and name constants and what the converter made by the graph alone, in place.

    tf2onnx lists inputs, numbers what it makes, and picks one of several equal constants in the order of Python's sets:
    two exports of one network would differ in names, and so in their digests, and a program that counts the inputs
    (FAST) would feed the slide where the heatmap belongs. Names in a graph with graphs inside are left as they are.
    """
    graph.input.sort(key=lambda value: list(inputs).index(value.name))
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    given = {value.name for value in (*graph.input, *graph.output)}
    constants = {tensor.name for tensor in graph.initializer}
    names: dict[str, str] = {}

    def settled(name: str) -> str:
        if name not in names and name not in given and _NUMBERED.search(name):
            names[name] = f"{_NUMBERED.sub('', name)}__{len(names)}"
        return names.get(name, name)

    def settle_lengths(values: Iterable[onnx.ValueInfoProto]) -> None:
        for value in values:
            for side in value.type.tensor_type.shape.dim:
                if side.dim_param:
                    side.dim_param = settled(side.dim_param)

    settle_lengths([*graph.input, *graph.output])
    for node in graph.node:
        node.name = settled(node.name)
        for position, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name}/constant_{position}")
            node.input[position] = settled(name)
        node.output[:] = [settled(name) for name in node.output]
    for value in graph.value_info:
        value.name = settled(value.name)
    graph.value_info.sort(key=lambda value: value.name)
    settle_lengths(graph.value_info)
    for tensor in graph.initializer:
        tensor.name = settled(tensor.name)
    graph.initializer.sort(key=lambda tensor: tensor.name)


def guard_padded_pools(proto: onnx.ModelProto) -> None:
    """Keep ONNX Runtime from moving a zero padding into the max-pooling behind it.

    A pooling pads with minus infinity, so where all of a window is negative the two differ. ResNetV2 pools before any
    activation: trained on real tissue, DR-fused answered up to 0.09 off (ONNX Runtime 1.26, rewrite rule Pad_Fusion). A
    maximum with the lowest float in between changes no value and breaks the pattern, for every program that runs the
    file. The graph is changed in place.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    pads = [
        n
        for n in proto.graph.node
        if n.op_type == "Pad" and any(r.op_type == "MaxPool" for r in readers.get(n.output[0], ()))
    ]
    if not pads:
        return
    lowest = numpy_helper.from_array(np.array(np.finfo(np.float32).min, np.float32), "lowest_float")
    proto.graph.initializer.append(lowest)
    nodes = []
    for node in proto.graph.node:
        nodes.append(node)
        if node in pads:
            kept = f"{node.output[0]}_kept"
            for reader in readers[node.output[0]]:
                reader.input[:] = [kept if name == node.output[0] else name for name in reader.input]
            nodes.append(helper.make_node("Max", [node.output[0], lowest.name], [kept], name=f"{node.name}_kept"))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _parity(
    model: keras.Model, proto: onnx.ModelProto, names: list[str], scales: Mapping[str, float], seed: int
) -> float:
    """Largest difference of the two answers, on the pictures of many that both networks are least sure of."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    shapes = {n: tuple(t.shape[1:]) for n, t in zip(names, model.inputs, strict=True)}

    def sample(name: str) -> np.ndarray:
        return typical_features(model, rng) if name == FEATURES else _picture(rng, shapes[name])

    candidates = [{n: sample(n) for n in names} for _ in range(_CANDIDATES)]

    def answer(samples: list[dict[str, np.ndarray]]) -> np.ndarray:
        raw = {n: np.stack([s[n] for s in samples]) / np.float32(scales[n]) for n in names}
        return np.asarray(session.run([OUTPUT], raw)[0])

    # A saturated softmax hides any difference: sure answers of 0 and 1 agree whatever the conversion did.
    doubt = [float(np.abs(answer([c]) - 0.5).mean()) for c in candidates]
    chosen = [candidates[i] for i in np.argsort(doubt)[:_COMPARED]]
    differences = []
    # Two batch sizes, because a batch dimension that was frozen by mistake passes with one.
    for batch in (chosen[:1], chosen):
        unit = {n: np.stack([s[n] for s in batch]) for n in names}
        expected = keras.ops.convert_to_numpy(model(unit[names[0]] if len(names) == 1 else unit, training=False))
        differences.append(np.abs(expected - answer(batch)).max())
    # NumPy's maximum keeps NaN, which Python's drops: a model that answers NaN is not one that agrees.
    return float(np.max(differences))


def _picture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A random picture in [0, 1] with coarse fields, as tissue has, and fine grain; float32 (h, w, channels)."""
    coarse = rng.random((*rng.integers(2, 9, 2), shape[2]))
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).reshape(shape)
    grain = rng.normal(0, rng.uniform(0, 0.15), shape)
    return np.clip(smooth * rng.uniform(0.2, 1) + rng.uniform(0, 0.5) + grain, 0, 1).astype(np.float32)
