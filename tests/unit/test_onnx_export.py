from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from drunet.errors import ModelError
from drunet.export import onnx_model
from drunet.export.onnx_model import export_trained, write_onnx
from drunet.inference import EngineOptions, Layout, check_classifier, open_session
from drunet.models import registry
from drunet.refine import refine, refiner_size
from drunet.training.checkpoint import save_inference_weights


def classifier(size: int = 12, seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((size, size, 3), name="input_image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.5)(x))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", kernel_initializer="random_normal")(x))


def export(model: keras.Model, path: Path, **options: Any) -> dict[str, Any]:
    scales = {t.name: 1.0 if t.name == "input_pred" else 1 / 255 for t in model.inputs}
    return write_onnx(model, path, **{"opset": 17, "scales": scales, "facts": {"model": "m1"}, "seed": 2, **options})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path, dict[str, Any]]:
    model, path = classifier(), tmp_path_factory.mktemp("onnx") / "model.onnx"
    return model, path, export(model, path)


def test_the_graph_normalises_by_itself(exported: tuple[keras.Model, Path, Any]) -> None:
    model, path, _ = exported
    tiles = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), np.uint8)
    answer = ort.InferenceSession(path).run(None, {"input_image": tiles.astype(np.float32)})[0]
    expected = np.asarray(model(tiles.astype(np.float32) / 255, training=False))
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert not np.allclose(answer, np.asarray(model(tiles.astype(np.float32), training=False)), atol=1e-2)


def test_the_batch_is_free_and_the_names_are_those_of_the_model(exported: tuple[keras.Model, Path, Any]) -> None:
    _, path, facts = exported
    session = open_session(path, EngineOptions(threads=1), where="m1")
    assert check_classifier(session, Layout(), 12, where="m1") == "input_image"
    assert [o.name for o in session.get_outputs()] == ["probability"]
    assert not isinstance(session.get_inputs()[0].shape[0], int)
    for count in (1, 2, 7):
        assert session.run(None, {"input_image": np.zeros((count, 12, 12, 3), np.float32)})[0].shape == (count, 2)
    assert facts["inputs"] == {"input_image": [None, 12, 12, 3]}


def test_parity_and_what_the_file_is_are_recorded(exported: tuple[keras.Model, Path, Any]) -> None:
    model, path, facts = exported
    assert 0 <= facts["parity"] <= 1e-4
    assert facts["parameters"] == model.count_params() and facts["opset"] == 17
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert {p.key: p.value for p in proto.metadata_props}["model"] == "m1"
    assert next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")) == 17


def test_parity_is_the_largest_difference_over_a_single_tile_and_several(
    exported: tuple[keras.Model, Path, Any],
) -> None:
    _, path, _ = exported
    parity = onnx_model._parity(classifier(seed=9), onnx.load(path), ["input_image"], {"input_image": 1 / 255}, 2)
    assert parity > onnx_model.PARITY_LIMIT


