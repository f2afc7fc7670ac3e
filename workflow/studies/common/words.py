"""Differences, shares, intervals, lists and p values as text: the further filters of a study's templates.

>>> signed(0.05), signed(-0.02), percent(0.123)
('+0.05', '−0.02', '12 %')
>>> with_interval(0.8, 0.71, 0.85), with_spread(0.8, 0.03), score({"mean": 0.8, "sd": None, "low": 0.71, "high": 0.85})
('0.80 (0.71 to 0.85)', '0.80 ± 0.03', '0.800 (0.710 to 0.850)')
>>> listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["a"])
('a, b and c', 'a or b', 'a')
>>> p_value(0.042), p_value(1e-9), capital("pneumonia on CT")
('0.042', '< 0.001', 'Pneumonia on CT')
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from drunet.report import words
from drunet.report.words import MINUS, NOTHING, duration, interval, missing, number


def signed(value: Any, digits: int = 2) -> str:
    """A number with its sign, for a difference."""
    return NOTHING if missing(value) else f"{float(value):+.{digits}f}".replace("-", MINUS)


def percent(share: Any, digits: int = 0) -> str:
    """A share as per cent."""
    return NOTHING if missing(share) else f"{number(100 * float(share), digits)} %"


def with_interval(value: Any, low: Any, high: Any, digits: int = 2) -> str:
    """A number and its interval; the number alone where it has none."""
    alone = number(value, digits)
    return alone if missing(value) or missing(low) else f"{alone} ({interval(low, high, digits)})"


def with_spread(mean: Any, sd: Any, digits: int = 2) -> str:
    """A mean and its standard deviation; the mean alone where it has none."""
    alone = number(mean, digits)
    return alone if missing(mean) or missing(sd) else f"{alone} ± {number(sd, digits)}"


def score(row: Mapping[str, Any] | pd.Series, digits: int = 3) -> str:
    """A mean with its standard deviation over folds, or with its interval where one fold was run."""
    if missing(row["sd"]):
        return with_interval(row["mean"], row["low"], row["high"], digits)
    return with_spread(row["mean"], row["sd"], digits)


def listed(items: Iterable[Any], last: str = "and") -> str:
    """A list in words."""
    words = [str(item) for item in items]
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def p_value(value: Any) -> str:
    """A p value as papers print it."""
    if missing(value):
        return NOTHING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def capital(words: str) -> str:
    """Words with a capital first letter and the rest as it is."""
    return words[:1].upper() + words[1:]


FILTERS = words.FILTERS | {
    function.__name__: function
    for function in (signed, percent, with_interval, with_spread, score, listed, p_value, duration, capital)
}
