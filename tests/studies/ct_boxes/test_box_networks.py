from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy import signal

from drunet.errors import ModelError
from drunet.models import registry
from studies.ct_boxes.compact_box_regressor import box_around, build_compact_box_regressor, mean_place
from studies.ct_boxes.simple_box_cnn import build_simple_box_cnn

NAMES = ("simple_box_cnn", "compact_box_regressor")


def slices(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 1), np.float32)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("simple_box_cnn", {"size": 16}, "'size'.*at least 32"),
        ("simple_box_cnn", {"filters": []}, "'filters'"),
        ("simple_box_cnn", {"dense_units": 0}, "'dense_units'"),
        ("compact_box_regressor", {"size": "64"}, "'size'"),
        ("compact_box_regressor", {"filters": [8] * 6}, "'filters'.*1 to 5"),
        ("compact_box_regressor", {"width": 3}, "unknown option"),
    ],
)
def test_a_mistaken_option_of_a_box_network_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        registry.build(name, **{"size": 32, **options})


def test_nearly_all_weights_of_the_published_network_lie_in_one_layer() -> None:
    model = build_simple_box_cnn(64)
    published = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert published == {
        "conv1": 3 * 3 * 1 * 16 + 16,
        "conv2": 3 * 3 * 16 * 32 + 32,
        "hidden": 32 * 16 * 16 * 256 + 256,
        "box": 256 * 4 + 4,
    }
    # At the published 512 px, with an eighth of the width and height here.
    hidden = published["hidden"] + 32 * (128**2 - 16**2) * 256
    assert hidden == 134_217_984 and model.count_params() - published["hidden"] + hidden == 134_223_812


def test_the_published_network_computes_what_its_layers_say() -> None:
    model = build_simple_box_cnn(32, filters=(2, 3), dense_units=5, seed=3)
    for layer in model.layers:
        if layer.count_params():
            layer.bias.assign(np.linspace(-0.1, 0.1, layer.bias.shape[0]))
    x = slices(32, 1)
    maps = x[0].transpose(2, 0, 1).astype(float)
    for name in ("conv1", "conv2"):
        kernel, bias = model.get_layer(name).get_weights()
        summed = [
            sum(signal.correlate2d(m, kernel[..., i, o], mode="same") for i, m in enumerate(maps)) + bias[o]
            for o in range(kernel.shape[-1])
        ]
        maps = np.maximum(summed, 0)
        maps = maps.reshape(len(maps), maps.shape[1] // 2, 2, maps.shape[2] // 2, 2).max(axis=(2, 4))
    kernel, bias = model.get_layer("hidden").get_weights()
    hidden = np.maximum(maps.transpose(1, 2, 0).ravel() @ kernel + bias, 0)
    kernel, bias = model.get_layer("box").get_weights()
    np.testing.assert_allclose(np.asarray(model(x))[0], hidden @ kernel + bias, rtol=1e-4, atol=1e-6)


def test_weights_begin_as_pytorch_begins_them() -> None:
    kernel = build_simple_box_cnn(64).get_layer("hidden").get_weights()[0]
    bound = 1 / np.sqrt(kernel.shape[0])
    assert np.abs(kernel).max() <= bound and np.std(kernel) == pytest.approx(bound / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_its_boxes_are_ordered_and_inside_whatever_the_weights(seed: int) -> None:
    model = build_compact_box_regressor(32, seed=seed)
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(w) if (w >= 0).all() else w * rng.choice([1, 30]) for w in model.get_weights()])
    boxes = np.asarray(model(slices(32, 8)))
    assert boxes.dtype == np.float32 and boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


def test_its_attention_is_a_share_for_each_place() -> None:
    model = build_compact_box_regressor(64)
    look = keras.Model(model.inputs, [model.get_layer("attention").output, model.output])
    attention, boxes = (np.asarray(out) for out in look(slices(64, 2)))
    assert attention.shape == (2, 8, 8, 1) and attention.min() >= 0
    np.testing.assert_allclose(attention.sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_array_equal(boxes, np.asarray(model(slices(64, 2))))
    assert build_compact_box_regressor(64, filters=(8, 8, 8, 8)).get_layer("attention").output.shape[1:3] == (4, 4)


def test_the_middle_of_a_box_is_where_the_attention_is() -> None:
    attention = np.zeros((3, 4, 8, 1), np.float32)
    attention[0, 1, 6] = 1
    attention[1, 0, 0] = attention[1, 3, 7] = 0.5
    attention[2] = 1 / 32
    centre = np.asarray(mean_place(attention))
    np.testing.assert_allclose(centre, [[6.5 / 8, 1.5 / 4], [0.5, 0.5], [0.5, 0.5]], rtol=1e-6)
    sides = np.array([[0.2, 0.3], [0.4, 1.0], [0.1, 0.1]], np.float32)
    boxes = np.asarray(box_around(centre, sides))
    np.testing.assert_allclose(boxes[:2], [[0.7125, 0.225, 0.9125, 0.525], [0.3, 0, 0.7, 1]], rtol=1e-5)
    edge = np.asarray(box_around(np.array([[0.02, 0.99]], np.float32), np.array([[0.2, 0.2]], np.float32)))
    np.testing.assert_allclose(edge, [[0, 0.89, 0.12, 1]], rtol=1e-5)


def test_the_sides_come_from_the_features_averaged_under_the_attention() -> None:
    model = build_compact_box_regressor(64, seed=1)
    look = keras.Model(model.inputs, [model.get_layer(n).output for n in ("attention", "context3_add", "sides")])
    model.get_layer("logits").set_weights([w + 3 for w in model.get_layer("logits").get_weights()])
    attention, features, sides = (np.asarray(found, np.float64) for found in look(slices(64)))
    assert np.ptp(attention) > 0.01
    hidden, last = (model.get_layer(name).get_weights() for name in ("hidden", "sides"))
    units = np.maximum((attention * features).sum(axis=(1, 2)) @ hidden[0] + hidden[1], 0)
    np.testing.assert_allclose(sides, 1 / (1 + np.exp(-(units @ last[0] + last[1]))), rtol=1e-4)


def test_a_place_is_found_wherever_it_is() -> None:
    model = build_compact_box_regressor(64, seed=1)
    look = keras.Model(model.inputs, model.get_layer("stage3_relu").output)
    picture = np.zeros((1, 64, 64, 1), np.float32)
    picture[:, 16:24, 24:32] = 1
    here, there = (np.asarray(look(np.roll(picture, shift, axis=(1, 2)))) for shift in ((0, 0), (16, 8)))
    np.testing.assert_allclose(np.roll(here, (2, 1), axis=(1, 2))[:, 2:7, 2:7], there[:, 2:7, 2:7], atol=1e-5)


def test_a_saved_network_is_read_without_code(tmp_path: Path) -> None:
    model = build_compact_box_regressor(32, seed=4)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(np.asarray(again(slices(32))), np.asarray(model(slices(32))))


def test_half_precision_leaves_boxes_exact() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for name in NAMES:
            assert registry.build(name, size=32).output.dtype == "float32"
        network = build_compact_box_regressor(32).layers
        first = next(k for k, layer in enumerate(network) if layer.name == "logits")
        assert [layer.name for layer in network[first:] if layer.compute_dtype != "float32"] == []
        assert {layer.compute_dtype for layer in network[1:first]} == {"bfloat16"}
    finally:
        keras.config.set_dtype_policy(before)
