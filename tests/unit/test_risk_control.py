"""The bound on missed tumour holds on average over draws of patients, and is refused where it cannot be given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from drunet.errors import ConfigError
from drunet.grid import Grid
from drunet.uncertainty.risk_control import bound, called, controlled, missed, on_raster, threshold_of, thresholds

CANDIDATES, RISING = thresholds(0.5), thresholds(0.5, rising=True)
DRAWS = 1000


def patients(count: int, rng: np.random.Generator) -> np.ndarray:
    """Shares missed below each threshold, of patients whose tumour pixels have beta distributions of their own.

    Some are nearly missed as a whole: the mean is far from the median, as it is in a clinic.
    """
    hard = rng.random(count) < 0.15
    a = np.where(hard, rng.uniform(0.1, 0.6, count), rng.uniform(1, 6, count))
    return special.betainc(a[:, None], rng.uniform(0.5, 2, count)[:, None], CANDIDATES)


@pytest.mark.parametrize(("count", "alpha"), [(9, 0.1), (19, 0.1), (60, 0.05), (60, 0.2)])
def test_the_mean_share_missed_of_a_new_patient_is_at_most_alpha(count: int, alpha: float) -> None:
    """1,000 draws of calibration patients and one more; the paper's lower bound (theorem 2) says it is no waste."""
    rng = np.random.default_rng(11)
    losses, refused = [], 0
    for _ in range(DRAWS):
        drawn = patients(count + 1, rng)
        place = controlled(drawn[:-1], alpha)
        # Where there is no threshold nothing is promised: the whole slide, on which nothing is missed.
        losses.append(0.0 if place is None else drawn[-1, place])
        refused += place is None
    error = np.std(losses) / np.sqrt(DRAWS)
    assert np.mean(losses) <= alpha + 3 * error
    if not refused and CANDIDATES[0] > 0.49:
        assert np.mean(losses) >= alpha - 2 / (count + 1) - 3 * error


def test_places_are_those_of_mapie() -> None:
    methods = pytest.importorskip("mapie.risk_control.methods", reason="mapie is not installed")
    rng, rising = np.random.default_rng(2), CANDIDATES[::-1]
    for alpha in (0.05, 0.1, 0.3):
        losses = patients(80, rng)
        _, risk = methods.get_r_hat_plus(losses[:, ::-1], rising, "crc", None, None, None)
        chosen = methods.find_best_predict_param(rising, risk, np.array([alpha]))
        place = controlled(losses, alpha)
        assert place is not None and CANDIDATES[place] == pytest.approx(float(np.ravel(chosen)[0]))


def test_it_is_refused_in_words_below_the_fewest_patients_and_never_at_them() -> None:
    none_missed = np.zeros((9, len(CANDIDATES)))
    facts = bound(none_missed, CANDIDATES, 0.1)
    assert (facts["threshold"], facts["refused"], facts["left_out"]) == (0.5, "", None)
    facts = bound(none_missed[:8], CANDIDATES, 0.1)
    assert (
        facts["threshold"] is None and facts["refused"].startswith("8 test patients") and "9 are needed" in str(facts)
    )
    assert "19 are needed" in bound(none_missed[:0], CANDIDATES, 0.05)["refused"]
    assert "near 0" in bound(none_missed + 0.2, CANDIDATES, 0.1)["refused"]
    assert "near 1" in bound(none_missed + 0.2, RISING, 0.1, "bound_false")["refused"]
    with pytest.raises(ConfigError, match=r"no bound on false tumour.*beside the outlined.*false_at_most"):
        threshold_of(bound(none_missed[:8], RISING, 0.1, "bound_false"), "drunet")
    with pytest.raises(ConfigError, match=r"no bound.*8 test patients.*missed_at_most"):
        threshold_of(facts, "drunet")


def test_numbers_are_those_worked_by_hand() -> None:
    """Nine patients at alpha 0.2: the sum of shares may be 1; leaving one out, of eight, 0.8."""
    shares = np.repeat([[0.3, 0.1, 0.0]], 9, axis=0)
    shares[0] = [0.9, 0.2, 0.2]
    facts = bound(shares, np.array([0.5, 0.3, 0.1]), 0.2)
    assert (
        facts["threshold"] == 0.3
        and facts["share"] == pytest.approx(1.0 / 9)
        and facts["before"] == pytest.approx(3.3 / 9)
    )
    # Without the hard one the others sum up to 0.8 at the second place; with it to 0.9, so that they need the third.
    assert facts["left_out"] == pytest.approx((0.2 + 8 * 0.0) / 9)


@given(st.floats(0.001, 0.999), st.integers(0, 10**6))
def test_thresholds_fall_from_the_runs_own_and_what_is_missed_with_them(highest: float, seed: int) -> None:
    tried = thresholds(highest)
    assert tried[0] == highest and (np.diff(tried) < 0).all()
    rng = np.random.default_rng(seed)
    field, tumour = rng.random((6, 7), np.float32), rng.random((6, 7)) < 0.5
    found = missed(field, tumour, tried)
    assert (np.diff(found) <= 0).all()
    assert found[0] == np.count_nonzero(tumour & (field < np.float32(highest)))


@given(st.floats(0.001, 0.999), st.integers(0, 10**6))
def test_what_is_falsely_called_falls_as_thresholds_rise_from_the_runs_own(own: float, seed: int) -> None:
    tried = thresholds(own, rising=True)
    assert tried[0] == own and (np.diff(tried) > 0).all() and tried[-1] <= max(own, 1 - 1e-4 + 1e-12)
    rng = np.random.default_rng(seed)
    field, other = rng.random((6, 7), np.float32), rng.random((6, 7)) < 0.5
    found = called(field, other, tried)
    assert found.tolist() == [np.count_nonzero(field[other] >= np.float32(t)) for t in tried]


def test_the_mean_share_falsely_called_of_a_new_patient_is_at_most_alpha() -> None:
    """Other tissue whose probabilities have beta distributions of their own, in some patients far too high ones."""
    rng, losses = np.random.default_rng(5), []
    for _ in range(DRAWS):
        hard = rng.random(20) < 0.15
        a = np.where(hard, rng.uniform(1, 4, 20), rng.uniform(0.1, 1, 20))
        drawn = special.betaincc(a[:, None], rng.uniform(1, 6, 20)[:, None], RISING)
        place = controlled(drawn[:-1], 0.1)
        losses.append(0.0 if place is None else drawn[-1, place])
    assert 0.02 < np.mean(losses) <= 0.1 + 3 * np.std(losses) / np.sqrt(DRAWS)


def test_what_was_not_looked_at_counts_as_missed() -> None:
    grid = Grid(40, 20, mpp=1.0, tile_mpp=1.0, size=10, step=10)
    shown = on_raster(np.array([[np.nan, 0.9], [0.9, 0.9]]), grid, 10.0)
    assert shown.shape == (2, 4) and shown[0, 0] == 0
    assert missed(shown, np.ones((2, 4), bool), np.array([0.5]))[0] >= 1
