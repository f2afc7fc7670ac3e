"""Comparison of two images by local features, and by their pixels where these put one over the other.

The features are SIFT (Lowe, 2004) on a small grey image, matched by the ratio test; the similarity (shift, turn, one
scale) is found by RANSAC. A mirrored SIFT descriptor is a permutation of the descriptor: nothing is computed twice.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from studies.common.images.job_settings import Match

# Detail is what a blur of this share of the longer side takes away; pictures that overlap by less than the other share
# of the first one have too few pixels to be compared.
_BLUR, _OVERLAP = 1 / 32, 0.1
# A descriptor is a histogram over 4 x 4 places and 8 directions, all relative to the feature's own direction. Mirroring
# turns the rows round, and the directions' sense.
MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()
_MOST_TRIES, _CONFIDENCE = 500, 0.995


@dataclass(frozen=True, eq=False)
class Features:
    """Local features of an image, `width` px wide: places (n, 2), px; descriptors (n, 128), as whole values.

    `detail`: the image (h, w) without its low frequencies; `inside`: 1 where it is looked at, else 0; None: not needed.
    """

    places: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    width: int
    detail: NDArray[np.int8] | None = None
    inside: NDArray[np.uint8] | None = None

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


def inside_body(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where a grey CT slice (h, w) shows the inside of the body: uint8, 1 there and 0 elsewhere.

    The largest bright object (Otsu's threshold) with all that it encloses, the lungs, less its rim. A scanner's table,
    a thin bright line, is cut off by an opening. A figure that is cropped so far that the object reaches from its upper
    to its lower border shows no table, and lungs that are cut by the borders: nothing of it is left out.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(max(grey.shape) / 75) + 1,) * 2)
    bright = cv2.morphologyEx(cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1], cv2.MORPH_OPEN, disc)
    outlines = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    inside = np.zeros_like(grey)
    if outlines:
        body = max(outlines, key=cv2.contourArea)
        _, top, _, tall = cv2.boundingRect(body)
        if top < len(disc) and top + tall > len(grey) - len(disc):
            return np.ones_like(grey)
        cv2.drawContours(inside, [body], -1, 1, -1)
    return np.asarray(cv2.erode(inside, disc), np.uint8)


def local_features(grey: NDArray[np.uint8], most: int, *, body_only: bool = False, detailed: bool = False) -> Features:
    """At most about `most` SIFT features of a grey image (h, w), the strongest ones; an even image has none.

    Of a CT slice they can be those inside the body alone. `detailed`: with what `aligned_correlation` compares.
    """
    inside = inside_body(grey) if body_only else np.ones_like(grey) if detailed else None
    detail = None
    if detailed:
        sharp = grey.astype(np.float32)
        blurred = cv2.GaussianBlur(sharp, (0, 0), max(grey.shape) * _BLUR)
        detail = np.rint(sharp - blurred).clip(-127, 127).astype(np.int8)
    points, descriptors = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, inside if body_only else None)
    if descriptors is None or not len(points):
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8), grey.shape[1], detail, inside)
    places = np.array([point.pt for point in points], dtype=np.float32)
    return Features(places, np.rint(descriptors).clip(0, 255).astype(np.uint8), grey.shape[1], detail, inside)


def fitting_features(first: Features, second: Features, match: Match) -> int:
    """Features, in different places, that one similarity brings together; 0 if fewer than `match.inliers`."""
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
        count, matrix = _inliers(first.places[rows], target, match)
        if count < match.inliers:
            continue
        if not match.correlation or aligned_correlation(first, second, matrix, mirrored) >= match.correlation:
            return count
    return 0


def aligned_correlation(first: Features, second: Features, matrix: NDArray[np.float64], mirrored: bool) -> float:
    """Correlation of the detail of two images where both are looked at, the second laid over the first.

    `matrix` (2, 3) takes places of the first image to the second one, which is mirrored before. 0 where they hardly
    overlap, or show nothing there.
    """
    if first.detail is None or second.detail is None or first.inside is None or second.inside is None:
        raise ValueError("the features come without detail")
    size = first.detail.shape[::-1]

    def laid(values: NDArray[Any], way: int) -> NDArray[Any]:
        turned = np.ascontiguousarray(values[:, ::-1] if mirrored else values)
        return np.asarray(cv2.warpAffine(turned, matrix, size, flags=way | cv2.WARP_INVERSE_MAP))

    both = (first.inside & laid(second.inside, cv2.INTER_NEAREST)) > 0
    if both.sum() < max(2, _OVERLAP * first.inside.sum()):
        return 0.0
    own, other = first.detail[both].astype(np.float64), laid(second.detail.astype(np.float32), cv2.INTER_LINEAR)[both]
    spread = float(own.std() * other.std())
    return float(((own - own.mean()) * (other - other.mean())).mean() / spread) if spread else 0.0


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


def _inliers(first: NDArray[np.float32], second: NDArray[np.float32], match: Match) -> tuple[int, Any]:
    """How many places one similarity brings together (0: none does), and its matrix (2, 3)."""
    search: Any = {"method": cv2.RANSAC, "maxIters": _MOST_TRIES, "confidence": _CONFIDENCE}
    matrix: Any
    matrix, fits = cv2.estimateAffinePartial2D(first, second, ransacReprojThreshold=match.tolerance, **search)
    if matrix is None:
        return 0, None
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 1 / match.max_scale <= scale <= match.max_scale:
        return 0, None
    # SIFT gives a place several features, one for each of its directions: they are one observation.
    chosen = fits.ravel() > 0
    return min(len(np.unique(np.rint(places[chosen]), axis=0)) for places in (first, second)), matrix
