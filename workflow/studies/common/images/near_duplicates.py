"""Search for images that were made from one source, where no file says so.

Augmented sets (LC25000: some 20 variants of each of 250 sources a class) leak through a split by image. Here each image
is compared with those of its class that look most like it (by colour), a pair is linked if local features of one are
found again in the other where a similarity puts them, and what links hold together is a group. How often the comparison
errs is measured on images of different classes, which share no source.

The features are SIFT (Lowe, 2004) on a small grey image, matched by the ratio test; the similarity (shift, turn, one
scale) is found by RANSAC. A mirrored SIFT descriptor is a permutation of the descriptor: nothing is computed twice.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from drunet.console import progress, say
from studies.common.images.folder import read_image
from studies.common.images.job_settings import Match, NearDuplicates

CONFIDENCE = 0.95
# Bins of lightness, red-green and blue-yellow (CIELAB), and px of the thumbnail that they count.
_BINS, _THUMBNAIL = (16, 12, 12), 64
# Rows of likeness at a time, and pairs in a thread's turn: both only bound memory.
_ROWS, _TURN = 1024, 256
# A descriptor is a histogram over 4 x 4 places and 8 directions, all relative to the feature's own direction. Mirroring
# turns the rows round, and the directions' sense.
MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()
_MOST_TRIES, _CONFIDENCE = 500, 0.995


@dataclass(frozen=True, eq=False)
class Features:
    """Local features of an image, `width` px wide: places (n, 2), px; descriptors (n, 128), as whole values."""

    places: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    width: int

    def __len__(self) -> int:
        return len(self.places)


def find_groups(
    images: pd.DataFrame, root: str | Path, settings: NearDuplicates, seed: int, *, threads: int | None = None
) -> tuple[pd.Series, dict[str, Any]]:
    """Find the groups of images (file, label, digest) that stem from one source.

    Identical images always share a group; no group spans classes. `seed` draws the pairs of the check. Memory: some 50
    kB an image. Returns the group of each image, and facts: images, groups, largest, singletons, pairs_compared, links,
    identical (images that repeat another one), featureless (too even to be compared), check (see `check_facts`).
    """
    labels = images["label"].to_numpy()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        features, colours = _look(images, Path(root), settings, pool)
        pairs = candidate_pairs(colours, labels, settings.candidates)
        links = pairs[_compare(features, pairs, settings, pool, "Comparing look-alikes") > 0]
        strange = candidate_pairs(colours, labels, settings.candidates, other_class=True)
        wanted = min(settings.check_pairs or len(pairs), len(strange))
        strange = strange[np.sort(np.random.default_rng(seed).choice(len(strange), wanted, replace=False))]
        false = strange[_compare(features, strange, settings, pool, "Checking on other classes") > 0]
    same = identical_pairs(images["digest"])
    groups = _named(images, np.concatenate([links, same]))
    facts: dict[str, Any] = {
        **group_facts(images.assign(group=groups)),
        "pairs_compared": len(pairs),
        "links": len(links),
        "identical": len(same),
        "featureless": sum(len(own) < settings.inliers for own in features),
        "check": check_facts(len(strange), len(false), len(pairs), len(links)),
    }
    facts["check"]["examples"] = [[images["file"].iloc[i] for i in pair] for pair in false[:3]]
    if len(false):
        first = " and ".join(facts["check"]["examples"][0])
        say(f"{len(false)} of {len(strange)} pairs of different classes seem to share a source: {first}")
    return groups, facts


def relatives(
    images: pd.DataFrame,
    root: str | Path,
    others: pd.DataFrame,
    other_root: str | Path,
    settings: NearDuplicates,
    *,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Position in `images` of one that shares its source with each of `others`; -1 where there is none, int64 (n,).

    Both have file, label and digest. An image is compared with those of its class that are nearest to it in colour.
    """
    pictures = pd.Series(np.arange(len(images)), index=images["digest"].to_numpy())
    same = others["digest"].map(pictures[~pictures.index.duplicated()]).fillna(-1).to_numpy(np.int64)
    pairs = [np.empty((0, 2), np.int64)]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        features, colours = _look(images, Path(root), settings, pool)
        strange, shades = _look(others, Path(other_root), settings, pool)
        for label in np.unique(others["label"]):
            rows, columns = (np.flatnonzero(frame["label"] == label) for frame in (others, images))
            nearest = min(settings.candidates, len(columns))
            for some in np.split(rows, range(_ROWS, len(rows), _ROWS)) if nearest else ():
                chosen = np.argpartition(-(shades[some] @ colours[columns].T), nearest - 1, axis=1)[:, :nearest]
                pairs.append(np.column_stack([np.repeat(some, nearest), columns[chosen.ravel()]]))
        compared = np.concatenate(pairs)
        places = compared + np.array([0, len(strange)])
        linked = compared[_compare([*strange, *features], places, settings, pool, "Comparing the two folders") > 0]
    found = np.full(len(others), -1, dtype=np.int64)
    found[linked[::-1, 0]] = linked[::-1, 1]
    return np.where(same >= 0, same, found)


