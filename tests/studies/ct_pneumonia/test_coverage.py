"""How much of a box a map covers, against shapely's areas; where a box lies in a view, against painted pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box as rectangle
from shapely import unary_union

from studies.common.images.view import View
from studies.ct_pneumonia.attention_maps import coverage, covered_share, highlighted, seen_box

edges = st.floats(-5, 17, allow_nan=False).map(lambda v: round(v, 2))


@given(st.integers(0, 10_000), edges, edges, st.floats(0.2, 15), st.floats(0.2, 15), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_the_share_is_that_of_shapely(seed: int, x: float, y: float, width: float, height: float, dense: float) -> None:
    mask = np.random.default_rng(seed).random((9, 12)) < dense
    squares = unary_union([rectangle(j, i, j + 1, i + 1) for i, j in zip(*np.nonzero(mask), strict=True)])
    wanted = rectangle(x, y, x + width, y + height)
    expected = squares.intersection(wanted).area / wanted.area
    assert covered_share(mask, np.array([x, y, x + width, y + height])) == pytest.approx(expected, abs=1e-9)


def test_a_place_is_highlighted_from_a_share_of_the_maps_own_maximum_on() -> None:
    found = np.array([[0.0, 0.1, 0.2], [0.25, 0.4, 0.5]], np.float32)
    assert highlighted(found, 0.5).tolist() == [[False, False, False], [True, True, True]]
    assert highlighted(3 * found, 0.5).tolist() == highlighted(found, 0.5).tolist()
    # Threshold 0 marks what has any influence, and a map without any marks nothing.
    assert highlighted(found, 0.0).sum() == 5
    assert not highlighted(np.zeros((2, 3), np.float32), 0.5).any()


def test_a_box_is_found_if_more_than_half_of_it_is_covered() -> None:
    found = np.zeros((4, 4), np.float32)
    found[:, :2] = 1
    half = coverage(found, np.array([0.0, 0.0, 4.0, 4.0]), threshold=0.5, least=0.5)
    assert dict(half) == {"share": 0.5, "highlighted": 0.5, "found": False}
    assert coverage(found, np.array([0.0, 0.0, 3.9, 4.0]), threshold=0.5, least=0.5)["found"]


def test_a_box_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="without area"):
        covered_share(np.ones((4, 4), bool), np.array([1.0, 2.0, 1.0, 3.0]))


@pytest.mark.parametrize("size", [(96, 96), (120, 96), (96, 150)])
@pytest.mark.parametrize(
    "view",
    [
        View(size=48, short_side=48, fit="stretch", crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)),
        View(size=48, short_side=48),
        View(size=40, short_side=60),
    ],
    ids=["stretched", "whole short side", "centre cut out"],
)
def test_a_box_is_moved_as_the_view_moves_the_picture(view: View, size: tuple[int, int]) -> None:
    picture, box = np.zeros((*size, 3), np.uint8), np.array([30.0, 42.0, 66.0, 72.0])
    left, top, right, bottom = box.astype(int)
    picture[top:bottom, left:right] = 255
    seen = view.test(picture)[..., 0] / 255
    moved = seen_box(view, box, size)
    # The painted part's mean place and extent, weighted by how much of each pixel is painted.
    for axis, (low, high) in ((1, moved[[0, 2]]), (0, moved[[1, 3]])):
        profile = seen.max(axis=1 - axis)
        low, high = max(low, 0), min(high, view.size)
        assert profile.sum() == pytest.approx(high - low, abs=0.6)
        centre = (profile * (np.arange(view.size) + 0.5)).sum() / profile.sum()
        assert centre == pytest.approx((low + high) / 2, abs=0.4)


def test_what_the_view_cuts_away_counts_as_not_covered() -> None:
    view = View(size=40, short_side=80)  # a centre crop of half the sides
    moved = seen_box(view, np.array([0.0, 20.0, 40.0, 60.0]), (80, 80))
    assert moved.tolist() == [-20, 0, 20, 40]
    assert covered_share(np.ones((40, 40), bool), moved) == pytest.approx(0.5)
