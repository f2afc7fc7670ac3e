"""The architectures of the studies: input, output, parameters, and the same answers in ONNX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from architectures import BOX, TINY, TINY_CHANNELS, Row, as_cases, check, dense, image

from studies.common.cost import arithmetic

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
LABELS = [0, 1, 1]
MOBILENETV2 = 2_257_984

# Mean and variance of 20 batch normalisations; torchvision counts what is learnt, with 1,000 classes.
MOVING = 2 * (64 * 5 + 128 * 5 + 256 * 5 + 512 * 5)
RESNET18 = 11_689_512 + MOVING
STAGES = (64, 128, 256, 512)
NARROW = (64, 32, 48, 64)


def trunk(stages: Sequence[int]) -> int:
    """ResNet18 without its top, with stages of these widths; there is no bias, and four numbers normalise a channel."""
    first = stages[0]
    count = 49 * 3 * first + 4 * first + 4 * (9 * first**2 + 4 * first)
    return count + sum(9 * a * b + 3 * 9 * b * b + a * b + 5 * 4 * b for a, b in pairwise(stages))


def excitation(channels: int) -> int:
    return dense(channels, channels // 16, channels)


def pyramid(stages: Sequence[int], width: int) -> int:
    return sum(dense(channels, width) for channels in stages) + 4 * (9 * width**2 + width)


def scales(stages: Sequence[int]) -> int:
    return sum(map(excitation, stages))


def student_flops(stages: Sequence[int]) -> int:
    """Of a student for 36 px with a pyramid of 8: sides 9, 5, 3 and 2, cropped at every level but one."""
    sides = (9, 5, 3, 2)
    macs = 18**2 * 49 * 3 * stages[0] + 9**2 * 4 * 9 * stages[0] ** 2
    macs += sum(
        side**2 * (9 * a * b + 3 * 9 * b * b + a * b) for side, (a, b) in zip(sides[1:], pairwise(stages), strict=True)
    )
    macs += sum(s * s * (w * 8 + 9 * 8 * 8) + 2 * w * (w // 16) for s, w in zip(sides, stages, strict=True))
    return 2 * (macs + 4 * 8 * 2)


def transformer(tokens: int, patch: int, width: int, depth: int, hidden: int, classes: int) -> int:
    block = 2 * 2 * width + 4 * dense(width, width) + dense(width, hidden, width)
    return dense(3 * patch**2, width) + width + tokens * width + depth * block + 2 * width + dense(width, classes)


def transformer_flops(tokens: int, patch: int, width: int, depth: int, hidden: int, classes: int) -> int:
    block = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden
    return 2 * ((tokens - 1) * 3 * patch**2 * width + depth * block + width * classes)


SMALL_TRANSFORMER = {"size": 32, "patch": 8, "width": 12, "depth": 2, "heads": 3, "mlp_ratio": 2.0}
# A pixel's convolutions with a bias, and those that a normalisation of four numbers a channel follows.
CONVOLUTIONS = sum(9 * a * b + b for a, b in [(3, 32), (32, 64), (64, 128), (128, 256)])
NORMALISED = sum(9 * a * b + 4 * b for a, b in [(3, 4), (4, 4), (4, 6), (6, 6)])
# Update, reset and candidate read the row and the state, each with a bias.
RECURRENT = 3 * 6 * (8 * 4 + 6 + 2)
# Three strided convolutions, three dilated ones, a map, two dense layers.
COMPACT = 9 * (1 * 16 + 16 * 32 + 32 * 64 + 3 * 64 * 64) + 4 * (16 + 32 + 64 + 3 * 64) + 65 + dense(64, 32, 2)

ROWS = [
    Row(
        "mfstudentlnet",
        {"size": 224, "classes": 1000, "pyramid": False, "squeeze_excitation": False},
        image(224),
        (1000,),
        RESNET18,
        MOVING,
        onnx=False,
    ),
    # The steps of the ablation.
    *(
        Row(
            "mfstudentlnet",
            {"size": 64, "classes": 3, "pyramid": levels, "squeeze_excitation": scaled},
            image(64),
            (3,),
            trunk(STAGES) + parameters,
            onnx=False,
        )
        for levels, scaled, parameters in (
            (False, True, excitation(512) + dense(512, 3)),
            (True, False, pyramid(STAGES, 64) + dense(4 * 64, 3)),
            (True, True, pyramid(STAGES, 64) + scales(STAGES) + dense(4 * 64, 3)),
        )
    ),
    Row(
        "mfstudentlnet",
        {"size": 36, "pyramid_width": 8},
        image(36),
        (2,),
        trunk(NARROW) + pyramid(NARROW, 8) + scales(NARROW) + dense(4 * 8, 2),
        replaced={
            "studies.common.models.mfstudentlnet.STAGES": dict(zip(("c2", "c3", "c4", "c5"), NARROW, strict=True))
        },
        flops=student_flops(NARROW),
    ),
    Row(
        "plain_cnn",
        {"size": 224, "classes": 3},
        image(224),
        (3,),
        CONVOLUTIONS + dense(14 * 14 * 256, 128, 3),
        onnx=False,
    ),
    Row(
        "plain_cnn",
        {"size": 32, "filters": [4, 6], "convolutions": 2, "batch_norm": True, "dense_units": 5},
        image(32),
        (2,),
        NORMALISED + dense(8 * 8 * 6, 5, 2),
    ),
    Row(
        "cnn_rnn",
        {"size": 32, "filters": [4, 4], "units": 6, "normalise": "caffe"},
        image(32),
        (2,),
        9 * (3 * 4 + 4 * 4) + 2 * 4 * 4 + RECURRENT + dense(6, 2),
    ),
    *(
        Row(
            "vision_transformer",
            {"size": 224, "classes": 1000, "patch": 16, "width": width, "depth": 12, "heads": heads},
            image(224),
            (1000,),
            published,
            onnx=False,
        )
        for width, heads, published in ((192, 3, 5_717_416), (384, 6, 22_050_664), (768, 12, 86_567_656))
    ),
    Row(
        "vision_transformer",
        SMALL_TRANSFORMER,
        image(32),
        (2,),
        transformer(17, 8, 12, 2, 24, 2),
        flops=transformer_flops(17, 8, 12, 2, 24, 2),
    ),
    Row("prototypes", {"size": 32, "labels": LABELS}, image(32), (2,), MOBILENETV2 + 3 * 1280, onnx=False),
    Row("prototypes", {"size": 32, "labels": LABELS}, image(32), (2,), TINY + 3 * TINY_CHANNELS, tiny=True),
    Row("clustered", {"size": 32, "labels": LABELS}, image(32), (2,), MOBILENETV2 + dense(1280, 100, 3), onnx=False),
    Row("clustered", {"size": 32, "labels": LABELS}, image(32), (2,), TINY + dense(TINY_CHANNELS, 100, 3), tiny=True),
    Row(
        "upsampled_classifier",
        {"size": 32, "backbone": "resnet50", "dense_units": [8, 5], "normalise": "caffe"},
        image(32),
        (2,),
        TINY + 4 * (TINY_CHANNELS + 8 + 5) + dense(TINY_CHANNELS, 8, 5, 2),
        tiny=True,
    ),
    Row(
        "simple_box_cnn", {"size": 64}, image(64, 1), BOX, 10 * 16 + 145 * 32 + dense(32 * 16 * 16, 256, 4), onnx=False
    ),
    Row(
        "simple_box_cnn",
        {"size": 32, "filters": [2, 3], "dense_units": 5},
        image(32, 1),
        BOX,
        10 * 2 + 19 * 3 + dense(3 * 8 * 8, 5, 4),
    ),
    Row("compact_box_regressor", {"size": 64}, image(64, 1), BOX, COMPACT),
    Row("compact_box_regressor", {"size": 512}, image(512, 1), BOX, COMPACT, onnx=False),
]


@pytest.mark.parametrize("row", as_cases(ROWS))
def test_an_architecture_is_what_its_row_says(row: Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = check(row, monkeypatch, tmp_path)
    if row.flops:
        assert arithmetic(path).flops == row.flops


def test_every_architecture_of_the_studies_has_a_row_and_one_that_is_exported() -> None:
    files = [path for path in WORKFLOW.rglob("*.py") if re.search(rf"(?m)^def build_{path.stem}\(", path.read_text())]
    assert {row.name for row in ROWS} == {row.name for row in ROWS if row.onnx} == {path.stem for path in files}
