from __future__ import annotations

import colorsys
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_lenses import distort_reference
from scipy import ndimage

from drunet.augment.colour import (
    adjust_contrast,
    adjust_hue_saturation,
)
from drunet.augment.multi_lens import draw_lenses
from drunet.augment.pipeline import Augmentation, MultiLens, Orientation, draw_orientation, reorient
from drunet.errors import ConfigError

FULL: dict[str, Any] = {
    "flip": True,
    "quarter_turns": True,
    "hue": 0.08,
    "contrast": [0.7, 1.3],
    "saturation": [0.7, 1.3],
    "brightness": 0.1,
    "multi_lens": {"lenses": 4, "radius": [23, 31], "strength": [-0.4, 0.4], "probability": 0.5},
}


def picture(seed: int = 0, shape: tuple[int, ...] = (48, 40, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def adjust_hue(image: np.ndarray, turn: float) -> np.ndarray:
    return adjust_hue_saturation(image, hue=turn)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    return adjust_hue_saturation(image, saturation=factor)


def adjust_brightness(image: np.ndarray, delta: float) -> np.ndarray:
    return adjust_contrast(image, 1.0, delta)


# ---- colour: against TensorFlow's own functions. TensorFlow scales by 255.5 and truncates, hence one grey level.


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts"),
    [
        (adjust_hue, "adjust_hue", (-0.5, -0.08, 0.0, 0.03, 0.08, 0.31, 0.5)),
        (adjust_saturation, "adjust_saturation", (0.0, 0.7, 1.0, 1.3, 4.0)),
        (adjust_contrast, "adjust_contrast", (0.0, 0.7, 1.0, 1.3, 3.0)),
        (adjust_brightness, "adjust_brightness", (-1.0, -0.1, 0.0, 0.07, 0.2, 1.0)),
    ],
)
def test_colour_agrees_with_tensorflow_to_one_grey_level(ours, theirs: str, amounts: tuple[float, ...]) -> None:
    tf = pytest.importorskip("tensorflow")
    image = picture(1)
    for amount in amounts:
        expected = getattr(tf.image, theirs)(image, amount).numpy()
        difference = np.abs(ours(image, amount).astype(int) - expected.astype(int))
        assert difference.max() <= 1, (theirs, amount)


@settings(max_examples=80)
@given(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.floats(-0.5, 0.5),
    st.floats(0, 2),
)
def test_hue_and_saturation_agree_with_colorsys(rgb: tuple[int, int, int], turn: float, factor: float) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))
    expected = colorsys.hsv_to_rgb((hue + turn) % 1.0, min(saturation * factor, 1.0), value)
    pixel = adjust_hue_saturation(np.array([[rgb]], dtype=np.uint8), turn, factor)[0, 0]
    # Half a level of rounding, and a little for single precision.
    assert np.abs(pixel - np.array(expected) * 255).max() <= 0.51


def test_neutral_amounts_change_nothing() -> None:
    image = np.indices((256, 256)).transpose(1, 2, 0).astype(np.uint8)
    image = np.concatenate([image, image[::-1, :, :1]], axis=-1)
    for changed in (adjust_hue(image, 0.0), adjust_hue(image, 1.0), adjust_contrast(image, 1.0)):
        np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(adjust_saturation(image, 1.0), image)
    np.testing.assert_array_equal(adjust_brightness(image, 0.0), image)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.3, 4.0])
def test_contrast_and_brightness_in_one_passage_are_one_after_the_other(factor: float) -> None:
    image = picture(11)
    for delta in (-1.0, -0.1, 0.003, 0.4):
        both = adjust_contrast(image, factor, delta)
        np.testing.assert_array_equal(both, adjust_brightness(adjust_contrast(image, factor), delta))


def test_a_picture_lies_as_any_other_array_does() -> None:
    image = picture(12, (5, 8, 3))
    for flips in itertools.product([False, True], repeat=2):
        for turns in range(4):
            laid, *channels = reorient(Orientation(*flips, turns), image, *np.moveaxis(image, -1, 0))
            np.testing.assert_array_equal(laid, np.stack(channels, axis=-1))
            (window,) = reorient(Orientation(*flips, turns), image[1:4, 2:5])
            assert window.flags.c_contiguous and window.shape == (3, 3, 3)


def test_contrast_keeps_each_channels_own_mean() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[..., 0] = [[90, 110], [90, 110]]
    image[..., 1] = [[200, 202], [200, 202]]
    changed = adjust_contrast(image, 2.0)
    assert changed[0].tolist() == [[80, 199, 0], [120, 203, 0]]


