"""Cost of a network: size, arithmetic and time per tile, all taken from the ONNX file that is run."""

import math
import os
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
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
    """Weights, the floating-point numbers in the file, and FLOPs of a network for one tile.

    There are fewer weights than in training, as batch normalisation is folded into convolutions. FLOPs are twice the
    multiply-accumulates of convolutions and dense layers alone, as is usual.
    """

    weights: int
    flops: int


def arithmetic(path: str | os.PathLike[str]) -> Arithmetic:
    """Count the weights and the operations of an ONNX file, for one sample; ModelError for an input of open size."""
    model = onnx.load(os.fspath(path))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = weights | _shapes_of_one_sample(model, weights)
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
) -> dict[str, list[float]]:
    """Time classifiers on the same tiles, in turn, so that a machine that slows down slows all of them.

    `models` maps names to ONNX files, `sizes` to the side of their tiles (px), `layouts` to how they want them. Returns
    seconds per batch, `repeats` of each; the same position in two lists is the same turn. Raises ModelError if a model
    does not fit the tiles, ProviderError as `drunet.inference.open_session`.
    """
    tiles = {
        side: np.random.default_rng(0).integers(0, 256, (options.batch_size, side, side, 3)).astype(np.float32)
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


def _shapes_of_one_sample(model: onnx.ModelProto, weights: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of what the counted nodes read and give, from a run on one empty sample.

    Attention is converted into a graph that computes shapes by itself, in ways that ONNX's inference does not follow.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    empty: dict[str, np.ndarray] = {}
    # Older files list their weights among the inputs.
    for entry in (one for one in probe.graph.input if one.name not in weights):
        tensor = entry.type.tensor_type
        tensor.shape.dim[0].dim_value = 1
        shape = [side.dim_value for side in tensor.shape.dim]
        if 0 in shape:
            what, mend = "the size of its input is open", "Export the model with fixed height, width and channels."
            raise ModelError(what, where=f"ONNX input {entry.name}", found=shape, mend=mend)
        empty[entry.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    counted = [name for n in probe.graph.node if n.op_type in _COUNTERS for name in (*n.input[:2], n.output[0])]
    asked = [name for name in dict.fromkeys(counted) if name not in weights and name not in empty]
    known = {output.name for output in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked if name not in known)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    # Asked for nothing, a session gives everything.
    found = dict(zip(asked, session.run(asked, empty), strict=True)) if asked else {}
    return {name: array.shape for name, array in (empty | found).items()}


def _convolution(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Outputs sum over a kernel (out, in / groups, h, w); inputs of a transposed one spread over one (in, ...)."""
    spread = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    return math.prod(shapes[spread]) * math.prod(shapes[node.input[1]][1:])


def _product(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Each output is a sum over the dimension that the two matrices share."""
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if transposed else -1]


_COUNTERS = {"Conv": _convolution, "ConvTranspose": _convolution, "Gemm": _product, "MatMul": _product}
