"""Finished models and weights (kinds `models` and `weights`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torture.corpus import IDENTICAL, REFUSED, Case, Damage, Member, Rng, members
from torture.intact import NAME
from torture.rules import SIDE

N = helper.make_node
FLOAT, HALF, DOUBLE, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8
NUMBERS: dict[str, Any] = {
    "pick": np.float32([[0], [1], [0]]),
    "glass": np.float32([215]),
    "dark": np.float32([112]),
    "slope": np.float32([4]),
    "some": np.float32([0.35]),
    "more": np.float32([0.6]),
    "one": np.float32([1]),
}
ANSWER = N("Concat", ["q", "p"], ["o"], axis=1)


def tone(path: Path, *, kind: int = FLOAT, shape: list[Any] | None = None, channels_last: bool = True, scale: float = 1.0, tail: list[Any] | None = None,
         outputs: dict[str, list[Any]] | None = None, more: dict[str, Any] | None = None, inputs: dict[str, list[Any]] | None = None,
         opset: int = 18, ir: int = 9, name: str = "tiles") -> Path:  # fmt: skip
    """A network whose answer tells glass (0), tissue (0.35) and tumour (0.95) apart by green, so that no swap is lost.

    [n, side, side, 3] in 0..255 to `o` [n, 2]; `tail` makes other answers of `p`, the tumour's, and `q` [n, 1].
    """
    axes = np.array([1, 2] if channels_last else [2, 3])
    nodes = [
        N("Cast", [name], ["single"], to=FLOAT),
        N("Div", ["single", "unit"], ["bright"]),
        N("ReduceMean", ["bright", "axes"], ["colour"], keepdims=0),
        N("MatMul", ["colour", "pick"], ["g"]),
    ]
    for part, limit, weight in (("a", "glass", "some"), ("b", "dark", "more")):
        nodes += [
            N("Sub", [limit, "g"], [f"{part}1"]),
            N("Div", [f"{part}1", "slope"], [f"{part}2"]),
            N("Sigmoid", [f"{part}2"], [f"{part}3"]),
            N("Mul", [f"{part}3", weight], [part]),
        ]
    nodes += [N("Add", ["a", "b"], ["p"]), N("Sub", ["one", "p"], ["q"]), *(tail or [ANSWER])]
    shape = shape or (["n", SIDE, SIDE, 3] if channels_last else ["n", 3, SIDE, SIDE])
    taken = {name: (kind, shape), **{other: (FLOAT, s) for other, s in (inputs or {}).items()}}
    numbers = {**NUMBERS, "axes": axes, "unit": np.float32([scale]), **(more or {})}
    graph = helper.make_graph(
        nodes,
        "tone",
        [helper.make_tensor_value_info(n, k, s) for n, (k, s) in taken.items()],
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in (outputs or {"o": [shape[0], 2]}).items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path


def model(
    settings: dict[str, Any] | None = None, then: Callable[[Path], Any] = lambda path: None, **options: Any
) -> Damage:
    """A file of one of the forms of `tone`, changed afterwards by `then`, with settings in the configuration."""

    def make(folder: Path, case: Case, rng: Rng) -> tuple[Case, Path, dict[str, Any]]:
        path = tone(folder / f"{NAME}.onnx", **options)
        then(path)
        return case, path, settings or {}

    return make


def edited(change: Callable[[onnx.ModelProto], Any]) -> Callable[[Path], None]:
    def then(path: Path) -> None:
        held = onnx.load(path)
        change(held)
        onnx.save(held, path)

    return then


def beside(name: str, then: Callable[[Path], Any] = lambda weights: None) -> Callable[[Path], None]:
    def move(path: Path) -> None:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location=name, size_threshold=0)
        then(path.with_name(name))

    return move


def located(place: str, offset: str = "0", length: str = "12") -> Callable[[Path], None]:
    """Weights that are said to lie elsewhere."""

    def change(held: onnx.ModelProto) -> None:
        tensor = held.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=value)

    def then(path: Path) -> None:
        held = onnx.load(path)
        change(held)
        path.write_bytes(held.SerializeToString())

    return then


LOGITS = [ANSWER, N("Log", ["o"], ["l"])]
HUGE = [
    N("ConstantOfShape", ["huge"], ["z"]),
    N("ReduceSum", ["z"], ["s"], keepdims=0),
    N("Add", ["p", "s"], ["p2"]),
    N("Concat", ["q", "p2"], ["o"], axis=1),
]


def _loop() -> list[Any]:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [N("Identity", ["go"], ["go_on"]), N("Identity", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x", FLOAT, ["n", 2])],
        [value("go_on", TensorProto.BOOL, []), value("y", FLOAT, ["n", 2])],
    )
    return [N("Concat", ["q", "p"], ["c"], axis=1), N("Loop", ["", "always", "c"], ["o"], body=body)]


FIRST = {"channels_last": False}
EITHER = frozenset({"refused", "identical"})
NO_SUM = "a number changed in a file without check sums"
MODELS: dict[str, Any] = {
    "intact": (model(), {"allowed": IDENTICAL}),
    "batch-1": model(shape=[1, SIDE, SIDE, 3]),
    "batch-32": model(shape=[32, SIDE, SIDE, 3]),
    "batch-7": model(shape=[7, SIDE, SIDE, 3]),
    "half": model(kind=HALF),
    "double": model(kind=DOUBLE),
    "bytes": model(kind=BYTE),
    "bytes-scaled": (model({"scale": 1 / 255}, kind=BYTE), {"allowed": REFUSED}),
    "scaled": (model({"scale": 1 / 255}, scale=1 / 255), {"allowed": IDENTICAL}),
    "scale-not-said": (model(scale=1 / 255), {"allowed": REFUSED}),
    "scale-said-twice": (model({"scale": 1 / 255}), {"allowed": REFUSED}),
    "channels-first": (model(FIRST, channels_last=False), {"allowed": IDENTICAL}),
    "channels-first-not-said": (model(channels_last=False), {"allowed": REFUSED}),
    "channels-first-all-open": (model(channels_last=False, shape=["n", "c", "h", "w"]), {"allowed": REFUSED}),
    "channels-last-said-first": (model(FIRST), {"allowed": REFUSED}),
    "logits": (model(tail=LOGITS, outputs={"l": ["n", 2]}), {"allowed": REFUSED}),
    "logits-said": (model({"activation": "softmax"}, tail=LOGITS, outputs={"l": ["n", 2]}), {"allowed": IDENTICAL}),
    "logits-small": (model(tail=[ANSWER, N("Mul", ["o", "tenth"], ["l"])], outputs={"l": ["n", 2]}, more={"tenth": np.float32([0.1])}), {"allowed": REFUSED}),
    "softmax-twice": (model({"activation": "softmax"}), {"allowed": REFUSED}),
    "percent": (model(tail=[ANSWER, N("Mul", ["o", "c"], ["l"])], outputs={"l": ["n", 2]}, more={"c": np.float32([100])}), {"allowed": REFUSED}),
    "tumour-first-said": (model({"tumour_index": 0}, tail=[N("Concat", ["p", "q"], ["o"], axis=1)]), {"allowed": IDENTICAL}),
    "tumour-first-not-said": (model(tail=[N("Concat", ["p", "q"], ["o"], axis=1)]), {"allowed": frozenset(), "undetectable": "which of two classes is tumour is no property of a file; a picture of tiles shows a person"}),
    "three-classes": (model(tail=[N("Mul", ["q", "h"], ["r"]), N("Concat", ["r", "p", "r"], ["o"], axis=1)], outputs={"o": ["n", 3]}, more={"h": np.float32([0.5])}), {"allowed": REFUSED}),
    "index-too-large": (model({"tumour_index": 2}), {"allowed": REFUSED}),
    "features-first": model(tail=[N("Identity", ["colour"], ["e"]), ANSWER], outputs={"e": ["n", 3], "o": ["n", 2]}),
    "two-heads": (model(tail=[ANSWER, N("Concat", ["p", "q"], ["o2"], axis=1)], outputs={"o2": ["n", 2], "o": ["n", 2]}), {"allowed": REFUSED}),
    "two-inputs": (model(inputs={"age": ["n", 1]}, tail=[N("Mul", ["age", "zero"], ["n0"]), N("Add", ["p", "n0"], ["p2"]), N("Concat", ["q", "p2"], ["o"], axis=1)], more={"zero": np.float32([0])}), {"allowed": REFUSED}),
    "one-row": (model(tail=[ANSWER, N("ReduceMean", ["o", "first"], ["m"], keepdims=1)], outputs={"m": [1, 2]}, more={"first": np.array([0])}), {"allowed": REFUSED}),
    "rows-look-at-each-other": (model(tail=[N("ReduceMean", ["p", "first"], ["m"], keepdims=1), N("Div", ["p", "m"], ["d"]), N("Sigmoid", ["d"], ["p2"]), N("Sub", ["one", "p2"], ["q2"]), N("Concat", ["q2", "p2"], ["o"], axis=1)], more={"first": np.array([0])}), {"allowed": REFUSED}),
    "by-chance": (model(tail=[N("RandomNormalLike", ["p"], ["r"]), N("Sigmoid", ["r"], ["p2"]), N("Sub", ["one", "p2"], ["q2"]), N("Concat", ["q2", "p2"], ["o"], axis=1)]), {"allowed": REFUSED}),
    "deaf": (model(more={"pick": np.float32([[0], [0], [0]])}), {"allowed": REFUSED}),
    "nan": (model(more={"dark": np.float32([np.nan])}), {"allowed": REFUSED}),
    "infinite": (model(more={"some": np.float32([np.inf])}), {"allowed": REFUSED}),
    "another-size": (model(shape=["n", 48, 48, 3]), {"allowed": REFUSED}),
    "grey": (model(shape=["n", SIDE, SIDE, 1], more={"pick": np.float32([[1]])}), {"allowed": REFUSED}),
    "five-axes": (model(shape=["n", 1, SIDE, SIDE, 3]), {"allowed": REFUSED}),
    "opset-to-come": (model(opset=99), {"allowed": REFUSED}),
    "ir-to-come": (model(ir=99), {"allowed": REFUSED}),
    "loop-without-end": (model(tail=_loop(), more={"always": np.array(True)}), {"allowed": REFUSED}),
    "memory-without-end": (model(tail=HUGE, more={"huge": np.array([1 << 20, 1 << 20])}), {"allowed": REFUSED}),
    "memory-of-2^62": (model(tail=HUGE, more={"huge": np.array([1 << 62])}), {"allowed": REFUSED}),
    "weights-beside": (model(then=beside("net.onnx.data")), {"allowed": IDENTICAL}),
    "weights-beside-gone": (model(then=beside("net.onnx.data", lambda w: w.unlink())), {"allowed": REFUSED}),
    "weights-beside-cut": (model(then=beside("w.bin", lambda w: w.write_bytes(w.read_bytes()[:10]))), {"allowed": REFUSED}),
    "weights-above": (model(then=located("../../secret")), {"allowed": REFUSED}),
    "weights-in-passwd": (model(then=located("/etc/passwd")), {"allowed": REFUSED}),
    "weights-in-zero": (model(then=located("/dev/zero", length=str(2**40))), {"allowed": REFUSED}),
    "weights-negative": (model(then=located("net.onnx", offset="-12")), {"allowed": REFUSED}),
    "custom-operator": (model(then=edited(lambda m: setattr(m.graph.node[1], "domain", "ai.stranger"))), {"allowed": REFUSED}),
    "names-of-patients": (model(then=edited(lambda m: (setattr(m, "producer_name", NAME), setattr(m.graph, "name", NAME), setattr(m, "doc_string", NAME)))), {"allowed": IDENTICAL}),
    "input-with-an-escape": model(name="\x1b[2Jtiles\n"),
    "lying-dimensions": (model(then=edited(lambda m: m.graph.initializer[0].dims.append(10**9))), {"allowed": REFUSED}),
    "empty": (model(then=lambda p: p.write_bytes(b"")), {"allowed": REFUSED}),
    "text": (model(then=lambda p: p.write_bytes(NAME.encode())), {"allowed": REFUSED}),
    "noise": (model(then=lambda p: p.write_bytes(np.random.default_rng(1).bytes(5000))), {"allowed": REFUSED}),
    **{f"cut-at-{s}": (model(then=lambda p, s=s: p.write_bytes(p.read_bytes()[: p.stat().st_size * s // 100])), {"allowed": REFUSED}) for s in (20, 50, 80, 99)},
}  # fmt: skip


# Weights


def network() -> Any:
    """A small network with every kind of layer that holds weights."""
    import keras

    keras.utils.set_random_seed(5)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x), name="tiny")


def weights(change: Callable[[Any], Any]) -> Damage:
    """Intact weights whose file, opened by h5py, is changed."""

    def make(folder: Path, case: None, rng: Rng) -> Path:
        import h5py

        path = folder / "net.weights.h5"
        network().save_weights(path)
        with h5py.File(path, "r+") as opened:
            change(opened)
        return path

    return make


def bytes_of(change: Callable[[bytes, Rng], bytes]) -> Damage:
    def make(folder: Path, case: None, rng: Rng) -> Path:
        path = weights(lambda opened: None)(folder, case, rng)  # type: ignore[arg-type]
        path.write_bytes(change(path.read_bytes(), rng))
        return path

    return make


def _first(opened: Any) -> Any:
    """The first layer's group and the name of its kernel."""
    return opened["layers"]["conv2d"]["vars"]


