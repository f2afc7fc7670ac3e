"""Numbers, counts and times as text: the filters of a page's template."""

import math
import re
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

NOTHING = "–"
_THIN, MINUS = "\u202f", "−"


def missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, NA, NaN or an empty text."""
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))


def text(value: Any) -> str:
    """A value as text, a missing or empty one as a dash."""
    return NOTHING if missing(value) else str(value)


def message(value: Any) -> Markup:
    """A message as HTML: what stands between backticks is code. HTML is left as it is.

    >>> message("Add `mpp` (<1)")
    Markup('Add <code>mpp</code> (&lt;1)')
    """
    if isinstance(value, Markup):
        return value
    if "`" not in (said := text(value)):
        return escape(said)
    plain, *others = re.split("`([^`]+)`", said)
    pairs = zip(others[::2], others[1::2], strict=True)
    return escape(plain) + Markup("").join(Markup("<code>{}</code>{}").format(code, after) for code, after in pairs)


def number(value: Any, digits: int = 2) -> str:
    """A number with `digits` decimals, thin spaces between thousands and a real minus; what is more than 0 is no 0.

    >>> number(1234.5, 1), number(0.0019)
    ('1\u202f234.5', '< 0.01')
    """
    if missing(value):
        return NOTHING
    exact, least = float(value), 10.0**-digits
    shown = f"< {least:.{digits}f}" if 0 < exact <= least / 2 else f"{exact:,.{digits}f}"
    return shown.replace(",", _THIN).replace("-", MINUS)


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """An interval.

    >>> interval(0.714, 0.85)
    '0.71 to 0.85'
    """
    return NOTHING if missing(low) or missing(high) else f"{number(low, digits)} to {number(high, digits)}"


def plural(count: Any, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "slide"), plural(1200, "slide"), plural(2, "study", "studies")
    ('1 slide', '1\u202f200 slides', '2 studies')
    """
    return f"{number(count, 0)} {noun if int(count) == 1 else nouns or noun + 's'}"


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


def percent(value: Any, digits: int = 0) -> str:
    """A share in per cent.

    >>> percent(0.0512, 1), percent(1), percent(None)
    ('5.1\u202f%', '100\u202f%', '–')
    """
    return NOTHING if missing(value) else f"{number(float(value) * 100, digits)}{_THIN}%"


FILTERS = {function.__name__: function for function in (text, message, number, interval, plural, duration, percent)}
