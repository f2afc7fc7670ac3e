"""OpenVINO behind the interface of an ONNX Runtime session: the same files, inputs and outputs.

OpenVINO computes in half precision by itself on a processor that can, and takes another precision where it has none.
Neither happens here: what is asked for is what is used, or it is an error.
"""

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from drunet.errors import ProviderError
from drunet.files import AnyPath

INSTALL = "pip install 'openvino>=2026.2,<2027' 'nncf>=3.4,<4'"
# By `inference.precision`: OpenVINO's name of what it computes with, and the ability of the processor that it needs. A
# network of int8 brings its whole numbers with it; what is left as it was is computed in float32.
_PRECISIONS = {
    "float32": ("f32", "FP32"),
    "float16": ("f16", "FP16"),
    "bfloat16": ("bf16", "BF16"),
    "int8": ("f32", "INT8"),
}
_KINDS = {"FLOAT": "float", "FLOAT16": "float16", "DOUBLE": "double", "UINT8": "uint8", "INT32": "int32"}


class Entry(NamedTuple):
    """An input or output: `shape` has a number, a name or None per axis, `type` is what ONNX Runtime calls it."""

    name: str
    shape: list[int | str | None]
    type: str


class OpenVinoSession:
    """An ONNX file that OpenVINO runs on the processor, in a precision and threads as `EngineOptions` has them.

    Raises ProviderError if the package is not installed or the processor lacks the precision, RuntimeError if OpenVINO
    cannot load the file.
    """

    def __init__(self, path: AnyPath, precision: str, threads: int = 0) -> None:
        core = _core()
        asked, ability = _PRECISIONS[precision]
        abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if ability not in abilities:
            raise _lacking(precision, abilities)
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": asked}
        if threads:
            hints["INFERENCE_NUM_THREADS"] = str(threads)
        self._network = core.compile_model(core.read_model(os.fspath(path)), "CPU", hints)
        used = self._network.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != asked:
            raise _lacking(precision, [used])
        self._request = self._network.create_infer_request()
        self._inputs, self._outputs, self._metadata = _described(path)

    def get_inputs(self) -> list[Entry]:
        """As `InferenceSession.get_inputs`."""
        return self._inputs

    def get_outputs(self) -> list[Entry]:
        """As `InferenceSession.get_outputs`."""
        return self._outputs

    def get_modelmeta(self) -> SimpleNamespace:
        """As `InferenceSession.get_modelmeta`, of which it has `custom_metadata_map`."""
        return SimpleNamespace(custom_metadata_map=self._metadata)

    def run(self, names: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As `InferenceSession.run`."""
        answers = self._request.infer(dict(feed))
        known = [output.name for output in self._outputs]
        return [np.asarray(answers[known.index(name)]) for name in names or known]


def _core() -> Any:
    try:
        import openvino
    except ImportError:
        what, mend = "the execution provider asked for is not there", f"Install it: {INSTALL}"
        found = "openvino; here: the package openvino is not installed"
        raise ProviderError(what, where="inference.provider", found=found, mend=f"{mend}. Or choose another.") from None
    return openvino.Core()


def _lacking(precision: str, there: Sequence[str]) -> ProviderError:
    what = "this processor does not compute in the precision asked for"
    found = f"{precision}; it has {', '.join(there)}"
    return ProviderError(what, where="inference.precision", found=found, mend="Use float32, or another machine.")


def _described(path: AnyPath) -> tuple[list[Entry], list[Entry], dict[str, str]]:
    """Inputs, outputs and metadata by the file itself: OpenVINO keeps no names of axes, and has several per output."""
    import onnx

    model = onnx.load(os.fspath(path), load_external_data=False)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [_entry(value) for value in model.graph.input if value.name not in stored]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return inputs, [_entry(value) for value in model.graph.output], metadata


def _entry(value: Any) -> Entry:
    import onnx

    tensor = value.type.tensor_type
    axes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    return Entry(value.name, axes, f"tensor({_KINDS.get(kind, kind.lower())})")
