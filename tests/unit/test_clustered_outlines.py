"""Refinement by clustering: the tissue that the heatmap points at, whole, without its holes and without glass."""

from __future__ import annotations

import numpy as np
import pytest

from drunet.clustering import WEIGHTS, cluster_tumour, gradient, superpixels
from drunet.errors import ConfigError
from drunet.settings.clustering import ClusteringSettings
from drunet.settings.models import RunSettings

SIDE = 400
DARK, PALE, GLASS = (110, 40, 130), (225, 170, 200), (244, 243, 245)


def settings(**changes: float) -> ClusteringSettings:
    return ClusteringSettings.of({"smoothing_px": 0, **changes}, "here")


@pytest.fixture(scope="module")
def slide() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with a dark disc, which has a hole, in pale tissue on glass; a heatmap of half the disc; the disc."""
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(y - 200, x - 200)
    image = np.full((SIDE, SIDE, 3), GLASS, np.uint8)
    image[away < 170], image[(away < 100) & (away > 15)] = PALE, DARK
    tissue = away < 170
    noise = np.random.default_rng(0).normal(0, 14, image.shape) * tissue[..., None]
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    heat = np.where((away < 90) & (x < 200), 0.9, 0.1).astype(np.float32)
    heat[~tissue] = 0
    return image, heat, away < 100


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_tissue_that_the_heatmap_points_at_is_outlined_with_its_holes_filled(
    slide: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, heat, disc = slide
    hot = np.maximum(heat, np.where(disc & (image[..., 1] < 100), 0.7, 0)).astype(np.float32)
    # The heatmap alone knows half of it for sure.
    assert dice(hot >= 0.8, disc) < 0.65
    found = cluster_tumour(image, hot, settings(), threshold=0.5, seed=1)
    assert dice(found, disc) > 0.95 and found[200, 200], "the hole"
    assert np.array_equal(found, cluster_tumour(image, hot, settings(), threshold=0.5, seed=1))


def test_smoothing_joins_and_widens_but_reaches_no_glass(slide: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, heat, disc = slide
    hot = np.maximum(heat, 0.75 * disc).astype(np.float32)
    plain, smooth = (cluster_tumour(image, hot, settings(smoothing_px=side), threshold=0.5, seed=1) for side in (0, 79))
    assert not (plain & ~smooth).any()
    # A 25th of a square of 79 px is reached some 34 px beyond a straight edge.
    reach = np.hypot(*np.argwhere(smooth).T - 200).max()
    assert 120 < reach < 145
    moved = np.roll(hot, 130, axis=1)
    beside = cluster_tumour(np.roll(image, 130, axis=1), moved, settings(smoothing_px=301), threshold=0.5, seed=1)
    y, x = np.argwhere(beside).T
    assert (np.hypot(y - 200, (x - 330 + 200) % SIDE - 200) < 180).mean() > 0.99


@pytest.mark.parametrize("min_heat", [0.3, 0.7])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_a_slide_on_which_no_tile_is_called_tumour_has_none(
    slide: tuple[np.ndarray, np.ndarray, np.ndarray], min_heat: float, threshold: float
) -> None:
    image, heat, _ = slide
    cold, warm = (heat * np.float32((threshold + away) / heat.max()) for away in (-0.01, 0.01))
    assert not cluster_tumour(image, cold, settings(min_heat=min_heat), threshold=threshold, seed=1).any()
    assert cluster_tumour(image, warm, settings(min_heat=min_heat), threshold=threshold, seed=1).any()


def test_the_gradient_is_that_of_green_to_the_next_pixels() -> None:
    image = np.zeros((3, 4, 3), np.uint8)
    image[..., 1] = [[0, 0, 40, 40], [0, 30, 40, 40], [0, 0, 0, 0]]
    image[..., 0] = np.arange(12).reshape(3, 4) * 20
    down = [[0, 30, 0, 0], [0, -30, -40, -40], [0, 0, 0, 0]]
    right = [[0, 40, 0, 0], [30, 10, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(gradient(image), np.hypot(down, right) / 50)
    assert not gradient(np.full((5, 5, 3), 7, np.uint8)).any()


def test_superpixels_are_the_mean_green_of_small_regions_that_end_at_edges() -> None:
    image = np.full((64, 96, 3), 200, np.uint8)
    image[:, 48:] = 60
    image[..., 1] += np.random.default_rng(0).integers(0, 9, (64, 96), np.uint8)
    flat = superpixels(image)
    green = image[..., 1].astype(float)
    assert flat.mean() == pytest.approx(green.mean(), abs=0.2)
    for half in (np.s_[:, :47], np.s_[:, 49:]):
        assert np.abs(flat[half] - green[half].mean()).mean() < 0.7 < green[half].std() / 3
    # Too small for a seed: every pixel is its own.
    np.testing.assert_array_equal(superpixels(image[:4, :4]), green[:4, :4])


def test_the_weights_and_defaults_are_the_authors() -> None:
    """Their pictures are read as blue, green, red: red is the channel that weighs 0.8."""
    assert dict(zip(("heat", "red", "green", "blue", "gradient", "superpixels"), WEIGHTS, strict=True)) == {
        "heat": 1.0,
        "red": 0.8,
        "green": 1.0,
        "blue": 1.0,
        "gradient": 0.2,
        "superpixels": 0.4,
    }
    defaults = ClusteringSettings()
    assert (defaults.clusters, defaults.min_heat, defaults.smoothing_px) == (3, 0.7, 79)


def test_a_run_is_refined_once() -> None:
    assert RunSettings.of({"classifier": "a", "refiner": None, "clustering": {}}, "here").clustering is not None
    with pytest.raises(ConfigError, match=r"here\.clustering: a run is refined once \(found: refiner u too\)"):
        RunSettings.of({"classifier": "a", "refiner": "u", "clustering": {}}, "here")
