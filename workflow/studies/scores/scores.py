"""Filled scoring sheets: read, unblinded, and summarised.

Paper, "Qualitative model assessment": scores 0 to 5 by two pathologists, mean 3.95. A score of 0 says that there was
nothing to judge (Table 3), not that the outline was bad: it is counted apart, and means are given without and with it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from drunet.errors import SheetError
from studies.scores.scoring_sheet import COLUMNS, SCALE, table_rows

ALL = "all readers"
# Fewer points have a rank correlation that says nothing.
_LEAST_POINTS = 3
# The usual approximation calls any perfect order of so few certain; their 8! = 40,320 orders are soon counted out.
_MOST_COUNTED_OUT = 8
_FIRST_BYTES_OF_A_ZIP = b"PK\x03\x04"


def read_filled(path: str | os.PathLike[str], key: pd.DataFrame) -> pd.DataFrame:
    """Read a sheet that a reader filled in, and check it against the key.

    Parameters
    ----------
    path : path
        Text as spreadsheets save it: separated by tab, semicolon or comma.
    key : DataFrame
        This reader's rows: reader, case, slide, run, presentation, picture.

    Returns
    -------
    DataFrame
        The key's rows in its order with the column score (int).

    Raises
    ------
    SheetError
        No sheet, a column or case missing, a case unknown or given twice, another picture than the one made now, a
        score that is missing, not a whole number, or outside 0 to 5. Names file, line, case and value.
    """
    name = os.fspath(path)
    content = Path(path).read_bytes()
    if content.startswith(_FIRST_BYTES_OF_A_ZIP):
        raise SheetError(
            "the sheet is not text but a spreadsheet program's own format",
            where=name,
            mend="Save it as tab-separated text or CSV.",
        )
    rows = table_rows(content)
    header = [cell.casefold() for cell in rows[0][1]] if rows else []
    lacking = [c for c in COLUMNS if c != "comment" and header.count(c) != 1]
    if lacking:
        raise SheetError(
            f"the sheet needs the column{'s' * (len(lacking) > 1)} {', '.join(lacking)} once",
            where=name,
            found=", ".join(header)[:200] or "nothing",
            mend="Fill in the sheet.tsv that scoring_sheet made, and keep its first line.",
        )
    pictures = dict(zip(key["case"], key["picture"], strict=True))
    scores: dict[str, int] = {}
    empty: list[str] = []
    for line, cells in rows[1:]:
        values = dict(zip(header, [*cells, *[""] * len(header)], strict=False))
        case = values["case"]
        _check_case(case, values["picture"], scores, pictures, f"{name}, line {line}")
        if not values["score"]:
            empty.append(f"{case} in line {line}")
        scores[case] = _score(values["score"] or "0", case, f"{name}, line {line}")
    if empty:
        raise SheetError(
            "the score is empty" if len(empty) == 1 else f"{len(empty)} scores are empty",
            where=name,
            found=_some(empty),
            mend="Write a whole number from 0 to 5; 0 says that the picture cannot be judged.",
        )
    missing = [case for case in key["case"] if case not in scores]
    if missing:
        raise SheetError(
            f"{len(missing)} of {len(key)} cases are missing",
            where=name,
            found=_some(missing),
            mend="Add their rows from the sheet.tsv that scoring_sheet made, with a score each.",
        )
    return key.assign(score=[scores[case] for case in key["case"]])


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarise scores per run and reader, and over all readers.

    Parameters
    ----------
    scores : DataFrame
        reader, run, presentation, score. Of a case that came twice the first score counts.

    Returns
    -------
    DataFrame
        run, reader, n (scores), rated (scores above 0), mean and sd (of those, sd with n - 1), mean_with_0, and how
        often each score was given (`score_0` to `score_5`).
    """
    first = scores[scores["presentation"] == 1]
    rows = []
    for run in dict.fromkeys(first["run"]):
        of_run = first[first["run"] == run]
        readers = list(dict.fromkeys(of_run["reader"]))
        groups = [(reader, of_run[of_run["reader"] == reader]) for reader in readers]
        for reader, group in [*groups, *([(ALL, of_run)] if len(readers) > 1 else [])]:
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
    """Agreement of every two readers on the same outlines, and of readers with themselves where cases came twice.

    Parameters
    ----------
    scores : DataFrame
        reader, slide, run, presentation, score.

    Returns
    -------
    DataFrame
        who, n (outlines), exact (share of equal scores), kappa (`weighted_kappa` of all scores), n_rated and
        kappa_rated (where neither score is 0, which lies beside the scale and not below 1). Readers are compared on
        first presentations.
    """
    wide = scores.pivot_table(index=["run", "slide"], columns=["reader", "presentation"], values="score")
    readers = list(dict.fromkeys(scores["reader"]))
    pairs = [(f"{a} and {b}", (a, 1), (b, 1)) for a, b in combinations(readers, 2)]
    pairs += [(f"{r} with themselves", (r, 1), (r, 2)) for r in readers if (r, 2) in wide.columns]
    rows = []
    for who, one, other in pairs:
        both = wide[[one, other]].dropna().to_numpy().astype(int)
        rated = both[(both > 0).all(axis=1)]
        rows.append(
            {
                "who": who,
                "n": len(both),
                "exact": float((both[:, 0] == both[:, 1]).mean()) if len(both) else math.nan,
                "kappa": weighted_kappa(both[:, 0], both[:, 1]),
                "n_rated": len(rated),
                "kappa_rated": weighted_kappa(rated[:, 0], rated[:, 1]),
            }
        )
    return pd.DataFrame(rows, columns=["who", "n", "exact", "kappa", "n_rated", "kappa_rated"])


