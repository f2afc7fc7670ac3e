"""The table of architectures: what one has to show, whoever's it is."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from drunet.export.onnx_model import write_onnx
from drunet.inference import EngineOptions, Layout, check_classifier, open_session
from drunet.models import backbones, registry
from drunet.refine import refiner_size

PARITY = 1e-4
# Output of the networks that place a box: no probabilities.
BOX = (4,)
TINY_CHANNELS = 4


@dataclass(frozen=True)
class Row:
    """An architecture with some options, and what it then is.

    Attributes
    ----------
    name, options
        As a configuration gives them.
    inputs : mapping
        Names and shapes, without the batch.
    output : tuple of int
        Shape, without the batch.
    parameters : int
        Published, or counted by hand.
    fixed : int, optional
        How many of the parameters are not learnt: moving averages of normalisations.
    tiny : bool
        Backbones are replaced by `tiny_backbone`.
    replaced : mapping
        What else is made smaller, by its full name.
    onnx : bool
        The network is exported and compared: leave it out where it is large.
    flops : int
        Of the file, counted by hand; 0: not counted.
    """

    name: str
    options: Mapping[str, Any]
    inputs: Mapping[str, tuple[int, int, int]]
    output: tuple[int, ...]
    parameters: int
    fixed: int | None = None
    tiny: bool = False
    replaced: Mapping[str, Any] = field(default_factory=dict)
    onnx: bool = True
    flops: int = 0

    def __str__(self) -> str:
        kind = ["tiny"] if self.tiny else []
        return "-".join([self.name, *kind, *(f"{key}={value}" for key, value in self.options.items())])


def as_cases(rows: list[Row]) -> list[Any]:
    """Rows as a test is given them; networks that are too large to be exported here are too large for `make test`."""
    return [pytest.param(row, id=str(row), marks=[] if row.onnx else [pytest.mark.slow]) for row in rows]


def image(size: int, channels: int = 3) -> dict[str, tuple[int, int, int]]:
    """The input of a classifier."""
    return {"input_image": (size, size, channels)}


def image_and_heatmap(size: int) -> dict[str, tuple[int, int, int]]:
    """The inputs of a refiner, in alphabetical order."""
    return {"input_image": (size, size, 3), "input_pred": (size, size, 1)}


def dense(*widths: int) -> int:
    """Parameters of dense layers from one width to the next, with biases."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def tiny_backbone(channels: int = TINY_CHANNELS, blocks: int = 2, strides: int = 1) -> Callable[..., keras.Model]:
    """Stand in for one of Keras' applications: the same arguments, two layers a block, and no network."""

    def build(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
        assert not include_top
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://…: None")
        x = pixels = keras.Input(input_shape)
        for i in range(blocks):
            x = keras.layers.Conv2D(channels, 3, strides=strides, padding="same", name=f"block{i}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"block{i}_bn")(x)
        return keras.Model(pixels, x, name="as_keras_calls_it")

    return build


# Of `tiny_backbone` as it is used here: a weight per pixel of the kernel and a bias, and four numbers to normalise.
TINY = sum(9 * a * TINY_CHANNELS + TINY_CHANNELS + 4 * TINY_CHANNELS for a in (3, TINY_CHANNELS))


def check(row: Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hold an architecture against its row; gives the exported file, which is there where the row says so."""
    if row.tiny:
        for name in backbones.BACKBONES:
            monkeypatch.setitem(backbones.BACKBONES, name, tiny_backbone())
    for name, value in row.replaced.items():
        monkeypatch.setattr(name, value)
    model = registry.build(row.name, **row.options, seed=3)
    assert [(i.name, i.shape) for i in model.inputs] == [(n, (None, *s)) for n, s in row.inputs.items()]
    assert model.output.shape == (None, *row.output) and model.output.dtype == "float32"
    assert model.count_params() == row.parameters
    if row.fixed is not None:
        assert sum(int(np.prod(weights.shape)) for weights in model.non_trainable_weights) == row.fixed
    # Pixels arrive in [0, 1]: what a backbone of Keras does to them by itself would come on top.
    assert not {type(layer).__name__ for layer in layers_of(model)} & {"Rescaling", "Normalization"}
    path = tmp_path / "model.onnx"
    if row.onnx:
        check_seed(row, model)
        check_answers(row, model, path)
    return path


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, also those of networks inside."""
    return [one for layer in model.layers for one in (layers_of(layer) if hasattr(layer, "layers") else [layer])]


def check_seed(row: Row, model: keras.Model) -> None:
    """The seed, and nothing else, decides the weights with which training begins."""
    same, other = (registry.build(row.name, **row.options, seed=seed).get_weights() for seed in (3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same, strict=True))
    drawn = [(a, b) for a, b in zip(same, other, strict=True) if np.ptp(a) > 0]
    assert drawn and not any(np.array_equal(a, b) for a, b in drawn)


def check_answers(row: Row, model: keras.Model, path: Path) -> None:
    """Keras and the exported file say the same of the same pictures, and not the same of all pictures."""
    # By a digest of the row, so that another row changes nothing here.
    rng = np.random.default_rng(zlib.crc32(str(row).encode()))
    scales = {name: 1.0 if name == "input_pred" else 1 / 255 for name in row.inputs}
    raw = {
        name: (rng.random((3, *shape)) if name == "input_pred" else rng.integers(0, 256, (3, *shape))).astype(
            np.float32
        )
        for name, shape in row.inputs.items()
    }
    # One picture dark, one pale, one full of contrast.
    raw["input_image"] *= np.float32([0.2, 0.4, 1])[:, None, None, None]
    raw["input_image"][1] += 150
    unit = {name: pixels * np.float32(scales[name]) for name, pixels in raw.items()}
    # Networks that were not trained answer nearly alike whatever they see, and their normalisation does nothing.
    model.set_weights([_stirred(rng, weights) for weights in model.get_weights()])
    last = [layer for layer in model.layers if layer.weights][-1]
    weights = last.get_weights()

    def answered(factor: float) -> np.ndarray:
        last.set_weights([factor * w for w in weights])
        return np.asarray(model(unit if len(unit) > 1 else unit["input_image"], training=False))

    # Some are then unsure of all, some so sure that they say one thing of all: neither would show anything.
    expected = answered(max(10.0 ** np.arange(-6, 3), key=lambda factor: np.ptp(answered(factor), axis=0).max()))
    facts = write_onnx(model, path, opset=17, scales=scales, facts={}, seed=1)
    assert facts["parity"] <= PARITY and facts["parameters"] == row.parameters
    session = open_session(path, EngineOptions(threads=1), where=row.name)
    if "input_pred" in row.inputs:
        assert refiner_size(session, where=row.name) == row.options["size"]
    elif row.output != BOX:
        assert check_classifier(session, Layout(), row.options["size"], where=row.name) == "input_image"
    answer = session.run(None, raw)[0]
    np.testing.assert_allclose(answer, expected, atol=PARITY)
    assert np.isfinite(answer).all() and np.ptp(answer, axis=0).max() > 100 * PARITY
    if row.output != BOX:
        np.testing.assert_allclose(answer.sum(axis=-1), 1, rtol=1e-4)


def _stirred(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    # What is nowhere negative may be a variance.
    moved = weights + rng.normal(0, 0.05 + 0.5 * weights.std(), weights.shape)
    return np.abs(moved) if (weights >= 0).all() else moved
