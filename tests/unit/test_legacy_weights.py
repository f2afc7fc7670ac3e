"""Weights in Keras 2's layout: a network built as H2G-Net's code builds it, and ours with its weights, answer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from drunet.errors import ModelError
from drunet.models import h2gnet_unet, registry

FILTERS = (4, 4, 8)
RENORM = ("renorm_mean", "renorm_stddev")


def convolutions(x: Any, filters: int, numbers: Iterator[int]) -> Any:
    """Two blocks with the names that Keras 2 gave: conv2d, conv2d_1, …; the order of the authors' code."""
    for _ in range(2):
        k = next(numbers)
        end = f"_{k}" if k else ""
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv2d{end}")(x)
        x = layers.BatchNormalization(name=f"batch_normalization{end}")(x)
        x = layers.Activation("relu", name=f"activation{end}")(x)
    return x


def released_unet(size: int) -> keras.Model:
    """H2G-Net's U-Net of one input with four channels, narrower than published."""
    numbers = iter(range(100))
    picture = x = keras.Input((size, size, 4), name="input_1")
    kept = []
    for filters in FILTERS[:-1]:
        x = convolutions(x, filters, numbers)
        kept.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = convolutions(x, FILTERS[-1], numbers)
    for filters, skip in zip(FILTERS[-2::-1], reversed(kept), strict=True):
        x = convolutions(layers.Concatenate()([skip, layers.UpSampling2D(2)(x)]), filters, numbers)
    return keras.Model(picture, layers.Conv2D(2, 1, activation="softmax", name=f"conv2d_{next(numbers)}")(x))


def released_classifier(size: int, nested: bool) -> keras.Model:
    """MobileNetV2 as a layer of its own, or its layers among the others, and the head."""
    trunk = keras.applications.MobileNetV2((size, size, 3), include_top=False, weights=None)
    trunk.name = "mobilenetv2_1.00_224"
    tile = keras.Input((size, size, 3)) if nested else trunk.input
    x = layers.GlobalAveragePooling2D()(trunk(tile) if nested else trunk.output)
    x = layers.Dropout(0.5)(layers.Dense(100, activation="relu", name="dense")(x))
    return keras.Model(tile, layers.Dense(2, activation="softmax", name="dense_1")(x))


def shuffled(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            np.abs(rng.normal(0.5, 0.2, w.shape)) if w.ndim == 1 else rng.normal(0, 0.2, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


def arrays(layer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """What Keras 2 wrote of a layer: those that learn first; names of a network inside it are its layers' own."""
    inner = [leaf for leaf in getattr(layer, "layers", [layer]) if leaf.weights]
    for part in ("trainable_weights", "non_trainable_weights"):
        for leaf in inner:
            for variable in getattr(leaf, part):
                role = "depthwise_kernel" if isinstance(leaf, layers.DepthwiseConv2D) else variable.name
                yield f"{leaf.name}/{role}:0", np.asarray(variable)
    for leaf in inner if layer.name.startswith("batch_normalization") else []:
        yield from ((f"{leaf.name}/{role}:0", np.full(leaf.gamma.shape, 7.0)) for role in RENORM)


def write(model: keras.Model, path: Path, *, whole: bool = False, divided: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = b'{"class_name": "Lambda"}'
        names = [layer.name.encode() for layer in model.layers]
        if divided:
            group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:9], names[9:]
        else:
            group.attrs["layer_names"] = names
        group.attrs["keras_version"] = b"2.4.0"
        for layer in model.layers:
            own, held = group.create_group(layer.name), dict(arrays(layer))
            own.attrs["weight_names"] = [name.encode() for name in held]
            for name, value in held.items():
                own[name] = value
    return path


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2gnet_unet, "FILTERS", FILTERS)


@pytest.mark.parametrize("layout", [{}, {"whole": True}, {"divided": True}], ids=["weights", "whole", "divided"])
@pytest.mark.slow
def test_the_released_unet_and_ours_answer_alike(layout: dict[str, bool], narrow: None, tmp_path: Path) -> None:
    released = shuffled(released_unet(32))
    model = registry.build("h2gnet_unet", size=32, seed=5)
    registry.load_weights(model, write(released, tmp_path / "unet.h5", **layout))
    rng = np.random.default_rng(1)
    image, heat = rng.random((2, 32, 32, 3), np.float32), rng.random((2, 32, 32, 1), np.float32)
    expected = released.predict(np.concatenate([image, heat], axis=-1), verbose=0)
    found = model.predict({"input_image": image, "input_pred": heat}, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected[..., 1]) > 0.05, "the pictures tell something"


def test_the_published_unet_has_as_many_layers_as_the_authors_code_builds() -> None:
    """Nine levels, two convolutions each, mirrored, and the last: 35 and 34 normalisations, in this order."""
    model = registry.build("h2gnet_unet", size=256, seed=1)
    widths = [layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)]
    down = [8, 16, 32, 64, 128, 128, 256, 256]
    assert widths == [width for width in [*down, 512, *down[::-1]] for _ in range(2)] + [2]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.slow
def test_the_released_classifier_and_ours_answer_alike(nested: bool, tmp_path: Path) -> None:
    released = shuffled(released_classifier(32, nested))
    model = registry.build("h2gnet_classifier", size=32, seed=5)
    registry.load_weights(model, write(released, tmp_path / "pwc.h5"))
    tiles = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)
    np.testing.assert_allclose(model.predict(tiles, verbose=0), released.predict(tiles, verbose=0), atol=1e-5)


def change(path: Path, edit: Callable[[Any], None]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def narrower(file: Any) -> None:
    del file["conv2d_2/conv2d_2/kernel:0"]
    file["conv2d_2/conv2d_2/kernel:0"] = np.zeros((3, 3, 4, 5), np.float32)


def not_a_number(file: Any) -> None:
    file["conv2d/conv2d/bias:0"][0] = np.nan


def without_one(file: Any) -> None:
    file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if n not in (b"conv2d_3", "conv2d_3")]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (narrower, r"another shape .*found: conv2d_2 kernel \[3, 3, 4, 5\], for encoder_2_conv_1 \[3, 3, 4, 4\]"),
        (not_a_number, r"weights that are no numbers"),
        (without_one, r"other layers .*found: 10 layers with bias, kernel, where the model has 11"),
        (lambda file: file["conv2d"].attrs.create("weight_names", [b"conv2d/absent:0"]), r"damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    edit: Callable[[Any], None], message: str, narrow: None, tmp_path: Path
) -> None:
    path = change(write(shuffled(released_unet(32)), tmp_path / "unet.h5"), edit)
    with pytest.raises(ModelError, match=message) as caught:
        registry.load_weights(registry.build("h2gnet_unet", size=32, seed=5), path)
    assert "\n" not in str(caught.value) and "unet.h5" in str(caught.value)