@pytest.mark.parametrize("adjust", [adjust_hue, adjust_contrast, adjust_brightness])
def test_what_is_not_an_rgb_image_is_refused(adjust) -> None:
    for wrong in (picture().astype(np.float32), picture()[..., 0], picture()[..., :2]):
        with pytest.raises(ValueError, match="uint8"):
            adjust(wrong, 0.1)


# ---- geometry


def test_the_eight_orientations_are_those_of_a_square() -> None:
    square = np.arange(9).reshape(3, 3)
    seen = {
        reorient(Orientation(upside_down, mirrored, turns), square)[0].tobytes()
        for upside_down in (False, True)
        for mirrored in (False, True)
        for turns in range(4)
    }
    assert len(seen) == 8
    assert reorient(Orientation(upside_down=True), square)[0].tolist() == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
    assert reorient(Orientation(mirrored=True), square)[0].tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    assert reorient(Orientation(quarter_turns=1), square)[0].tolist() == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]


def test_orientations_are_drawn_with_the_odds_that_are_promised() -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_orientation(rng, (8, 8)) for _ in range(4000)]
    assert np.mean([o.upside_down for o in drawn]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([o.mirrored for o in drawn]) == pytest.approx(0.5, abs=0.04)
    shares = np.bincount([o.quarter_turns for o in drawn], minlength=4) / len(drawn)
    assert shares == pytest.approx([0.25] * 4, abs=0.04)
    assert {draw_orientation(rng, (8, 6)).quarter_turns for _ in range(200)} == {0, 2}
    assert {draw_orientation(rng, (8, 8), flip=False, quarter_turns=False) for _ in range(50)} == {Orientation()}


# ---- the whole


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 64), (64, 40)]))
def test_image_heatmap_and_mask_move_together(seed: int, size: tuple[int, int]) -> None:
    geometry = {**{key: FULL[key] for key in ("flip", "quarter_turns")}, "multi_lens": {**FULL["multi_lens"]}}
    augment = Augmentation.from_config(geometry)
    image = picture(seed % 97, (*size, 3))
    heatmap, mask = image[..., :1].astype(np.float32), image[..., 1] > 128
    heatmap[0, 0] = np.nan
    image[0, 0, 0] = 7
    moved, warmer, masked = augment(np.random.default_rng(seed), image, heatmap, mask)
    assert moved.shape == image.shape
    known = ~np.isnan(warmer[..., 0])
    np.testing.assert_array_equal(warmer[..., 0][known], moved[..., 0][known])
    np.testing.assert_array_equal(masked, moved[..., 1] > 128)
    assert warmer.dtype == np.float32
    assert masked.dtype == bool


def test_colour_touches_the_image_only() -> None:
    augment = Augmentation.from_config({key: FULL[key] for key in ("hue", "contrast", "saturation", "brightness")})
    image, mask = picture(4, (32, 32, 3)), picture(5, (32, 32))
    before = image.copy()
    changed, same = augment(np.random.default_rng(0), image, mask)
    assert (changed != image).mean() > 0.5
    np.testing.assert_array_equal(same, mask)
    np.testing.assert_array_equal(image, before)


def test_the_same_seed_gives_the_same_sample_and_every_call_a_new_one() -> None:
    augment = Augmentation.from_config(FULL)
    image = picture(6, (64, 64, 3))
    one, two = np.random.default_rng(8), np.random.default_rng(8)
    first, second = augment(one, image)[0], augment(one, image)[0]
    np.testing.assert_array_equal(first, augment(two, image)[0])
    np.testing.assert_array_equal(second, augment(two, image)[0])
    assert (first != second).any()


@pytest.mark.parametrize("config", [None, {}, dict.fromkeys(FULL)])
def test_nothing_asked_for_is_nothing_done(config: dict | None) -> None:
    image = picture(7)
    assert Augmentation.from_config(config) == Augmentation()
    np.testing.assert_array_equal(Augmentation.from_config(config)(np.random.default_rng(0), image)[0], image)


def test_lenses_act_on_the_share_of_samples_asked_for_and_as_the_listing_says() -> None:
    lens = {"lenses": 2, "radius": [10, 20], "strength": [0.2, 0.4], "probability": 0.3}
    augment = Augmentation.from_config({"multi_lens": lens})
    image, rng = picture(8, (64, 64, 3)), np.random.default_rng(2)
    changed = [(augment(rng, image)[0] != image).any() for _ in range(500)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.07)
    always = Augmentation(multi_lens=MultiLens(2, (10, 20), (0.2, 0.4)))
    twin = np.random.default_rng(11)
    twin.random()
    expected = distort_reference(image, draw_lenses(twin, (64, 64), 2, (10, 20), (0.2, 0.4)))
    np.testing.assert_array_equal(always(np.random.default_rng(11), image)[0], expected)


