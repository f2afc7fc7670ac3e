"""Paired tests against scipy, books and properties."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from studies.common.statistics import holm, paired_tests, rank_biserial, shown_tests

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)


def long(**arms: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"slide": f"S{i}", "arm": arm, "value": v} for arm, values in arms.items() for i, v in enumerate(values)]
    )


def counted_out(differences: list[float]) -> float:
    """Two-sided p by trying all signs: the definition of the test, ties and all."""
    ranks = rankdata(np.abs(differences))
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - centre)
    sums = [abs(ranks[np.array(signs, bool)].sum() - centre) for signs in product((0, 1), repeat=len(ranks))]
    return float(np.mean(np.array(sums) >= seen - 1e-9))


def test_p_is_the_share_of_sign_patterns_that_are_as_far_out_without_ties() -> None:
    differences = [1.0, -2.0, 3.5, 4.0, 5.0, 6.5, -0.5]
    test = paired_tests(long(a=differences, b=[0.0] * 7)).iloc[0]
    assert test["method"] == "exact"
    assert test["p"] == pytest.approx(counted_out(differences))
    assert (test["n"], test["zeros"], test["statistic"]) == (7, 0, 1 + 3)


def test_p_is_the_share_of_sign_patterns_that_are_as_far_out_with_ties_and_zeros() -> None:
    differences = [1.0, 1, -1, 2, 2, 2, 3, -3]
    test = paired_tests(long(a=[*differences, 0.0, 0.0], b=[0.0] * 10)).iloc[0]
    assert test["method"] == "exact, with ties"
    assert test["p"] == pytest.approx(counted_out(differences))
    assert (test["n"], test["zeros"]) == (10, 2)


def test_many_tied_pairs_are_judged_by_the_normal_approximation() -> None:
    a = list(np.random.default_rng(1).integers(-3, 6, 40).astype(float))
    test = paired_tests(long(a=a, b=[0.0] * 40)).iloc[0]
    expected = wilcoxon(a, zero_method="wilcox", correction=True, method="asymptotic")
    assert test["method"] == "normal approximation"
    assert (test["p"], test["statistic"]) == pytest.approx((expected.pvalue, expected.statistic))


def test_only_subjects_that_both_arms_have_are_compared_and_the_others_counted() -> None:
    frame = long(a=[0.9, 0.8, 0.7, np.nan], b=[0.5, 0.6, 0.7, 0.8, 0.9])
    test = paired_tests(frame).iloc[0]
    assert (test["n"], test["left_out"], test["zeros"]) == (3, 2, 1)
    assert (test["mean_a"], test["mean_b"]) == pytest.approx((0.8, 0.6))
    assert test["median_difference"] == pytest.approx(0.2)


def test_a_slide_unknown_to_both_arms_is_not_counted() -> None:
    frame = long(a=[0.9, np.nan], b=[0.5, np.nan], c=[0.1, 0.2])
    table = paired_tests(frame).set_index(["arm_a", "arm_b"])
    assert table.loc[("a", "b"), "left_out"] == 0
    assert table.loc[("a", "c"), "left_out"] == 1


@pytest.mark.parametrize(
    ("a", "b", "note"),
    [
        ([0.5, 0.6], [0.5, 0.6], "no pair differs"),
        ([0.5, 0.6], [0.4, 0.6], "only one pair differs"),
        ([0.5, np.nan], [np.nan, 0.6], "no subject in common"),
        ([np.nan], [np.nan], "no subject in common"),
    ],
)
def test_what_cannot_be_tested_has_no_p_and_a_reason(a: list[float], b: list[float], note: str) -> None:
    test = paired_tests(long(a=a, b=b)).iloc[0]
    assert np.isnan(test["p"]) and np.isnan(test["p_holm"])
    assert test["note"] == note


def test_too_few_pairs_to_decide_are_pointed_out() -> None:
    test = paired_tests(long(a=[1.0, 2, 3], b=[0.0, 0, 0])).iloc[0]
    assert test["p"] == pytest.approx(0.25)
    assert "0.25" in test["note"]
    assert paired_tests(long(a=[1.0, 2, 3, 4, 5, 6], b=[0.0] * 6)).iloc[0]["note"] == ""


def test_all_pairs_or_all_against_a_reference_in_the_order_of_the_arms() -> None:
    frame = long(x=[1.0, 2], c=[2.0, 4], a=[3.0, 5])
    pairs = paired_tests(frame)[["arm_a", "arm_b"]].to_numpy().tolist()
    assert pairs == [["x", "c"], ["x", "a"], ["c", "a"]]
    against = paired_tests(frame, reference="c")[["arm_a", "arm_b"]].to_numpy().tolist()
    assert against == [["x", "c"], ["a", "c"]]
    with pytest.raises(ValueError, match="none of the arms x, c, a"):
        paired_tests(frame, reference="z")


def test_one_arm_leaves_an_empty_table_with_all_columns() -> None:
    table = paired_tests(long(a=[1.0, 2]))
    assert table.empty
    assert {"p", "p_holm", "effect", "note"} <= set(table.columns)


def test_a_subject_twice_in_an_arm_is_refused() -> None:
    frame = pd.concat([long(a=[1.0, 2], b=[1.0, 3]), long(a=[1.0])])
    with pytest.raises(ValueError, match="duplicate"):
        paired_tests(frame)


def test_the_correction_counts_the_tests_that_could_be_made() -> None:
    rng = np.random.default_rng(3)
    frame = long(a=list(rng.normal(size=9)), b=list(rng.normal(1, 1, 9)), same=[0.0] * 9)
    frame = pd.concat([frame, long(twin=[0.0] * 9)])
    table = paired_tests(frame)
    assert table["p"].isna().sum() == 1
    assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"].to_numpy()), nan_ok=True)
    assert table["p_holm"].min() == pytest.approx(min(1, 5 * table["p"].min()))


def test_the_effect_is_one_where_every_pair_agrees_and_turns_with_the_sides() -> None:
    assert rank_biserial(np.array([0.1, 2.0, 0.0])) == 1
    # Ranks 1, 2, 3 with the middle one against: (1 + 3 - 2) / 6.
    assert rank_biserial(np.array([1.0, -2.0, 3.0])) == pytest.approx(1 / 3)
    assert rank_biserial(np.array([-1.0, 2.0, -3.0])) == pytest.approx(-1 / 3)
    assert np.isnan(rank_biserial(np.zeros(3)))


def test_holm_matches_a_table_worked_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 gives 0.02, 0.03, 0.06, 0.04, which may not fall again.
    corrected = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1.0, 1.0])


@given(P_VALUES)
def test_holm_never_lowers_a_p_keeps_the_order_and_stays_within_one(p: np.ndarray) -> None:
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    assert corrected[order][0] == pytest.approx(min(1.0, p.size * p.min()))


@given(P_VALUES)
def test_holm_takes_no_notice_of_tests_that_were_not_made(p: np.ndarray) -> None:
    with_gaps = np.concatenate([[np.nan], p, [np.nan]])
    assert holm(with_gaps)[1:-1] == pytest.approx(holm(p))
    assert np.isnan(holm(with_gaps)[[0, -1]]).all()


def test_tests_are_shown_by_what_decides_and_keep_a_note_where_there_is_one() -> None:
    values = {"few": [0.1, 0.2, 0.3], "same": [0.1, 0.2, 0.3], "other": [0.4, 0.1, 0.5]}
    long = [{"slide": str(i), "arm": arm, "value": v} for arm, column in values.items() for i, v in enumerate(column)]
    tests = paired_tests(pd.DataFrame(long))
    shown = shown_tests(tests)
    assert list(shown) == ["arm", "against", "n", "median_difference", "effect", "p", "p_holm", "note"]
    assert shown["note"].tolist() == tests["note"].tolist()
    assert shown.loc[0, ["arm", "against", "n"]].tolist() == ["few", "same", 3]
    assert "note" not in shown_tests(tests.assign(note=""))
