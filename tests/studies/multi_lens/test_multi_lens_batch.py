from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from published_lenses import distort_reference

from drunet.augment.multi_lens import Lenses, coordinate_map, draw_lenses
from drunet.augment.pipeline import MultiLens
from studies.multi_lens.lens_batch import MultiLensDistortion, distort_batch, source_pixels

# Beyond 1 none is ever drawn, but the two forms must agree there too; so also where a centre lies outside the image.
ANY_STRENGTH = st.floats(-2.5, 2.5)
ROOT = Path(__file__).resolve().parents[3]


def stacked(lenses: list[Lenses]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.stack([getattr(one, name) for one in lenses]) for name in ("centres", "radii", "strengths"))


@st.composite
def batches(draw: st.DrawFn, strengths: st.SearchStrategy[float] = ANY_STRENGTH) -> tuple[np.ndarray, list[Lenses]]:
    count, k = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    channels = draw(st.sampled_from([1, 3]))
    dtype = draw(st.sampled_from([np.uint8, np.float32]))
    images = np.random.default_rng(draw(st.integers(0, 2**16))).random((count, height, width, channels)) * 255
    some = st.tuples(st.integers(-5, 35), st.integers(-5, 35), st.integers(1, 40), strengths)
    lenses = []
    for _ in range(count):
        drawn = draw(st.lists(some, min_size=k, max_size=k))
        lenses.append(Lenses([d[:2] for d in drawn], [d[2] for d in drawn], [d[3] for d in drawn]))
    return images.astype(dtype), lenses


@settings(deadline=None, max_examples=80)
@given(batches())
@pytest.mark.slow
def test_a_batch_equals_the_published_listing_image_by_image_bit_for_bit(case: tuple[np.ndarray, list[Lenses]]) -> None:
    images, lenses = case
    seen = ops.convert_to_numpy(distort_batch(ops.convert_to_tensor(images), *stacked(lenses)))
    assert seen.dtype == images.dtype
    for image, own, result in zip(images, lenses, seen, strict=True):
        np.testing.assert_array_equal(result, distort_reference(image, own))


def test_maps_at_the_published_setting_are_those_of_the_pipeline() -> None:
    rng = np.random.default_rng(4)
    lenses = [draw_lenses(rng, (224, 224), 4, (80, 110), (-0.4, 0.4)) for _ in range(24)]
    expected = np.stack([coordinate_map((224, 224), own).ravel() for own in lenses])
    np.testing.assert_array_equal(source_pixels((224, 224), *stacked(lenses)), expected)


@settings(deadline=None, max_examples=25)
@given(batches(strengths=st.just(0.0)))
def test_strength_zero_is_the_identity(case: tuple[np.ndarray, list[Lenses]]) -> None:
    images, lenses = case
    np.testing.assert_array_equal(distort_batch(images, *stacked(lenses)), images)


@settings(deadline=None, max_examples=25)
@given(batches(strengths=st.floats(-0.9, 0.9)))
def test_no_value_is_new_and_pixels_outside_all_lenses_stay(case: tuple[np.ndarray, list[Lenses]]) -> None:
    images, lenses = case
    seen = ops.convert_to_numpy(distort_batch(images, *stacked(lenses)))
    rows, columns = np.indices(images.shape[1:3])
    for image, own, result in zip(images, lenses, seen, strict=True):
        assert np.isin(result, image).all()
        outside = np.all([np.hypot(rows - y, columns - x) >= r for y, x, r, _ in own] or [rows >= 0], axis=0)
        np.testing.assert_array_equal(result[outside], image[outside])


def test_a_batch_of_many_equals_batches_of_one() -> None:
    rng = np.random.default_rng(2)
    images = rng.random((5, 20, 26, 3), dtype=np.float32)
    drawn = stacked([draw_lenses(rng, (20, 26), 3, (5, 12), (-0.4, 0.4)) for _ in range(5)])
    together = ops.convert_to_numpy(distort_batch(images, *drawn))
    for i in range(5):
        alone = distort_batch(images[i : i + 1], *(values[i : i + 1] for values in drawn))
        np.testing.assert_array_equal(together[i], ops.convert_to_numpy(alone)[0])
    assert (together != images).any(axis=(1, 2, 3)).all()


