"""Tables of pathologists' scores: means, agreement, and correlation with Dice.

Source: Oskouei et al. 2025, scores 0 to 5 by two pathologists, mean 3.95. A score of 0 says that there was nothing to
judge, not that the outline was bad: means are given without and with it.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from studies.scores.sheets import SCALE

ALL = "all readers"
PUBLISHED_FACT = "pathologists' mean score (0-5)"
# With fewer points a rank correlation tells nothing.
_LEAST_POINTS = 3
# For so few points the usual approximation gives p = 0 to any perfect order; their 8! = 40,320 orders are enumerated.
_MOST_COUNTED_OUT = 8


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores per run and reader, and of all readers, at first presentation; mean and sd are of those above 0."""
    first = scores[scores["presentation"] == 1]
    rows = []
    for run, of_run in first.groupby("run", sort=False):
        groups = list(of_run.groupby("reader", sort=False))
        for reader, group in [*groups, *([(ALL, of_run)] if len(groups) > 1 else [])]:
            given = group["score"].to_numpy()
            rated = given[given > 0]
            rows.append(
                {
                    "run": run,
                    "reader": reader,
                    "n": len(given),
                    "rated": len(rated),
                    "mean": rated.mean() if len(rated) else math.nan,
                    "sd": rated.std(ddof=1) if len(rated) > 1 else math.nan,
                    "mean_with_0": given.mean(),
                    **{f"score_{value}": int((given == value).sum()) for value in SCALE},
                }
            )
    return pd.DataFrame(rows)


def agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Agreement of every two readers on first presentations, and of readers with themselves where cases came twice.

    exact is the share of equal scores, kappa `weighted_kappa`; kappa_rated leaves out outlines that either gave a 0.
    """
    wide = scores.pivot_table(index=["run", "slide"], columns=["reader", "presentation"], values="score")
    readers = list(dict.fromkeys(scores["reader"]))
    pairs = [(f"{a} and {b}", (a, 1), (b, 1)) for a, b in combinations(readers, 2)]
    pairs += [(f"{r} with themselves", (r, 1), (r, 2)) for r in readers if (r, 2) in wide.columns]
    rows = []
    for who, one, other in pairs:
        both = wide[[one, other]].dropna().to_numpy().astype(int)
        rated = both[(both > 0).all(axis=1)]
        exact = float((both[:, 0] == both[:, 1]).mean()) if len(both) else math.nan
        rows.append((who, len(both), exact, weighted_kappa(*both.T), len(rated), weighted_kappa(*rated.T)))
    return pd.DataFrame(rows, columns=["who", "n", "exact", "kappa", "n_rated", "kappa_rated"])


def weighted_kappa(one: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray) -> float:
    """Cohen's kappa with quadratic weights on the scale 0 to 5 (Cohen 1968, Psychological Bulletin 70).

    1 - Σ (i - j)² observed / Σ (i - j)² expected by chance; NaN without scores, or where all scores are the same.
    """
    if len(one) == 0 or len({*map(int, one), *map(int, other)}) < 2:
        return math.nan
    return float(cohen_kappa_score(one, other, labels=list(SCALE), weights="quadratic"))


def correlation(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of scores above 0 with the Dice similarity coefficient `dsc` of the same outlines.

    Columns run, reader (and the mean over the readers who rated an outline), n (outlines), rho, p (two-sided;
    enumerated over all orders of few outlines). NaN with fewer than three outlines or where one of the two is constant.
    """
    rated = scores[(scores["presentation"] == 1) & (scores["score"] > 0) & scores["dsc"].notna()]
    rows = []
    for run in dict.fromkeys(scores["run"]):
        of_run = rated[rated["run"] == run]
        groups = [(r, of_run[of_run["reader"] == r]) for r in dict.fromkeys(scores["reader"])]
        if len(groups) > 1:
            groups.append(("mean of readers", of_run.groupby("slide")[["score", "dsc"]].mean()))
        for reader, group in groups:
            rho, p = _spearman(group["score"].to_numpy(float), group["dsc"].to_numpy(float))
            rows.append({"run": run, "reader": reader, "n": len(group), "rho": rho, "p": p})
    return pd.DataFrame(rows, columns=["run", "reader", "n", "rho", "p"])


def long_metrics(summary: pd.DataFrame, agreed: pd.DataFrame, correlated: pd.DataFrame) -> pd.DataFrame:
    """All numbers in the form that the studies share: arm (run), protocol, repeat (reader), metric, value."""
    tables = (
        ("scores", summary, ["run", "reader"]),
        ("agreement", agreed.assign(run=""), ["run", "who"]),
        ("correlation_with_dsc", correlated, ["run", "reader"]),
    )
    columns = ["arm", "protocol", "repeat", "metric", "value"]
    parts = [pd.DataFrame(columns=columns)]
    for protocol, frame, ids in tables:
        if frame.empty:
            continue
        melted = frame.melt(id_vars=ids, var_name="metric", value_name="value", ignore_index=False)
        melted = melted.sort_index(kind="stable").set_axis(["arm", "repeat", "metric", "value"], axis=1)
        parts.append(melted.assign(protocol=protocol)[columns])
    return pd.concat([p for p in parts if len(p)] or parts, ignore_index=True)


def page_view(
    summary: pd.DataFrame,
    agreed: pd.DataFrame,
    correlated: pd.DataFrame,
    published: str,
    folders: Sequence[tuple[str, str]],
    unread: Sequence[str],
) -> dict[str, Any]:
    """What `page.md.j2` names; the tables are empty where no sheet has come back. `folders` are (reader, folder)."""
    runs = []
    # The last row of a run is over all readers.
    for run, rows in summary.groupby("run", sort=False) if len(summary) else ():
        found = correlated[correlated["run"] == run].iloc[-1]
        readers = int((rows["reader"] != ALL).sum())
        runs.append(
            {**rows.iloc[-1].to_dict(), "readers": readers, "rho": found["rho"], "p": found["p"], "n": found["n"]}
        )
    alone = agreed["who"].str.endswith("with themselves")
    return {
        "runs": runs,
        "pairs": agreed[~alone].to_dict("records"),
        "repeated": bool(alone.any()),
        "summary": summary,
        "agreement": agreed.rename(columns={"who": "readers", "exact": "same score (share)"}),
        "correlation": correlated,
        "published": published,
        "folders": folders,
        "unread": unread,
    }


def _spearman(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    if len(one) < _LEAST_POINTS or len(set(one)) < 2 or len(set(other)) < 2:
        return math.nan, math.nan
    usual = stats.spearmanr(one, other)
    if len(one) > _MOST_COUNTED_OUT:
        return float(usual.statistic), float(usual.pvalue)
    # Only the sum of products depends on the order, and it has no rounding error.
    ranks = stats.rankdata(one), stats.rankdata(other)
    counted = stats.permutation_test(
        ranks[:1],
        lambda order, axis: np.sum(order * ranks[1], axis=axis),
        permutation_type="pairings",
        n_resamples=np.inf,
        vectorized=True,
    )
    return float(usual.statistic), float(counted.pvalue)
