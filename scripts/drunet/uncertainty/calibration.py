"""Calibration of tile probabilities: temperature scaling, the error before and after; docs/trust.md has formulas."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from drunet.cohort import patient_folds
from drunet.errors import ConfigError

BINS, FOLDS = 15, 5
# Probabilities are float32: nearer to 0 or 1 a logit is of its rounding.
_NEAREST = 1e-7
# Logarithm of temperatures that are tried. An optimum at either end is none: the tiles do not say where it is.
_WIDEST = math.log(20)


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature: sigmoid(logit(p) / T), float, of the shape and type of `p`; NaN stays.

    For two classes this is the softmax of logits that are divided by T (Guo et al. 2017). It never changes the order of
    two tiles, and 0.5 stays 0.5.

    >>> tempered(np.array([0.1, 0.5, 0.9]), 2.0).round(3).tolist()
    [0.25, 0.5, 0.75]
    """
    return np.asarray(special.expit(_logit(p) / temperature), dtype=p.dtype)


def _logit(p: np.ndarray) -> np.ndarray:
    return np.asarray(special.logit(np.clip(np.asarray(p, np.float64), _NEAREST, 1 - _NEAREST)))


def _loss(logit: np.ndarray, label: np.ndarray, log_inverse: float = 0.0) -> float:
    """Mean of -log of the probability that each tile's own class is given, at the inverse of a temperature."""
    z = logit * math.exp(log_inverse)
    return float(np.mean(np.logaddexp(0, z) - z * label))


def fit_temperature(p: np.ndarray, label: np.ndarray) -> float | None:
    """The temperature at which labelled tiles are most likely; `p` float (n,), `label` int (n,) 1 tumour, 0 not.

    None where they determine none: one class alone, divided without a fault, or judged no better than by chance.
    """
    if len(np.unique(label)) < 2:
        return None
    loss = functools.partial(_loss, _logit(p), label)
    best = optimize.minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-6}).x
    return None if _WIDEST - abs(best) < 1e-3 else math.exp(-best)


def reliability(p: np.ndarray, label: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Mean probability and share of tumour in bins of equal numbers of tiles: predicted, observed, tiles."""
    parts = np.array_split(np.argsort(p, kind="stable"), max(1, min(bins, len(p))))
    rows = [(float(np.mean(p[part])), float(np.mean(label[part])), len(part)) for part in parts if len(part)]
    return pd.DataFrame(rows, columns=["predicted", "observed", "tiles"])


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error of bins as `reliability` gives them: the mean |predicted - observed| of tiles.

    Of tumour against the rest, in bins of equal mass (Kumar et al. 2019). Bins of few tiles make it larger than it is.

    >>> calibration_error(reliability(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 0, 1, 0]), bins=2))
    0.25
    """
    gap = (bins["predicted"] - bins["observed"]).abs()
    return float((gap * bins["tiles"]).sum() / bins["tiles"].sum()) if len(bins) else math.nan


def calibrate(tiles: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Fit a temperature on validation tiles, and judge it, as JSON values.

    `tiles` has slide, patient (a number), split, p_tumour, label; only readable ones with label 0 or 1 count. `seed` is
    of the folds of patients. Returns temperature (None: not determined), bins, and `splits`: for val and test, where
    there are tiles, tiles, slides, patients, apart, `before` and `after` (None without a temperature), each with nll,
    ece and `reliability`. Validation tiles are judged at temperatures fitted without their patient; with too few
    patients for that, `apart` is false: the same tiles fit and judge.
    """
    known = tiles[tiles["label"].isin((0, 1)) & tiles["p_tumour"].notna()]
    val = known[known["split"] == "val"]
    temperature = fit_temperature(val["p_tumour"].to_numpy(), val["label"].to_numpy())
    facts: dict[str, Any] = {"temperature": temperature, "bins": BINS, "splits": {}}
    for split, rows in known[known["split"].isin(("val", "test"))].groupby("split", sort=False):
        p, label = rows["p_tumour"].to_numpy(np.float64), rows["label"].to_numpy()
        after = None if temperature is None else tempered(p, temperature)
        apart = _apart(rows, seed) if split == "val" and after is not None else None
        facts["splits"][str(split)] = {
            "tiles": len(rows),
            "slides": int(rows["slide"].nunique()),
            "patients": int(rows["patient"].nunique()),
            "apart": split == "test" or apart is not None,
            "before": _judged(p, label),
            "after": None if after is None else _judged(after if apart is None else apart, label),
        }
    return facts


def _apart(rows: pd.DataFrame, seed: int) -> np.ndarray | None:
    """Probabilities of validation tiles, each tempered by what the tiles of other patients say."""
    p, label = rows["p_tumour"].to_numpy(np.float64), rows["label"].to_numpy()
    patients = rows["patient"].astype(str)
    folds = min(FOLDS, patients.nunique())
    if folds < 2:
        return None
    fold, result = patients.map(patient_folds(patients, folds, seed)).to_numpy(), np.empty_like(p)
    for number in range(folds):
        if (own := fit_temperature(p[fold != number], label[fold != number])) is None:
            return None
        result[fold == number] = tempered(p[fold == number], own)
    return result


def _judged(p: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    bins = reliability(p, label)
    return {"nll": _loss(_logit(p), label), "ece": calibration_error(bins), "reliability": bins.to_dict("records")}


def temperature_of(facts: Mapping[str, Any], where: str) -> float:
    """The temperature of a calibration. Raises ConfigError where it could not be determined."""
    if facts["temperature"] is None:
        what = "the validation tiles determine no temperature: one class, no fault, or no better than chance"
        mend = "Annotate more validation slides, or write `export.calibrated: false`."
        raise ConfigError(what, where=f"calibration of {where}", mend=mend)
    return float(facts["temperature"])
