"""The fine-tuned networks of the CT study: what of them learns, their parameters, and what up-sampling does."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from architectures import tiny_backbone

from drunet.errors import ModelError
from drunet.models import backbones, registry
from drunet.models.options import Network
from studies.ct_pneumonia.network_table import read_table
from studies.ct_pneumonia.upsampled_classifier import build_upsampled_classifier

HOME = Path(__file__).resolve().parents[3] / "workflow/studies/ct_pneumonia"
NETWORKS = {row.label: row for row in read_table("networks.tsv", HOME, "networks").values()}
# Layers left trainable of all layers of the backbone, in the authors' code.
UPSTREAM = {
    "DenseNet121": (128, 427),
    "MobileNetV2": (46, 154),
    "InceptionV3": (94, 311),
    "InceptionResNetV2": (170, 780),
    "ResNet50": (53, 175),
    "ResNet101": (104, 345),
    "VGG16": (7, 19),
    "VGG19": (8, 22),
    "Xception": (41, 132),
}
# Of these the code does not hold the text's 70 % fixed.
OTHERWISE = {"InceptionResNetV2": 0.22, "VGG16": 0.37, "VGG19": 0.36}
# Published millions that are cut off after a decimal, not rounded: 24.16 and 20.16 stand as 24.1 and 20.1.
CUT_OFF = ("ResNet50", "VGG19")


@pytest.fixture(scope="module")
def trunks() -> dict[str, keras.Model]:
    """The nine backbones, each at the least size that Keras builds it for: neither layers nor weights hang on it."""
    return {
        label: backbones.BACKBONES[row.backbone](
            include_top=False, weights=None, input_shape=(*2 * [backbones.smallest_input(row.backbone)], 3)
        )
        for label, row in NETWORKS.items()
    }


@pytest.fixture
def small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backbones of five layers in place of Keras' own."""
    for name in ("vgg16", "resnet50", "xception"):
        monkeypatch.setitem(backbones.BACKBONES, name, tiny_backbone(6, strides=2))


def head_parameters(width: int, dense: list[int]) -> int:
    """Parameters behind the backbone, by hand: four per unit of a batch normalisation, weights and biases else."""
    count = 4 * width
    for units in dense:
        count += (width + 1) * units + 4 * units
        width = units
    return count + (width + 1) * 2


@pytest.mark.slow
def test_the_layers_that_learn_are_as_many_as_in_the_authors_code(trunks: dict[str, keras.Model]) -> None:
    found = {}
    for label, trunk in trunks.items():
        Network("test", 32, trainable_layers=NETWORKS[label].trainable_layers).prepare(trunk)
        learning = [layer.trainable for layer in trunk.layers]
        assert learning == sorted(learning)  # the fixed ones come first
        found[label] = (sum(learning), len(learning))
    assert found == UPSTREAM


def test_the_text_says_seventy_per_cent_and_the_code_does_so_for_six_of_nine() -> None:
    shares = {label: learning / layers for label, (learning, layers) in UPSTREAM.items()}
    for label, share in shares.items():
        expected = OTHERWISE.get(label, 0.30)
        assert share == pytest.approx(expected, abs=0.011), label


@pytest.mark.slow
def test_parameters_are_those_published(trunks: dict[str, keras.Model]) -> None:
    with (HOME / "published.tsv").open(encoding="utf-8") as file:
        published = {row["model"]: row["millions_of_parameters"] for row in csv.DictReader(file, delimiter="\t")}
    for label, trunk in trunks.items():
        millions = (trunk.count_params() + head_parameters(trunk.output.shape[-1], NETWORKS[label].dense)) / 1e6
        printed = math.floor(10 * millions) / 10 if label in CUT_OFF else round(millions, 1)
        assert published[label] in (str(printed), ""), label
    assert [label for label, printed in published.items() if not printed] == ["ResNet101", "Xception"]


def test_the_head_is_in_the_order_of_the_authors_code(small_backbones: None) -> None:
    model = build_upsampled_classifier(32, backbone="resnet50", dense_units=[8, 4], dropout=0.3, normalise="caffe")
    kinds = [type(layer).__name__ for layer in model.layers]
    dense = ["Dense", "BatchNormalization", "Dropout"]
    head = ["UpSampling2D", "GlobalAveragePooling2D", "BatchNormalization", "Dropout", *dense, *dense, "Dense"]
    assert kinds == ["InputLayer", "ImageNormalisation", "Functional", *head]
    bare = build_upsampled_classifier(32, backbone="xception", dense_units=[8], dropout=0.5, first_dropout=False)
    kinds = [type(layer).__name__ for layer in bare.layers]
    assert kinds[:3] == ["InputLayer", "Resizing", "Functional"]
    assert kinds[3:] == ["UpSampling2D", "GlobalAveragePooling2D", "BatchNormalization", *dense, "Dense"]
    none = build_upsampled_classifier(32, backbone="vgg16", dense_units=[8], dropout=0.0)
    assert "Dropout" not in {type(layer).__name__ for layer in none.layers}


def test_up_sampling_changes_no_answer(small_backbones: None) -> None:
    options: dict[str, Any] = {"backbone": "vgg16", "dense_units": [8], "seed": 3}
    models = [build_upsampled_classifier(40, upsampling=factor, **options) for factor in (4, 1)]
    assert models[0].get_layer("upsampled").output.shape[1:3] == (40, 40)
    models[1].set_weights(models[0].get_weights())
    images = np.random.default_rng(0).random((4, 40, 40, 3), dtype=np.float32)
    answers = [np.asarray(model(images)) for model in models]
    np.testing.assert_allclose(*answers, rtol=1e-5)
    assert np.ptp(answers[0][:, 0]) > 0


def test_a_momentum_is_that_of_every_batch_normalisation(small_backbones: None) -> None:
    model = build_upsampled_classifier(32, backbone="vgg16", batch_norm_momentum=0.8)
    trunk = model.get_layer("vgg16")
    found = [layer.momentum for part in (model, trunk) for layer in part.layers if hasattr(layer, "momentum")]
    assert found == [0.8] * 4


def test_a_share_held_fixed_or_a_number_that_learns(small_backbones: None) -> None:
    for options in ({"freeze_fraction": 0.6}, {"trainable_layers": 2}):
        trunk = build_upsampled_classifier(32, backbone="vgg16", **options).get_layer("vgg16")
        assert [layer.trainable for layer in trunk.layers] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "vgg17"}, "unknown backbone"),
        ({"dense_units": 256}, "'dense_units' is out of range"),
        ({"dense_units": [256, 0]}, "'dense_units' is out of range"),
        ({"upsampling": 0}, "'upsampling' is out of range"),
        ({"first_dropout": 1}, "'first_dropout' is of another kind (found: 1). Write true or false"),
        ({"dropout": 1.0}, "'dropout' is out of range"),
        ({"trainable_layers": 6}, "'trainable_layers' is out of range"),
        ({"trainable_layers": 2, "freeze_fraction": 0.7}, "two options say which layers learn"),
        ({"normalise": "zero"}, "'normalise' is out of range"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(
    small_backbones: None, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        registry.build("upsampled_classifier", size=32, **{"backbone": "vgg16", **options})
    assert words in str(caught.value) and "\n" not in str(caught.value)
