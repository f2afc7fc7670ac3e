"""An encoder and a head as one classifier: an ONNX file that takes tiles and gives [non-tumour, tumour]."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import compose, version_converter

from drunet.errors import ModelError
from drunet.export.standard_form import save
from drunet.export.trial import trial_tiles
from drunet.files import AnyPath, whole_file
from drunet.inference import EngineOptions, Layout, check_classifier, open_session, probabilities
from drunet.refine import IMAGE

# What tf2onnx writes; a head is converted upwards from there, an encoder never.
_OPSETS = 13, 18
_PARITY, _KEPT_PARITY = 1e-4, 1e-2


def head_opset(encoder: int) -> int:
    """The opset to export a head for, by that of its encoder."""
    return min(max(encoder, _OPSETS[0]), _OPSETS[1])


def join(
    encoder: AnyPath, head: AnyPath, target: AnyPath, *, kept: str, metadata: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Write encoder and head as one file, and compare it with the two on tiles made from a seed.

    `kept` is the type in which features are kept, `metadata` goes into the file. Returns JSON values: `opset`,
    `inputs`, `parity` (largest difference from encoder and head one after the other) and `kept_parity` (with features
    kept in between). Raises ModelError if either is too large, or the two cannot be joined.
    """
    first, second = onnx.load(encoder), onnx.load(head)
    opset = next(o.version for o in first.opset_import if o.domain in ("", "ai.onnx"))
    features, size = first.graph.output[0].name, first.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    entry = second.graph.input[0].name
    try:
        if any(o.version != opset for o in second.opset_import if o.domain in ("", "ai.onnx")):
            second = version_converter.convert_version(second, opset)
        first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
        second = compose.add_prefix(second, "head_", rename_inputs=False, rename_outputs=False)
        joined = compose.merge_models(first, second, io_map=[(features, entry)])
    except Exception as error:  # of the converter, the checker or protobuf
        found = f"opset {opset}: {(str(error).splitlines() or [type(error).__name__])[0][:160]}"
        mend = f"Export the encoder for an opset from {_OPSETS[0]} to {_OPSETS[1]}, and smaller than 2 GB."
        raise ModelError("the head cannot be joined to the encoder", where=where, found=found, mend=mend) from error
    # An encoder may fill much of the memory.
    del first
    del joined.metadata_props[:]
    for key, value in metadata.items():
        joined.metadata_props.add(key=key, value=value)
    with whole_file(target) as temporary:
        save(joined, os.fspath(temporary), where)
        del joined
        parity, kept_parity = _parities(encoder, head, temporary, size, kept, where)
        if not (parity <= _PARITY and kept_parity <= _KEPT_PARITY):
            found = f"largest difference {parity:.2g}, with features kept as {kept} {kept_parity:.2g}"
            mend = "Set `kept: float32`, or export the encoder for another opset."
            raise ModelError("encoder and head answer otherwise once joined", where=where, found=found, mend=mend)
    return {"opset": opset, "inputs": {IMAGE: [None, size, size, 3]}, "parity": parity, "kept_parity": kept_parity}


def _parities(
    encoder: AnyPath, head: AnyPath, joined: AnyPath, size: int, kept: str, where: str
) -> tuple[float, float]:
    """Largest differences of a joined model from encoder and head, without and with features kept in between."""
    tiles, options, layout = trial_tiles(size), EngineOptions(), Layout()
    # One after the other, for the same reason.
    session = open_session(joined, options, where=where)
    answer = probabilities(session, check_classifier(session, layout, size, where=where), tiles, layout, where)
    session = open_session(encoder, options, where=where)
    features = session.run(None, {IMAGE: tiles.astype(np.float32)})[0]
    session = open_session(head, options, where=where)
    name = session.get_inputs()[0].name
    through = [f.astype(np.float32) for f in (features, features.astype(kept))]
    parities = [float(np.abs(session.run(None, {name: f})[0][:, layout.tumour] - answer).max()) for f in through]
    return parities[0], parities[1]
