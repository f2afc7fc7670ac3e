from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_onnx import SIZE, by_hand, colour_model

from drunet import inference
from drunet.errors import ModelError, ProviderError, SlideError
from drunet.inference import Classified, EngineOptions, Layout, classify, open_session
from drunet.slide import Slide
from drunet_demo.pyramid import write_pyramid


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_model(tmp_path_factory.mktemp("model") / "colour.onnx")


@pytest.fixture(scope="module")
def session(model: Path) -> ort.InferenceSession:
    return open_session(model, EngineOptions(threads=1), where="colour")


def painted(x: int, y: int) -> np.ndarray:
    rng = np.random.default_rng([x, y])
    return (rng.integers(0, 256, 3) * rng.random((SIZE, 1, 1)) * np.ones((1, SIZE, 1))).astype(np.uint8)


class Cabinet:
    """Hands out readers that paint a tile by its place, and keeps account of them."""

    def __init__(self, failing: dict[int, Exception] | None = None) -> None:
        self.failing = failing or {}
        self.readers: list[Cabinet.Reader] = []
        self.reads = 0

    def open(self) -> Cabinet.Reader:
        self.readers.append(Cabinet.Reader(self))
        return self.readers[-1]

    class Reader:
        def __init__(self, cabinet: Cabinet) -> None:
            self.cabinet, self.closed, self.failed = cabinet, 0, False

        def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
            assert not self.closed and not self.failed, "a handle was used after an error"
            assert size == (SIZE, SIZE) and mpp == 1.0
            self.cabinet.reads += 1
            if x in self.cabinet.failing:
                self.failed = True
                raise self.cabinet.failing[x]
            return painted(x, y)

        def close(self) -> None:
            self.closed += 1


def torn() -> SlideError:
    return SlideError("torn", status="unreadable", where="s1", mend="Scan again.")


def run(session: Any, open_reader: Callable[[], Any], count: int, **options: Any) -> Classified:
    layout = options.pop("layout", None)
    places = np.arange(count)
    return classify(
        session,
        open_reader,
        places,
        places * 3,
        size=SIZE,
        mpp=1.0,
        options=EngineOptions(threads=1, **options),
        layout=layout,
        where="s1",
    )


def reader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("reader-")]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 30), batch=st.integers(1, 9), readers=st.integers(1, 5))
def test_probabilities_come_in_order_for_any_batch_and_readers(
    session: ort.InferenceSession, count: int, batch: int, readers: int
) -> None:
    cabinet = Cabinet()
    result = run(session, cabinet.open, count, batch_size=batch, readers=readers)
    tiles = np.array([painted(i, 3 * i) for i in range(count)]).reshape(-1, SIZE, SIZE, 3)
    assert result.p_tumour.dtype == np.float32 and result.p_tumour.shape == (count,)
    assert result.unreadable == 0
    if count:
        direct = session.run(None, {"tiles": tiles.astype(np.float32)})[0][:, 1]
        np.testing.assert_allclose(result.p_tumour, direct, atol=1e-6)
        np.testing.assert_allclose(result.p_tumour, by_hand(tiles), atol=1e-5)
    assert all(r.closed == 1 for r in cabinet.readers) and not reader_threads()


