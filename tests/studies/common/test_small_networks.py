from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from architectures import tiny_backbone

from drunet.errors import ModelError
from drunet.models import backbones, registry
from drunet.models.backbone_classifier import build_backbone_classifier
from drunet.models.image_normalisation import ImageNormalisation

OWN = ("mfstudentlnet", "vision_transformer", "plain_cnn", "cnn_rnn")
# One block says the same of a transformer as twelve, sooner.
OPTIONS: dict[str, dict[str, Any]] = {"vision_transformer": {"depth": 1, "heads": 2, "width": 8}, "plain_cnn": {}}


def pictures(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, 3), np.float32)


@pytest.fixture
def small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vgg19", "xception", "inceptionresnetv2"):
        monkeypatch.setitem(backbones.BACKBONES, name, tiny_backbone())


# ---- what every architecture keeps


@pytest.mark.parametrize("architecture", OWN)
def test_a_trunk_that_is_fixed_leaves_the_head_to_learn(architecture: str) -> None:
    options = OPTIONS.get(architecture, {})
    model = registry.build(architecture, size=32, freeze_fraction=1, batch_norm_momentum=0.8, **options)
    trunk = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert not trunk.trainable_weights and trunk.weights and model.trainable_weights
    norms = [layer for layer in trunk.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} <= {0.8}


@pytest.mark.parametrize("architecture", OWN)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 31}, ("'size'", "at least 32")),
        ({"size": "64"}, ("'size'", "Write a whole number")),
        ({"weights": "imagenet"}, ("'weights'", "found: imagenet", "Use random", "weights file")),
        ({"classes": 1}, ("'classes'", "at least 2")),
        ({"dropout": 1}, ("'dropout'", "below 1")),
        ({"normalise": "imagnet"}, ("'normalise'", "none, imagenet, symmetric, caffe")),
        ({"freeze_fraction": 2}, ("'freeze_fraction'", "0 to 1")),
        ({"batch_norm_momentum": 1}, ("'batch_norm_momentum'", "below 1")),
        ({"widht": 1}, ("unknown option", "Options of")),
    ],
)
def test_a_mistaken_option_is_named_with_what_is_legal(
    architecture: str, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ModelError) as caught:
        registry.build(architecture, **{"size": 64, **change})
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("architecture", "change", "words"),
    [
        ("plain_cnn", {"filters": []}, ("'filters'", "1 to 6 whole numbers for tiles of 64 px")),
        ("plain_cnn", {"filters": [4] * 7}, ("'filters'", "1 to 6")),
        ("plain_cnn", {"dense_units": 0}, ("'dense_units'", "at least 1")),
        ("plain_cnn", {"batch_norm": "yes"}, ("'batch_norm'", "true or false")),
        ("cnn_rnn", {"filters": [4, 0.5]}, ("'filters'", "1 to 6")),
        ("cnn_rnn", {"units": 1.5}, ("'units'", "Write a whole number")),
        ("cnn_rnn", {"convolutions": 0}, ("'convolutions'", "at least 1")),
    ],
)
def test_an_option_of_its_own_is_checked(architecture: str, change: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        registry.build(architecture, **{"size": 64, **change})
    assert all(word in str(caught.value) for word in words)


# ---- the conventional network and the recurrent one


def test_the_recurrent_unit_reads_the_rows_from_top_to_bottom() -> None:
    model = registry.build("cnn_rnn", size=32, filters=[3, 4, 5], units=6, seed=5)
    found = model.get_layer("convolutions")(model.get_layer("normalised")(pictures(32)))
    sequence = np.asarray(found).reshape(2, 4, 4 * 5)
    # Cho et al. 2014 in the form of two biases that Keras takes from cuDNN: update, reset, candidate.
    kernel, recurrent, biases = (np.asarray(w) for w in model.get_layer("recurrent").get_weights())
    assert kernel.shape == (20, 18)
    state = np.zeros((2, 6))
    for row in range(4):
        given, kept = sequence[:, row] @ kernel + biases[0], state @ recurrent + biases[1]
        update, reset = (1 / (1 + np.exp(-(given + kept)[:, part])) for part in (slice(0, 6), slice(6, 12)))
        state = update * state + (1 - update) * np.tanh(given[:, 12:] + reset * kept[:, 12:])
    logits = state @ model.get_layer("probabilities").get_weights()[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model(pictures(32))), expected, rtol=1e-4)


