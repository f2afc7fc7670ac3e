"""Optical densities and HED jitter, against the formulas worked out pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError
from drunet.stains import jitter_hed

# Ruifrok and Johnston's vectors as scikit-image gives them.
RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def picture(seed: int = 0, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (side, side, 3), dtype=np.uint8)


def jittered_by_hand(image: np.ndarray, factors: list[float], shifts: list[float]) -> np.ndarray:
    """By scikit-image's definitions of rgb2hed and hed2rgb, without its clipping of negative amounts."""
    unit = 1e-6
    amounts = (np.log(np.maximum(image / 255, unit)) / np.log(unit)) @ np.linalg.inv(RGB_FROM_HED)
    # Its amounts count in sixths of a density: log(1e-6) is -6 in base 10.
    changed = amounts * factors + np.array(shifts) / 6
    return np.asarray(255 * np.exp((changed @ RGB_FROM_HED) * np.log(unit)))


@pytest.mark.parametrize(
    ("factors", "shifts"),
    [
        ([1, 1, 1], [0, 0, 0]),
        ([1.2, 0.9, 1.05], [0, 0, 0]),
        ([1, 1, 1], [0.1, -0.05, 0.02]),
        ([0.8, 1.1, 1], [0.02] * 3),
    ],
)
def test_hed_jitter_is_colour_deconvolution_and_back(factors: list[float], shifts: list[float]) -> None:
    image = picture()
    wanted = np.clip(jittered_by_hand(image, factors, shifts), 0, 255)
    # Half a level of rounding, and a little for single precision.
    assert np.abs(jitter_hed(image, factors, shifts) - wanted).max() <= 0.51


def test_nothing_is_changed_by_ones_and_zeros_not_even_black() -> None:
    image = np.arange(256, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    np.testing.assert_array_equal(jitter_hed(image, [1, 1, 1], [0, 0, 0]), image)


def test_the_pipeline_draws_factors_and_shifts_from_the_published_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def note(image: np.ndarray, factors: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        drawn.append((factors, shifts))
        return image

    monkeypatch.setattr("drunet.augment.pipeline.jitter_hed", note)
    augment = Augmentation.from_config({"hed": {"sigma": [0.05, 0.2, 0], "bias": [0.1, 0, 0.02]}})
    for seed in range(300):
        augment(np.random.default_rng(seed), picture())
    factors, shifts = (np.array(parts) for parts in zip(*drawn, strict=True))
    for values, middle, reach in ((factors, 1, [0.05, 0.2, 0]), (shifts, 0, [0.1, 0, 0.02])):
        assert (np.abs(values - middle) <= reach).all()
        assert np.allclose(np.abs(values - middle).max(axis=0), reach, rtol=0.05)
        np.testing.assert_allclose(values.mean(axis=0), middle, atol=0.02)


def test_without_it_the_same_numbers_are_drawn_as_ever() -> None:
    plain = {"hue": 0.08, "contrast": [0.7, 1.3]}
    one = Augmentation.from_config(plain)(np.random.default_rng(1), picture())[0]
    other = Augmentation.from_config({**plain, "hed": None})(np.random.default_rng(1), picture())[0]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "block",
    [{"sigma": [0.05, 0.05], "bias": [0, 0, 0]}, {"sigma": [-0.1, 0, 0], "bias": [0, 0, 0]}, {"sigma": [0] * 3}],
)
def test_a_mistaken_block_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="hed"):
        Augmentation.from_config({"hed": block})
