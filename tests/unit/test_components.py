"""Connected components against SciPy's labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from drunet.components import at_edge, filter_components

NEIGHBOURS = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(masks, st.floats(0, 9), st.sampled_from([4, 8]))
def test_components_smaller_than_the_least_area_are_dropped(mask: np.ndarray, least: float, connectivity: int) -> None:
    labels, count = ndimage.label(mask, NEIGHBOURS[connectivity])
    expected = np.isin(labels, [i for i in range(1, count + 1) if (labels == i).sum() >= least])
    np.testing.assert_array_equal(filter_components(mask, min_area=least, connectivity=connectivity), expected)


@given(masks, st.integers(0, 2**31), st.sampled_from([4, 8]))
def test_components_that_touch_nothing_are_dropped(mask: np.ndarray, seed: int, connectivity: int) -> None:
    seeds = np.random.default_rng(seed).random(mask.shape) < 0.2
    labels, _ = ndimage.label(mask, NEIGHBOURS[connectivity])
    expected = np.isin(labels, np.setdiff1d(labels[seeds], [0]))
    np.testing.assert_array_equal(filter_components(mask, touching=seeds, connectivity=connectivity), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (5, 4)])
def test_the_edge_is_all_that_an_erosion_takes(shape: tuple[int, int]) -> None:
    inner = ndimage.binary_erosion(np.ones(shape, bool), NEIGHBOURS[8])
    np.testing.assert_array_equal(at_edge(shape), ~inner)
