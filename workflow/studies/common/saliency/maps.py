"""Maps over the pixels of the input: gradient saliency and integrated gradients.

Both say where a change of the picture would change the decision, not where the tumour is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from studies.common.saliency.score import ClassScore, ScoreKind, batches, gradients

Baseline = Literal["black", "white", "mean"]
_BASELINES: dict[Baseline, Callable[[np.ndarray], Any]] = {
    "black": np.zeros_like,
    "white": np.ones_like,
    "mean": lambda images: np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape),
}


def gradient_saliency(
    model: Any, images: np.ndarray, index: int, *, score: ScoreKind = "log_odds", batch_size: int = 16
) -> np.ndarray:
    """Largest absolute gradient of a class's score over the channels of each pixel.

    Source: Simonyan et al. 2013, section 3; DRU-Net, "Saliency maps". `images`: float (n, h, w, c), as the model takes
    them; `model`, `index` and `score` as of `ClassScore`. Returns float32 (n, h, w): not negative; score per unit of
    pixel value.
    """
    explained = ClassScore(model, index, score)
    slopes = [gradients(explained, batch)[0] for batch in batches(images, batch_size)]
    return np.abs(np.concatenate(slopes)).max(axis=-1)


@dataclass(frozen=True)
class IntegratedGradients:
    """What every pixel adds to a class's score, counted from a baseline.

    `attributions`: float32 (n, h, w, c), in units of the score; positive values speak for the class. `change`: float32
    (n,), score of the picture less that of its baseline, which the attributions should add up to.
    """

    attributions: np.ndarray
    change: np.ndarray

    @property
    def map(self) -> np.ndarray:
        """Influence of each pixel, for or against: float32 (n, h, w), the size of the sum over its channels."""
        return np.abs(self.attributions.sum(axis=-1))

    @property
    def gap(self) -> np.ndarray:
        """How far the attributions miss the change, float32 (n,): the error of integrating in so many steps."""
        return self.attributions.sum(axis=(1, 2, 3), dtype=np.float64).astype(np.float32) - self.change


def integrated_gradients(
    model: Any,
    images: np.ndarray,
    index: int,
    *,
    baseline: Baseline = "black",
    steps: int = 64,
    score: ScoreKind = "log_odds",
    batch_size: int = 16,
) -> IntegratedGradients:
    """Integrate the gradient on the straight way from a baseline to each picture, times the way.

    Source: Sundararajan et al. 2017, equation 1. The integral is taken by Gauss-Legendre's rule, exact for scores that
    are polynomials of degree up to 2 * steps along the way. A network of ReLUs has kinks instead; `gap` tells what is
    missing.

    `model`, `images` (in [0, 1]), `index`, `score`, `batch_size`: as in `gradient_saliency`. `baseline`: the picture
    that says nothing. On slides white is glass, black is found nowhere; "mean" is each picture's own mean colour. What
    equals the baseline gets no attribution, so black never marks black pixels, nor white glass. `steps`: points on the
    way, at least 1.
    """
    explained = ClassScore(model, index, score)
    images = np.asarray(images, np.float32)
    starts = np.asarray(_BASELINES[baseline](images), np.float32)
    change = explained.values(images, batch_size) - explained.values(starts, batch_size)
    points, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1], weights that add up to 2
    slope = np.zeros(images.shape, np.float64)
    # Steps and pictures in one row, so that few pictures still fill the batches.
    picture, step = (part.ravel() for part in np.indices((len(images), steps)))
    for first in range(0, len(picture), batch_size):
        which, at = picture[first : first + batch_size], step[first : first + batch_size]
        share = ((points[at] + 1) / 2).astype(np.float32)[:, None, None, None]
        found = gradients(explained, starts[which] + share * (images - starts)[which])[0]
        np.add.at(slope, which, found * (weights[at] / 2)[:, None, None, None])
    return IntegratedGradients(((images - starts) * slope).astype(np.float32), change)


def unit_range(maps: np.ndarray, percentile: float = 100.0, *, top: np.ndarray | None = None) -> np.ndarray:
    """Stretch every map for display.

    `maps`: float (n, h, w), not negative. `percentile`: of a map's own values: what lies there or above becomes 1.
    `top`: float (n,), what becomes 1 instead. Returns float32 (n, h, w): in [0, 1]; 0 stays 0, and a map without
    influence stays 0 all over.
    """
    tops = np.percentile(maps, percentile, axis=(1, 2)) if top is None else top
    tops = np.asarray(tops, np.float32)[:, None, None]
    return np.clip(np.divide(maps, tops, out=np.zeros(maps.shape, np.float32), where=tops > 0), 0, 1)