def test_the_strongest_settings_reach_their_ends_and_no_further() -> None:
    augment = Augmentation.from_config({"brightness": 0.2})
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    rng = np.random.default_rng(3)
    levels = [int(augment(rng, grey)[0][0, 0, 0]) for _ in range(400)]
    assert min(levels) in (49, 50)
    assert max(levels) in (150, 151)


@pytest.mark.parametrize(
    ("config", "key", "word"),
    [
        ({"hues": 0.1}, "x.augment", "Did you mean hue?"),
        ({"hue": 0.7}, "x.augment.hue", "0.5"),
        ({"hue": True}, "x.augment.hue", "number"),
        ({"flip": "yes"}, "x.augment.flip", "true or false"),
        ({"contrast": 1.3}, "x.augment.contrast", "a list"),
        ({"saturation": [1.3, 0.7]}, "x.augment.saturation", "exceeds"),
        ({"multi_lens": {"lenses": 4}}, "x.augment.multi_lens", "radius"),
        ({"multi_lens": {**FULL["multi_lens"], "strenght": 1}}, "x.augment.multi_lens", "Did you mean strength?"),
        ({"multi_lens": {**FULL["multi_lens"], "radius": [5, 5]}}, "x.augment.multi_lens.radius", "empty"),
        ({"multi_lens": {**FULL["multi_lens"], "radius": [5.5, 9]}}, "x.augment.multi_lens.radius.0", "whole"),
        ({"multi_lens": {**FULL["multi_lens"], "probability": 2}}, "x.augment.multi_lens.probability", "at most 1"),
        (
            {"multi_lens": {**FULL["multi_lens"], "centres": "middle"}},
            "x.augment.multi_lens.centres",
            "anywhere, inside, null",
        ),
        ({"multi_lens": 4}, "x.augment.multi_lens", "a mapping"),
        (["flip"], "x.augment", "a mapping"),
    ],
)
def test_a_mistaken_key_or_value_is_named_with_its_place(config: Any, key: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Augmentation.from_config(config, where="x.augment")
    assert caught.value.where == key
    assert word in str(caught.value)


def test_arrays_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="same height"):
        Augmentation()(np.random.default_rng(0), picture(), picture()[1:])


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_zoom_takes_pixels_from_where_an_affine_map_about_the_middle_says(factor: float) -> None:
    image = ndimage.gaussian_filter(picture(12, (40, 50, 3)).astype(float), (2, 2, 0)).astype(np.uint8)
    (found,) = Augmentation.from_config({"zoom": [factor, factor]})(np.random.default_rng(0), image)
    middle = (np.array(image.shape[:2]) - 1) / 2
    linear = np.eye(2) / factor
    expected = [
        ndimage.affine_transform(image[..., c].astype(float), linear, middle - linear @ middle, order=1, mode="mirror")
        for c in range(3)
    ]
    # OpenCV knows places to a thirty-second of a pixel.
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=1.5)


def test_shear_moves_rows_apart_and_keeps_the_middle() -> None:
    columns = np.tile(np.arange(101, dtype=np.float32), (101, 1))
    image = np.zeros((101, 101, 3), np.uint8)
    shifts = []
    for seed in range(40):
        moved = Augmentation(shear=20.0)(np.random.default_rng(seed), image, columns)[1]
        assert moved[50, 50] == pytest.approx(50, abs=0.05)
        shifts.append(moved[60, 50] - 50)
    # Ten rows below the middle a shear by an angle takes from 10 sin(angle) px beside: Keras' convention.
    assert max(map(abs, shifts)) <= 10 * np.sin(np.deg2rad(20)) + 0.05
    assert min(shifts) < -1 < 1 < max(shifts)


def test_masks_keep_their_edges_and_arrays_their_types() -> None:
    rng, image = np.random.default_rng(1), picture(13, (30, 30, 3))
    mask, heat = image[..., 0] > 128, image[..., 1].astype(np.float32)
    out = Augmentation(zoom=(0.7, 1.4), shear=10.0)(rng, image, mask, heat)
    assert [array.dtype for array in out] == [np.uint8, bool, np.float32]
    assert [array.shape for array in out] == [(30, 30, 3), (30, 30), (30, 30)]
