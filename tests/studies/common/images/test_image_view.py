from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.ndimage import affine_transform

from drunet.errors import ConfigError
from studies.common.images import view as image_view
from studies.common.images.view import View, draw_crop, moved, movement, resized, turned

PLAIN: dict[str, Any] = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": "none", "rotation": 0.0}
SIDES = st.integers(1, 90)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(SIDES, SIDES, st.integers(1, 40), st.integers(0, 30), st.sampled_from(["none", "horizontal", "both"]))
def test_every_view_has_the_size_asked_for(height: int, width: int, size: int, more: int, flip: str) -> None:
    view, image = View(size=size, short_side=size + more, flip=flip), noise(height, width)
    before = image.copy()
    for seen in (view.training(np.random.default_rng(1), image), view.test(image)):
        assert seen.shape == (size, size, 3) and seen.dtype == np.uint8
        assert not np.shares_memory(seen, image) and seen.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


@given(SIDES, SIDES, st.integers(0, 10_000), st.floats(0.01, 1), st.floats(0, 1))
def test_a_crop_lies_in_the_image_with_share_and_ratio_as_asked(
    height: int, width: int, seed: int, least: float, span: float
) -> None:
    scale, ratio = (least, least + span * (1 - least)), (3 / 4, 4 / 3)
    top, left, down, across = draw_crop(np.random.default_rng(seed), (height, width), scale, ratio)
    assert top >= 0 and left >= 0 and down >= 1 and across >= 1
    assert top + down <= height and left + across <= width
    # Whole pixels: each side is within half a pixel of what was drawn, or it is the largest allowed crop.
    loosest = [(across - 0.5) / (down + 0.5), (across + 0.5) / max(down - 0.5, 1e-9)]
    assert loosest[1] >= ratio[0] and loosest[0] <= ratio[1]
    if (down, across) != (height, width) and down < height and across < width:
        assert (down - 0.5) * (across - 0.5) <= scale[1] * height * width
        assert (down + 0.5) * (across + 0.5) >= scale[0] * height * width


def test_shares_ratios_and_places_of_crops_are_spread_as_drawn() -> None:
    rng = np.random.default_rng(3)
    crops = np.array([draw_crop(rng, (1000, 1000), (0.2, 0.6), (0.5, 2.0)) for _ in range(4000)])
    share, ratio = crops[:, 2] * crops[:, 3] / 1e6, np.log(crops[:, 3] / crops[:, 2])
    # Uniform on [a, b]: mean (a + b) / 2, sd (b - a) / sqrt(12). The ratio is symmetric in its logarithm.
    assert share.mean() == pytest.approx(0.4, abs=0.01) and share.std() == pytest.approx(0.4 / 12**0.5, abs=0.01)
    assert ratio.mean() == pytest.approx(0, abs=0.02)
    room = 1000 - crops[:, 2]
    assert (crops[:, 0] / np.maximum(room, 1)).mean() == pytest.approx(0.5, abs=0.02)


def test_where_no_crop_fits_the_largest_one_in_the_centre_is_taken() -> None:
    # A share of 1 with these ratios never fits so long an image: width 10 x 4 / 3 = 13 of 100 px, or height likewise.
    rng = np.random.default_rng(0)
    assert draw_crop(rng, (10, 100), (1.0, 1.0), (3 / 4, 4 / 3)) == (0, 43, 10, 13)
    assert draw_crop(rng, (100, 10), (1.0, 1.0), (3 / 4, 4 / 3)) == (43, 0, 13, 10)


@given(st.integers(1, 60), st.integers(0, 99))
def test_with_nothing_to_draw_an_image_of_the_right_size_stays_as_it_is(size: int, seed: int) -> None:
    view, image = View(size=size, short_side=size, **PLAIN), noise(size, size, seed)
    np.testing.assert_array_equal(view.training(np.random.default_rng(seed), image), image)
    np.testing.assert_array_equal(view.test(image), image)


