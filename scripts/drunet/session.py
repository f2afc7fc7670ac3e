"""Sessions: networks that ONNX Runtime or OpenVINO runs, with one interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from drunet.errors import ModelError, ProviderError
from drunet.files import AnyPath
from drunet.openvino_engine import OpenVinoSession

Session = ort.InferenceSession | OpenVinoSession
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Beside ONNX Runtime's: OpenVINO by its own package.
OPENVINO = "openvino"
# Moves a zero padding into the max-pooling behind it, which pads with minus infinity: ResNetV2 then answers wrongly.
# Models exported here are guarded against it, finished ones are not.
_UNSOUND = ["Pad_Fusion"]
# What tiles can be cast to without a loss, whole numbers included: a tile is 0..255.
TYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
TYPES |= {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32}


@dataclass(frozen=True)
class EngineOptions:
    """How to run a network.

    What is asked for as `provider`, a key of `PROVIDERS` or `OPENVINO`, is what is used, or it is an error. `precision`
    is ``float32``; ``float16`` or (OpenVINO) ``bfloat16``: arithmetic in half precision, inputs and outputs still
    float32; ``int8``: the file is one that `drunet.quantisation` made. `batch_size` counts tiles, `readers` threads
    that read them; above the share `max_unreadable` of unreadable tiles the slide fails; `threads` are of the network,
    and 0 leaves them to ONNX Runtime (all cores).
    """

    provider: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    readers: int = 2
    max_unreadable: float = 0.01
    threads: int = 0

    @classmethod
    def of_job(
        cls, inference: Mapping[str, Any], threads: int, *, provider: str, precision: str = "float32"
    ) -> EngineOptions:
        """Options of a job: from `inference`, the configuration's block, comes only what changes no probability.

        Not being params, batch and readers compute nothing anew, and a limit of unreadable tiles that is lowered
        refuses no slide that is classified.
        """
        others = {key: inference[key] for key in ("batch_size", "readers", "max_unreadable")}
        return cls(provider, precision, **others, threads=threads)


def open_session(path: AnyPath, options: EngineOptions, *, where: str) -> Any:
    """Load an ONNX model on the provider asked for; OpenVINO's has the methods of a session that are used here.

    Raises ProviderError if the provider or the precision is not there, or silently another one was given; ModelError if
    the file is no ONNX model, or one in float32 where int8 is asked for.
    """
    if options.precision == "int8":
        _check_quantised(path, where)
    if options.provider == OPENVINO:
        try:
            session: Any = OpenVinoSession(path, options.precision, options.threads)
        except RuntimeError as error:
            raise _not_loaded(error, path, where) from error
    else:
        session = _onnx_runtime(path, options, where)
    inputs = session.get_inputs()
    usual = all(i.type == "tensor(float)" and not (i.shape and isinstance(i.shape[0], int)) for i in inputs)
    return session if usual else _FittedSession(session)


def _onnx_runtime(path: AnyPath, options: EngineOptions, where: str) -> Any:
    provider = PROVIDERS[options.provider]
    available = ort.get_available_providers()
    if provider not in available:
        raise _provider_missing(options.provider, available)
    if options.precision == "bfloat16":
        what, mend = "ONNX Runtime does not compute in the precision asked for", "Use float32, or `provider: openvino`."
        raise ProviderError(what, where="inference.precision", found=options.precision, mend=mend)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 3
    # Arenas keep the peak of every shape they have seen; batches here have one shape, so nothing is lost.
    settings.enable_cpu_mem_arena = False
    try:
        model: Any = _half_precision(path) if options.precision == "float16" else os.fspath(path)
        session = ort.InferenceSession(model, settings, providers=[provider], disabled_optimizers=_UNSOUND)
    except Exception as error:  # ONNX Runtime raises a different private class for every kind of failure
        raise _not_loaded(error, path, where) from error
    if session.get_providers()[0] != provider:
        raise _provider_missing(options.provider, session.get_providers())
    return session


class _FittedSession:
    """A session whose inputs are of another type than float32 or of a fixed batch: they are cast, and fed so.

    A last batch that is too small is filled up with its last row; answers come as float32, a row per row given.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._types = {i.name: TYPES.get(i.type) for i in session.get_inputs()}
        fixed = [i.shape[0] for i in session.get_inputs() if i.shape and isinstance(i.shape[0], int)]
        self._batch = fixed[0] if fixed else 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Any, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As `InferenceSession.run`."""
        cast = {name: _cast(value, self._types[name]) for name, value in feed.items()}
        rows = len(next(iter(cast.values())))
        step = self._batch or max(rows, 1)
        parts = []
        for start in range(0, max(rows, 1), step):
            chosen = np.minimum(np.arange(start, start + step), rows - 1)
            part = {name: np.ascontiguousarray(value[chosen]) for name, value in cast.items()}
            parts.append([np.asarray(a) for a in self._session.run(names, part)])
        whole = [np.concatenate([np.atleast_1d(p[k]) for p in parts]) for k in range(len(parts[0]))]
        # Rows that only filled up go again; a model that does not answer one per tile keeps what it answers.
        cut = [a[:rows] if len(a) == step * len(parts) else a for a in whole]
        return [a.astype(np.float32) if a.dtype.kind == "f" else a for a in cut]


def _cast(value: np.ndarray, kind: Any) -> np.ndarray:
    if kind is None:
        return value
    return (np.rint(value) if np.issubdtype(kind, np.integer) else value).astype(kind, copy=False)


def _half_precision(path: AnyPath) -> bytes:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(os.fspath(path)), keep_io_types=True)
    return bytes(half.SerializeToString())


def _check_quantised(path: AnyPath, where: str) -> None:
    import onnx

    model = onnx.load(os.fspath(path), load_external_data=False)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        what, mend = "the file is not in int8", "Quantise it, or set `inference.precision: float32`."
        raise ModelError(what, where=where, found="no quantised layer", mend=mend)


def _not_loaded(error: Exception, path: AnyPath, where: str) -> ModelError:
    said = (str(error).splitlines() or [type(error).__name__])[0].replace(os.fspath(path), "the file")
    mend = "Export it again, or correct its path in the configuration."
    if "opset" in said.lower() or "IR version" in said:
        mend = f"Export it for an older opset or IR version, which ONNX Runtime {ort.__version__} knows."
    return ModelError("the file cannot be loaded as an ONNX model", where=where, found=said[:160], mend=mend)


def _provider_missing(asked: str, available: list[str]) -> ProviderError:
    names = {v: k for k, v in PROVIDERS.items()}
    what = "the execution provider asked for is not there"
    found = f"{asked}; here: {', '.join(names.get(p, p) for p in available)}"
    mend = "Install the driver and the `gpu` extra that it needs, or choose a provider that is there."
    return ProviderError(what, where="inference.provider", found=found, mend=mend)
