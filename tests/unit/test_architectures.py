"""The architectures of the product: input, output, parameters, and the same answers in ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import TINY, TINY_CHANNELS, Row, as_cases, check, dense, image, image_and_heatmap

from drunet.models.registry import ARCHITECTURES

# Keras' documentation, without top; torchvision and timm agree where they have the network.
MOBILENETV2 = 2_257_984
# Width of the last layer and parameters without top. Where Keras' table has them with it alone: less 1000 classes.
BACKBONES = {
    "vgg16": (512, 14_714_688),
    "vgg19": (512, 20_024_384),
    "mobilenet": (1024, 4_253_864 - 1025 * 1000),
    "mobilenetv2": (1280, MOBILENETV2),
    "efficientnetv2": (1280, 5_919_312),
    "inceptionv3": (2048, 21_802_784),
    "resnet50": (2048, 25_636_712 - 2049 * 1000),
}
# The refiner in the authors' form, as published. Their first convolution reads 3 + 3 channels and one more convolution
# makes the last 3: 3 (9 + 1) parameters, and 2 x 9 x 4 weights between them, which four channels do without. The top
# skip adds 8 channels to the last normalisation (4 each) and to the last convolution (9 x 2 each).
CONVOLVED = 235_156
CONCATENATED = CONVOLVED - 30 - 72
TOP_SKIP = 8 * 4 + 8 * 18
CUTS = {"densenet_cut": "block1_conv", "resnet_cut": "block0_bn"}


def twice(channels: int, filters: int) -> int:
    """Parameters of two 3x3 convolutions, each with a normalisation of four numbers a channel."""
    return (9 * channels + 1) * filters + 4 * filters + (9 * filters + 1) * filters + 4 * filters


def mirrored(filters: tuple[int, ...]) -> int:
    """Parameters of H2G-Net's U-Net of these widths."""
    count, channels = 0, 4
    for width in filters:
        count, channels = count + twice(channels, width), width
    for width in filters[-2::-1]:
        # What comes from below and what comes across.
        count, channels = count + twice(channels + width, width), width
    return count + (channels + 1) * 2


# A backbone of two blocks cut behind its first normalisation, and one cut before its last.
TRUNKS = (9 * 3 + 1 + 4) * TINY_CHANNELS + TINY - 4 * TINY_CHANNELS
ROWS = [
    Row("dr_fused", {"size": 224}, image(224), (2,), 13_179_330, 13_179_330 - 13_125_058, onnx=False),
    Row(
        "dr_fused",
        {"size": 32, "dense_units": 8, "classes": 3, **CUTS},
        image(32),
        (3,),
        TRUNKS + dense(2 * TINY_CHANNELS, 8, 3),
        tiny=True,
    ),
    Row("drunet_unet", {"size": 1120}, image_and_heatmap(1120), (1120, 1120, 2), CONCATENATED, onnx=False),
    Row("drunet_unet", {"size": 64, "fusion": "convolve"}, image_and_heatmap(64), (64, 64, 2), CONVOLVED, onnx=False),
    Row("drunet_unet", {"size": 24}, image_and_heatmap(24), (24, 24, 2), CONCATENATED),
    Row(
        "drunet_unet",
        {"size": 16, "fusion": "convolve", "top_skip": True},
        image_and_heatmap(16),
        (16, 16, 2),
        CONVOLVED + TOP_SKIP,
    ),
    Row("drunet_unet", {"size": 16, "residual": True}, image_and_heatmap(16), (16, 16, 2), CONCATENATED),
    Row("h2gnet_classifier", {"size": 64}, image(64), (2,), MOBILENETV2 + dense(1280, 100, 2), onnx=False),
    Row("h2gnet_classifier", {"size": 32}, image(32), (2,), TINY + dense(TINY_CHANNELS, 100, 2), tiny=True),
    Row("h2gnet_unet", {"size": 1024}, image_and_heatmap(1024), (1024, 1024, 2), 11_572_562, onnx=False),
    Row(
        "h2gnet_unet",
        {"size": 16},
        image_and_heatmap(16),
        (16, 16, 2),
        mirrored((4, 8, 8)),
        replaced={"drunet.models.h2gnet_unet.FILTERS": (4, 8, 8)},
    ),
    *(
        Row("backbone", {"size": 64, "backbone": name}, image(64), (2,), own + dense(width, 512, 2), onnx=False)
        for name, (width, own) in BACKBONES.items()
    ),
    # Enlarged inside the graph to the least that the backbone takes.
    Row(
        "backbone",
        {"size": 64, "backbone": "inceptionv3"},
        image(64),
        (2,),
        TINY + dense(TINY_CHANNELS, 512, 2),
        tiny=True,
    ),
    Row(
        "backbone",
        {"size": 32, "backbone": "resnet50", "normalise": "caffe", "dense_units": 0, "classes": 3},
        image(32),
        (3,),
        TINY + dense(TINY_CHANNELS, 3),
        tiny=True,
    ),
]


@pytest.mark.parametrize("row", as_cases(ROWS))
def test_an_architecture_is_what_its_row_says(row: Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(row, monkeypatch, tmp_path)


def test_every_architecture_of_the_product_has_a_row_and_one_that_is_exported() -> None:
    # A head takes features, and no pictures: it has tests of its own.
    seeing = set(ARCHITECTURES) - {"encoder_head"}
    assert {row.name for row in ROWS} == {row.name for row in ROWS if row.onnx} == seeing


def test_the_published_size_of_h2g_nets_refiner_is_the_one_worked_out_by_hand() -> None:
    assert mirrored((8, 16, 32, 64, 128, 128, 256, 256, 512)) == 11_572_562
