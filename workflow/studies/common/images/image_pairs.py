"""Whether two images show one source: local features of the first, found again in the second where a similarity puts
them.

The features are SIFT (Lowe, 2004) on a small grey image, matched by the ratio test; the similarity (shift, turn, one
scale) is found by RANSAC. An image may be the other's mirror image: a mirrored SIFT descriptor is a permutation of the
descriptor, so that nothing is computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from studies.common.images.job_settings import Match

# A descriptor is a histogram over 4 x 4 places and 8 directions, all relative to the feature's own direction. Mirroring
# turns the rows round, and the directions' sense.
MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()
_MOST_TRIES, _CONFIDENCE = 500, 0.995


@dataclass(frozen=True, eq=False)
class Features:
    """Local features of an image, `width` px wide: `places` float32 (n, 2), x and y, px; `descriptors` uint8 (n, 128),
    SIFT's whole values, a fourth of the memory.
    """

    places: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    width: int

    def __len__(self) -> int:
        return len(self.places)


def small_grey(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An RGB image (h, w, 3) as grey with `size` px on its longer side."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, shape, interpolation=way), dtype=np.uint8)


def local_features(grey: NDArray[np.uint8], most: int) -> Features:
    """At most about `most` SIFT features of a grey image (h, w), the strongest ones; an even image has none."""
    points, descriptors = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, None)
    if descriptors is None or not len(points):
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8), grey.shape[1])
    places = np.array([point.pt for point in points], dtype=np.float32)
    return Features(places, np.rint(descriptors).clip(0, 255).astype(np.uint8), grey.shape[1])


def fitting_features(first: Features, second: Features, match: Match) -> int:
    """Features, in different places, that one similarity, with or without mirroring, brings together; 0 if fewer than
    `match.inliers`.
    """
    if min(len(first), len(second)) < match.inliers:
        return 0
    own = unit_descriptors(first.descriptors)
    for mirrored in (False, True):
        other = unit_descriptors(second.descriptors[:, MIRRORED] if mirrored else second.descriptors)
        rows, columns = _found_again(own @ other.T, match.ratio)
        if len(rows) < match.inliers:
            continue
        target = second.places[columns]
        if mirrored:
            target = np.column_stack([second.width - 1 - target[:, 0], target[:, 1]])
        count = _inliers(first.places[rows], target, match)
        if count >= match.inliers:
            return count
    return 0


def unit_descriptors(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors as square roots of shares, of length 1 (RootSIFT; Arandjelović and Zisserman, 2012): float32."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)), dtype=np.float32)


def _found_again(likeness: NDArray[np.float32], ratio: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pairs that are each other's nearest and pass the ratio test; `likeness` is a cosine."""
    count = np.arange(len(likeness))
    nearest = likeness.argmax(axis=1)
    best = likeness[count, nearest]
    mutual = likeness.argmax(axis=0)[nearest] == count
    likeness[count, nearest] = -1
    second = likeness.max(axis=1)
    # Of unit vectors the squared distance is 2 - 2 cos.
    rows = np.flatnonzero(mutual & (1 - best < ratio**2 * (1 - second)))
    return rows, nearest[rows]


def _inliers(first: NDArray[np.float32], second: NDArray[np.float32], match: Match) -> int:
    matrix: Any
    matrix, fits = cv2.estimateAffinePartial2D(
        first,
        second,
        method=cv2.RANSAC,
        ransacReprojThreshold=match.tolerance,
        maxIters=_MOST_TRIES,
        confidence=_CONFIDENCE,
    )
    if matrix is None:
        return 0
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 1 / match.max_scale <= scale <= match.max_scale:
        return 0
    # SIFT gives a place several features, one for each of its directions: they are one observation.
    chosen = fits.ravel() > 0
    return min(len(np.unique(np.rint(places[chosen]), axis=0)) for places in (first, second))
