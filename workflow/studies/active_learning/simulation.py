"""Annotation round by round, by choice and at random: what a head on the colours of tiles learns from it.

The head is a logistic regression, which is trained in milliseconds: what is compared is the choice, not the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from drunet.errors import DrunetError
from drunet.tiles import NON_TUMOUR, TUMOUR, UNLABELLED
from drunet.uncertainty.regions import COLOURS, choose

# Weight of uncertainty in `choose`; None: drawn at random.
WAYS: dict[str, float | None] = {"at random": None, "unsure": 1.0, "unlike": 0.0, "unsure and unlike": 0.5}
_SQUARE = ["slide", "square_column", "square_row"]


def simulate(
    tiles: pd.DataFrame, squares: pd.DataFrame, judged: pd.DataFrame, settings: Mapping[str, Any], seed: int
) -> pd.DataFrame:
    """Dice of the head after every round, by way of choosing and draw.

    Parameters
    ----------
    tiles : DataFrame
        slide, label, `COLOURS`, square_column and square_row, of slides whose annotation is known in full.
    squares : DataFrame
        From `drunet.uncertainty.regions.squares`, with their slide.
    judged : DataFrame
        label and `COLOURS` of the tiles of other patients.
    settings : mapping
        rounds, per_round, draws.

    Returns
    -------
    DataFrame
        way, draw, regions, dice.

    Raises
    ------
    DrunetError
        If no square has a tile of tumour, or none is without.
    """
    place = pd.MultiIndex.from_frame(squares[["slide", "column", "row"]])
    best = tiles.groupby(_SQUARE)["label"].max().reindex(place).to_numpy()
    if not {TUMOUR, NON_TUMOUR} <= set(best):
        what = "regions of the slides to learn from all hold tumour, or none does"
        raise DrunetError(what, where="study_active_learning", mend="Choose a smaller `side_um`, or more slides.")
    number = {key: i for i, key in enumerate(squares[["slide", "column", "row"]].itertuples(index=False, name=None))}
    square = np.array([number.get(key, -1) for key in tiles[_SQUARE].itertuples(index=False, name=None)])
    found = []
    for draw in range(settings["draws"]):
        rng = np.random.default_rng([seed, draw])
        first = [int(rng.choice(np.flatnonzero(best == kind))) for kind in (TUMOUR, NON_TUMOUR)]
        for way, weight in WAYS.items():
            own, known = np.random.default_rng([seed, draw, 1]), list(first)
            for _ in range(settings["rounds"] + 1):
                head = fit(tiles[np.isin(square, known)])
                found.append({"way": way, "draw": draw, "regions": len(known), "dice": dice(head, judged)})
                p = probability(head, tiles)
                unsure = pd.Series(4 * p * (1 - p)).groupby(square).mean()
                rest = np.setdiff1d(np.arange(len(squares)), known)
                if weight is None:
                    known += own.permutation(rest)[: settings["per_round"]].tolist()
                    continue
                asked = squares.assign(unsure=unsure.reindex(range(len(squares))), number=range(len(squares)))
                most = {"count": settings["per_round"], "per_slide": settings["per_round"]}
                chosen = choose(asked.iloc[rest], squares.iloc[known][COLOURS].to_numpy(), weight=weight, **most)
                known += chosen["number"].tolist()
    return pd.DataFrame(found)


def fit(tiles: pd.DataFrame) -> Pipeline:
    """A logistic regression on the colours of those tiles that have a label."""
    labelled = tiles[tiles["label"] != UNLABELLED]
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return head.fit(labelled[COLOURS].to_numpy(), labelled["label"].to_numpy() == TUMOUR)


def probability(head: Pipeline, tiles: pd.DataFrame) -> NDArray[np.float64]:
    """Tumour probability of each tile."""
    return np.asarray(head.predict_proba(tiles[COLOURS].to_numpy())[:, 1])


def dice(head: Pipeline, judged: pd.DataFrame) -> float:
    """Dice of tiles at or above one half against tiles of tumour, all slides together, of those with a label."""
    labelled = judged[judged["label"].isin([TUMOUR, NON_TUMOUR])]
    called, true = probability(head, labelled) >= 0.5, labelled["label"].to_numpy() == TUMOUR
    return float(2 * (called & true).sum() / max(1, called.sum() + true.sum()))


def curves(rounds: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over draws: way, regions, dice, dice_sd."""
    by = rounds.groupby(["way", "regions"], sort=False)["dice"]
    return by.agg(dice="mean", dice_sd="std").reset_index()


def gains(rounds: pd.DataFrame) -> pd.DataFrame:
    """What each way adds to random choice from the same first regions: mean over all rounds but the first.

    way, gain (Dice), low, high (95 % for all ways together, by Bonferroni; of the mean over draws), better (whether
    low > 0), worse (whether high < 0).
    """
    later = rounds[rounds["regions"] > rounds["regions"].min()]
    mean = later.pivot_table(index="draw", columns="way", values="dice")
    found, chosen = [], sum(weight is not None for weight in WAYS.values())
    for way, weight in WAYS.items():
        if weight is not None:
            gain = mean[way] - mean["at random"]
            half = stats.t.ppf(1 - 0.025 / chosen, len(gain) - 1) * gain.std() / len(gain) ** 0.5
            low, high = gain.mean() - half, gain.mean() + half
            row = {"way": way, "gain": gain.mean(), "low": low, "high": high, "better": low > 0, "worse": high < 0}
            found.append(row)
    return pd.DataFrame(found)
