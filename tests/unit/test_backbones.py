from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from architectures import tiny_backbone
from keras.src.applications import efficientnet_v2

from drunet.errors import ModelError
from drunet.models import backbones, dr_fused, registry
from drunet.models.backbone_classifier import build_backbone_classifier
from drunet.models.backbones import weight_sources
from drunet.models.h2gnet_classifier import build_h2gnet_classifier
from drunet.models.image_normalisation import normalised
from drunet.models.names import APPLICATIONS, OWN_SCALING
from drunet.training.checkpoint import save_inference_weights

# Where Keras keeps a network under another name than its own.
MODULES = {"ResNet101": "resnet", "ResNet50": "resnet", "ResNet50V2": "resnet_v2", "ResNet101V2": "resnet_v2"}
MODULES |= {"InceptionV3": "inception_v3", "InceptionResNetV2": "inception_resnet_v2", "MobileNetV2": "mobilenet_v2"}
MODULES |= {"DenseNet121": "densenet", "DenseNet201": "densenet"}


@pytest.fixture
def small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mobilenetv2", "vgg19", "inceptionv3"):
        monkeypatch.setitem(backbones.BACKBONES, name, tiny_backbone())


def test_only_inceptionv3_is_shown_more_pixels_than_there_are(small_backbones: None) -> None:
    seen = {
        name: build_backbone_classifier(64, backbone=name).get_layer(name).input.shape[1:3]
        for name in ("vgg19", "mobilenetv2", "inceptionv3")
    }
    assert seen == {"vgg19": (64, 64), "mobilenetv2": (64, 64), "inceptionv3": (75, 75)}
    large = build_backbone_classifier(80, backbone="inceptionv3")
    assert large.get_layer("inceptionv3").input.shape[1:3] == (80, 80)
    # What is seen is the same picture, larger: an even field stays even and in range.
    enlarged = build_backbone_classifier(64, backbone="inceptionv3").get_layer("inceptionv3_enlarged")
    np.testing.assert_allclose(np.asarray(enlarged(np.full((1, 64, 64, 3), 0.7, np.float32))), 0.7, rtol=1e-6)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_its_own_scaling_is_that_of_keras_own_preprocessing(name: str) -> None:
    """Keras' `preprocess_input`, or for EfficientNetV2 the layers that it has in the graph, on 0..255."""
    image = np.random.default_rng(0).random((1, 33, 33, 3)).astype(np.float32)
    kind = APPLICATIONS[name]
    if kind.startswith("EfficientNetV2"):
        # One block stands for all: what comes before it is decided by the name.
        named = f"efficientnetv2-{kind.removeprefix('EfficientNetV2').lower()}"
        blocks = efficientnet_v2.DEFAULT_BLOCKS_ARGS[named][:1]
        shape = {"include_top": False, "weights": None, "input_shape": (33, 33, 3), "blocks_args": blocks}
        whole = efficientnet_v2.EfficientNetV2(1.0, 1.0, 33, name=named, **shape)
        expected = 255 * image
        for layer in whole.layers:
            if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
                expected = layer(expected)
    else:
        module = importlib.import_module(f"keras.applications.{MODULES.get(kind, name)}")
        expected = module.preprocess_input(255 * image)
    found = normalised(image, "own", name)
    # S to L divide by 128 where [-1, 1] takes 127.5.
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=0.01, rtol=1e-4)


def test_each_branch_of_dr_fused_may_have_its_own_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def noted(image: Any, how: str, backbone: str, name: str) -> Any:
        seen[name] = how if how == "none" else OWN_SCALING[backbone]
        return image

    monkeypatch.setattr(dr_fused, "normalised", noted)
    monkeypatch.setattr(dr_fused, "features", lambda network, name, image, **_: keras.layers.Conv2D(2, 3)(image))
    for normalise, both in (("own", ("imagenet", "symmetric")), ("none", ("none", "none"))):
        dr_fused.build_dr_fused(32, normalise=normalise)
        assert (seen["densenet201_normalised"], seen["resnet101v2_normalised"]) == both