def test_the_layer_distorts_in_training_alone_each_image_by_lenses_of_its_own() -> None:
    layer = MultiLensDistortion(MultiLens(4, (10, 14), (-0.4, 0.4)), seed=3)
    one = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 3), dtype=np.uint8)
    images = np.repeat(one, 6, axis=0)
    np.testing.assert_array_equal(layer(images), images)
    seen = ops.convert_to_numpy(layer(images, training=True))
    assert seen.dtype == np.uint8
    assert len(np.unique(seen.reshape(6, -1), axis=0)) == 6
    again = ops.convert_to_numpy(layer(images, training=True))
    assert (again != seen).any()


def test_half_precision_moves_values_without_rounding_them() -> None:
    layer = MultiLensDistortion(MultiLens(2, (4, 9), (-0.4, 0.4)), dtype="mixed_float16")
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    seen = ops.convert_to_numpy(layer(images, training=True))
    assert seen.dtype == np.float32
    assert np.isin(seen, images).all()


def test_the_same_seed_draws_the_same_lenses() -> None:
    images = np.random.default_rng(0).random((4, 16, 18, 3), dtype=np.float32)
    layers = [MultiLensDistortion(MultiLens(3, (4, 9), (-0.3, 0.4), 0.7, "inside"), seed=seed) for seed in (11, 11, 12)]
    first, second, other = (ops.convert_to_numpy(layer(images, training=True)) for layer in layers)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_draws_stay_in_their_ranges() -> None:
    layer = MultiLensDistortion(MultiLens(4, (3, 6), (-0.4, 0.2), 0.25), seed=1)
    centres, radii, strengths = (ops.convert_to_numpy(values) for values in layer.draw(2000, (30, 90)))
    assert centres.shape == (2000, 4, 2)
    assert centres.min(axis=(0, 1)).tolist() == [0, 0]
    assert centres.max(axis=(0, 1)).tolist() == [29, 89]
    assert set(radii.ravel().tolist()) == {3, 4, 5}
    chosen = (strengths != 0).any(axis=1)
    assert chosen.mean() == pytest.approx(0.25, abs=0.04)
    assert (strengths[chosen] != 0).all()
    assert (strengths.min(), strengths.max()) == pytest.approx((-0.4, 0.2), abs=0.01)


def test_centres_inside_keep_away_from_the_edges() -> None:
    layer = MultiLensDistortion(MultiLens(2, (3, 6), (-0.4, 0.4), centres="inside"), seed=1)
    centres = ops.convert_to_numpy(layer.draw(2000, (30, 90))[0])
    assert (centres.min(axis=(0, 1)).tolist(), centres.max(axis=(0, 1)).tolist()) == ([5, 5], [24, 84])


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_what_the_listing_gives(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"the backend {backend} is not here")
    program = """
import numpy as np
from keras import ops
from drunet.augment.multi_lens import draw_lenses
from drunet.augment.pipeline import MultiLens
from published_lenses import distort_reference
from studies.multi_lens.lens_batch import MultiLensDistortion, distort_batch
rng = np.random.default_rng(0)
images = rng.random((4, 64, 64, 3), dtype=np.float32)
lenses = [draw_lenses(rng, (64, 64), 4, (23, 31), (-0.4, 0.4)) for _ in range(4)]
drawn = [np.stack([getattr(one, name) for one in lenses]) for name in ("centres", "radii", "strengths")]
seen = ops.convert_to_numpy(distort_batch(ops.convert_to_tensor(images), *drawn))
expected = np.stack([distort_reference(*pair) for pair in zip(images, lenses)])
assert (seen != expected).mean() < 2e-4, (seen != expected).mean()
assert MultiLensDistortion(MultiLens(2, (5, 9), (-0.4, 0.4)))(images, training=True).shape == (4, 64, 64, 3)
"""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{ROOT}/scripts:{ROOT}/workflow"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
