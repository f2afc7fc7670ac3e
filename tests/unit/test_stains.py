"""Optical densities, HED jitter and Macenko's normalisation, against the formulas worked out pixel by pixel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from drunet import stains, tiles
from drunet.augment.pipeline import Augmentation
from drunet.errors import ConfigError, SlideError
from drunet.files import write_json
from drunet.grid import Grid
from drunet.stains import Stains, density_change, jitter_hed, macenko, through_density, towards
from drunet.tiles import tissue_pixels

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


# ---- Macenko's normalisation

BLUE, PINK = np.array([0.60, 0.72, 0.35]), np.array([0.15, 0.90, 0.40])


def stained(blue: np.ndarray, pink: np.ndarray, strength: float = 1.0, seed: int = 4, white: int = 500) -> np.ndarray:
    """Pixels (n, 3) of one tissue in two stains, and of glass; nuclei hold hardly any eosin, stroma the reverse."""
    rng = np.random.default_rng(seed)
    share = rng.beta(0.4, 0.4, (6000, 1))
    thick = rng.uniform(0.3, 0.9, (6000, 1)) * strength
    density = thick * (share * blue / np.linalg.norm(blue) + (1 - share) * pink / np.linalg.norm(pink))
    pixels = 255 * 10 ** -np.concatenate([density, np.full((white, 3), 0.02)])
    return np.asarray(np.clip(pixels.round(), 0, 255), np.uint8)


def macenko_by_hand(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps 1 to 7 of the paper's algorithm: stains (2, 3) and the 99th percentile of either's amount."""
    density = -np.log10(pixels / 255)
    density = density[np.linalg.norm(density, axis=1) >= 0.15]
    _, _, rows = np.linalg.svd(density, full_matrices=False)
    plane = rows[:2] * np.sign(rows[:2].sum(axis=1, keepdims=True))
    projected = density @ plane.T
    angle = np.arctan2(projected[:, 1], projected[:, 0])
    ends = [np.array([np.cos(a), np.sin(a)]) @ plane for a in np.percentile(angle, [1, 99])]
    vectors = np.array(ends if ends[0][0] > ends[1][0] else ends[::-1])
    amounts = np.linalg.lstsq(vectors.T, density.T, rcond=None)[0]
    return vectors, np.percentile(amounts, 99, axis=1)


def test_the_stains_are_those_of_the_published_algorithm() -> None:
    pixels = stained(BLUE, PINK)
    own, (vectors, amounts) = macenko(pixels), macenko_by_hand(pixels)
    np.testing.assert_allclose(own.vectors, vectors, atol=1e-5)
    np.testing.assert_allclose(own.maximum, amounts, rtol=1e-4)


def test_the_stains_of_which_a_picture_was_made_are_found() -> None:
    own = macenko(stained(BLUE, PINK))
    for found, made in ((own.haematoxylin, BLUE), (own.eosin, PINK)):
        angle = np.degrees(np.arccos(np.dot(found, made) / np.linalg.norm(made) / np.linalg.norm(found)))
        assert angle < 2, "of the 19° between the two"


def test_two_laboratories_look_alike_after_it_and_glass_stays_white() -> None:
    reference = Stains((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.9, 0.5))
    ours, theirs = stained(BLUE, PINK), stained(np.array([0.70, 0.65, 0.30]), np.array([0.10, 0.95, 0.30]), 0.7)
    apart = np.abs(ours.astype(int) - theirs).mean()
    one, other = (through_density(p[None], towards(macenko(p), reference)).astype(int) for p in (ours, theirs))
    assert apart > 15 and np.abs(one - other).mean() < 3
    white = np.full((1, 2, 3), 255, np.uint8)
    np.testing.assert_array_equal(through_density(white, towards(macenko(ours), reference)), white)
    # What was normalised has the reference's stains and amounts.
    again = macenko(one[0].astype(np.uint8))
    np.testing.assert_allclose(again.vectors, reference.vectors, atol=0.03)
    np.testing.assert_allclose(again.maximum, reference.maximum, rtol=0.03)