def test_a_network_on_no_backbone_has_no_scaling_of_its_own() -> None:
    with pytest.raises(ModelError, match=r"'normalise' is out of range.*none, imagenet, symmetric, caffe\."):
        registry.build("plain_cnn", size=32, normalise="own")


def test_a_backbone_is_whole_or_ends_at_its_cut(small_backbones: None) -> None:
    whole = build_backbone_classifier(32, backbone="vgg19", batch_norm_momentum=0.8).get_layer("vgg19")
    cut = build_backbone_classifier(32, backbone="vgg19", cut="block0_bn").get_layer("vgg19")
    assert [layer.name for layer in whole.layers][-1] == "block1_bn"
    assert [layer.name for layer in cut.layers][-1] == "block0_bn"
    assert whole.get_layer("block1_bn").momentum == 0.8 and cut.get_layer("block0_bn").momentum == 0.99


def test_a_frozen_share_starts_at_the_input(small_backbones: None) -> None:
    trunk = build_backbone_classifier(32, backbone="vgg19", freeze_fraction=0.6).get_layer("vgg19")
    assert [layer.trainable for layer in trunk.layers] == [False] * 3 + [True] * 2


def test_weights_are_read_from_the_file_of_the_backbone(small_backbones: None, tmp_path: Path) -> None:
    whole = backbones.BACKBONES["vgg19"](include_top=False, weights=None, input_shape=(32, 32, 3))
    whole.set_weights([np.full_like(w, 0.5) for w in whole.get_weights()])
    whole.save_weights(tmp_path / "own.weights.h5")
    # One mapping may serve several networks.
    files = {"vgg19": tmp_path / "own.weights.h5", "densenet201": tmp_path / "absent.h5"}
    model = build_backbone_classifier(64, backbone="vgg19", weights=files)
    assert {float(v) for w in model.get_layer("vgg19").get_weights() for v in np.unique(w)} == {0.5}
    with pytest.raises(ModelError, match=r"wrong backbones.*\{mobilenetv2: FILE\}"):
        build_h2gnet_classifier(64, weights=files)
    with pytest.raises(ModelError, match=r"cannot be had.*weights: \{vgg19: FILE\}"):
        build_backbone_classifier(64, backbone="vgg19", weights="imagenet")


@pytest.mark.parametrize("architecture", ["backbone", "h2gnet_classifier"])
def test_trained_weights_go_back_into_the_same_network(
    small_backbones: None, tmp_path: Path, architecture: str
) -> None:
    options: dict[str, Any] = {"size": 64} | ({"backbone": "inceptionv3"} if architecture == "backbone" else {})
    trained, fresh = (registry.build(architecture, **options, seed=seed) for seed in (1, 2))
    save_inference_weights(trained, tmp_path / "m.weights.h5")
    registry.load_weights(fresh, tmp_path / "m.weights.h5")
    for one, other in zip(trained.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sources_are_told_per_backbone() -> None:
    names = ["densenet201", "resnet101v2"]
    assert weight_sources("random", names) == dict.fromkeys(names)
    assert weight_sources("imagenet", names) == dict.fromkeys(names, "imagenet")
    assert weight_sources({"densenet201": "a", "resnet101v2": Path("b"), "vgg19": "c"}, names) == {
        "densenet201": "a",
        "resnet101v2": "b",
    }
    with pytest.raises(ModelError, match="wrong backbones"):
        weight_sources({"densenet201": "a", "resnet101v2": "b", "vgg91": "c"}, names)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"backbone": "vgg91"}, "Did you mean vgg19"),
        ({"backbone": "vgg19", "cut": "block1_cnv"}, "block1_conv"),
        ({"backbone": "vgg19", "size": 31}, "at least 32"),
        ({"backbone": "vgg19", "size": 64.5}, "Write a whole number"),
        ({"backbone": "vgg19", "weights": "imagnet"}, r"random, imagenet or \{vgg19: FILE\}"),
        ({"backbone": "vgg19", "dropout": 1}, "below 1"),
    ],
)
def test_a_mistaken_option_is_refused(small_backbones: None, change: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        registry.build("backbone", **{"size": 64, **change})
