"""Grad-CAM over the convolutions of a network, against maps worked by hand and counts of known architectures."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from studies.common.saliency.maps import find_layer, grad_cam
from studies.ct_pneumonia.attention import (
    averaged,
    convolutions,
    group_maps,
    last_layer,
    spread_convolutions,
)

SIDE = 6


def hand_made(dense: list[list[float]]) -> keras.Model:
    """One 1x1 convolution of two channels, the mean over the places, a softmax of chosen weights."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(2, 1, name="only")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x), name="hand_made")
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0], kernel[0, 0, 1, 1] = 1.0, 2.0  # red, and twice the green
    model.set_weights([kernel, np.zeros(2), np.array(dense, np.float32), np.zeros(2)])
    return model


def pictures(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((count, SIDE, SIDE, 3), dtype=np.float32)


def two_stages(first_learns: bool = False) -> keras.Model:
    """A backbone as a layer: three convolutions, the first of them frozen."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="tanh", name="stem")(image)
    x = layers.DepthwiseConv2D(3, activation="tanh", name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.SeparableConv2D(3, 2, activation="tanh", name="late")(x)
    backbone = keras.Model(image, x, name="backbone")
    backbone.get_layer("stem").trainable = first_learns
    whole = keras.Input((16, 16, 3))
    pooled = layers.GlobalAveragePooling2D()(backbone(whole))
    return keras.Model(whole, layers.Dense(2, activation="softmax")(pooled))


@pytest.mark.parametrize("score", ["log_odds", "probability"])
def test_the_map_of_a_hand_made_network_is_what_its_weights_say(score: str) -> None:
    # Log odds of class 1: (b1 - b0) · mean of the channels. Its gradient at a place is (b1 - b0) / places, for every
    # place alike, so that the map is the channels added up by that; a probability's gradient is p (1 - p) times that.
    dense, images = [[0.5, -0.25], [-1.0, 1.0]], pictures()
    model = hand_made(dense)
    channels = np.stack([images[..., 0], 2 * images[..., 1]], axis=-1)
    weights = np.array([-0.25 - 0.5, 1.0 + 1.0]) / SIDE**2
    expected = np.maximum(channels @ weights, 0)
    assert expected.max() > 0 and (expected == 0).any()
    if score == "probability":
        p = model.predict(images, verbose=0)[:, 1]
        expected = expected * (p * (1 - p))[:, None, None]
    found = grad_cam(model, images, 1, layers=[last_layer(model)], score=score).branches["only"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    # The other class: what spoke against now speaks for it.
    against = grad_cam(model, images, 0, layers=["only"], score=score).branches["only"]
    assert ((against > 0) == (expected == 0)).all()


def test_convolutions_of_all_kinds_are_found_in_order_with_whether_they_learn() -> None:
    found = list(convolutions(two_stages()).items())
    assert found == [("backbone/stem", False), ("backbone/depthwise", True), ("backbone/late", True)]
    assert last_layer(two_stages()) == "backbone/late"


@pytest.mark.parametrize(
    ("build", "last", "channels", "count"),
    [
        # The counts are the architectures': 16 and 19 layers with weights, of which three are dense.
        (keras.applications.VGG16, "block5_conv3", 512, 13),
        (keras.applications.VGG19, "block5_conv4", 512, 16),
        (keras.applications.ResNet50, "conv5_block3_out", 2048, 53),  # 49 + 4 shortcuts
        (keras.applications.DenseNet121, "relu", 1024, 120),  # 121 with weights less the dense one
        (keras.applications.MobileNetV2, "out_relu", 1280, 52),
        # The authors' gradcam.py takes mixed10 of this network.
        (keras.applications.InceptionV3, "mixed10", 2048, 94),
    ],
)
@pytest.mark.slow
def test_the_last_layer_with_all_channels_is_found_by_structure(
    build: object, last: str, channels: int, count: int
) -> None:
    backbone = build(include_top=False, weights=None, input_shape=(80, 80, 3))  # type: ignore[operator]
    image = keras.Input((80, 80, 3))
    enlarged = layers.UpSampling2D(4)(backbone(image))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(enlarged)))
    assert last_layer(model) == f"{backbone.name}/{last}"
    assert find_layer(model, last_layer(model)).output.shape[-1] == channels
    assert len(convolutions(model)) == count
    spread = spread_convolutions(model, 5)
    assert (
        len(spread) == 5
        and spread[0] == next(iter(convolutions(model)))
        and spread[-1] == list(convolutions(model))[-1]
    )


def test_more_layers_than_there_are_are_all() -> None:
    assert spread_convolutions(two_stages(), 9) == ["backbone/stem", "backbone/depthwise", "backbone/late"]
    assert spread_convolutions(two_stages(), 1) == ["backbone/late"]


def test_maps_are_stretched_before_they_are_averaged() -> None:
    strong, weak = np.array([[[1000.0, 0.0]]], np.float32), np.array([[[0.0, 0.001]]], np.float32)
    blank = np.zeros((1, 1, 2), np.float32)
    maps = {"a": strong, "b": weak, "c": blank}
    assert averaged(maps, ["a", "b"]).tolist() == [[[0.5, 0.5]]]
    assert averaged(maps, ["a", "b", "c"])[0, 0].tolist() == pytest.approx([1 / 3, 1 / 3])


def test_frozen_learning_and_all_layers_are_averaged_by_themselves() -> None:
    model, images = two_stages(), np.random.default_rng(1).random((2, 16, 16, 3), dtype=np.float32)
    found = group_maps(model, images, 1)
    assert list(found) == ["frozen", "trainable", "all"]
    assert all(maps.shape == (2, 16, 16) and maps.dtype == np.float32 for maps in found.values())
    paths = list(convolutions(model))
    single = grad_cam(model, images, 1, layers=paths).branches
    for i in range(2):
        # By hand: each layer's map over its own maximum.
        parts = [single[p][i] / single[p][i].max() if single[p][i].max() > 0 else single[p][i] for p in paths]
        np.testing.assert_allclose(found["frozen"][i], parts[0], atol=1e-4)
        np.testing.assert_allclose(found["trainable"][i], (parts[1] + parts[2]) / 2, atol=1e-4)
        np.testing.assert_allclose(found["all"][i], sum(parts) / 3, atol=1e-4)


def test_a_group_without_a_layer_is_left_out() -> None:
    images = np.zeros((1, 16, 16, 3), np.float32)
    assert list(group_maps(two_stages(first_learns=True), images, 1)) == ["trainable", "all"]