def test_a_slide_with_the_stains_of_the_reference_keeps_its_colours() -> None:
    own = Stains(BLUE / np.linalg.norm(BLUE), PINK / np.linalg.norm(PINK), (0.7, 0.7))
    pixels = stained(BLUE, PINK, white=0)[None]
    assert np.abs(through_density(pixels, towards(own, own)).astype(int) - pixels).max() <= 2


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((5000, 3), 244, np.uint8), "0 stained pixels, at least 1000"),
        (stained(BLUE, BLUE), "one stain only"),
        (np.zeros((0, 3), np.uint8), "0 stained pixels"),
        (np.full((5000, 3), 90, np.uint8), "one stain only"),
    ],
)
def test_where_there_are_no_two_stains_it_says_why(pixels: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        macenko(pixels)


def test_the_stains_do_not_depend_on_the_number_of_threads() -> None:
    pixels = np.tile(stained(BLUE, PINK), (20, 1))
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); from drunet.stains import macenko; "
        "print(macenko(np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, 3)))"
    )
    scripts = str(Path(stains.__file__).parents[1])
    said = {
        subprocess.run(
            [sys.executable, "-c", code, scripts],
            input=pixels.tobytes(),
            env={**os.environ, "OMP_NUM_THREADS": str(n), "OPENBLAS_NUM_THREADS": str(n)},
            capture_output=True,
            check=True,
        ).stdout
        for n in (1, 2)
    }
    assert len(said) == 1


class Reader:
    """A slide whose tile at x = 20 cannot be read, and which is then of no further use."""

    opened = 0

    def __init__(self) -> None:
        Reader.opened += 1
        self.usable = True

    def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
        assert self.usable
        if x == 20:
            self.usable = False
            raise SlideError("broken", status="unreadable", where="s1", mend="-")
        return np.full((*size, 3), x % 251, np.uint8)

    def close(self) -> None:
        self.usable = False


def test_pixels_are_those_of_tissue_tiles_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(1000, 100, mpp=1.0, tile_mpp=1.0, size=10, step=10)
    table = pd.DataFrame({"x": np.arange(0, 1000, 10), "y": 0})

    def shades(seed: int, rows: pd.DataFrame = table) -> list[int]:
        return sorted(set(tissue_pixels(Reader, rows, grid, seed)[:, 0].tolist()))  # type: ignore[arg-type]

    assert len(shades(1)) in (63, 64) and shades(1) == shades(1) != shades(2)
    few = table[:5]
    Reader.opened = 0
    assert shades(3, few) == [0, 10, 30, 40] and Reader.opened == 2, "opened anew behind the tile that cannot be read"
    assert shades(3, few[:0]) == []
    monkeypatch.setattr(tiles, "_MOST_PIXELS", 150)
    assert len(tissue_pixels(Reader, few, grid, 3)) == 134, "every third of 400"  # type: ignore[arg-type]


def test_what_is_not_asked_for_or_failed_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "stains.json"
    write_json(file, {"failed": "one stain only"})
    assert density_change([str(file)], {"method": "macenko"}) is None
    assert density_change([], None) is None
    write_json(file, {"haematoxylin": [0.6, 0.7, 0.4], "eosin": [0.2, 0.8, 0.5], "maximum": [1.0, 0.5]})
    own = Stains((0.6, 0.7, 0.4), (0.2, 0.8, 0.5), (1.0, 0.5))
    wanted = towards(own, Stains((0.5, 0.7, 0.4), (0.2159, 0.8012, 0.5581), (0.8558, 0.4477)))
    asked = {"method": "macenko", "haematoxylin": [0.5, 0.7, 0.4]}
    np.testing.assert_allclose(density_change([str(file)], asked), wanted)
