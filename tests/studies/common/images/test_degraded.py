"""What is left of an image for a probe of its source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from drunet.errors import ConfigError
from studies.common.images.view import Degradation, View, blurred, rim_of

SIDES = st.integers(3, 70)
PLAIN: dict[str, Any] = {"flip": "none", "rotation": 0.0, "fit": "stretch"}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)


@given(SIDES, SIDES, st.floats(0.01, 0.49))
def test_a_rim_keeps_its_share_of_each_side_and_blackens_the_rest(height: int, width: int, share: float) -> None:
    image = noise(height, width)
    rim = rim_of(image, share)
    down, across = max(1, round(share * height)), max(1, round(share * width))
    rows, columns = np.indices((height, width))
    kept = np.minimum(rows, height - 1 - rows) < down
    kept |= np.minimum(columns, width - 1 - columns) < across
    np.testing.assert_array_equal(rim, np.where(kept[..., None], image, 0))
    assert not np.shares_memory(rim, image)


def test_a_blur_is_the_gaussian_of_its_share_of_the_shorter_side() -> None:
    image = noise(90, 60, 4)
    expected = np.stack([gaussian_filter(image[..., c].astype(float), 0.05 * 60, mode="mirror") for c in range(3)], -1)
    # OpenCV cuts the kernel off at three deviations and counts in fixed point.
    assert np.abs(blurred(image, 0.05) - expected).max() < 2


def test_what_happens_inside_a_rim_changes_nothing_that_is_seen() -> None:
    view = View(
        size=40,
        short_side=40,
        shift=0.3,
        zoom=0.3,
        shear=5.0,
        sees=Degradation(border=0.1),
        **{**PLAIN, "rotation": 20.0},
    )
    image = noise(80, 120)
    other = image.copy()
    other[12:-12, 18:-18] = noise(56, 84, 9)
    for seed in range(5):
        seen = [view.training(np.random.default_rng(seed), picture) for picture in (image, other)]
        np.testing.assert_array_equal(*seen)
        assert seen[0].any()
    np.testing.assert_array_equal(view.test(image), view.test(other))
    assert (view.test(image)[4:-4, 4:-4] == 0).all() and (view.test(image)[:4] > 0).any()


def test_a_blur_is_of_the_square_that_the_network_is_shown() -> None:
    image = noise(200, 100)
    small, large = (
        View(size=size, short_side=size, sees=Degradation(blur=0.06), **PLAIN).test(image) for size in (50, 100)
    )
    # The same share of the picture is blurred away, however large it is shown.
    assert np.abs(large.reshape(50, 2, 50, 2, 3).mean((1, 3)) - small).max() < 4
    assert large.std() < 0.1 * image.std()


def test_a_degraded_image_is_cropped_after_it_was_degraded() -> None:
    view = View(size=20, short_side=40, flip="none", rotation=0.0, sees=Degradation(border=0.1))
    assert not view.test(noise(80, 80)).any()  # its centre: all black


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({}, "sees"),
        ({"border": 0.1, "blur": 0.1}, "sees"),
        ({"border": 0.5}, "sees.border"),
        ({"border": 0}, "sees.border"),
        ({"blur": -0.1}, "sees.blur"),
        ({"blurr": 0.1}, "sees"),
    ],
)
def test_a_degradation_that_is_none_is_refused_in_one_line(config: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        View.of({"size": 8, "short_side": 8, "sees": config}, "view")
    assert str(caught.value).startswith(f"view.{key}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [{"border": 0.1}, {"blur": 0.06}])
def test_a_view_is_written_and_read_with_what_is_left(config: dict[str, float]) -> None:
    view = View.of({"size": 8, "short_side": 8, "fit": "stretch", "sees": config}, "view")
    assert view.settings()["sees"] == config
    assert View.of(view.settings(), "view") == view
