from __future__ import annotations

import keras
import pytest

from drunet.errors import ProviderError
from drunet.training.device import need_gpu


def show(monkeypatch: pytest.MonkeyPatch, gpus: list[str] | Exception) -> None:
    """Let Keras see these GPUs, or fail so, beside one processor."""

    def list_devices(kind: str) -> list[str]:
        if kind == "cpu":
            return ["cpu:0"]
        if isinstance(gpus, Exception):
            raise gpus
        return gpus

    monkeypatch.setattr(keras.distribution, "list_devices", list_devices)


@pytest.mark.parametrize("gpus", [[], RuntimeError("Unknown backend gpu")], ids=["none", "as JAX says it"])
def test_training_is_refused_where_the_gpu_asked_for_is_not_there(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str] | Exception
) -> None:
    show(monkeypatch, gpus)
    with pytest.raises(ProviderError, match=r"inference.provider: a GPU is asked .*on cpu:0\)\. Install .*GPU=1 env"):
        need_gpu(1)
    need_gpu(0)


def test_a_gpu_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, ["gpu:0"])
    need_gpu(1)


def test_keras_itself_is_asked() -> None:
    if keras.distribution.list_devices("gpu"):
        pytest.skip("there is a GPU here")
    with pytest.raises(ProviderError, match=keras.config.backend()):
        need_gpu(1)
