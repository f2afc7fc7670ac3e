"""The filters of the pages' templates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drunet.report.words import duration, number
from studies.common import words


@pytest.mark.parametrize("filter_", [number, words.signed, words.percent, words.p_value, duration])
@pytest.mark.parametrize("value", [None, float("nan"), pd.NA])
def test_what_is_missing_is_a_dash(filter_: Any, value: Any) -> None:
    assert filter_(value) == "–"


@given(st.lists(st.text("abc", min_size=1), max_size=6))
def test_a_list_in_words_names_all_in_order(items: list[str]) -> None:
    assert words.listed(items).replace(" and ", ", ").split(", ") == (items or [""])


@given(st.floats(-1e9, 1e9, allow_nan=False), st.integers(0, 6))
def test_a_number_reads_back_within_its_digits(value: float, digits: int) -> None:
    shown = number(value, digits)
    if shown.startswith("< "):
        assert 0 < value <= 0.5 * 10**-digits and float(shown[2:]) == 10**-digits
        return
    back = float(shown.replace("\u202f", "").replace("−", "-"))
    assert back != 0 or value <= 0
    assert abs(back - value) <= 0.5 * 10**-digits * (1 + 1e-9) + 1e-6 * abs(value)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0421, "0.042"), (0.0009, "< 0.001"), (1.0, "1.000"), (np.nan, "–"), (None, "–")]
)
def test_a_p_value_is_printed_as_papers_do(value: float | None, shown: str) -> None:
    assert words.p_value(value) == shown