def test_the_same_generator_gives_the_same_view_and_another_another() -> None:
    view, image = View(size=24, short_side=32), noise(50, 40)
    one, same, other = (view.training(np.random.default_rng(s), image) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_flips_are_taken_one_time_in_two_and_only_as_asked() -> None:
    image = noise(12, 12)
    forms = {f.tobytes(): n for n, f in (("as is", image), ("h", image[:, ::-1]), ("v", image[::-1]))}
    forms[np.ascontiguousarray(image[::-1, ::-1]).tobytes()] = "hv"
    for flip, shares in (("none", {"as is": 1.0}), ("horizontal", {"as is": 0.5, "h": 0.5})):
        assert shares_of(flip, image, forms) == pytest.approx(shares, abs=0.06)
    assert shares_of("both", image, forms) == pytest.approx(dict.fromkeys(["as is", "h", "v", "hv"], 0.25), abs=0.06)


def shares_of(flip: str, image: np.ndarray, forms: dict[bytes, str]) -> dict[str, float]:
    view, rng = View(size=12, short_side=12, **{**PLAIN, "flip": flip}), np.random.default_rng(8)
    seen = [forms[view.training(rng, image).tobytes()] for _ in range(1000)]
    return {name: seen.count(name) / 1000 for name in sorted(set(seen))}


def test_the_test_view_is_pillows_resize_and_centre_crop(colours: Any) -> None:
    image = colours(120, 90)
    # Shorter side 90 to 30 px, longer 120 to 40; centre 20 x 20.
    whole = Image.fromarray(image).resize((30, 40), Image.Resampling.BOX)
    theirs = np.asarray(whole.crop((5, 10, 25, 30))).astype(int)
    assert np.abs(View(size=20, short_side=30).test(image).astype(int) - theirs).max() <= 1


def test_reducing_by_a_fraction_weighs_pixels_by_their_area() -> None:
    # 3 px to 2: each takes one and a half, worked by hand.
    row = np.array([30, 90, 210], np.uint8)
    image = np.repeat(np.repeat(row[None, :, None], 3, axis=0), 3, axis=2)
    expected = [(30 + 90 / 2) / 1.5, (90 / 2 + 210) / 1.5]
    np.testing.assert_allclose(resized(image, (2, 2))[..., 0], [expected] * 2, atol=0.5)


def test_enlarging_is_bilinear_as_pillows(colours: Any) -> None:
    image = colours(20, 20)
    theirs = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resized(image, (48, 48)).astype(int) - theirs).max() <= 2


def test_a_turn_is_pillows_and_mirrors_the_border_instead_of_blackening_it(colours: Any) -> None:
    image = colours(64, 64)
    theirs = np.asarray(Image.fromarray(image).rotate(10, Image.Resampling.BILINEAR)).astype(int)
    ours = turned(image, 10.0).astype(int)
    inner = slice(12, 52)
    assert np.abs(ours[inner, inner] - theirs[inner, inner]).mean() < 1
    white = np.full((64, 64, 3), 200, np.uint8)
    assert (turned(white, 10.0) == 200).all()
    np.testing.assert_array_equal(turned(image, 90.0), np.rot90(image))


def test_turns_stay_within_their_range_and_go_either_way() -> None:
    # A single bright pixel right of the centre shows by how much it was turned.
    image = np.zeros((101, 101, 3), np.uint8)
    image[48:53, 88:93] = 255
    view, rng = View(size=101, short_side=101, **{**PLAIN, "rotation": 10.0}), np.random.default_rng(2)
    angles = []
    for _ in range(300):
        rows, columns = np.nonzero(view.training(rng, image)[..., 0] > 127)
        angles.append(np.degrees(np.arctan2(50 - rows.mean(), columns.mean() - 50)))
    assert -10.6 < min(angles) < -8 and 8 < max(angles) < 10.6
    assert np.std(angles) == pytest.approx(20 / 12**0.5, abs=0.7)


def test_a_view_is_read_from_its_block() -> None:
    block = {"size": 224, "short_side": 256, "crop_scale": [0.4, 1], "flip": "both"}
    assert View.of(block, "view") == View(size=224, short_side=256, crop_scale=(0.4, 1.0), flip="both")
    assert View.of({"size": 8, "short_side": 8}, "view").crop_scale == (0.08, 1.0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"short_side": 20}, r"view\.short_side: .*found: 20.*at least `size`, 24"),
        ({"crop_scale": [0.5, 1.2]}, r"view\.crop_scale"),
        ({"crop_scale": 0.5}, r"view\.crop_scale: the value does not fit"),
        ({"crop_ratio": [2, 1]}, r"view\.crop_ratio"),
        ({"flip": "vertical"}, r"view\.flip: .*vertical.*horizontal"),
        ({"rotation": -1}, r"view\.rotation"),
        ({"rotate": 1}, r"view: unknown key.*rotate"),
    ],
)
def test_a_view_that_cannot_be_is_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        View.of({"size": 24, "short_side": 32, **wrong}, "view")


# The whole image, stretched and moved

