from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import box as rectangle

from studies.ct_boxes import geometry
from studies.ct_boxes.trials import PREDICTED, prediction_rows, sides_of

EDGE = st.floats(-50, 150, allow_nan=False).map(lambda v: round(v, 3))
ORDERED = st.tuples(EDGE, EDGE, EDGE, EDGE).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 0.01, max(b[1], b[3]) + 0.01)
)


@given(st.lists(st.tuples(ORDERED, ORDERED), min_size=1, max_size=5))
@pytest.mark.slow
def test_iou_is_that_of_polygons(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    first, second = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
    expected = []
    for a, b in pairs:
        one, other = rectangle(*a), rectangle(*b)
        expected.append(one.intersection(other).area / one.union(other).area)
    found = geometry.iou(first, second)
    assert found.dtype == np.float64 and found.shape == (len(pairs),)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found, geometry.iou(second, first))
    np.testing.assert_allclose(geometry.area(first), [rectangle(*a).area for a, _ in pairs])


@pytest.mark.parametrize(
    "nothing",
    [(5, 2, 1, 8), (1, 8, 5, 2), (5, 8, 1, 2), (3, 3, 3, 7), (3, 3, 7, 3), (np.nan, 2, 5, 8), (1, 2, np.inf, 8)],
    ids=["x swapped", "y swapped", "both swapped", "no width", "no height", "no number", "endless"],
)
def test_a_box_without_an_area_overlaps_nothing(nothing: tuple[float, ...]) -> None:
    assert geometry.area(nothing) == [0]
    for pair in ((nothing, (0, 0, 10, 10)), ((0, 0, 10, 10), nothing), (nothing, nothing)):
        assert geometry.iou(*pair) == [0]


def test_known_overlaps() -> None:
    one = [(0, 0, 10, 10)] * 5
    other = [(0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10), (2, 2, 4, 4), (-10, -10, 20, 20)]
    np.testing.assert_allclose(geometry.iou(one, other), [1, 1 / 3, 0, 0.04, 100 / 900])


@given(ORDERED, ORDERED, st.floats(0.1, 9), st.floats(0.1, 9))
def test_overlap_does_not_change_with_the_size_of_the_image(
    a: tuple[float, ...], b: tuple[float, ...], across: float, down: float
) -> None:
    resized = [affinity.scale(rectangle(*each), across, down, origin=(0, 0)).bounds for each in (a, b)]
    np.testing.assert_allclose(geometry.iou(*resized), geometry.iou(a, b), rtol=1e-6, atol=1e-7)


def test_shares_of_the_sides_come_back_as_pixels() -> None:
    sizes = pd.DataFrame({"width": np.arange(200, 207), "height": np.arange(300, 307)})
    np.testing.assert_array_equal(sides_of(sizes)[3], [203, 303, 203, 303])
    slices = sizes.assign(file="1.png", subtype="A", patient="1", **dict.fromkeys(geometry.COORDINATES, 7.0))
    shares = np.random.default_rng(0).uniform(-1, 2, (7, 4))
    rows = prediction_rows(slices, shares, part="test", stage="source", target="A")
    expected = shares * np.column_stack([sizes["width"], sizes["height"]] * 2)
    np.testing.assert_allclose(rows[list(PREDICTED)], expected)


def test_clipping_leaves_what_lies_in_the_picture() -> None:
    boxes = [(-3, 4, 20, 90), (10, 10, 30, 30), (-9, -9, -1, -1)]
    np.testing.assert_array_equal(geometry.clip(boxes, 16, 64), [[0, 4, 16, 64], [10, 10, 16, 30], [0, 0, 0, 0]])
    for given_box in boxes:
        inside = rectangle(*given_box).intersection(rectangle(0, 0, 16, 64)).area
        assert geometry.area(geometry.clip(given_box, 16, 64)) == [inside]


def test_a_mirrored_box_covers_the_mirrored_pixels() -> None:
    picture = np.zeros((12, 20), bool)
    picture[2:7, 3:11] = True
    (x0, y0, x1, y1) = geometry.mirror((3, 2, 11, 7), 20)[0].astype(int)
    again = np.zeros_like(picture)
    again[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(again, picture[:, ::-1])
