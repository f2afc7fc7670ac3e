"""A classifier in int8: close to what it was on tiles that it was not calibrated with, or refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drunet.errors import ModelError, ProviderError
from drunet.files import sha256
from drunet.inference import EngineOptions, Layout, open_session, probabilities
from drunet.quantisation import quantise
from drunet.settings.inference import QuantisationSettings

SIDE = 16
RNG = np.random.default_rng(5)
# Tiles between pink and purple, and a network that tells them apart.
MIX = RNG.random((96, 1, 1, 1))
TILES = (MIX * (200, 120, 190) + (1 - MIX) * (90, 60, 150) + RNG.normal(0, 8, (96, SIDE, SIDE, 3))).clip(0, 255)
TILES = TILES.astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions, of the picture's mean and of contrasts, and a softmax over a line through them."""
    rng = np.random.default_rng(8)
    numbers = {
        "scale": np.float32([1 / 255]),
        "first": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "dense": rng.normal(0, 1.5, (8, 2)).astype(np.float32),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Mul", ["tiles", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "first"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "second"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("ReduceMean", ["r2", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "dense"], ["logit"]),
        helper.make_node("Softmax", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    path = tmp_path_factory.mktemp("small") / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def quantised(model: Path, target: Path, provider: str, **limits: Any) -> dict[str, Any]:
    settings = QuantisationSettings.of({"tiles": 32, "held": 64, **limits}, "inference.int8")
    options = EngineOptions(provider, threads=1)
    how: dict[str, Any] = {"settings": settings, "options": options, "layout": Layout(), "threshold": 0.5}
    return quantise(model, target, TILES[:32], TILES[32:], **how, where="small")


def answers(path: Path, options: EngineOptions) -> np.ndarray:
    return probabilities(open_session(path, options, where="m"), "tiles", TILES[32:], Layout(), "m")


@pytest.mark.parametrize(("provider", "needs"), [("cpu", "sympy"), ("openvino", "nncf")])
def test_it_stays_close_and_either_engine_runs_the_same_file(
    model: Path, tmp_path: Path, provider: str, needs: str
) -> None:
    pytest.importorskip(needs, reason=f"what quantises with {provider} is not installed")
    report = quantised(model, tmp_path / "int8.onnx", provider)
    truth, found = answers(model, EngineOptions()), answers(tmp_path / "int8.onnx", EngineOptions(provider, "int8"))
    np.testing.assert_allclose(report["mean_difference"], np.abs(truth - found).mean(), atol=1e-4)
    np.testing.assert_allclose(report["sides"], ((truth >= 0.5) != (found >= 0.5)).mean())
    assert 0 < report["mean_difference"] <= 0.02 and report["sha256"] == sha256(tmp_path / "int8.onnx")
    np.testing.assert_allclose(answers(tmp_path / "int8.onnx", EngineOptions("cpu", "int8")), found, atol=0.03)
    weights = [numpy_helper.to_array(w) for w in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    assert {w.shape for w in weights if w.dtype == np.int8 and w.size > 100} == {(8, 3, 3, 3), (8, 8, 3, 3)}


def test_one_that_is_too_far_from_float32_is_refused_and_not_written(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("sympy", reason="what quantises with cpu is not installed")
    with pytest.raises(ModelError, match=r"small: in int8 .* too far .*mean_difference 0\.\d+, at most 0, on 64 tiles"):
        quantised(model, tmp_path / "int8.onnx", "cpu", max_difference=0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("provider", "package", "said"), [("cpu", "sympy", "sympy"), ("openvino", "nncf", "nncf")])
def test_without_what_quantises_one_message_names_the_command(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, package: str, said: str
) -> None:
    real = builtins.__import__

    def blocked(name: str, *rest: Any, **more: Any) -> Any:
        if name in (package, "onnxruntime.quantization") or (name == "onnxruntime" and "quantization" in rest[2]):
            raise ImportError(name, name=package)
        return real(name, *rest, **more)

    if provider == "openvino":
        pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ProviderError, match=f"what quantises is not there .found: .*{said}.*Install it: pip"):
        quantised(model, tmp_path / "int8.onnx", provider)
    assert list(tmp_path.iterdir()) == []
