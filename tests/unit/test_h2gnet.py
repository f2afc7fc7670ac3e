from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from drunet.errors import ModelError
from drunet.models import registry
from drunet.models.h2gnet_classifier import build_h2gnet_classifier
from drunet.models.h2gnet_unet import FILTERS, build_h2gnet_unet


@pytest.fixture(scope="module")
def unet() -> keras.Model:
    return build_h2gnet_unet(256, seed=1)


# ---- the classifier


@pytest.mark.slow
def test_the_classifier_is_mobilenetv2_and_a_small_head() -> None:
    model = registry.build("h2gnet_classifier", size=64, seed=1, batch_norm_momentum=0.9)
    names = [layer.name for layer in model.layers]
    assert names == ["input_image", "mobilenetv2", "mobilenetv2_pool", "hidden", "dropout", "probabilities"]
    assert model.get_layer("dropout").rate == 0.5
    norms = [layer for layer in model.get_layer("mobilenetv2").layers if hasattr(layer, "momentum")]
    assert len(norms) == 52 and {norm.momentum for norm in norms} == {0.9}
    other = build_h2gnet_classifier(32, seed=1)
    for one, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize(("change", "word"), [({"size": 16}, "at least 32"), ({"dense_units": 0}, "at least 1")])
def test_a_mistaken_option_of_the_classifier_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError, match=f"h2gnet_classifier.*{word}"):
        registry.build("h2gnet_classifier", **{"size": 64, **change})


def test_so_many_layers_of_the_classifiers_backbone_learn() -> None:
    """The authors' notebook fixes `layers[:-12]` of a network with a head of four: eight of the backbone learn."""
    model = registry.build("h2gnet_classifier", size=32, trainable_layers=8)
    trunk = model.get_layer("mobilenetv2").layers
    assert [layer.name for layer in trunk if layer.trainable] == [layer.name for layer in trunk[-8:]]
    assert trunk[-8].name == "block_16_depthwise" and len(model.layers) - 2 == 4
    with pytest.raises(ModelError, match="two options say which layers learn"):
        registry.build("h2gnet_classifier", size=32, trainable_layers=8, freeze_fraction=0.5)


# ---- the refiner


def test_the_refiner_has_nine_levels_mirrored(unet: keras.Model) -> None:
    for level, filters in enumerate(FILTERS[:-1], start=1):
        side = 256 // 2 ** (level - 1)
        for half in ("encoder", "decoder"):
            assert unet.get_layer(f"{half}_{level}_relu_2").output.shape == (None, side, side, filters)
        tensors = unet.get_layer(f"decoder_{level}_skip").input
        sources = [tensor._keras_history.operation.name for tensor in tensors]
        assert sources == [f"encoder_{level}_relu_2", f"decoder_{level}_up"]
    assert unet.get_layer("bottleneck_relu_2").output.shape == (None, 1, 1, 512)
    assert [(i.name, i.shape[1:]) for i in unet.inputs] == [
        ("input_image", (256, 256, 3)),
        ("input_pred", (256, 256, 1)),
    ]
    order = [layer.name for layer in unet.layers if layer.name.startswith("encoder_3_")]
    kinds = [f"encoder_3_{kind}_{i}" for i in (1, 2) for kind in ("conv", "bn", "relu")]
    assert order == [*kinds, "encoder_3_pool"]


def test_only_the_decoder_drops_channels(unet: keras.Model) -> None:
    drops = [layer for layer in unet.layers if isinstance(layer, keras.layers.SpatialDropout2D)]
    assert len(drops) == 16 and {d.rate for d in drops} == {0.1}
    assert all(d.name.startswith("decoder_") for d in drops)


def test_the_published_size_fits_and_momentum_reaches_every_layer() -> None:
    model = build_h2gnet_unet(batch_norm_momentum=0.9)
    assert model.output.shape == (None, 1024, 1024, 2) and model.get_layer("bottleneck_relu_2").output.shape[1] == 4
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 2 * 17 and {norm.momentum for norm in norms} == {0.9}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 1120}, "multiple of 256"),
        ({"size": 0}, "multiple of 256"),
        ({"spatial_dropout": 1}, "below 1"),
        ({"classes": 1}, "at least 2"),
        ({"batch_norm_momentum": 2}, "null"),
    ],
)
def test_a_mistaken_option_of_the_refiner_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        build_h2gnet_unet(**options)
