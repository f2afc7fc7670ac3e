from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from drunet.errors import ModelError
from drunet.export import onnx_model
from drunet.export.onnx_model import write_onnx
from drunet.inference import EngineOptions, Layout
from drunet.models import registry
from studies.common.cost import arithmetic, cost_table, seconds_in_turn

FLOAT = onnx.TensorProto.FLOAT


def graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[Any],
    weights: dict[str, tuple[int, ...]],
    outputs: tuple[str, ...] = ("y",),
) -> Path:
    """An ONNX file with one input `x` and random weights."""
    rng = np.random.default_rng(0)
    held = [numpy_helper.from_array(rng.random(s, np.float32), name) for name, s in weights.items()]
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    whole = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", FLOAT, shape)], results, held)
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def classifier(path: Path, classes: int = 2, channels_last: bool = True, side: int = 8) -> Path:
    """A classifier: mean over the picture, a dense layer and a softmax."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2] if channels_last else [2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["d"]),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    return graph(path, nodes, ["n", side, side, 3] if channels_last else ["n", 3, side, side], {"w": (3, classes)})


@pytest.mark.parametrize(
    ("node", "shape", "weights", "macs"),
    [
        # 3 -> 8 channels, 3x3, stride 2 over 10x10 padded: 5x5 outputs of 27 products each.
        (
            helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
            ["n", 3, 10, 10],
            {"w": (8, 3, 3, 3)},
            5 * 5 * 8 * 27,
        ),
        # Depthwise: every output channel sees one input channel.
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=6),
            ["n", 6, 9, 9],
            {"w": (6, 1, 3, 3)},
            7 * 7 * 6 * 9,
        ),
        # Two groups of 2 -> 3 channels; no padding, dilated by 2: 9 - 4 = 5 rows.
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=2, dilations=[2, 2]),
            ["n", 4, 9, 9],
            {"w": (6, 2, 3, 3)},
            5 * 5 * 6 * 2 * 9,
        ),
        # Each of 4x4x5 inputs is spread over 2x2x7.
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            ["n", 5, 4, 4],
            {"w": (5, 7, 2, 2)},
            4 * 4 * 5 * 2 * 2 * 7,
        ),
        (helper.make_node("Gemm", ["x", "w", "b"], ["y"]), ["n", 11], {"w": (11, 4), "b": (4,)}, 44),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), ["n", 11], {"w": (4, 11)}, 44),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), ["n", 6, 11], {"w": (11, 4)}, 6 * 44),
        (helper.make_node("Relu", ["x"], ["y"]), ["n", 6, 11], {}, 0),
    ],
)
def test_operations_are_those_counted_by_hand(
    tmp_path: Path, node: onnx.NodeProto, shape: list[Any], weights: dict[str, tuple[int, ...]], macs: int
) -> None:
    counted = arithmetic(graph(tmp_path / "m.onnx", [node], shape, weights))
    assert counted.flops == 2 * macs
    assert counted.weights == sum(int(np.prod(s)) for s in weights.values())


def test_a_transposed_first_matrix_shares_its_first_dimension(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)
    # One sample: (1, 11) transposed is (11, 1), times (1, 4).
    assert arithmetic(graph(tmp_path / "m.onnx", [node], ["n", 11], {"w": (1, 4)})).flops == 2 * 44


def test_integers_are_no_weights(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    path = graph(tmp_path / "m.onnx", [node], ["n", 6], {})
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 2, 3]), "s"))
    onnx.save(model, path)
    assert arithmetic(path).weights == 0


def test_an_open_size_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="first")
    path = graph(tmp_path / "m.onnx", [node], ["n", 3, "h", "w"], {"w": (8, 3, 3, 3)})
    with pytest.raises(ModelError, match=r"input x: .*open.*fixed height"):
        arithmetic(path)


@pytest.mark.slow
def test_mobilenetv2_costs_what_its_authors_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sandler et al. 2018, Table 4: 300 million multiply-adds at 224 px, with a last layer of 1280 x 1000."""
    monkeypatch.setattr(onnx_model, "_CANDIDATES", 4)  # for time
    model = registry.build("backbone", size=224, backbone="mobilenetv2")
    written = write_onnx(model, tmp_path / "m.onnx", opset=17, scales={"input_image": 1 / 255}, facts={}, seed=1)
    counted = arithmetic(tmp_path / "m.onnx")
    head = 1280 * 512 + 512 * 2
    assert (counted.flops / 2 - head + 1280 * 1000) / 1e6 == pytest.approx(300, abs=1.5)
    # Batch normalisations are folded into the convolutions before them.
    assert 0.95 * written["parameters"] < counted.weights < written["parameters"]


def test_every_model_is_timed_on_the_same_tiles(tmp_path: Path) -> None:
    models = {"a": classifier(tmp_path / "a.onnx"), "b": classifier(tmp_path / "b.onnx", channels_last=False)}
    options = EngineOptions(batch_size=3, threads=1)
    layouts = {"b": Layout(channels_last=False, scale=1 / 255)}
    seconds = seconds_in_turn(models, dict.fromkeys(models, 8), options, repeats=4, layouts=layouts)
    assert list(seconds) == ["a", "b"] and [len(turns) for turns in seconds.values()] == [4, 4]
    counted = {name: arithmetic(path) for name, path in models.items()}
    cost = cost_table(dict.fromkeys(models), counted, seconds, options)
    assert ((cost["fastest"] > 0) & cost["ms_per_tile"].between(cost["fastest"], cost["slowest"])).all()
    assert cost[["batch_size", "repeats", "threads", "provider"]].iloc[1].tolist() == [3, 4, 1, "cpu"]
    assert cost.columns[-1] == "provider"


def test_a_model_for_other_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not take the tiles"):
        seconds_in_turn({"a": classifier(tmp_path / "a.onnx")}, {"a": 16}, EngineOptions(threads=1), repeats=1)


def test_models_of_several_sizes_are_each_timed_at_their_own(tmp_path: Path) -> None:
    models = {"a": classifier(tmp_path / "a.onnx"), "b": classifier(tmp_path / "b.onnx", side=16)}
    options = EngineOptions(batch_size=2, threads=1)
    assert list(seconds_in_turn(models, {"a": 8, "b": 16}, options, repeats=1)) == ["a", "b"]
    with pytest.raises(ModelError, match="b: the model does not take the tiles"):
        seconds_in_turn(models, {"a": 8, "b": 8}, options, repeats=1)
