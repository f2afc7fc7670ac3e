"""Whether a trait of slides tells two kinds of slides apart better than chance would."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

# Copies of a trait that are closer than this are the same.
_SAME = 1e-9


def as_numbers(traits: pd.DataFrame) -> pd.DataFrame:
    """Traits as numbers: words become one column of 0 and 1 per word, what never changes is left out.

    A number that is not known becomes the median, so that it speaks for neither side; that it is not known is a trait
    of its own.
    """
    columns: dict[str, pd.Series] = {}
    for name in traits:
        values = traits[name]
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers[values.notna()].notna().all() and numbers.notna().any():
            columns[str(name)] = numbers.fillna(numbers.median()).astype(float)
            columns[f"{name} unknown"] = numbers.isna().astype(float)
        else:
            columns |= {f"{name} {w}": (values == w).astype(float) for w in sorted(values.dropna().unique())}
    return pd.DataFrame({k: v for k, v in columns.items() if np.ptp(v) > _SAME}, index=traits.index)


def by_unit(numbers: pd.DataFrame, patients: pd.Series, positive: pd.Series) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The units that are exchanged, each the mean of a patient's slides of one kind, and whether they are positive."""
    means = numbers.groupby([patients.to_numpy(), positive.to_numpy(bool)], sort=True).mean()
    return means, means.index.get_level_values(1).to_numpy(bool)


def aucs(ranks: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area under the ROC curve of each trait (Mann and Whitney): ranks (n, k), positive (…, n) → (…, k)."""
    ones = positive.sum(axis=-1, keepdims=True)
    return (positive @ ranks - ones * (ones + 1) / 2) / (ones * (positive.shape[-1] - ones))


def association(
    numbers: pd.DataFrame, positive: NDArray[np.bool_], *, permutations: int, seed: int
) -> tuple[pd.DataFrame, float]:
    """How well each trait tells positive units from others, and how likely chance would do as well.

    The p-value is that of the largest |AUC - 1/2| among all traits when the labels are permuted (Westfall and Young
    1993): the chance that any of the traits is called a shortcut by mistake is at most the level, however they depend
    on each other. It assumes that units could be exchanged if there were no shortcut.

    Parameters
    ----------
    numbers : DataFrame (n, k)
        Traits as numbers, a row per unit.
    positive : bool (n,)

    Returns
    -------
    found : DataFrame
        trait, auc (at least 1/2), p; the most telling first.
    perfect : float
        The p-value of a trait that tells all of them apart: above the level nothing could be found.
    """
    ranks = rankdata(numbers.to_numpy(float), axis=0)
    own = np.abs(aucs(ranks, positive.astype(float)) - 0.5)
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(positive.astype(float), (permutations, 1)), axis=1)
    largest = np.abs(aucs(ranks, drawn) - 0.5).max(axis=1)
    p = (1 + (largest[:, None] >= own - _SAME).sum(axis=0)) / (permutations + 1)
    perfect = (1 + int((largest >= 0.5 - _SAME).sum())) / (permutations + 1)
    found = pd.DataFrame({"trait": list(numbers.columns), "auc": 0.5 + own, "p": p})
    return found.sort_values(["p", "auc", "trait"], ascending=[True, False, True], ignore_index=True), perfect


def questions(labels: pd.Series) -> dict[Hashable, pd.Series]:
    """The yes-or-no questions of a label, by name: of two kinds one question, of more one per kind; blanks are none."""
    kinds = sorted(labels[labels != ""].unique())
    asked = kinds[:1] if len(kinds) == 2 else kinds if len(kinds) > 2 else []
    return {kind: labels == kind for kind in asked}