@pytest.mark.parametrize("difference", [1.1e-4, float("nan")])
def test_a_model_that_answers_otherwise_is_refused_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: float
) -> None:
    monkeypatch.setattr(onnx_model, "_parity", lambda *_: difference)
    with pytest.raises(ModelError, match=r"does not answer like the Keras model.*allowed 0\.0001"):
        export(classifier(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_that_answers_nan_is_refused(tmp_path: Path) -> None:
    model = classifier()
    weights = model.get_weights()
    weights[-1][:] = np.nan
    model.set_weights(weights)
    with pytest.raises(ModelError, match="found: largest difference nan"):
        export(model, tmp_path / "model.onnx")


def build_two_inputs(size: int, seed: int, batch_norm_momentum: float | None = None) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image, heat = keras.Input((size, size, 3), name="input_image"), keras.Input((size, size, 1), name="input_pred")
    x = keras.layers.Concatenate()([image, heat])
    x = keras.layers.Conv2D(2, 3, padding="same", activation="softmax")(x)
    return keras.Model([image, heat], x, name="two_inputs")


def test_a_trained_refiner_is_exported_with_both_inputs_and_its_trained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "two_inputs", f"{__name__}:build_two_inputs")
    trained = build_two_inputs(8, seed=77)
    save_inference_weights(trained, tmp_path / "model.weights.h5")
    settings = {
        "architecture": "two_inputs",
        "classifier": "c1",
        "options": {"size": 8},
        "batch_norm_momentum": None,
        "weights": "random",
    }
    facts = {"settings": settings, "architecture": "two_inputs", "size": 8, "seed": 1}
    path = tmp_path / "model.onnx"
    recorded = export_trained(facts, tmp_path / "model.weights.h5", path, opset=17, name="r1")
    assert recorded["inputs"] == {"input_image": [None, 8, 8, 3], "input_pred": [None, 8, 8, 1]}
    session = open_session(path, EngineOptions(threads=1), where="r1")
    assert refiner_size(session, where="r1") == 8
    rng = np.random.default_rng(0)
    image, heat = rng.integers(0, 256, (8, 8, 3), np.uint8), rng.random((8, 8), np.float32)
    # The picture goes in as 0..255, the heatmap as it is.
    inputs = {"input_image": image[None].astype(np.float32) / 255, "input_pred": heat[None, ..., None]}
    expected = np.asarray(trained(inputs, training=False))[0, ..., 1]
    np.testing.assert_allclose(refine(session, image, heat, where="r1"), expected, atol=1e-5)


def padded_pool(seed: int = 3) -> keras.Model:
    """A pooling over zero-padded values that are negative, as ResNetV2 begins."""
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((12, 12, 3), name="input_image")
    x = keras.layers.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(-3.0))(x)
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))


def test_a_zero_padded_pooling_answers_alike_in_every_session(tmp_path: Path) -> None:
    model = padded_pool()
    export(model, tmp_path / "m.onnx")
    tiles = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
    expected = np.asarray(model(tiles, training=False))
    # The default session is what other programs use.
    answer = ort.InferenceSession(tmp_path / "m.onnx").run(None, {"input_image": tiles * 255})[0]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_the_engine_reads_finished_models_without_the_unsound_fusion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = padded_pool()
    monkeypatch.setattr(onnx_model, "guard_padded_pools", lambda proto: None)
    monkeypatch.setattr(onnx_model, "PARITY_LIMIT", 2.0)
    export(model, tmp_path / "m.onnx")
    tiles = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
    expected = np.asarray(model(tiles, training=False))
    session = open_session(tmp_path / "m.onnx", EngineOptions(threads=1), where="m")
    np.testing.assert_allclose(session.run(None, {"input_image": tiles * 255})[0], expected, atol=1e-5)


def test_names_do_not_depend_on_how_the_converter_counted() -> None:
    def graph(add: int, twin: int, order: int) -> onnx.GraphProto:
        # Two equal constants of which the converter may keep either, and numbers of its own.
        constants = [
            onnx.numpy_helper.from_array(np.full(3, v, np.float32), f"const_fold_opt__{n}")
            for v, n in ((2, twin), (5, add))
        ]
        nodes = [
            onnx.helper.make_node("Mul", ["x", constants[0].name], [f"scaled__{add}:0"], name=f"scaled__{add}"),
            onnx.helper.make_node("Add", [f"scaled__{add}:0", constants[1].name], ["more:0"], name="layer/add"),
            onnx.helper.make_node("Add", ["more:0", "z"], ["sum:0"], name="layer/both"),
            onnx.helper.make_node("Div", ["sum:0", constants[0].name], ["y"], name="divided"),
        ]
        lengths = {"x": [f"unk__{add}", 3], "z": [f"unk__{twin}", 3], "y": [f"unk__{order + 5}", 3]}
        values = {
            n: onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, sides) for n, sides in lengths.items()
        }
        inputs = [values["x"], values["z"]][::order]
        return onnx.helper.make_graph(nodes, "g", inputs, [values["y"]], constants[::order])

    settled = [graph(8, 9, 1), graph(31, 7, -1)]
    assert settled[0] != settled[1]
    for one in settled:
        onnx_model.settle_names(one, ["z", "x"])
    assert settled[0].SerializeToString() == settled[1].SerializeToString()
    assert [value.name for value in settled[0].input] == ["z", "x"]
    model = onnx.helper.make_model(settled[0], opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    x, z = np.float32([[1, 2, 3]]), np.float32([[10, 20, 30]])
    answer = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x, "z": z})[0]
    np.testing.assert_array_equal(answer, (x * 2 + 5 + z) / 2)