def again(value: Callable[[np.ndarray], Any], **options: Any) -> Callable[[Any], None]:
    """Store the first kernel anew, as something else."""

    def change(opened: Any) -> None:
        group = _first(opened)
        held = np.asarray(group["0"])
        del group["0"]
        group.create_dataset("0", data=value(held), **options)

    return change


def _flip(count: int, start: float, end: float) -> Callable[[bytes, Rng], bytes]:
    def change(data: bytes, rng: Rng) -> bytes:
        held = bytearray(data)
        for place in rng.integers(int(start * len(held)), int(end * len(held)), count):
            held[place] ^= 1 << int(rng.integers(8))
        return bytes(held)

    return change


def _nested(opened: Any) -> None:
    group = opened
    for _ in range(3000):
        group = group.create_group("g")


def _linked(target: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(opened: Any) -> None:
        group = _first(opened)
        del group["0"]
        group["0"] = target(opened)

    return change


def _external(opened: Any) -> None:
    group, held = _first(opened), np.asarray(_first(opened)["0"])
    del group["0"]
    group.create_dataset("0", held.shape, held.dtype, external=[("/dev/zero", 0, held.nbytes)])


def _virtual(opened: Any) -> None:
    import h5py

    group, held = _first(opened), np.asarray(_first(opened)["0"])
    del group["0"]
    layout = h5py.VirtualLayout(held.shape, held.dtype)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", held.shape)
    group.create_virtual_dataset("0", layout)


def _h5() -> Any:
    import h5py

    return h5py


WEIGHTS: dict[str, Any] = {
    "intact": (weights(lambda h: None), {"allowed": IDENTICAL}),
    **{f"cut-at-{s}": bytes_of(lambda data, rng, s=s: data[: len(data) * s // 100]) for s in (0, 5, 30, 60, 90, 99)},
    **{f"flipped-head-{n}": (bytes_of(_flip(n, 0, 0.3)), {"allowed": EITHER, "undetectable": NO_SUM}) for n in (1, 2, 4, 8, 16)},
    "noise": bytes_of(lambda data, rng: rng.bytes(len(data))),
    "zeroes": bytes_of(lambda data, rng: bytes(len(data))),
    "text": bytes_of(lambda data, rng: b"weights"),
    "pickle": bytes_of(lambda data, rng: b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."),
    "zip": bytes_of(lambda data, rng: b"PK\x05\x06" + bytes(18)),
    "nan": weights(again(lambda k: k * np.nan)),
    "infinite": weights(again(lambda k: k + np.inf)),
    "one-nan": weights(again(lambda k: np.where(np.arange(k.size).reshape(k.shape) == 7, np.nan, k))),
    "other-shape": weights(again(lambda k: k[..., :2])),
    "transposed": weights(again(lambda k: k.T)),
    "flat": weights(again(np.ravel)),
    "scalar": weights(again(lambda k: np.float32(1))),
    "texts": weights(again(lambda k: np.full(k.shape, b"a"))),
    "complex": (weights(again(lambda k: k.astype(complex))), {"allowed": EITHER}),
    "half": (weights(again(lambda k: k.astype(np.float16))), {"allowed": EITHER}),
    "double": (weights(again(lambda k: k.astype(np.float64))), {"allowed": EITHER}),
    "whole-numbers": (weights(again(lambda k: (k * 100).astype(np.int32))), {"undetectable": "weights may be whole numbers, and what they were is not written anywhere"}),
    "halved": (weights(again(lambda k: k / 2)), {"undetectable": "weights are numbers, and nothing else in the file says which"}),
    "compressed": (weights(again(lambda k: k, compression="gzip")), {"allowed": EITHER}),
    "missing": weights(lambda h: h["layers"]["conv2d"]["vars"].__delitem__("0")),
    "layer-missing": weights(lambda h: h["layers"].__delitem__("dense")),
    "all-missing": weights(lambda h: h.__delitem__("layers")),
    "one-more": weights(lambda h: h["layers"]["conv2d"]["vars"].create_dataset("9", data=np.zeros(3))),
    "layer-more": weights(lambda h: h["layers"].create_group("dense_9/vars").create_dataset("0", data=np.zeros(3))),
    "groups-nested": weights(_nested),
    "link-to-itself": weights(_linked(lambda h: _h5().SoftLink("/layers/conv2d/vars/0"))),
    "link-to-a-group": weights(_linked(lambda h: _h5().SoftLink("/layers"))),
    "link-to-another-file": weights(_linked(lambda h: _h5().ExternalLink("/etc/passwd", "/x"))),
    "data-in-another-file": weights(_external),
    "virtual": weights(_virtual),
    "claims-2^40": weights(lambda h: (_first(h).__delitem__("0"), _first(h).create_dataset("0", (2**20, 2**20), "f4", chunks=(1024, 1024)))),
    "claims-a-bomb": weights(lambda h: h["layers"].create_dataset("bomb", (2**15, 2**15), "f4", chunks=(2048, 2048), compression="gzip", fillvalue=1)),
    "names-with-escapes": weights(lambda h: h["layers"].create_group("\x1b[2J\n\u202e").create_dataset("0", data=np.zeros(3))),
    "a-patients-layer": weights(lambda h: h["layers"].create_group(NAME).create_dataset("0", data=np.zeros(3))),
    "group-for-an-array": weights(lambda h: (_first(h).__delitem__("0"), _first(h).create_group("0"))),
    "array-for-a-group": weights(lambda h: (h["layers"].__delitem__("conv2d"), h["layers"].create_dataset("conv2d", data=np.zeros(3)))),
    "many-names": weights(lambda h: [h.create_group(f"g{i}") for i in range(60_000)]),
    "legacy-file": weights(lambda h: (h.__delitem__("layers"), h.create_group("model_weights/conv2d/conv2d").create_dataset("kernel:0", data=np.zeros(3)))),
}  # fmt: skip


def members_of_nets() -> Iterator[Member]:
    yield from members("models", "generic", MODELS, runner="model", allowed=EITHER)
    yield from members("weights", "keras", WEIGHTS, runner="weights", allowed=REFUSED)
