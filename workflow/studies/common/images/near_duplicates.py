"""Search for images that were made from one source, where no file says so.

Augmented sets (LC25000: some 20 variants of each of 250 sources a class) leak through a split by image. Here each image
is compared with those of its class that look most like it (by colour), a pair is linked if local features of one are
found again in the other where a similarity puts them, and what links hold together is a group. How often the comparison
errs is measured on images of different classes, which share no source. What only images of one class have in common
(one scanner's table under many patients) is invisible there: pairs of one class are tried too, such as are known to be
of different sources, or else any.
"""

import os
from concurrent.futures import ThreadPoolExecutor
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
from studies.common.images.local_features import Features, fitting_features, local_features, small_grey

CONFIDENCE = 0.95
# Images of known source that are looked at for a check of links within classes.
_MOST_KNOWN = 300
# Bins of lightness, red-green and blue-yellow (CIELAB), and px of the thumbnail that they count.
_BINS, _THUMBNAIL = (16, 12, 12), 64
# Rows of likeness at a time, and pairs in a thread's turn: both only bound memory.
_ROWS, _TURN = 1024, 256


def find_groups(
    images: pd.DataFrame,
    root: str | Path,
    settings: NearDuplicates,
    seed: int,
    *,
    threads: int | None = None,
    known: pd.DataFrame | None = None,
) -> tuple[pd.Series, dict[str, Any]]:
    """Find the groups of images (file, label, digest) that stem from one source.

    Identical images always share a group; no group spans classes. `seed` draws the pairs of the checks, `known` (file,
    label, source) are other images, whose source is known: links between those of one class and several sources are
    false. Memory: some 50 kB an image, and 130 kB more where pixels are compared. Returns the group of each image, and
    facts: images, groups, largest, singletons, pairs_compared, links, over_largest (links left out by `within_bound`),
    bound, identical (images that repeat another one), featureless (too even to be compared), check (pairs of different
    classes, see `check_facts`), same_class (the same of pairs of one class; known: whether they are of different
    sources, else they are drawn at random and some links among them are right).
    """
    labels, rng = images["label"].to_numpy(), np.random.default_rng(seed)
    others = _others(known, labels, seed)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        features, every = _look(pd.concat([images["file"], others["file"]]), Path(root), settings, pool)
        colours = every[: len(images)]
        pairs = candidate_pairs(colours, labels, settings.candidates)
        fits = _compare(features, pairs, settings, pool, "Comparing look-alikes")
        strange = candidate_pairs(colours, labels, settings.candidates, other_class=True)
        tried = settings.check_pairs or len(pairs)
        strange = strange[np.sort(rng.choice(len(strange), min(tried, len(strange)), replace=False))]
        false = strange[_compare(features, strange, settings, pool, "Checking on other classes") > 0]
        sources = others["source"].to_numpy()
        apart = candidate_pairs(every[len(images) :], others["label"].to_numpy(), settings.candidates)
        apart = apart[sources[apart[:, 0]] != sources[apart[:, 1]]]
        drawn = apart[rng.permutation(len(apart))[:tried]] + len(images)
        if not len(apart):
            drawn = random_pairs(labels, tried, rng)
        linked = int((_compare(features, drawn, settings, pool, "Checking within classes") > 0).sum())
    links, same = pairs[fits > 0], identical_pairs(images["digest"])
    kept = within_bound(links, fits[fits > 0], same, len(images), settings.largest)
    groups = _named(images, np.concatenate([links[kept], same]))
    facts: dict[str, Any] = {
        **group_facts(images.assign(group=groups)),
        "pairs_compared": len(pairs),
        "links": len(links),
        "over_largest": int((~kept).sum()),
        "bound": settings.largest,
        "identical": len(same),
        "featureless": sum(len(own) < settings.inliers for own in features[: len(images)]),
        "check": check_facts(len(strange), len(false)),
        "same_class": {"known": len(apart) > 0, **check_facts(len(drawn), linked)},
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
        features, colours = _look(images["file"], Path(root), settings, pool)
        strange, shades = _look(others["file"], Path(other_root), settings, pool)
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


def check_facts(tried: int, false_links: int) -> dict[str, Any]:
    """What trying the comparison on `tried` pairs of different sources says of its links.

    The bound on the rate is the one-sided one of 95 % (Clopper and Pearson). It holds for pairs like these: those of
    different classes say nothing of pairs of one class, which may have more in common.
    """
    at_most = 1.0 if false_links >= tried else float(beta.ppf(CONFIDENCE, false_links + 1, tried - false_links))
    rate = false_links / tried if tried else None
    return {"pairs": tried, "false_links": false_links, "rate": rate, "rate_at_most": at_most}


def random_pairs(labels: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """About `count` pairs of different images of one class, drawn at random: sorted pairs (m, 2), each once."""
    first = rng.integers(len(labels), size=count)
    second = np.empty_like(first)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        rows = labels[first] == label
        second[rows] = rng.choice(own, int(rows.sum()))
    pairs = np.sort(np.column_stack([first, second]), axis=1)
    return np.unique(pairs[first != second], axis=0)


def within_bound(
    links: NDArray[np.int64], fits: NDArray[np.int64], same: NDArray[np.int64], count: int, largest: int | None
) -> NDArray[np.bool_]:
    """Which links (m, 2) of `count` images are kept, so that no group has more than `largest` images (None: all are).

    The strongest ones, by how many features fit, come first. One that would make a group larger is left out, and with
    it what it would have joined: a chain of chance links breaks at its weakest ones. Identical images, `same`, are one
    group whatever its size.
    """
    kept = np.ones(len(links), dtype=bool)
    if largest is None:
        return kept
    parent, size = list(range(count)), [1] * count

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    def join(i: int, j: int, most: int) -> bool:
        i, j = root(i), root(j)
        if i != j and size[i] + size[j] > most:
            return False
        if i != j:
            parent[j], size[i] = i, size[i] + size[j]
        return True

    for i, j in same.tolist():
        join(i, j, count)
    for row in np.argsort(-fits, kind="stable"):
        kept[row] = join(int(links[row, 0]), int(links[row, 1]), largest)
    return kept


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
    files: pd.Series, root: Path, settings: NearDuplicates, pool: ThreadPoolExecutor
) -> tuple[list[Features], NDArray[np.float32]]:
    """Local features and colours of every image."""

    def look(file: str) -> tuple[Features, NDArray[np.float32]]:
        image = read_image(root / file)
        how = {"body_only": settings.body_only, "detailed": settings.correlation > 0}
        return local_features(small_grey(image, settings.size), settings.features, **how), colour_signature(image)

    features, colours = [], []
    with progress(len(files), "Looking for features", "images") as bar:
        for own, colour in pool.map(look, files):
            features.append(own)
            colours.append(colour)
            bar.update()
    return features, np.stack(colours)


def _others(known: pd.DataFrame | None, labels: NDArray[Any], seed: int) -> pd.DataFrame:
    """Some images of known source that are of the classes `labels`: file, label, source."""
    if known is None:
        return pd.DataFrame({key: np.empty(0, dtype=str) for key in ("file", "label", "source")})
    own = known[known["label"].isin(set(labels))].reset_index(drop=True)
    return own.sample(min(len(own), _MOST_KNOWN), random_state=seed).reset_index(drop=True)


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
    components = connected_components(_graph(links, len(images)), directed=False)[1]
    firsts = pd.DataFrame({"label": images["label"].to_numpy()}, index=components)
    firsts = firsts[~firsts.index.duplicated()]
    names = firsts["label"] + "." + (firsts.groupby("label").cumcount() + 1).astype(str).str.zfill(5)
    return pd.Series(names[components].to_numpy(), index=images.index, name="group", dtype=str)


def _graph(pairs: NDArray[np.int64], count: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
