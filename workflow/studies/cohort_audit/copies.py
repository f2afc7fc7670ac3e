"""Slides that show the same tissue: scanned twice, turned, mirrored, or saved anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two signatures (s, s) of mean 0 and length 1, at its largest over turns and mirror images."""
    views = [np.rot90(flipped, k) for flipped in (second, second[:, ::-1]) for k in range(4)]
    return float(max((first * view).sum() for view in views))


def copies(signatures: Mapping[str, Sequence[Sequence[float]]], least: float) -> pd.DataFrame:
    """Pairs of slides whose overviews correlate at `least` so well: slide, other, likeness; the likest first."""
    names, whole = list(signatures), [np.asarray(s, float) for s in signatures.values()]
    rows = [
        (names[i], names[j], r)
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if (r := likeness(whole[i], whole[j])) >= least
    ]
    return pd.DataFrame(rows, columns=["slide", "other", "likeness"]).sort_values(
        "likeness", ascending=False, ignore_index=True
    )
