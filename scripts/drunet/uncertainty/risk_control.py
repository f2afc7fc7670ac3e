"""Bounds on missed and false tumour, by conformal risk control (Angelopoulos et al. 2022; docs/trust.md)."""

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from scipy import special

from drunet.errors import ConfigError
from drunet.grid import Grid
from drunet.settings.measure import BOUNDS

# Of what and of which patients a bound is, and why it is refused however many there are.
_WORDS = {
    "bound": ("missed tumour", "with outlined tumour", "too much tumour has a probability near 0"),
    "bound_false": ("false tumour", "with tissue beside the outlined tumour", "too much has a probability near 1"),
}
# Thresholds that are tried, whatever the data: in equal steps of the logit, from the run's own to this or as near to 1.
_STEPS, _LOWEST = 400, 1e-4


def thresholds(own: float, *, rising: bool = False) -> np.ndarray:
    """Thresholds to choose from, float (k,), falling (rising) from a run's own."""
    tried = special.expit(np.linspace(-special.logit(_LOWEST), special.logit(_LOWEST), _STEPS))
    return np.array([own, *(tried[tried > own][::-1] if rising else tried[tried < own])])


def on_raster(probability: np.ndarray, grid: Grid, mpp: float) -> np.ndarray:
    """A map of the whole slide on the raster on which masks are compared, float32 (h, w); NaN counts as 0."""
    field = np.nan_to_num(probability, nan=0.0).astype(np.float32)
    return cv2.resize(field, grid.raster(mpp)[::-1], interpolation=cv2.INTER_LINEAR)


def missed(probability: np.ndarray, tumour: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Pixels of tumour below each threshold, int (k,); `probability` float32 (h, w), `tumour` bool (h, w).

    >>> missed(np.float32([[0.9, 0.4, 0.1]]), np.array([[True, True, True]]), np.array([0.5, 0.4, 0.2])).tolist()
    [2, 1, 1]
    """
    return np.searchsorted(np.sort(probability[tumour]), candidates.astype(np.float32), side="left")


def called(probability: np.ndarray, other: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Pixels of other tissue at or above each threshold, int (k,); arguments as for `missed`.

    >>> called(np.float32([[0.9, 0.4, 0.1]]), np.array([[True, True, True]]), np.array([0.1, 0.4, 0.95])).tolist()
    [3, 2, 0]
    """
    return np.count_nonzero(other) - missed(probability, other, candidates)


def controlled(losses: np.ndarray, alpha: float) -> int | None:
    """The first place at which (sum of losses + 1) / (n + 1) is at most `alpha`; None if there is none.

    `losses`, float (n, k) in [0, 1], never rise along a row. The loss of one more patient like these is, at that place,
    at most `alpha` in expectation (theorem 1 there).
    """
    bounded = (losses.sum(axis=0) + 1) / (len(losses) + 1) <= alpha + 1e-12
    return int(np.argmax(bounded)) if bounded.any() else None


def bound(shares: np.ndarray, candidates: np.ndarray, alpha: float, kind: str = "bound") -> dict[str, Any]:
    """The threshold at which at most `alpha` of a patient's area is wrong in expectation, as JSON values.

    `shares`, float (n, k), are of each patient, at each of the candidates: of the tumour what lies below it, the
    candidates falling (`kind` "bound"), or of the other tissue what does not, the candidates rising ("bound_false").
    Gives kind, alpha, patients, threshold (None: refused), refused (why, or empty), share and before (mean shares at
    that threshold and at the first), left_out (mean share of each patient at the threshold that the others give).
    """
    place, count, needed = controlled(shares, alpha), len(shares), math.ceil(1 / alpha - 1e-9) - 1
    facts: dict[str, Any] = {"kind": kind, "alpha": alpha, "patients": count, "refused": ""}
    if place is None:
        # With n patients even no loss at all gives nothing below 1 / (n + 1).
        _, whom, near = _WORDS[kind]
        few = f"{count} test patients {whom} are too few: {needed} are needed"
        lost = f"{near}: no threshold tells enough of it"
        return facts | {"refused": few if count < needed else lost, "threshold": None}
    places = [controlled(np.delete(shares, patient, axis=0), alpha) for patient in range(count)]
    left = [shares[patient, own] for patient, own in enumerate(places) if own is not None]
    means = {"share": shares[:, place].mean(), "before": shares[:, 0].mean(), "threshold": candidates[place]}
    apart = float(np.mean(left)) if len(left) == count else None
    return facts | {name: float(value) for name, value in means.items()} | {"left_out": apart}


def threshold_of(facts: Mapping[str, Any], where: str) -> float:
    """The threshold of a bound; raises ConfigError where it was refused."""
    if facts["threshold"] is None:
        kind = facts["kind"]
        mend = f"Annotate more test patients, raise `measure.{BOUNDS[kind]}`, or leave out the format `{kind}`."
        raise ConfigError(f"no bound on {_WORDS[kind][0]} can be given", where=where, found=facts["refused"], mend=mend)
    return float(facts["threshold"])
