"""Stains: colours as optical densities, which add up as stains do (Beer and Lambert), and linear changes of them.

Densities are -log10(I / 255) per channel R, G, B. NumPy and OpenCV; the same numbers whatever the number of threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from drunet.files import read_json
from drunet.settings.stains import StainNormalisation

# Rows are the densities in R, G and B of haematoxylin, eosin and DAB (Ruifrok and Johnston 2001; as in scikit-image).
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# A level of 0 counts as a quarter of one, so that it is black again where nothing is changed.
DENSITY = -np.log10(np.maximum(np.arange(256), 0.25) / 255).astype(np.float32)
# Macenko et al. 2009: densities below are glass; the percentile of the extremes.
_LEAST_DENSITY, _EXTREME = 0.15, 1.0
_LEAST_PIXELS, _LEAST_ANGLE = 1000, 5.0


def through_density(image: NDArray[np.uint8], matrix: ArrayLike, shift: ArrayLike = 0.0) -> NDArray[np.uint8]:
    """Change the densities d (row vectors of R, G, B) of an image, uint8 RGB (h, w, 3), to d @ matrix + shift.

    `matrix` is (3, 3), `shift` (3,) or a number; a new image comes back, rounded and saturated.

    Twice the density is the square of what is let through: 255 (51 / 255)² = 10.2.

    >>> through_density(np.uint8([[[255, 51, 0]]]), 2 * np.eye(3)).tolist()
    [[[255, 10, 0]]]
    """
    columns = np.column_stack([np.asarray(matrix, np.float64).T, np.broadcast_to(shift, 3)]).astype(np.float32)
    density = cv2.transform(cv2.LUT(np.ascontiguousarray(image), DENSITY[None]), columns)
    passed = cv2.exp(density * np.float32(-np.log(10)))
    return np.asarray(cv2.convertScaleAbs(passed, alpha=255.0), np.uint8)


def jitter_hed(image: NDArray[np.uint8], factors: ArrayLike, shifts: ArrayLike) -> NDArray[np.uint8]:
    """Multiply the amount of each stain of uint8 RGB (h, w, 3), and add to it (Tellez et al. 2018).

    Factors and shifts (in density), float (3,), are of haematoxylin, eosin and DAB, which here is what the other two
    leave.

    >>> jitter_hed(np.uint8([[[200, 120, 170]]]), [1, 1, 1], [0, 0, 0]).tolist()
    [[[200, 120, 170]]]
    """
    matrix = np.linalg.inv(HED) @ np.diag(np.asarray(factors, np.float64)) @ HED
    return through_density(image, matrix, np.asarray(shifts, np.float64) @ HED)


@dataclass(frozen=True)
class Stains:
    """The stains of a slide: densities in R, G and B of `haematoxylin` and `eosin`, of length 1, and the `maximum`, two
    amounts that 99 % of its stained pixels stay below.
    """

    haematoxylin: Sequence[float]
    eosin: Sequence[float]
    maximum: Sequence[float]

    @property
    def vectors(self) -> NDArray[np.float64]:
        """Both stains, float (2, 3), of length 1."""
        rows = np.array([self.haematoxylin, self.eosin], np.float64)
        return np.asarray(rows / np.sqrt((rows**2).sum(axis=1, keepdims=True)))


def macenko(pixels: NDArray[np.uint8]) -> Stains:
    """Estimate the stains of H&E from pixels of tissue, uint8 RGB (n, 3) (Macenko et al. 2009, section 2).

    The two main directions of the densities, through the origin, span the plane of both stains; the extreme directions
    in that plane, the 1st and the 99th percentile of the angle, are the stains. Glass is what has a density, over all
    channels, below 0.15: of each channel the same would drop thin eosin, which hardly takes any red. Raises ValueError,
    with the reason, where too few pixels are stained or all with one stain.
    """
    density = DENSITY[pixels].astype(np.float64)
    stained = density[_along(density**2, np.ones(3)) >= _LEAST_DENSITY**2]
    if len(stained) < _LEAST_PIXELS:
        raise ValueError(f"{len(stained)} stained pixels, at least {_LEAST_PIXELS} are needed")
    moments = [[np.mean(stained[:, i] * stained[:, j]) for j in range(3)] for i in range(3)]
    second, first = np.linalg.eigh(np.array(moments))[1].T[1:]
    # Densities are positive, and so is the direction in which most of them lie.
    first = first * np.sign(first.sum())
    low, high = np.percentile(np.arctan2(_along(stained, second), _along(stained, first)), (_EXTREME, 100 - _EXTREME))
    if high - low < np.deg2rad(_LEAST_ANGLE):
        apart = np.rad2deg(high - low)
        raise ValueError(f"one stain only: two directions {apart:.1f}° apart, at least {_LEAST_ANGLE:g}° are needed")
    ends = [np.cos(angle) * first + np.sin(angle) * second for angle in (low, high)]
    # Haematoxylin takes more of the red.
    vectors = np.array(sorted(ends, key=lambda end: -end[0]))
    amounts = [np.percentile(_along(stained, column), 100 - _EXTREME) for column in np.linalg.pinv(vectors).T]
    if min(amounts) <= 0:
        raise ValueError("hardly any of one of the stains")
    return Stains(*(np.round(values, 6).tolist() for values in (*vectors, amounts)))


def towards(own: Stains, reference: Stains) -> NDArray[np.float64]:
    """The change of densities, float (3, 3), from a slide's stains to another's; what is in neither is lost."""
    factors = np.array(reference.maximum) / np.array(own.maximum)
    return np.asarray(np.linalg.pinv(own.vectors) @ np.diag(factors) @ reference.vectors)


def density_change(
    files: Sequence[str], settings: Mapping[str, Any] | StainNormalisation | None
) -> NDArray[np.float64] | None:
    """What normalises a slide's stains, float (3, 3) for `through_density`.

    `files` has one, with the slide's `Stains` or the reason for which it has none, as JSON. None where nothing is asked
    for, or the slide stays as it is. Raises FailedSlideError if there is an outcome in the place of the file.
    """
    if not settings:
        return None
    asked = StainNormalisation.of(settings, "stain_normalisation")
    (own,) = map(read_json, files)
    reference = Stains(asked.haematoxylin, asked.eosin, asked.maximum)
    return None if "failed" in own else towards(Stains(**own), reference)


def _along(rows: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    # Written out: a product of matrices may differ in the last bit with the number of threads.
    return np.asarray(rows[:, 0] * direction[0] + rows[:, 1] * direction[1] + rows[:, 2] * direction[2])