STRETCHED: dict[str, Any] = {"fit": "stretch", "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}


@given(SIDES, SIDES, st.integers(1, 40))
def test_a_stretched_view_is_the_whole_image_as_pillow_reduces_it(height: int, width: int, size: int) -> None:
    image = np.repeat(np.repeat(noise(size, size), height, axis=0), width, axis=1)
    view = View(size=size, short_side=size, flip="none", rotation=0.0, **STRETCHED)
    for seen in (view.test(image), view.training(np.random.default_rng(0), image)):
        # Every pixel is as many of the same: their mean, whatever the shape.
        np.testing.assert_array_equal(seen, noise(size, size))
    box = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
    np.testing.assert_array_equal(view.test(image), box)


def test_a_movement_is_turn_shift_shear_and_scale_in_keras_order() -> None:
    image = noise(61, 61, 5)
    image = np.asarray(Image.fromarray(image).resize((61, 61)).filter(ImageFilter.GaussianBlur(2)))
    turn, (across, down), lean, (wide, high) = 17.0, (6.0, -4.0), 8.0, (0.85, 1.2)
    # Keras' generator in rows and columns, with its turn the other way round.
    t, s = np.deg2rad(-turn), np.deg2rad(lean)
    rotation = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    shift = np.array([[1, 0, down], [0, 1, across], [0, 0, 1]])
    shear = np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
    matrix = rotation @ shift @ shear @ np.diag([high, wide, 1])
    centre = np.array([30.0, 30.0])
    offset = matrix[:2, 2] + centre - matrix[:2, :2] @ centre
    expected = np.stack(
        [
            affine_transform(image[..., c].astype(float), matrix[:2, :2], offset, order=1, mode="mirror")
            for c in range(3)
        ],
        axis=-1,
    )
    found = moved(image, movement(turn, (across, down), lean, (wide, high)))
    # OpenCV rounds places to 1/32 px.
    assert np.abs(found - expected).max() < 4 and np.abs(found - expected).mean() < 0.6


def test_a_movement_that_turns_alone_is_a_turn() -> None:
    image = noise(40, 40, 2)
    found = moved(image, movement(12.0, (0.0, 0.0), 0.0, (1.0, 1.0)))
    assert np.abs(found.astype(int) - turned(image, 12.0)).mean() < 0.5


def test_shifts_and_zooms_are_spread_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(image_view, "moved", lambda image, source: seen.append(source) or image)
    view = View(size=50, short_side=50, flip="none", rotation=0.0, shift=0.2, zoom=0.3, **STRETCHED)
    rng = np.random.default_rng(1)
    for _ in range(3000):
        view.training(rng, noise(50, 50))
    for places, middle, most in (
        (np.array(seen)[:, :, 2] / 50, 0.0, 0.2),
        (np.array(seen)[:, [0, 1], [0, 1]], 1.0, 0.3),
    ):
        # Uniform: mean in the middle, sd a third of the root of three of the width.
        assert np.abs(places - middle).max() <= most and np.abs(places.mean(0) - middle).max() < 0.02 * most / 0.2
        assert places.std(0) == pytest.approx(most / 3**0.5, rel=0.05)
        assert abs(np.corrcoef(places.T)[0, 1]) < 0.08
    assert np.array(seen)[:, [0, 1], [1, 0]].any() == np.False_  # neither turned nor sheared


def test_a_view_without_the_new_options_draws_and_says_what_it_did() -> None:
    """The digest of what was trained before they were there, and every image of it, stay the same."""
    view = View(size=30, short_side=34, rotation=10.0)
    assert set(view.settings()) == {"size", "short_side", "crop_scale", "crop_ratio", "flip", "rotation"}
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    image = noise(50, 60)
    top, left, height, width = draw_crop(other, (50, 60), (0.08, 1.0), (3 / 4, 4 / 3))
    expected = resized(image[top : top + height, left : left + width], (30, 30))
    expected = expected[:, ::-1] if other.random() < 0.5 else expected
    np.testing.assert_array_equal(view.training(rng, image), turned(expected, other.uniform(-10, 10)))
    assert rng.random() == other.random()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"fit": "pad"}, "view.fit"),
        ({"shift": 1.0}, "view.shift"),
        ({"zoom": -0.1}, "view.zoom"),
        ({"shear": 90}, "view.shear"),
        ({"fit": "stretch", "crop_scale": [0.5, 1.0]}, "view"),
    ],
)
def test_a_movement_out_of_range_is_refused(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        View.of({"size": 8, "short_side": 8, **options}, "view")
    assert str(caught.value).startswith(f"{key}: ") and "\n" not in str(caught.value)