def test_tiles_of_a_real_slide_are_those_that_a_plain_loop_reads(session: ort.InferenceSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    image = np.kron(rng.integers(0, 256, (16, 20, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    write_pyramid(tmp_path / "s.tif", image, 0.5)
    x, y = rng.integers(-10, 320, 40), rng.integers(-10, 256, 40)
    result = classify(
        session,
        lambda: Slide(tmp_path / "s.tif", "s1"),
        x,
        y,
        size=SIZE,
        mpp=1.0,
        options=EngineOptions(batch_size=3, readers=3, threads=1),
        where="s1",
    )
    with Slide(tmp_path / "s.tif", "s1") as slide:
        tiles = np.stack([slide.read(int(a), int(b), (SIZE, SIZE), 1.0) for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(result.p_tumour, by_hand(tiles), atol=1e-5)
    assert np.ptp(result.p_tumour) > 0.3


@pytest.mark.parametrize("readers", [1, 3])
def test_an_unreadable_tile_is_nan_and_counted_and_the_slide_is_opened_anew(
    session: ort.InferenceSession, readers: int
) -> None:
    bad = [0, 4, 5, 19]
    cabinet = Cabinet({i: torn() for i in bad})
    result = run(session, cabinet.open, 20, batch_size=4, readers=readers, max_unreadable=0.2)
    assert np.flatnonzero(np.isnan(result.p_tumour)).tolist() == bad
    assert result.unreadable == 4
    good = np.setdiff1d(np.arange(20), bad)
    np.testing.assert_allclose(result.p_tumour[good], by_hand(np.array([painted(i, 3 * i) for i in good])), atol=1e-5)
    assert sum(r.failed for r in cabinet.readers) == 4 and all(r.closed == 1 for r in cabinet.readers)


def test_too_many_unreadable_tiles_fail_the_slide(session: ort.InferenceSession) -> None:
    cabinet = Cabinet({i: torn() for i in range(5)})
    with pytest.raises(
        SlideError, match=r"s1: too many tiles cannot be read \(found: 5 of 20 tiles so far\)"
    ) as caught:
        run(session, cabinet.open, 20, batch_size=4, max_unreadable=0.2)
    assert caught.value.status == "unreadable"


def test_a_broken_slide_is_given_up_early(session: ort.InferenceSession) -> None:
    cabinet = Cabinet({i: torn() for i in range(2000)})
    with pytest.raises(SlideError, match="too many tiles"):
        run(session, cabinet.open, 2000, batch_size=4)
    assert len(cabinet.readers) < 200 and not reader_threads()


def test_an_error_in_a_reader_reaches_the_caller_and_every_thread_ends(session: ort.InferenceSession) -> None:
    cabinet = Cabinet({7: RuntimeError("disk on fire")})
    with pytest.raises(RuntimeError, match="disk on fire"):
        run(session, cabinet.open, 400, batch_size=2, readers=3)
    assert not reader_threads() and all(r.closed == 1 for r in cabinet.readers)
    assert cabinet.reads < 400


def test_a_slide_that_does_not_open_is_told_as_it_is(session: ort.InferenceSession) -> None:
    def refuse() -> Any:
        raise torn()

    with pytest.raises(SlideError, match="torn"):
        run(session, refuse, 10)
    assert not reader_threads()


class Watched:
    """A session that calls `watch` before it answers."""

    def __init__(self, session: ort.InferenceSession, watch: Callable[[], None]) -> None:
        self._session, self._watch = session, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *args: Any) -> Any:
        self._watch()
        return self._session.run(*args)


def test_readers_wait_for_a_slow_network_instead_of_filling_memory(session: ort.InferenceSession) -> None:
    cabinet, ahead = Cabinet(), []

    def until_reading_stands_still() -> None:
        before = -1
        while before != cabinet.reads:
            before = cabinet.reads
            time.sleep(0.02 if ahead else 0.3)
        ahead.append(cabinet.reads - 4 * len(ahead))

    run(Watched(session, until_reading_stands_still), cabinet.open, 120, batch_size=4, readers=2)
    # Per reader two batches in the queue and one in its hands, and the one that the network holds.
    assert max(ahead) <= 4 * (2 * (2 + 1) + 1)
    assert max(ahead) > 4 * 2


def test_a_network_that_fails_leaves_no_thread_behind(session: ort.InferenceSession) -> None:
    def fail() -> None:
        raise MemoryError("no room")

    cabinet = Cabinet()
    with pytest.raises(MemoryError):
        run(Watched(session, fail), cabinet.open, 200, batch_size=2, readers=3)
    assert not reader_threads() and all(r.closed == 1 for r in cabinet.readers)


@pytest.mark.parametrize(
    ("channels_last", "scale", "tumour"), [(False, 1.0, 1), (True, 1 / 255, 0), (False, 1 / 255, 0)]
)
def test_layout_scale_and_class_of_a_foreign_model_are_met(
    tmp_path: Path, channels_last: bool, scale: float, tumour: int
) -> None:
    path = colour_model(tmp_path / "m.onnx", channels_last=channels_last, scale=scale, tumour=tumour)
    session = open_session(path, EngineOptions(threads=1), where="m")
    result = run(session, Cabinet().open, 9, layout=Layout(channels_last, scale, tumour))
    np.testing.assert_allclose(result.p_tumour, by_hand(np.array([painted(i, 3 * i) for i in range(9)])), atol=1e-5)


def test_half_precision_is_close_to_single_but_not_the_same(model: Path, session: ort.InferenceSession) -> None:
    half = open_session(model, EngineOptions(precision="float16", threads=1), where="colour")
    assert half.get_inputs()[0].type == "tensor(float)"
    single, rounded = (run(s, Cabinet().open, 30).p_tumour for s in (session, half))
    np.testing.assert_allclose(rounded, single, atol=5e-3)
    assert (rounded != single).any()


@pytest.mark.parametrize(("last", "bias"), [("Identity", -1.5), ("Softmax", float("nan"))])
def test_outputs_that_are_no_probabilities_are_refused(tmp_path: Path, last: str, bias: float) -> None:
    session = open_session(colour_model(tmp_path / "m.onnx", last=last, bias=bias), EngineOptions(), where="m")
    with pytest.raises(ModelError, match="s1: the model's outputs are no probabilities"):
        run(session, Cabinet().open, 5)
    assert not reader_threads()


@pytest.mark.parametrize(
    ("made", "layout", "message"),
    [
        ({"size": SIZE + 1}, Layout(), "does not take the tiles.*channels_last"),
        ({"channels_last": False}, Layout(), "does not take the tiles"),
        ({}, Layout(channels_last=False), "does not take the tiles"),
        ({}, Layout(tumour=2), "no class probabilities per tile.*tumour at index 2"),
    ],
)
def test_a_model_of_another_shape_is_refused(tmp_path: Path, made: Any, layout: Layout, message: str) -> None:
    session = open_session(colour_model(tmp_path / "m.onnx", **made), EngineOptions(), where="m")
    with pytest.raises(ModelError, match=message):
        run(session, Cabinet().open, 5, layout=layout)


def test_a_model_of_any_size_is_taken(tmp_path: Path) -> None:
    session = open_session(colour_model(tmp_path / "m.onnx", size="side"), EngineOptions(), where="m")
    assert inference.check_classifier(session, Layout(), SIZE, where="m") == "tiles"


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path, precision: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"PK not a network")
    with pytest.raises(ModelError, match="my_model: the file cannot be loaded as an ONNX model"):
        open_session(path, EngineOptions(precision=precision), where="my_model")


def test_a_missing_provider_is_an_error_and_never_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match=r"inference.provider: .*cuda; here: cpu"):
        open_session(model, EngineOptions(provider="cuda"), where="m")


def test_a_session_on_another_provider_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", lambda m, s, **_: real(m, s, providers=["CPUExecutionProvider"]))
    with pytest.raises(ProviderError, match="cuda; here: cpu"):
        open_session(model, EngineOptions(provider="cuda"), where="m")


def test_the_engine_does_not_need_tensorflow() -> None:
    code = "import sys, drunet.inference; print([m for m in ('tensorflow', 'keras', 'torch') if m in sys.modules])"
    scripts = Path(inference.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