# ---- how pixels are scaled


def test_scaling_is_that_of_keras_own_applications() -> None:
    image = pictures(8) * 255
    own = {
        "imagenet": keras.applications.densenet.preprocess_input,
        "symmetric": keras.applications.mobilenet.preprocess_input,
        "caffe": keras.applications.resnet.preprocess_input,
    }
    for scheme, preprocess in own.items():
        answer = np.asarray(ImageNormalisation(scheme)(image / 255))
        np.testing.assert_allclose(answer, preprocess(image.copy()), atol=1e-4, err_msg=scheme)


def test_scaling_survives_saving() -> None:
    layer = ImageNormalisation("caffe", name="n")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_array_equal(np.asarray(again(pictures(4))), np.asarray(layer(pictures(4))))
    with pytest.raises(ValueError, match="imagenet, symmetric, caffe"):
        ImageNormalisation("none")


def test_a_backbone_sees_scaled_pixels_where_it_is_asked(small_backbones: None) -> None:
    plain, scaled = (build_backbone_classifier(32, backbone="vgg19", normalise=n) for n in ("none", "symmetric"))
    assert "normalised" not in [layer.name for layer in plain.layers]
    np.testing.assert_allclose(np.asarray(scaled(pictures(32))), np.asarray(plain(pictures(32) * 2 - 1)), rtol=1e-4)


# ---- more of backbones


def test_all_backbones_of_the_studies_are_there_by_name() -> None:
    wanted = ["mobilenet", "resnet50", "resnet101", "resnet50v2"]
    wanted += ["densenet121", "vgg16", "xception", "inceptionresnetv2"]
    assert {n: backbones.BACKBONES[n].func.__name__.lower() for n in wanted} == {n: n for n in wanted}


def test_small_tiles_are_enlarged_for_those_that_need_it(small_backbones: None) -> None:
    seen = {n: build_backbone_classifier(32, backbone=n).get_layer(n).input.shape[1] for n in ("vgg19", "xception")}
    assert seen == {"vgg19": 32, "xception": 71}
    assert (
        build_backbone_classifier(32, backbone="inceptionresnetv2").get_layer("inceptionresnetv2").input.shape[1] == 75
    )


def test_no_hidden_layer_leaves_the_softmax_on_the_pooled_features(small_backbones: None) -> None:
    names = [layer.name for layer in build_backbone_classifier(32, backbone="vgg19", dense_units=0).layers]
    assert names[-3:] == ["vgg19_pool", "dropout", "probabilities"]
    with pytest.raises(ModelError, match=r"'dense_units'.*at least 0"):
        build_backbone_classifier(32, backbone="vgg19", dense_units=-1)


def test_only_the_last_layers_learn_where_their_number_is_given(small_backbones: None) -> None:
    for count in (0, 2, 5):
        trunk = build_backbone_classifier(32, backbone="vgg19", trainable_layers=count).get_layer("vgg19")
        assert [layer.trainable for layer in trunk.layers] == [False] * (5 - count) + [True] * count
    with pytest.raises(ModelError, match=r"'trainable_layers'.*found: 6.*vgg19 has 5 layers.*0 to 5"):
        build_backbone_classifier(32, backbone="vgg19", trainable_layers=6)
    with pytest.raises(ModelError, match=r"'trainable_layers'.*null, or a whole number"):
        build_backbone_classifier(32, backbone="vgg19", trainable_layers=0.5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"two options.*freeze_fraction 0\.5"):
        build_backbone_classifier(32, backbone="vgg19", trainable_layers=2, freeze_fraction=0.5)
