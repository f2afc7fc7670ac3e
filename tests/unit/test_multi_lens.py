from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_lenses import distort_reference

from drunet.augment.multi_lens import Lenses, coordinate_map, distort, draw_lenses, resample

ROW = np.arange(9, dtype=np.uint8)[None]


@st.composite
def images_and_lenses(draw: st.DrawFn) -> tuple[np.ndarray, Lenses]:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    dtype = draw(st.sampled_from([np.uint8, np.float32, bool]))
    shape = (height, width, *draw(st.sampled_from([(), (1,), (3,), (5,)])))
    image = np.random.default_rng(draw(st.integers(0, 2**16))).random(shape) * (2 if dtype is bool else 255)
    count = draw(st.integers(0, 5))
    # Centres outside the image and strengths beyond 1 are never drawn, but the two forms must agree on them too.
    centres = draw(st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 45)), min_size=count, max_size=count))
    radii = draw(st.lists(st.integers(1, 60), min_size=count, max_size=count))
    strengths = draw(st.lists(st.floats(-2.5, 2.5), min_size=count, max_size=count))
    return image.astype(dtype), Lenses(centres, radii, strengths)


@settings(deadline=None, max_examples=150)
@given(images_and_lenses())
def test_the_fast_form_equals_the_published_listing_bit_for_bit(case: tuple[np.ndarray, Lenses]) -> None:
    image, lenses = case
    before = image.copy()
    fast, reference = distort(image, lenses), distort_reference(image, lenses)
    assert fast.dtype == reference.dtype == image.dtype
    np.testing.assert_array_equal(fast, reference)
    np.testing.assert_array_equal(image, before)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["anywhere", "inside"]))
def test_the_fast_form_equals_the_listing_at_the_published_setting(seed: int, centres: str) -> None:
    rng = np.random.default_rng(seed)
    lenses = draw_lenses(rng, (224, 224), 4, (80, 110), (-0.4, 0.4), centres=centres)
    image = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(distort(image, lenses), distort_reference(image, lenses))


# One row of nine pixels, a lens of radius 4 on the fifth: the pixel two to its right takes 4 + 2 (1 - 0.5 (1 - 2/4)) =
# 5.5, truncated to 5, the pixel two to its left 4 - 1.5 = 2.5, truncated to 2. Truncation pulls both to the left.
@pytest.mark.parametrize(
    ("strength", "expected"),
    [(0.5, [0, 1, 2, 3, 4, 4, 5, 6, 8]), (-0.5, [0, 0, 1, 2, 4, 5, 6, 7, 8])],
)
@pytest.mark.parametrize("form", [distort, distort_reference])
def test_one_lens_gives_what_is_worked_out_by_hand(form, strength: float, expected: list[int]) -> None:
    assert form(ROW, Lenses([(0, 4)], [4], [strength]))[0].tolist() == expected


@pytest.mark.parametrize("form", [distort, distort_reference])
def test_the_second_lens_resamples_the_result_of_the_first(form) -> None:
    both = form(ROW, Lenses([(0, 4), (0, 4)], [4, 4], [0.5, -0.5]))
    # First [0 1 2 3 4 4 5 6 8], of which the second takes the places [0 0 1 2 4 5 6 7 8].
    assert both[0].tolist() == [0, 0, 1, 2, 4, 4, 5, 6, 8]


def test_sources_beyond_the_edge_are_clipped_and_nothing_is_filled_in() -> None:
    # At 1 from the centre: 1 (1 + 2 (1 - 1/4)) = 2.5 px out, beyond both ends of the row.
    assert distort(np.array([[10, 20, 30]]), Lenses([(0, 1)], [4], [-2.0])).tolist() == [[10, 20, 30]]
    assert distort(np.array([[10, 20, 30, 40]]), Lenses([(0, 1)], [4], [-2.0])).tolist() == [[10, 20, 40, 40]]


def test_strength_zero_is_the_identity() -> None:
    lenses = Lenses([(10, 12), (3, 30)], [15, 9], [0.0, 0.0])
    assert coordinate_map((32, 40), lenses).ravel().tolist() == list(range(32 * 40))


