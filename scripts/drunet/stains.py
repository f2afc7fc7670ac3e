"""Stains: colours as optical densities, which add up as stains do (Beer and Lambert), and linear changes of them.

Densities are -log10(I / 255) per channel R, G, B. NumPy and OpenCV; the same numbers whatever the number of threads.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

# Rows are the densities in R, G and B of haematoxylin, eosin and DAB (Ruifrok and Johnston 2001; as in scikit-image).
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# A level of 0 counts as a quarter of one, so that it is black again where nothing is changed.
DENSITY = -np.log10(np.maximum(np.arange(256), 0.25) / 255).astype(np.float32)


def through_density(image: NDArray[np.uint8], matrix: ArrayLike, shift: ArrayLike = 0.0) -> NDArray[np.uint8]:
    """Change the densities d (row vectors of R, G, B) of an image to d @ matrix + shift.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB
    matrix : float (3, 3)
    shift : float (3,)

    Returns
    -------
    uint8 (h, w, 3)
        A new image, rounded and saturated.

    Examples
    --------
    Twice the density is the square of what is let through: 255 (51 / 255)² = 10.2.

    >>> through_density(np.uint8([[[255, 51, 0]]]), 2 * np.eye(3)).tolist()
    [[[255, 10, 0]]]
    """
    columns = np.column_stack([np.asarray(matrix, np.float64).T, np.broadcast_to(shift, 3)]).astype(np.float32)
    density = cv2.transform(cv2.LUT(np.ascontiguousarray(image), DENSITY[None]), columns)
    passed = cv2.exp(density * np.float32(-np.log(10)))
    return np.asarray(cv2.convertScaleAbs(passed, alpha=255.0), np.uint8)


def jitter_hed(image: NDArray[np.uint8], factors: ArrayLike, shifts: ArrayLike) -> NDArray[np.uint8]:
    """Multiply the amount of each stain and add to it (Tellez et al. 2018).

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB
    factors, shifts : float (3,)
        Of haematoxylin, eosin and DAB, which here is what the other two leave; shifts in density.

    Examples
    --------
    >>> jitter_hed(np.uint8([[[200, 120, 170]]]), [1, 1, 1], [0, 0, 0]).tolist()
    [[[200, 120, 170]]]
    """
    matrix = np.linalg.inv(HED) @ np.diag(np.asarray(factors, np.float64)) @ HED
    return through_density(image, matrix, np.asarray(shifts, np.float64) @ HED)
