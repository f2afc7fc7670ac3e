from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from shapely.geometry import Point, box

from studies.ct_boxes.pictures import sobel_magnitude, sobel_outline


def disc(
    radius: float, centre: tuple[float, float], *, size: int = 96, softness: float = 0.0, noise: float = 0.0
) -> np.ndarray:
    """A bright disc, drawn without OpenCV: grey 40 outside, 170 inside."""
    y, x = np.mgrid[:size, :size] + 0.5
    inside = np.hypot(x - centre[0], y - centre[1]) < radius
    image = ndimage.gaussian_filter(np.where(inside, 170.0, 40.0), softness)
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("radius", [8.0, 15.3, 24.0])
@pytest.mark.parametrize(("softness", "noise"), [(0.0, 0.0), (1.5, 0.0), (0.0, 6.0)])
def test_a_disc_gets_back_its_circle(radius: float, softness: float, noise: float) -> None:
    centre = (45.2, 50.7)
    found = sobel_outline(disc(radius, centre, softness=softness, noise=noise), (10, 15, 82, 88))
    circle = Point(centre).buffer(radius, quad_segs=64)
    assert found is not None and found.is_valid
    assert found.area == pytest.approx(circle.area, rel=0.04 + 0.4 / radius)
    assert found.exterior.hausdorff_distance(circle.exterior) < 1.8
    assert found.intersection(circle).area / found.union(circle).area > 1 - 1.2 / radius


def test_a_dark_disc_is_found_like_a_bright_one() -> None:
    bright = disc(14, (50, 40))
    one, other = (sobel_outline(image, (25, 15, 75, 65)) for image in (bright, 255 - bright))
    assert one is not None and other is not None and one.equals(other)


def test_the_outline_lies_in_the_box_and_in_the_pixels_of_the_image() -> None:
    image = disc(10, (70, 30))
    found = sobel_outline(image, (50.4, 10.2, 200.0, 51.9))
    assert found is not None and box(50, 10, 96, 52).contains(found)
    assert Point(70, 30).distance(found.centroid) < 0.5
    moved = sobel_outline(np.roll(image, (20, -30), axis=(0, 1)), (20.4, 30.2, 66.0, 71.9))
    assert moved is not None and moved.centroid.distance(Point(40, 50)) < 0.5


def test_of_two_things_the_larger_counts() -> None:
    image = np.maximum(disc(5, (20, 20)), disc(14, (60, 60)))
    found = sobel_outline(image, (2, 2, 94, 94))
    assert found is not None and found.centroid.distance(Point(60, 60)) < 1


def test_where_nothing_stands_out_there_is_no_outline() -> None:
    flat = np.full((64, 64), 90, np.uint8)
    faint = disc(14, (32, 32), size=64) // 40 + 80
    slope = np.tile(np.arange(64, dtype=np.uint8) * 2, (64, 1))
    for image in (flat, faint, slope):
        assert sobel_outline(image, (5, 5, 60, 60)) is None
    clear = disc(14, (32, 32), size=64)
    for nothing in ((5, 5, 9, 60), (60, 5, 5, 60), (70, 70, 90, 90), (np.nan, 5, 60, 60)):
        assert sobel_outline(clear, nothing) is None


def test_the_gradient_of_a_step_is_its_height() -> None:
    image = np.where(np.arange(20) < 10, 50, 130).astype(np.uint8) * np.ones((12, 1), np.uint8)
    magnitude = sobel_magnitude(image.astype(np.float32))
    assert magnitude.shape == image.shape and magnitude.dtype == np.float32
    assert magnitude.max() == pytest.approx(80) and np.ptp(magnitude, axis=0).max() == 0
    # The two columns beside the step, nothing else; and as scipy's kernel has it.
    assert set(np.flatnonzero(magnitude[0])) == {9, 10}
    grey = disc(9, (30, 40)).astype(np.float32)
    slopes = [ndimage.sobel(grey.astype(float), axis=axis, mode="nearest") for axis in (0, 1)]
    np.testing.assert_allclose(sobel_magnitude(grey), np.hypot(*slopes) / 4, rtol=1e-4, atol=1e-3)


def test_what_runs_out_of_the_box_is_closed_by_its_sides() -> None:
    found = sobel_outline(disc(14, (32, 32), size=64), (32, 12, 52, 52))
    half = Point(32, 32).buffer(14).intersection(box(32, 0, 64, 64))
    assert found is not None and found.exterior.hausdorff_distance(half.exterior) < 2
    assert found.area == pytest.approx(half.area, rel=0.06)