def test_a_lens_changes_nothing_outside_its_radius() -> None:
    sources = coordinate_map((64, 64), Lenses([(20, 40)], [12], [0.4]))
    rows, columns = np.indices((64, 64))
    outside = np.hypot(rows - 20, columns - 40) >= 12
    changed = sources != np.arange(64 * 64).reshape(64, 64)
    assert changed.any()
    assert not changed[outside].any()


def test_positive_strength_magnifies_and_negative_shrinks() -> None:
    rows, columns = np.indices((101, 101))
    disc = np.hypot(rows - 50, columns - 50) < 15
    areas = {strength: distort(disc, Lenses([(50, 50)], [40], [strength])).sum() for strength in (-0.4, 0.4)}
    assert areas[0.4] > 1.2 * disc.sum()
    assert areas[-0.4] < 0.9 * disc.sum()


def test_one_map_serves_image_heatmap_and_mask_alike() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    heatmap = image[..., 0].astype(np.float32) / 255
    mask = image[..., 0] > 128
    lenses = draw_lenses(rng, (50, 60), 3, (10, 20), (-0.4, 0.4))
    sources = coordinate_map((50, 60), lenses)
    seen = resample(image, sources)
    np.testing.assert_array_equal(resample(heatmap, sources), seen[..., 0].astype(np.float32) / 255)
    np.testing.assert_array_equal(resample(mask, sources), seen[..., 0] > 128)
    with pytest.raises(ValueError, match="does not fit"):
        resample(image[:-1], sources)


def test_draws_stay_in_their_ranges_and_the_upper_radius_is_never_drawn() -> None:
    lenses = draw_lenses(np.random.default_rng(1), (30, 90), 4000, (3, 6), (-0.4, 0.2))
    assert set(lenses.radii.tolist()) == {3, 4, 5}
    assert lenses.strengths.min() >= -0.4
    assert lenses.strengths.max() < 0.2
    assert (lenses.strengths.min(), lenses.strengths.max()) == pytest.approx((-0.4, 0.2), abs=0.01)
    # (row, column): the rows of a low, wide image end at 29, its columns at 89.
    assert lenses.centres.min(axis=0).tolist() == [0, 0]
    assert lenses.centres.max(axis=0).tolist() == [29, 89]


@pytest.mark.parametrize(
    ("size", "radius", "rows", "columns"),
    [
        ((30, 90), (3, 6), (5, 24), (5, 84)),
        ((224, 224), (80, 110), (109, 114), (109, 114)),  # the published setting: nearly one place for all lenses
        ((64, 9), (30, 41), (31, 32), (4, 4)),  # a radius beyond half the image: the middle
    ],
)
def test_centres_inside_keep_the_largest_radius_from_every_edge(size, radius, rows, columns) -> None:
    lenses = draw_lenses(np.random.default_rng(1), size, 4000, radius, (-0.4, 0.4), centres="inside")
    assert (lenses.centres[:, 0].min(), lenses.centres[:, 0].max()) == rows
    assert (lenses.centres[:, 1].min(), lenses.centres[:, 1].max()) == columns


def test_all_centres_are_drawn_before_any_radius_or_strength() -> None:
    one = draw_lenses(np.random.default_rng(9), (64, 64), 3, (4, 30), (-0.4, 0.4))
    other = draw_lenses(np.random.default_rng(9), (64, 64), 3, (7, 9), (0.1, 0.2))
    np.testing.assert_array_equal(one.centres, other.centres)
    again = draw_lenses(np.random.default_rng(9), (64, 64), 3, (4, 30), (-0.4, 0.4))
    assert list(one) == list(again)


def test_impossible_lenses_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="min < max"):
        draw_lenses(rng, (8, 8), 1, (5, 5), (0, 1))
    with pytest.raises(ValueError, match="min < max"):
        draw_lenses(rng, (8, 8), 1, (0, 5), (0, 1))
    with pytest.raises(ValueError, match="range of centres"):
        draw_lenses(rng, (8, 8), 1, (1, 5), (0, 1), centres="outside")
    with pytest.raises(ValueError, match="at least 1 px"):
        Lenses([(0, 0)], [0], [0.1])
    with pytest.raises(ValueError, match="one centre"):
        Lenses([(0, 0)], [3, 4], [0.1])
