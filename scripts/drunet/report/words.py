"""Numbers, counts and lists as text: the filters of every page's template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

NOTHING = "–"
_THIN, _MINUS = "\u202f", "−"


def missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, NA, NaN or an empty text."""
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))


def text(value: Any) -> str:
    """A value as text, a missing or empty one as a dash."""
    return NOTHING if missing(value) else str(value)


def number(value: Any, digits: int = 2) -> str:
    """A number with `digits` decimals, thin spaces between thousands and a real minus.

    >>> number(1234.5, 1)
    '1\u202f234.5'
    """
    if missing(value):
        return NOTHING
    return f"{float(value):,.{digits}f}".replace(",", _THIN).replace("-", _MINUS)


def signed(value: Any, digits: int = 2) -> str:
    """A number with its sign, for a difference.

    >>> signed(0.05), signed(-0.02)
    ('+0.05', '−0.02')
    """
    return NOTHING if missing(value) else f"{float(value):+.{digits}f}".replace("-", _MINUS)


def percent(share: Any, digits: int = 0) -> str:
    """A share as per cent.

    >>> percent(0.123)
    '12 %'
    """
    return NOTHING if missing(share) else f"{number(100 * float(share), digits)} %"


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """An interval.

    >>> interval(0.714, 0.85)
    '0.71 to 0.85'
    """
    return NOTHING if missing(low) or missing(high) else f"{number(low, digits)} to {number(high, digits)}"


def with_interval(value: Any, low: Any, high: Any, digits: int = 2) -> str:
    """A number and its interval; the number alone where it has none.

    >>> with_interval(0.8, 0.71, 0.85)
    '0.80 (0.71 to 0.85)'
    """
    alone = number(value, digits)
    return alone if missing(value) or missing(low) else f"{alone} ({interval(low, high, digits)})"


def with_spread(mean: Any, sd: Any, digits: int = 2) -> str:
    """A mean and its standard deviation; the mean alone where it has none.

    >>> with_spread(0.8, 0.03)
    '0.80 ± 0.03'
    """
    alone = number(mean, digits)
    return alone if missing(mean) or missing(sd) else f"{alone} ± {number(sd, digits)}"


def score(row: Mapping[str, Any] | pd.Series, digits: int = 3) -> str:
    """A mean with its standard deviation over folds, or with its interval where one fold was run.

    >>> score({"mean": 0.8, "sd": None, "low": 0.71, "high": 0.85})
    '0.800 (0.710 to 0.850)'
    """
    if missing(row["sd"]):
        return with_interval(row["mean"], row["low"], row["high"], digits)
    return with_spread(row["mean"], row["sd"], digits)


def plural(count: Any, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "slide"), plural(1200, "slide"), plural(2, "study", "studies")
    ('1 slide', '1\u202f200 slides', '2 studies')
    """
    return f"{number(count, 0)} {noun if int(count) == 1 else nouns or noun + 's'}"


def listed(items: Iterable[Any], last: str = "and") -> str:
    """A list in words.

    >>> listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["a"])
    ('a, b and c', 'a or b', 'a')
    """
    words = [str(item) for item in items]
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def p_value(value: Any) -> str:
    """A p value as papers print it.

    >>> p_value(0.042), p_value(1e-9)
    ('0.042', '< 0.001')
    """
    if missing(value):
        return NOTHING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def duration(seconds: Any) -> str:
    """Seconds in the unit that suits.

    >>> duration(0.42), duration(200), duration(7500)
    ('0.4 s', '3 min 20 s', '2 h 05 min')
    """
    if missing(seconds):
        return NOTHING
    value = float(seconds)
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def capital(words: str) -> str:
    """Words with a capital first letter and the rest as it is."""
    return words[:1].upper() + words[1:]


FILTERS = {
    function.__name__: function
    for function in (
        text, number, signed, percent, interval, with_interval, with_spread, score, plural, listed, p_value,
        duration, capital,
    )
}  # fmt: skip