def weighted_kappa(one: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray) -> float:
    """Cohen's kappa with quadratic weights on the scale 0 to 5 (Cohen 1968, Psychological Bulletin 70).

    1 - Σ (i - j)² observed / Σ (i - j)² expected by chance; NaN where nothing could differ, for want of scores or since
    both gave one and the same score throughout.
    """
    if len(one) == 0 or len({*map(int, one), *map(int, other)}) < 2:
        return math.nan
    return float(cohen_kappa_score(one, other, labels=list(SCALE), weights="quadratic"))


def correlation(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of scores above 0 with the Dice similarity coefficient of the same outlines.

    Parameters
    ----------
    scores : DataFrame
        reader, slide, run, presentation, score, dsc (NaN where it is not defined).

    Returns
    -------
    DataFrame
        run, reader (and the mean over the readers who rated an outline), n (outlines), rho, p (two sides: counted out
        over all orders of up to eight outlines, by Student's t beyond; NaN, as rho, with fewer than three outlines or
        where either never changes).
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


def _check_case(case: str, picture: str, seen: dict[str, int], pictures: dict[str, str], where: str) -> None:
    if case not in pictures:
        raise SheetError(
            "there is no such case for this reader",
            where=where,
            found=case or "an empty cell",
            mend="Correct the case, or check that the sheet is this reader's.",
        )
    if case in seen:
        raise SheetError("a case is given twice", where=where, found=case, mend="Keep the row that counts.")
    if picture != pictures[case]:
        raise SheetError(
            "the score was given to another picture than the one that this case shows now",
            where=where,
            found=f"{case}, picture '{picture}' instead of '{pictures[case]}'",
            mend="Check that the sheet is this reader's; outlines that have changed since have to be scored anew.",
        )


def _score(value: str, case: str, where: str) -> int:
    try:
        # Spreadsheets may write 4 as 4.0.
        number = float(value)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        mend = "Write a whole number from 0 to 5, and words into the comment."
        raise SheetError("the score is not a whole number", where=where, found=f"{case}: '{value}'", mend=mend)
    if number not in SCALE:
        mend = "Write a whole number from 0 to 5."
        raise SheetError("the score is outside 0 to 5", where=where, found=f"{case}: '{value}'", mend=mend)
    return int(number)


def _some(cases: Sequence[str]) -> str:
    return ", ".join(cases[:5]) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")


def _spearman(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    if len(one) < _LEAST_POINTS or len(set(one)) < 2 or len(set(other)) < 2:
        return math.nan, math.nan
    usual = stats.spearmanr(one, other)
    if len(one) > _MOST_COUNTED_OUT:
        return float(usual.statistic), float(usual.pvalue)
    # Only the sum of products changes when ranks change places, and of half ranks it has no rounding.
    ranks = stats.rankdata(one), stats.rankdata(other)
    counted = stats.permutation_test(
        ranks[:1],
        lambda order, axis: np.sum(order * ranks[1], axis=axis),
        permutation_type="pairings",
        n_resamples=np.inf,
        vectorized=True,
    )
    return float(usual.statistic), float(counted.pvalue)
