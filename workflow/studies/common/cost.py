"""Cost of a network: size, arithmetic and time per tile, all taken from the ONNX file that is run."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd

from drunet.errors import ModelError
from drunet.inference import EngineOptions, Layout, check_classifier, open_session

_WARM_UPS = 2  # runs that are not timed: the first ones allocate and choose kernels


@dataclass(frozen=True)
class Arithmetic:
    """Size and arithmetic of a network.

    `weights` are the floating-point numbers in the file: fewer than in training, as batch normalisation is folded into
    convolutions. `flops` of one tile are twice the multiply-accumulates of convolutions and dense layers alone, as is
    usual.
    """

    weights: int
    flops: int


def arithmetic(path: str | os.PathLike[str]) -> Arithmetic:
    """Count the weights and the operations of an ONNX file, for one sample; ModelError if the size of a tensor stays
    open.
    """
    model = onnx.load(os.fspath(path))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    # Older files list their weights among the inputs.
    for entry in (i for i in model.graph.input if i.name not in weights):
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = dict(weights)
    for value in [v for v in (*inferred.input, *inferred.value_info, *inferred.output) if v.name not in weights]:
        shapes[value.name] = tuple(
            d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim
        )
    shapes |= _measured(model, shapes, [i for i in model.graph.input if i.name not in weights])
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    held = sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)
    macs = sum(_COUNTERS[n.op_type](n, shapes) for n in model.graph.node if n.op_type in _COUNTERS)
    return Arithmetic(held, 2 * macs)


def seconds_in_turn(
    models: Mapping[str, str | os.PathLike[str]],
    sizes: Mapping[str, int],
    options: EngineOptions,
    *,
    repeats: int,
    layouts: Mapping[str, Layout] | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Time classifiers on the same tiles, in turn, so that a machine that slows down slows all of them.

    `models` maps names to ONNX files, `sizes` to the side of their tiles (px), `layouts` to how they want them. Returns
    seconds per batch, `repeats` of each; the same position in two lists is the same turn. Raises ModelError if a model
    does not fit the tiles, ProviderError as `drunet.inference.open_session`.
    """
    rng = np.random.default_rng
    tiles = {
        side: rng(seed).integers(0, 256, (options.batch_size, side, side, 3)).astype(np.float32)
        for side in set(sizes.values())
    }
    ready: dict[str, tuple[ort.InferenceSession, dict[str, np.ndarray]]] = {}
    for name, path in models.items():
        layout = (layouts or {}).get(name, Layout())
        session = open_session(path, options, where=name)
        own = tiles[sizes[name]]
        feed = (own if layout.channels_last else own.transpose(0, 3, 1, 2)) * np.float32(layout.scale)
        ready[name] = session, {check_classifier(session, layout, sizes[name], where=name): np.ascontiguousarray(feed)}
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(_WARM_UPS + repeats):
        for name, (session, inputs) in ready.items():
            start = time.perf_counter()
            session.run(None, inputs)
            if turn >= _WARM_UPS:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def cost_table(
    parameters: Mapping[str, int | None],
    counted: Mapping[str, Arithmetic],
    seconds: Mapping[str, Sequence[float]],
    options: EngineOptions,
    reference: str | None = None,
) -> pd.DataFrame:
    """What each classifier costs, and how much faster than the `reference` it is.

    `parameters` are those in training; of a finished file (None) the weights held are given instead. Returns columns
    arm, parameters, gflops, ms_per_tile (median), fastest, slowest (ms per tile), batch_size, repeats, threads,
    provider. With a reference also tiles_per_s; ratio (median of the turns' ratios of the reference's seconds to its
    own: above 1 is faster), ratio_low and ratio_high (quartiles).
    """
    rows = []
    for name, arithmetic in counted.items():
        milliseconds = [1000 * s / options.batch_size for s in seconds[name]]
        row = {
            "arm": name,
            "parameters": parameters[name] or arithmetic.weights,
            "gflops": arithmetic.flops / 1e9,
            "ms_per_tile": statistics.median(milliseconds),
            "fastest": min(milliseconds),
            "slowest": max(milliseconds),
            "batch_size": options.batch_size,
            "repeats": len(milliseconds),
            "threads": options.threads,
            "provider": options.provider,
        }
        if reference is not None:
            # Batches that ran one after the other are compared: what slows the machine for longer than a turn cancels.
            ratios = np.asarray(seconds[reference]) / np.asarray(seconds[name])
            low, middle, high = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
            row |= {"tiles_per_s": options.batch_size / statistics.median(seconds[name])}
            row |= {"ratio": middle, "ratio_low": low, "ratio_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _measured(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[onnx.ValueInfoProto]
) -> dict[str, tuple[int, ...]]:
    """Shapes that inference leaves open although those of the inputs are known, taken from a run on one empty sample.

    Attention is converted into a graph that computes shapes by itself, in ways that inference does not follow.
    """
    counted = [name for n in model.graph.node if n.op_type in _COUNTERS for name in (*n.input[:2], n.output[0])]
    missing = [name for name in dict.fromkeys(counted) if _is_open(shapes.get(name))]
    if not missing or any(_is_open(shapes[i.name]) for i in inputs):
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in missing if name not in known)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    dtypes = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in inputs}
    empty = {name: np.zeros(shapes[name], dtype) for name, dtype in dtypes.items()}
    return {name: array.shape for name, array in zip(missing, session.run(missing, empty), strict=True)}


def _is_open(shape: tuple[int, ...] | None) -> bool:
    return shape is None or any(side < 0 for side in shape)


def _known(shapes: Mapping[str, tuple[int, ...]], name: str, node: onnx.NodeProto) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or _is_open(shape):
        raise ModelError(
            "the arithmetic cannot be counted, because the size of a tensor is open",
            where=f"ONNX node {node.name or node.op_type}",
            found=f"{name}: {shape}",
            mend="Export the model with fixed height, width and channels.",
        )
    return shape


def _convolution(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Each output sums over a kernel (out, in / groups, h, w); of a transposed one (in, out / groups, h, w) each input
    spreads.
    """
    spread = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    return math.prod(_known(shapes, spread, node)) * math.prod(_known(shapes, node.input[1], node)[1:])


def _product(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Each output is a sum over the dimension that the two matrices share."""
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    shared = _known(shapes, node.input[0], node)[-2 if transposed else -1]
    return math.prod(_known(shapes, node.output[0], node)) * shared


_COUNTERS = {"Conv": _convolution, "ConvTranspose": _convolution, "Gemm": _product, "MatMul": _product}
