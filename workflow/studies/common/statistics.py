"""Paired tests (whether arms that were tried on the same subjects differ by more than chance), and draws of groups."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import PermutationMethod, rankdata, wilcoxon

from drunet.errors import ConfigError

NAN = float("nan")

# Up to here the distribution of the signed ranks is counted out: without ties by recursion, with them sign by sign.
EXACT_PAIRS, EXACT_TIED_PAIRS = 50, 13
# With fewer differing pairs even an effect that never changes its direction stays above 0.05 (2 / 2**5 = 0.0625).
DECISIVE_PAIRS = 6

_COUNTS: tuple[str, ...] = ("arm_a", "arm_b", "n", "left_out", "zeros", "mean_a", "mean_b")
COLUMNS = (*_COUNTS, "median_difference", "effect", "statistic", "p", "p_holm", "method", "note")

# For the notes of every page that tests slide by slide.
SLIDES_AS_INDEPENDENT = (
    "The tests take slides as independent, as the paper did; several slides of one patient are not, so that p is then "
    "rather too small."
)


def paired_tests(
    frame: pd.DataFrame, *, subject: str = "slide", arm: str = "arm", value: str = "value", reference: str | None = None
) -> pd.DataFrame:
    """Wilcoxon's signed-rank test between arms that were tried on the same subjects, corrected after Holm.

    `frame` has a row per subject (slide, seed, fold) and arm. A subject that an arm lacks, or where its value is NaN,
    is left out of that arm's comparisons, and counted. With a `reference` every other arm is compared with it (as
    `arm_b`), else all pairs.

    Returns a row per comparison: arm_a, arm_b; n (pairs), left_out (subjects that one of the two lacks), zeros (pairs
    without a difference); mean_a, mean_b and median_difference (a - b) over the n pairs; effect (see `rank_biserial`,
    positive where a is higher); statistic (the smaller sum of ranks); p (two sides), p_holm (over all rows that have a
    p); method; note (why there is no p, or why it says little). Raises ValueError if a subject stands twice in an arm,
    or the reference is no arm.

    Pairs without a difference are dropped before ranking (Wilcoxon's own way). The rest is tested exactly up to 50
    pairs, or 13 where differences tie; beyond, by the normal approximation with continuity correction. At least two
    pairs must differ.

    >>> frame = pd.DataFrame({"slide": list("abcdef") * 2, "arm": ["plain"] * 6 + ["lenses"] * 6})
    >>> frame["value"] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.4] + [0.51, 0.62, 0.73, 0.84, 0.95, 0.46]
    >>> paired_tests(frame)[["arm_a", "arm_b", "n", "effect", "p"]]
       arm_a   arm_b  n  effect        p
    0  plain  lenses  6    -1.0  0.03125
    """
    wide = frame.astype({value: float}).pivot(index=subject, columns=arm, values=value)  # noqa: PD010
    arms = list(dict.fromkeys(frame[arm]))
    if reference is not None and reference not in arms:
        raise ValueError(f"the reference {reference!r} is none of the arms {', '.join(map(str, arms))}")
    pairs = combinations(arms, 2) if reference is None else [(a, reference) for a in arms if a != reference]
    rows = [_compare(str(a), str(b), wide[a].to_numpy(), wide[b].to_numpy()) for a, b in pairs]
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "p_holm"])
    table.insert(COLUMNS.index("p_holm"), "p_holm", holm(table["p"].to_numpy(dtype=float)))
    return table


def shown_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """What a page shows of `paired_tests`; the rest stands in the study's tests.tsv, and would push p off the page."""
    columns = ["arm_a", "arm_b", "n", "median_difference", "effect", "p", "p_holm"]
    noted = ["note"] if tests["note"].astype(bool).any() else []
    return tests[[*columns, *noted]].rename(columns={"arm_a": "arm", "arm_b": "against"})


def require_slides(slides: Sequence[Mapping[str, Any]], where: str) -> None:
    """Raise ConfigError when a split has no usable annotated slide."""
    if not slides:
        mend = "Choose a split of which slides.tsv in the results lists a usable slide with an annotation."
        raise ConfigError("there is no slide to compare on", where=where, mend=mend)


def long_scores(scores: pd.DataFrame, metrics: Iterable[str]) -> pd.DataFrame:
    """Scores of slides as every study keeps them: arm, protocol (stage), repeat (slide), metric, value, without NaN."""
    kept = [metric for metric in metrics if metric in scores.columns]
    long = scores.melt(id_vars=["arm", "stage", "slide"], value_vars=kept, var_name="metric").dropna(subset="value")
    return long.rename(columns={"stage": "protocol", "slide": "repeat"}).reset_index(drop=True)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values (n,) for being several (Holm 1979); a NaN is no test: it stays, and does not count.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, NAN)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return corrected


def rank_biserial(differences: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation of the differences that are not zero (Kerby 2014); NaN when all are.

    >>> rank_biserial(np.array([3.0, 2.0, -1.0, 0.0]))
    0.6666666666666666
    """
    differing = differences[differences != 0]
    if differing.size == 0:
        return NAN
    ranks = rankdata(np.abs(differing))
    return float((ranks * np.sign(differing)).sum() / ranks.sum())


def _compare(name_a: str, name_b: str, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    known = np.isfinite(a) & np.isfinite(b)
    either = int(np.count_nonzero(np.isfinite(a) | np.isfinite(b)))
    differences = (a - b)[known]
    differing = differences[differences != 0]
    n, zeros = differences.size, differences.size - differing.size
    statistic, p, method = _signed_ranks(differing)
    return {
        "arm_a": name_a,
        "arm_b": name_b,
        "n": n,
        "left_out": either - n,
        "zeros": zeros,
        "mean_a": float(a[known].mean()) if n else NAN,
        "mean_b": float(b[known].mean()) if n else NAN,
        "median_difference": float(np.median(differences)) if n else NAN,
        "effect": rank_biserial(differences),
        "statistic": statistic,
        "p": p,
        "method": method,
        "note": _note(n, differing.size),
    }


def _signed_ranks(differing: np.ndarray) -> tuple[float, float, str]:
    """(smaller sum of ranks, two-sided p, how it was found); NaN with fewer than two pairs."""
    n = differing.size
    if n < 2:
        return NAN, NAN, ""
    tied = np.unique(np.abs(differing)).size < n
    if not tied and n <= EXACT_PAIRS:
        result, method = wilcoxon(differing, method="exact"), "exact"
    elif tied and n <= EXACT_TIED_PAIRS:
        # All 2**n signs are fewer than the permutations drawn by default, so that scipy tries each once.
        result, method = wilcoxon(differing, method=PermutationMethod(n_resamples=2**n)), "exact, with ties"
    else:
        result, method = wilcoxon(differing, method="asymptotic", correction=True), "normal approximation"
    return float(result.statistic), float(result.pvalue), method


def _note(n: int, differing: int) -> str:
    if n == 0:
        return "no subject in common"
    if differing < 2:
        return "only one pair differs" if differing else "no pair differs"
    if differing < DECISIVE_PAIRS:
        return f"{differing} differing pairs cannot fall below p = {2 / 2**differing:.2g}"
    return ""


def resample(groups: NDArray, *, resamples: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.int64]] | None:
    """Group of each of n values (n,), and how often each group is drawn (resamples, groups); None for a single group.

    >>> owner, drawn = resample(np.array(["p01", "p01", "p02"]), resamples=4, seed=0)
    >>> owner.tolist(), drawn.shape, drawn.sum(axis=1).tolist()
    ([0, 0, 1], (4, 2), [2, 2, 2, 2])
    """
    names, owner = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    return owner, np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
