"""OpenVINO answers as ONNX Runtime does, in the precision asked for, or says what is missing."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_onnx import SIZE, by_hand, colour_model

from drunet.errors import ConfigError, ModelError, ProviderError
from drunet.inference import EngineOptions, open_session
from drunet.settings.inference import InferenceSettings

ENGINE = {"provider": "openvino", "precision": "float32", "batch_size": 4, "readers": 1, "max_unreadable": 0.0}
TILES = np.random.default_rng(3).integers(0, 256, (7, SIZE, SIZE, 3)).astype(np.float32)


def test_without_the_package_one_message_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def blocked(name: str, *rest: Any, **more: Any) -> Any:
        if name == "openvino":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ProviderError, match=r"asked for is not there \(found: openvino; here: .*\)\. Install it: pip"):
        open_session(colour_model(tmp_path / "m.onnx"), EngineOptions("openvino"), where="m")


@pytest.mark.parametrize(("provider", "precision"), [("cpu", "bfloat16"), ("cuda", "int8"), ("tensorrt", "bfloat16")])
def test_a_precision_that_the_provider_lacks_is_refused_before_a_run(provider: str, precision: str) -> None:
    with pytest.raises(ConfigError, match=f"does not compute in this precision.*{precision} on {provider}"):
        InferenceSettings.of({**ENGINE, "provider": provider, "precision": precision}, "inference")


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_file_in_float32_is_not_taken_for_int8(tmp_path: Path, provider: str) -> None:
    with pytest.raises(ModelError, match="m: the file is not in int8"):
        open_session(colour_model(tmp_path / "m.onnx"), EngineOptions(provider, "int8"), where="m")


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


def test_it_answers_as_worked_out_by_hand_whatever_the_batch(tmp_path: Path, openvino: Any) -> None:
    session = open_session(colour_model(tmp_path / "m.onnx"), EngineOptions("openvino", threads=1), where="m")
    plain = open_session(tmp_path / "m.onnx", EngineOptions(threads=1), where="m")
    described = [[(e.name, e.shape, e.type) for e in s.get_inputs() + s.get_outputs()] for s in (session, plain)]
    assert described[0] == described[1]
    for count in (7, 3):
        answer = session.run(None, {"tiles": TILES[:count]})[0]
        np.testing.assert_allclose(answer[:, 1], by_hand(TILES[:count]), atol=1e-5)
    assert answer.flags.owndata or not np.shares_memory(answer, session.run(["probability"], {"tiles": TILES})[0])


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8"])
def test_a_precision_that_the_processor_lacks_is_an_error(
    tmp_path: Path, openvino: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    class Old:
        def get_property(self, *_: str) -> list[str]:
            return ["FP32"]

    monkeypatch.setattr(openvino, "Core", Old)
    monkeypatch.setattr("drunet.session._check_quantised", lambda *_: None)
    with pytest.raises(ProviderError, match=f"inference.precision: .*{precision}; it has FP32"):
        open_session(colour_model(tmp_path / "m.onnx"), EngineOptions("openvino", precision), where="m")


def test_a_file_that_is_no_network_is_refused_by_openvino_too(tmp_path: Path, openvino: Any) -> None:
    (tmp_path / "m.onnx").write_bytes(b"PK not a network")
    with pytest.raises(ModelError, match="my_model: the file cannot be loaded as an ONNX model"):
        open_session(tmp_path / "m.onnx", EngineOptions("openvino"), where="my_model")
