"""Choice of tiles: true and false positives of high probability, from different slides and places."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from drunet.errors import ConfigError
from drunet.tiles import NON_TUMOUR, TUMOUR

FALSE_POSITIVE, TRUE_POSITIVE = "false positive", "true positive"
# In the order of the paper's figure 7: a, b, c and d, e, f.
KINDS = {FALSE_POSITIVE: NON_TUMOUR, TRUE_POSITIVE: TUMOUR}
_FURTHER = 100.0  # cost of each further tile of a slide: more than any sum of probabilities can outweigh


def choose_tiles(
    tiles: pd.DataFrame, *, true_positives: int, false_positives: int, threshold: float, apart: int = 2
) -> pd.DataFrame:
    """Choose tiles that were classified as tumour, correctly and wrongly.

    They come from as many slides as possible, both kinds together (the paper took six tiles from six slides); of these
    choices, the one with the highest probabilities is taken. The same tiles give the same choice.

    `tiles` has slide, column, row, label (1 tumour, 0 non-tumour) and p_tumour; of a kind and slide, tiles are at least
    `apart` columns or rows from each other. Returns its columns and kind, false positives first, each kind by falling
    probability; fewer tiles than wanted where there are no more.
    """
    wanted = {FALSE_POSITIVE: false_positives, TRUE_POSITIVE: true_positives}
    ranked = tiles[tiles["p_tumour"] >= threshold].sort_values(
        ["p_tumour", "slide", "row", "column"], ascending=[False, True, True, True]
    )
    parts = [
        _spread(part, wanted[kind], apart).assign(kind=kind)
        for kind, label in KINDS.items()
        for _, part in ranked[ranked["label"] == label].groupby("slide", sort=True)
    ]
    if not parts:
        return ranked.iloc[:0].assign(kind=pd.Series(dtype=str))
    candidates = pd.concat(parts, ignore_index=True)
    chosen = candidates.iloc[_from_most_slides(candidates, wanted)]
    return chosen.sort_values(["kind", "p_tumour"], ascending=[True, False], kind="stable").reset_index(drop=True)


def picked_tiles(tiles: pd.DataFrame, picked: Sequence[Mapping[str, Any]], threshold: float) -> pd.DataFrame:
    """The tiles that somebody picked by slide, column and row, in the order and with the columns of `choose_tiles`.

    Raises ConfigError for one that is not there or is neither a true nor a false positive.
    """
    kinds = {label: kind for kind, label in KINDS.items()}
    chosen = pd.DataFrame(list(picked)).merge(tiles, on=["slide", "column", "row"], how="left")
    chosen["kind"] = chosen["label"].map(kinds).where(chosen["p_tumour"] >= threshold)
    for tile in chosen[chosen["kind"].isna()].itertuples():
        place = f"{tile.slide}, column {tile.column}, row {tile.row}"
        found = f"{place}: label {tile.label:g}, probability {tile.p_tumour:.2f}"
        mend = "Pick tiles of tiles.parquet with label 1 or 0 that are classified as tumour."
        what = "a picked tile is neither a true nor a false positive"
        raise ConfigError(what, where="study_settings.saliency.tiles", found=found, mend=mend)
    return chosen.sort_values(["kind", "p_tumour"], ascending=[True, False], kind="stable").reset_index(drop=True)


def _spread(ranked: pd.DataFrame, wanted: int, apart: int) -> pd.DataFrame:
    """The first tiles of a ranking that are far enough from those before them."""
    places = ranked[["column", "row"]].to_numpy(np.int64)
    kept: list[int] = []
    for i, place in enumerate(places):
        if len(kept) == wanted:
            break
        if not kept or np.abs(places[kept] - place).max(axis=1).min() >= apart:
            kept.append(i)
    return ranked.iloc[kept]


def _from_most_slides(candidates: pd.DataFrame, wanted: Mapping[str, int]) -> np.ndarray:
    """Positions of the chosen tiles, by an integer programme: a greedy choice may use up the only slide of a kind."""
    count = len(candidates)
    if count == 0:
        return np.zeros(0, np.int64)
    slide, slides = pd.factorize(candidates["slide"])
    kind, kinds = pd.factorize(candidates["kind"])
    targets = np.minimum([wanted[k] for k in kinds], np.bincount(kind))
    most = int(targets.sum())
    # Unknowns: take a tile or not; and per slide whether it gives a first tile, and how many further ones.
    cost = np.concatenate([-candidates["p_tumour"].to_numpy(np.float64), np.tile([0, _FURTHER], len(slides))])
    upper = np.concatenate([np.ones(count), np.tile([1, most], len(slides))])
    given = sparse.kron(sparse.eye_array(len(slides)), np.ones((1, 2)))
    # Rows of a kind or slide have ones where a tile is of it.
    of_kind, of_slide = (sparse.csr_array(np.eye(len(all_))[own].T) for own, all_ in ((kind, kinds), (slide, slides)))
    kinds_and_slides = [[of_kind, None], [of_slide, -given]]
    sums = np.concatenate([targets, np.zeros(len(slides))])
    balance = LinearConstraint(sparse.block_array(kinds_and_slides, format="csr"), sums, sums)
    exact = {"mip_rel_gap": 0.0}
    solved = milp(cost, integrality=np.ones(len(cost)), bounds=Bounds(0, upper), constraints=balance, options=exact)
    return np.flatnonzero(solved.x[:count] > 0.5)
