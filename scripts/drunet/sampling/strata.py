"""Strata of label and tissue: every tissue as often with tumour as without.

The paper balances whole annotations over clusters of similar tissue; its authors' code finds the tissues by k-means
with four clusters on weighted colours, on thumbnails. Here the colour of a tile is its mean on an overview of its
slide, and all training slides are clustered together, so that a tissue is the same one on every slide.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from drunet.errors import TrainingDataError
from drunet.sampling.balance import evened
from drunet.sampling.crops import Crops
from drunet.slide import Slide
from drunet.tiles import NON_TUMOUR, TUMOUR

# Authors' code: red, green, blue.
COLOUR_WEIGHTS = (0.2, 0.1, 0.6)
# A tile's side on the overview, in pixels: enough for its mean colour, and a slide's overview takes a few megabytes.
_SIDE_PX = 8
_STARTS = 4


class TileColours:
    """Mean colours of tiles anywhere on some slides, from an overview of each that is read once.

    Each of `slides`, in the order of `Crops.slide`, opens a slide; `side_um` is the side of a tile in µm.
    """

    def __init__(self, slides: Iterable[Callable[[], Slide]], side_um: float) -> None:
        self._overviews: list[np.ndarray] = []
        self._scales: list[tuple[float, float]] = []
        for opened in slides:
            with opened() as slide:
                height, width = shape = slide.shape_at(side_um / _SIDE_PX)
                self._overviews.append(slide.read_whole(shape))
                self._scales.append((width / slide.properties.width, height / slide.properties.height))

    def __call__(self, crops: Crops) -> np.ndarray:
        """Mean RGB of each crop, float (n, 3) in [0, 255]."""
        colours = np.empty((len(crops), 3))
        steps = np.arange(_SIDE_PX)
        for slide in np.unique(crops.slide):
            own, overview = crops.slide == slide, self._overviews[slide]
            scale_x, scale_y = self._scales[slide]
            columns = np.clip(np.rint(crops.x[own] * scale_x).astype(int)[:, None] + steps, 0, overview.shape[1] - 1)
            rows = np.clip(np.rint(crops.y[own] * scale_y).astype(int)[:, None] + steps, 0, overview.shape[0] - 1)
            colours[own] = overview[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
        return colours


class TissueStrata:
    """Balance that shows every stratum of label and tissue equally often; an epoch is as long as without it.

    The tissues are `clusters` of the colours, mean RGB float (n, 3) in [0, 255], of `crops`, numbered from the darkest.
    A stratum that is empty in a later epoch (crops of regions vary) leaves its share to the others. `where` is the key
    in the configuration, for messages. Raises TrainingDataError if there are fewer colours than clusters, or a stratum
    is empty.
    """

    def __init__(
        self, colours: Callable[[Crops], np.ndarray], crops: Crops, *, clusters: int, seed: int, where: str
    ) -> None:
        self._colours = colours
        self.centres = _tissues(colours(crops), clusters, seed, where)
        self._counts = np.array([len(group) for group in self._strata(crops)]).reshape(2, clusters)
        if not self._counts.all():
            found = "no " + ", no ".join(
                f"{_NAMES[label]} tile in cluster {c + 1}" for label, c in np.argwhere(self._counts == 0)
            )
            mend = f"Lower `clusters` (here {clusters}), or annotate slides that show what is missing."
            raise TrainingDataError("a stratum of label and tissue is empty", where=where, found=found, mend=mend)

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Of each cluster its mean colour (RGB) and how many crops of either class it holds, as JSON values."""
        return [
            {"colour": [round(float(v)) for v in centre], **{_NAMES[i]: int(n) for i, n in enumerate(counts)}}
            for centre, counts in zip(self.centres, self._counts.T, strict=True)
        ]

    def __call__(self, rng: np.random.Generator, crops: Crops) -> Crops:
        """As many crops as are given, from every stratum as many give or take one."""
        present = [group for group in self._strata(crops) if len(group)]
        counts = np.full(len(present), len(crops) // len(present))
        counts[rng.permutation(len(present))[: len(crops) % len(present)]] += 1
        return evened(rng, crops, present, counts.tolist())

    def clusters_of(self, crops: Crops) -> np.ndarray:
        """Number of the nearest cluster of each crop, int (n,) from 0."""
        apart = _weighted(self._colours(crops))[:, None] - _weighted(self.centres)
        return np.asarray(np.square(apart).sum(axis=2).argmin(axis=1))

    def _strata(self, crops: Crops) -> list[np.ndarray]:
        cluster = self.clusters_of(crops)
        pairs = [(label, c) for label in (NON_TUMOUR, TUMOUR) for c in range(len(self.centres))]
        return [np.flatnonzero((crops.label == label) & (cluster == c)) for label, c in pairs]


_NAMES = {NON_TUMOUR: "non_tumour", TUMOUR: "tumour"}


def _weighted(colours: np.ndarray) -> np.ndarray:
    return colours / 255 * COLOUR_WEIGHTS


def _tissues(colours: np.ndarray, clusters: int, seed: int, where: str) -> np.ndarray:
    """Centres (clusters, 3) as RGB in [0, 255], the darkest first."""
    different = len(np.unique(colours, axis=0))
    if different < clusters:
        what = "there are fewer tiles of different colour than tissue clusters"
        mend = "Lower `clusters`, or add slides."
        raise TrainingDataError(what, where=where, found=f"{different} of them, {clusters} clusters", mend=mend)
    found = KMeans(clusters, n_init=_STARTS, random_state=seed).fit(_weighted(colours)).cluster_centers_
    # Rounded, for threads may add in another order: the same slides shall give the same strata.
    centres = np.round(found / COLOUR_WEIGHTS * 255, 3)
    return np.asarray(centres[np.argsort(centres.sum(axis=1), kind="stable")])