def group_facts(images: pd.DataFrame) -> dict[str, int]:
    """Counts of images (label, group): images, groups, largest, singletons, spanning (groups of several classes)."""
    sizes = images["group"].value_counts()
    classes = images[["group", "label"]].drop_duplicates()["group"].value_counts()
    counts = {"images": len(images), "groups": len(sizes), "largest": int(sizes.max())}
    return {**counts, "singletons": int((sizes == 1).sum()), "spanning": int((classes > 1).sum())}


def check_facts(tried: int, false_links: int, compared: int, links: int) -> dict[str, Any]:
    """What trying the comparison on `tried` pairs of different classes, which share no source, says of its links.

    These are the nearest in colour, thus harder than pairs at random; two sources of one class may be more alike still.
    The bound on the rate is the one-sided one of 95 % (Clopper and Pearson); precision is the share of links that it
    leaves.
    """
    at_most = 1.0 if false_links >= tried else float(beta.ppf(CONFIDENCE, false_links + 1, tried - false_links))
    expected = at_most * compared
    return {
        "pairs": tried,
        "false_links": false_links,
        "rate": false_links / tried if tried else None,
        "rate_at_most": at_most,
        "false_links_at_most": expected,
        "precision_at_least": max(0.0, 1 - expected / links) if links else None,
    }


def colour_signature(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Roots of the histogram of CIELAB colours, float32 of length 1; turning and mirroring change nothing."""
    lab = cv2.cvtColor(cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    # Tissue stains lie in a part of the two colour axes; what lies beyond falls into the outermost bins.
    lab = np.clip(lab, (0, 96, 64), (255, 223, 191)).astype(np.uint8)
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), [0, 256, 96, 224, 64, 192])
    return np.asarray(np.sqrt(counts.ravel() / counts.sum()), dtype=np.float32)


def candidate_pairs(
    colours: NDArray[np.float32], labels: NDArray[Any], count: int, *, other_class: bool = False
) -> NDArray[np.int64]:
    """Each image with the `count` nearest in colour (n, d), of its class or of others: sorted pairs (m, 2), once."""
    pairs = [np.empty((0, 2), np.int64)]
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        others = np.flatnonzero(labels != label) if other_class else own
        nearest = min(count, len(others) - (not other_class))
        if nearest < 1:
            continue
        for rows in np.split(own, range(_ROWS, len(own), _ROWS)):
            likeness = colours[rows] @ colours[others].T
            likeness[rows[:, None] == others] = -1
            chosen = np.argpartition(-likeness, nearest - 1, axis=1)[:, :nearest]
            pairs.append(np.column_stack([np.repeat(rows, nearest), others[chosen.ravel()]]))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def identical_pairs(digests: pd.Series) -> NDArray[np.int64]:
    """Pairs (m, 2) of positions that chain together the images of one digest."""
    positions = pd.Series(np.arange(len(digests))).groupby(digests.to_numpy())
    pairs = [pair for _, members in positions for pair in pairwise(members)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _look(
    images: pd.DataFrame, root: Path, settings: NearDuplicates, pool: ThreadPoolExecutor
) -> tuple[list[Features], NDArray[np.float32]]:
    """Local features and colours of every image."""

    def look(file: str) -> tuple[Features, NDArray[np.float32]]:
        image = read_image(root / file)
        return local_features(small_grey(image, settings.size), settings.features), colour_signature(image)

    features, colours = [], []
    with progress(len(images), "Looking for features", "images") as bar:
        for own, colour in pool.map(look, images["file"]):
            features.append(own)
            colours.append(colour)
            bar.update()
    return features, np.stack(colours)


def _compare(
    features: list[Features], pairs: NDArray[np.int64], match: Match, pool: ThreadPoolExecutor, what: str
) -> NDArray[np.int64]:
    """For every pair the features that fit; 0 where it is no link."""

    def turn(some: NDArray[np.int64]) -> list[int]:
        return [fitting_features(features[i], features[j], match) for i, j in some]

    fits: list[int] = []
    with progress(len(pairs), what, "pairs") as bar:
        for found in pool.map(turn, np.split(pairs, range(_TURN, len(pairs), _TURN))):
            fits += found
            bar.update(len(found))
    return np.array(fits, dtype=np.int64)


def _named(images: pd.DataFrame, links: NDArray[np.int64]) -> pd.Series:
    """Groups named by their class and a number, in the order of their first images."""
    graph = sparse.coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(images), len(images)))
    components = connected_components(graph, directed=False)[1]
    firsts = pd.DataFrame({"label": images["label"].to_numpy()}, index=components)
    firsts = firsts[~firsts.index.duplicated()]
    names = firsts["label"] + "." + (firsts.groupby("label").cumcount() + 1).astype(str).str.zfill(5)
    return pd.Series(names[components].to_numpy(), index=images.index, name="group", dtype=str)


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
    search: Any = {"method": cv2.RANSAC, "maxIters": _MOST_TRIES, "confidence": _CONFIDENCE}
    matrix: Any
    matrix, fits = cv2.estimateAffinePartial2D(first, second, ransacReprojThreshold=match.tolerance, **search)
    if matrix is None:
        return 0
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if not 1 / match.max_scale <= scale <= match.max_scale:
        return 0
    # SIFT gives a place several features, one for each of its directions: they are one observation.
    chosen = fits.ravel() > 0
    return min(len(np.unique(np.rint(places[chosen]), axis=0)) for places in (first, second))
