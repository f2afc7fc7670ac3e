"""The verdict on how far a slide is like what was learnt: as often wrong as it says, and right on what is far."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from drunet.quality import MEASURES
from drunet.uncertainty import appearance
from drunet.uncertainty.appearance import (
    CANNOT_TELL,
    LIKE,
    NOT_MEASURED,
    TRAITS,
    UNLIKE,
    false_alarms,
    likeness,
    reference,
    traits,
)


def slide(rng: np.random.Generator, **shift: float) -> pd.DataFrame:
    """Tiles of a slide of a hospital, whose slides differ from each other; `shift` multiplies measures."""
    own = dict(zip(MEASURES, np.exp(rng.normal(0, 0.15, len(MEASURES))), strict=True))
    usual = dict(zip(MEASURES, (300, 230, 250, 140, 0.05, 0, 0.09, 0.17, 0.1), strict=True))
    tiles = {m: usual[m] * own[m] * shift.get(m, 1) * np.exp(rng.normal(0, 0.3, 40)) for m in MEASURES}
    return pd.DataFrame(tiles).assign(fault="")


def test_traits_are_medians_of_logarithms() -> None:
    table = slide(np.random.default_rng(0))
    found = dict(zip(TRAITS, traits(table) or [], strict=True))
    rich = table[table["coarse"] >= table["coarse"].median()]
    assert found["sharpness"] == pytest.approx(np.log(rich["fine"] / rich["coarse"]).median(), abs=1e-4)
    assert found["red against green"] == pytest.approx(np.log(table["red"] / table["green"]).median(), abs=1e-4)
    assert found["amount of stain"] == pytest.approx(
        np.log(rich[["red", "green", "blue"]].sum(axis=1)).median(), abs=1e-4
    )


@pytest.mark.parametrize("count", [5, 12, 39])
def test_slides_of_the_same_kind_are_called_unlike_no_more_often_than_said(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, calls, draws = np.random.default_rng(count), 0, 200
    assert false_alarms(count) == pytest.approx({5: 1 / 6, 12: 1 / 13, 39: 2 / 40}[count])
    mixed = rng.normal(0, 1, (len(TRAITS), len(TRAITS)))
    # Traits as such, heavy in the tails: nothing is assumed of them but that all slides are drawn alike.
    monkeypatch.setattr(appearance, "traits", lambda table: table)
    for _ in range(draws):
        rows: Any = rng.standard_t(2, (count + 1, len(TRAITS))) @ mixed
        calls += likeness(rows[-1], {"slides": rows[:-1]})["appearance"] == UNLIKE
    # Three standard errors of a binomial share.
    said = false_alarms(count)
    assert calls / draws <= said + 3 * np.sqrt(said * (1 - said) / draws)


def test_a_slide_of_another_scanner_is_told_with_its_traits() -> None:
    rng = np.random.default_rng(5)
    learnt = reference([slide(rng) for _ in range(30)])
    assert len(learnt["slides"]) == 30 and learnt["traits"] == list(TRAITS)
    assert likeness(slide(rng), learnt) == {"appearance": LIKE, "unlike_in": ""}
    told = likeness(slide(rng, grain=0.1, fine=0.3), learnt)
    assert told["appearance"] == UNLIKE and {"sharpness -", "grain -"} <= set(told["unlike_in"].split(", "))
    assert appearance.withdrawn(told).startswith("withdrawn: ") and not appearance.withdrawn(
        likeness(slide(rng), learnt)
    )


def test_a_slide_that_was_learnt_from_is_never_unlike_what_was_learnt() -> None:
    rng = np.random.default_rng(3)
    others, odd = [slide(rng) for _ in range(39)], slide(rng, grain=0.05, fine=0.1)
    assert likeness(odd, reference(others))["appearance"] == UNLIKE
    assert likeness(odd, reference([*others, odd]))["appearance"] == LIKE


def test_what_cannot_be_told_is_said_so() -> None:
    rng = np.random.default_rng(1)
    few = reference([slide(rng) for _ in range(4)])
    told = likeness(slide(rng), few)
    assert told == {"appearance": CANNOT_TELL, "unlike_in": "what the model learnt from is known of 4 slides only"}
    assert likeness(slide(rng), None)["unlike_in"] == "what the model learnt from is known of no slide"
    assert likeness(pd.DataFrame({"p_tumour": [0.1]}), few)["unlike_in"] == NOT_MEASURED
    assert false_alarms(4) == 0
