from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from drunet.errors import ModelError
from drunet.models import registry
from studies.common.models.mfstudentlnet import STAGES, build_resnet18, feature_pyramid, recalibrated


def student(**options: Any) -> keras.Model:
    return registry.build("mfstudentlnet", **{"size": 64, **options})


# ---- ResNet18


def test_the_stages_have_the_published_shapes() -> None:
    trunk = build_resnet18(224, outputs=tuple(STAGES))
    assert [o.shape[1:] for o in trunk.outputs] == [(56, 56, 64), (28, 28, 128), (14, 14, 256), (7, 7, 512)]
    kernels = [w.shape for w in trunk.weights if w.name == "kernel"]
    assert tuple(kernels[0]) == (7, 7, 3, 64) and len(kernels) == 20
    # 3x3 in blocks; 1x1 projections only where shapes change.
    assert sorted(tuple(k[2:]) for k in kernels[1:] if k[0] == 1) == [(64, 128), (128, 256), (256, 512)]


@pytest.mark.slow
def test_odd_sizes_are_rounded_up_at_every_halving() -> None:
    trunk = build_resnet18(75, outputs=tuple(STAGES))
    assert [o.shape[1] for o in trunk.outputs] == [19, 10, 5, 3]


def test_strides_begin_at_the_first_pixel_as_with_equal_padding_on_all_sides() -> None:
    trunk = build_resnet18(32)
    for name in ("stem", "c3_block1_first"):
        layer = trunk.get_layer(f"{name}_conv")
        kernel = np.zeros(layer.kernel.shape, np.float32)
        kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0] = 1  # takes what lies under its middle
        layer.kernel.assign(kernel)
    names = ("stem_conv", "stem_relu", "stem_pool", "c2", "c3_block1_first_conv")
    probe = keras.Model(trunk.input, [trunk.get_layer(name).output for name in names])
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    stem, rectified, pooled, before, after = (np.asarray(found) for found in probe(image))
    np.testing.assert_allclose(stem[..., 0], image[:, ::2, ::2, 0], rtol=1e-5)
    np.testing.assert_allclose(after[..., 0], before[:, ::2, ::2, 0], rtol=1e-5)
    padded = np.pad(rectified, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(pooled, windows.max(axis=(-2, -1)))


def test_weights_begin_as_he_and_others_say() -> None:
    keras.utils.set_random_seed(1)
    kernel = np.asarray(build_resnet18(32).get_layer("c4_block2_first_conv").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
    assert abs(kernel.mean()) < 1e-3


# ---- Squeeze-and-Excitation


def test_squeeze_and_excitation_is_the_published_formula() -> None:
    x = keras.Input((3, 5, 32))
    model = keras.Model(x, recalibrated(x, 4, "se"))
    assert model.count_params() == 2 * 32 * 32 // 4 + 32 + 8
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 1, w.shape) for w in model.get_weights()])
    image = rng.normal(0, 1, (2, 3, 5, 32)).astype(np.float32)
    w1, b1, w2, b2 = model.get_weights()
    gate = 1 / (1 + np.exp(-(np.maximum(image.mean(axis=(1, 2)) @ w1 + b1, 0) @ w2 + b2)))
    np.testing.assert_allclose(np.asarray(model(image)), image * gate[:, None, None], rtol=1e-4, atol=1e-5)


def test_few_channels_keep_one_hidden_unit() -> None:
    x = keras.Input((2, 2, 8))
    assert keras.Model(x, recalibrated(x, 16, "se")).count_params() == (8 + 1) + (8 + 8)


# ---- feature pyramid


def test_the_pyramid_is_the_published_sum_also_where_sides_are_odd() -> None:
    sides, widths = (9, 5, 3), (4, 6, 8)
    inputs = [keras.Input((s, s, w)) for s, w in zip(sides, widths, strict=True)]
    levels = feature_pyramid(dict(zip(("p2", "p3", "p4"), inputs, strict=True)), 2)
    assert list(levels) == ["p2", "p3", "p4"]
    model = keras.Model(inputs, list(levels.values()))
    rng = np.random.default_rng(0)
    stages = [rng.normal(0, 1, (1, s, s, w)).astype(np.float32) for s, w in zip(sides, widths, strict=True)]
    sums, above = [], None
    for name, stage in reversed(list(zip(levels, stages, strict=True))):
        kernel, bias = model.get_layer(f"{name}_lateral").get_weights()
        here = stage @ kernel[0, 0] + bias
        if above is not None:
            side = here.shape[1]
            here = here + above.repeat(2, axis=1).repeat(2, axis=2)[:, :side, :side]
        above = here
        sums.insert(0, here)
    for name, answer, summed in zip(levels, model(stages), sums, strict=True):
        kernel, bias = model.get_layer(name).get_weights()
        padded = np.pad(summed, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        expected = np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + bias
        np.testing.assert_allclose(np.asarray(answer), np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


# ---- the student


@pytest.mark.slow
def test_stages_hand_on_their_plain_output_and_the_pyramid_takes_the_scaled_one() -> None:
    model = student(seed=2)
    image = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    probe = keras.Model(model.input, {n: model.get_layer(n).output for n in ("se2", "p5", "p2_pool", "fused")})
    before = {name: np.asarray(value) for name, value in probe(image).items()}
    gate = model.get_layer("se2_gate")
    gate.bias.assign(np.full(64, -50.0))  # the finest stage is hidden from the pyramid
    after = {name: np.asarray(value) for name, value in probe(image).items()}
    assert np.abs(after["se2"]).max() < 1e-12 < np.abs(before["se2"]).max()
    np.testing.assert_array_equal(after["p5"], before["p5"])
    assert np.abs(after["p2_pool"] - before["p2_pool"]).max() > 0
    assert before["fused"].shape == (2, 4 * 64)
    np.testing.assert_array_equal(before["fused"][:, :64], before["p2_pool"])


@pytest.mark.slow
def test_shrinking_looks_at_the_mean_of_pixels() -> None:
    small, shrunk = student(size=32, seed=3), student(size=64, shrink=2, seed=3)
    for one, other in zip(small.get_weights(), shrunk.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    image = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    halved = image.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(np.asarray(shrunk(image)), np.asarray(small(halved)), rtol=1e-3, atol=1e-5)
    assert student(size=64, shrink=4).output.shape == (None, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shrink": 3}, ("'shrink'", "1, 2 or 4")),
        ({"shrink": 4, "size": 62}, ("'shrink'", "4 for tiles of 62 px", "multiple of 4")),
        ({"shrink": 4, "size": 32}, ("'shrink'", "at least 64 px")),
        ({"pyramid_width": 0}, ("'pyramid_width'", "at least 1")),
        ({"pyramid": 1}, ("'pyramid'", "true or false")),
    ],
)
def test_an_option_that_makes_no_student_is_refused(change: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        student(**change)
    assert all(word in str(caught.value) for word in words)
