"""The cascade: its bound holds, its band keeps it with the teacher, and above the bound a slide is done in full."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.stats import beta

from drunet.annotation.provenance import origin
from drunet.cascade import Band, choose_band, classify_cascade, most_differing, passing_share
from drunet.export.outline import audited, write_geojson
from drunet.files import write_tsv
from drunet.inference import Classified
from drunet.report.tumour import read_tumour, with_audits
from drunet.settings.cascade import CascadeSettings

COUNT = 4000
RNG = np.random.default_rng(2)
TEACHER = np.where(RNG.random(COUNT) < 0.4, RNG.beta(8, 2, COUNT), RNG.beta(2, 8, COUNT)).astype(np.float32)
# A student that errs most where its teacher is undecided.
STUDENT = (1 / (1 + np.exp(-(np.log(TEACHER / (1 - TEACHER)) + RNG.normal(0, 0.7, COUNT))))).astype(np.float32)


@pytest.mark.parametrize(("population", "audited", "share"), [(200, 60, 0.02), (3000, 300, 0.01), (3000, 300, 0.2)])
def test_the_bound_is_below_the_truth_no_more_often_than_it_says(population: int, audited: int, share: float) -> None:
    rng, truth = np.random.default_rng(7), round(share * population)
    seen = rng.hypergeometric(truth, population - truth, audited, 4000)
    bound = {k: most_differing(population, audited, int(k), 0.95) for k in np.unique(seen)}
    missed = np.mean([bound[k] < truth for k in seen])
    # Three standard errors of 4000 draws.
    assert missed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_the_bound_is_that_of_clopper_and_pearson_where_the_population_is_large() -> None:
    for differing in (0, 1, 7):
        wanted = beta.ppf(0.95, differing + 1, 300 - differing)
        assert most_differing(10**6, 300, differing, 0.95) / 10**6 == pytest.approx(wanted, rel=2e-3)
    assert most_differing(5, 0, 0, 0.95) == 5 and most_differing(0, 0, 0, 0.95) == 0


def frames(known: bool = True) -> list[pd.DataFrame]:
    area = np.clip(TEACHER + RNG.normal(0, 0.1, COUNT), 0, 1) if known else np.full(COUNT, np.nan)
    table = pd.DataFrame({"student": STUDENT, "teacher": TEACHER, "exact": TEACHER, "tumour": area})
    return [table.iloc[:1500], table.iloc[1500:]]


@pytest.mark.parametrize("known", [True, False])
def test_the_band_keeps_the_cascade_with_its_teacher_and_is_no_wider_than_it_must(known: bool) -> None:
    slides = frames(known)
    band, found = choose_band(slides, threshold=0.5, most=0.015, max_dice_loss=0.01)
    table = pd.concat(slides)
    mixed = np.where(band.unsure(table["student"].to_numpy()), table["teacher"], table["student"])
    differing = ((mixed >= 0.5) != (table["teacher"] >= 0.5)).mean()
    assert differing == pytest.approx(found["differing"]) and 0.005 < differing <= 0.015
    assert found["dice_cascade"] >= found["dice_teacher"] - 0.01 and found["dice_with"] == (
        "annotation" if known else "teacher"
    )
    assert 0.02 < found["by_teacher"] < 0.4 and band.low < 0.5 < band.high


def test_where_nothing_may_differ_the_cascade_is_its_teacher() -> None:
    band, found = choose_band(frames(), threshold=0.5, most=0.0, max_dice_loss=0.0)
    assert found["differing"] == 0 and found["dice_cascade"] == found["dice_teacher"]
    twin = [f.assign(student=f["teacher"]) for f in frames()]
    band, found = choose_band(twin, threshold=0.5, most=0.0, max_dice_loss=0.0)
    assert found["by_teacher"] == 0 and band.low > band.high


def test_no_validation_slide_differs_more_than_may_pass_and_the_exact_teacher_tells() -> None:
    # Slides of different kinds: pooled, the second would hide behind the first.
    easy = pd.DataFrame({"student": TEACHER, "teacher": TEACHER, "exact": TEACHER, "tumour": np.nan})
    hard = easy.assign(student=STUDENT)
    _, found = choose_band([easy, easy, hard], threshold=0.5, most=0.01, max_dice_loss=1.0)
    assert found["differing"] < found["differing_worst"] <= 0.01
    # What int8 makes of the teacher counts, too, and no band mends it.
    coarse = np.where(np.abs(TEACHER - 0.5) < 0.02, 1 - TEACHER, TEACHER)
    _, found = choose_band([hard.assign(teacher=coarse)], threshold=0.5, most=0.0, max_dice_loss=1.0)
    assert found["differing"] == pytest.approx(((coarse >= 0.5) != (TEACHER >= 0.5)).mean(), abs=1e-9) != 0


@pytest.mark.parametrize(("audit", "most"), [(300, 0.03), (1000, 0.03), (300, 0.1)])
def test_slides_of_the_passing_share_pass_their_audit_as_often_as_it_says(audit: int, most: float) -> None:
    settings = CascadeSettings.of({"student": "s", "audit": audit, "max_differing": most}, "c")
    share, population = passing_share(settings), 100_000
    truth = round(share * population)
    seen = np.random.default_rng(3).hypergeometric(truth, population - truth, audit, 4000)
    # Of three bounds that miss in 5 of 100 together, the first two miss in 2.25 each, that of int8 in 0.5.
    bound = {k: most_differing(population, audit, int(k), 0.9775) / population for k in np.unique(seen)}
    passed = np.mean([bound[k] <= most for k in seen])
    assert 0.94 <= passed <= 0.97
    assert passing_share(CascadeSettings.of({"student": "s", "audit": 50, "max_differing": 0.03}, "c")) == 0
    assert passing_share(CascadeSettings.of({"student": "s", "audit": 0, "max_differing": 0.03}, "c")) == 0.03


class Counted:
    """Answers from a table, and how many were asked for."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers, self.asked, self.last = answers, [0], np.array([], int)

    def __call__(self, index: np.ndarray) -> Classified:
        self.asked.append(len(index))
        self.last = index
        return Classified(self.answers[index].copy(), int(np.isnan(self.answers[index]).sum()), 1.0)


def run(student: np.ndarray, slide_id: str = "s1", seed: int = 1, **settings: Any) -> Any:
    told = CascadeSettings.of({"student": "small", **settings}, "cascade")
    judges = Counted(student), Counted(TEACHER)
    how: dict[str, Any] = {"threshold": 0.5, "seed": seed, "slide_id": slide_id}
    return *classify_cascade(judges[0], judges[1], None, COUNT, Band(0.3, 0.7), told, **how), judges


def test_the_teacher_judges_where_the_student_is_unsure_and_the_audit_changes_nothing() -> None:
    result, said, (_, teacher) = run(STUDENT, max_differing=1.0)
    unsure = (STUDENT >= 0.3) & (STUDENT <= 0.7)
    np.testing.assert_array_equal(result.p_tumour, np.where(unsure, TEACHER, STUDENT))
    assert (said.tiles, said.by_teacher, said.audited, said.in_full) == (COUNT, unsure.sum(), 300, False)
    assert sum(teacher.asked) == unsure.sum() + 300
    true = ((result.p_tumour >= 0.5) != (TEACHER >= 0.5)).mean()
    assert true < said.bound < true + 0.03
    bare, none, _ = run(STUDENT, audit=0)
    np.testing.assert_array_equal(bare.p_tumour, result.p_tumour)
    assert none.bound is None and not none.in_full


def test_the_same_seed_audits_the_same_tiles_of_a_slide_and_another_slide_others() -> None:
    certificates = [run(STUDENT, slide, seed, audit=150)[1] for slide, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2))]
    assert certificates[0] == certificates[1]
    assert len({c.differing for c in certificates}) > 1


def test_a_slide_above_the_bound_is_done_in_full_and_says_so() -> None:
    result, said, (_, teacher) = run(1 - TEACHER)
    assert said.in_full and said.before > 0.03 and said.bound == 0 and said.audited == 1200
    np.testing.assert_array_equal(result.p_tumour, TEACHER)
    # No tile twice: what was audited is known already.
    assert sum(teacher.asked) == COUNT
    told = said.sentence("s1", CascadeSettings.of({"student": "small"}, "cascade"))
    assert told.endswith("above 3.00%, done in full by the teacher")


# The teacher in int8: one tile in 200 on the other side; and one that is no better than the student.
COARSE = np.where(np.arange(COUNT) % 200 == 11, 1 - TEACHER, TEACHER).astype(np.float32)


@pytest.mark.parametrize("good", [True, False])
def test_a_slide_in_full_is_in_int8_where_the_same_audit_bears_that(good: bool) -> None:
    asked = {"student": "small", "teacher_precision": "int8"}
    told, how = CascadeSettings.of(asked, "cascade"), {"threshold": 0.5, "seed": 1, "slide_id": "s1"}
    student, teacher, exact = Counted(1 - TEACHER), Counted(COARSE if good else 1 - TEACHER), Counted(TEACHER)
    result, said = classify_cascade(student, teacher, exact, COUNT, Band(0.3, 0.7), told, **how)
    assert said.in_full and said.before > 0.03 and said.audited == 1200
    # The teacher in int8 judges each tile once, whether the student was unsure of it or not.
    assert sum(teacher.asked) == COUNT
    if good:
        np.testing.assert_array_equal(result.p_tumour, COARSE)
        assert 0.005 < said.bound <= 0.03 and sum(exact.asked) == 1200
        # Its share of the misses that are allowed is a tenth. The second audit asked for 900 tiles more.
        audited = np.random.default_rng([1, int.from_bytes(hashlib.sha256(b"s1").digest()[:8], "little")])
        sample = audited.permutation(COUNT)[:1200]
        np.testing.assert_array_equal(np.sort(sample[300:]), exact.last)
        seen = int((sample % 200 == 11).sum())
        assert said.bound == most_differing(COUNT, 1200, seen, 0.995) / COUNT
        assert said.sentence("s1", told).endswith(f"by the teacher in int8, which differs on at most {said.bound:.2%}")
    else:
        np.testing.assert_array_equal(result.p_tumour, TEACHER)
        assert said.bound == 0 and sum(exact.asked) == COUNT
        assert said.sentence("s1", told).endswith("above 3.00%, done in full by the teacher")


@pytest.mark.parametrize("share", [0.01, 0.02, 0.03])
def test_the_bound_of_a_slide_done_in_int8_misses_no_more_often_than_it_says(share: float) -> None:
    coarse = np.where(np.arange(COUNT) % round(1 / share) == 3, 1 - TEACHER, TEACHER).astype(np.float32)
    true = ((coarse >= 0.5) != (TEACHER >= 0.5)).mean()
    asked = {"student": "s", "teacher_precision": "int8", "audit": 60, "max_differing": 0.06, "confidence": 0.9}
    told, missed = CascadeSettings.of(asked, "c"), 0
    for seed in range(150):
        how: dict[str, Any] = {"threshold": 0.5, "seed": seed, "slide_id": "s1"}
        judges = Counted(SURE_TWICE), Counted(coarse), Counted(TEACHER)
        result, said = classify_cascade(*judges, COUNT, Band(0.4, 0.6), told, **how)
        missed += said.bound < ((result.p_tumour >= 0.5) != (TEACHER >= 0.5)).mean()
    assert true > 0 and missed <= 150 * (0.1 + 3 * np.sqrt(0.1 * 0.9 / 150))


# Sure of itself, and on the other side on one tile in a hundred, or in ten.
SURE_TWICE = np.where(
    np.arange(COUNT) % 10 == 7, np.where(TEACHER >= 0.5, 0.1, 0.9), np.where(TEACHER >= 0.5, 0.9, 0.1)
).astype(np.float32)
SURE = np.where(np.arange(COUNT) % 100 == 7, np.where(TEACHER >= 0.5, 0.1, 0.9), np.where(TEACHER >= 0.5, 0.9, 0.1))


def test_a_slide_that_fails_its_first_audit_by_chance_passes_a_larger_one() -> None:
    runs = [run(SURE, f"s{number}", audit=100, max_differing=0.04) for number in range(60)]
    certificates = [said for _, said, _ in runs]
    first, again = ([c for c in certificates if c.audited == audited] for audited in (100, 400))
    assert len(first) + len(again) == 60 and len(again) > 10
    assert all(c.differing == 0 for c in first), "one of 100 bounds the share at 5.6 %"
    assert sum(c.in_full for c in certificates) <= 3
    held = [c for c in again if not c.in_full]
    assert {c.bound for c in held} == {most_differing(COUNT, 400, c.differing, 0.9775) / COUNT for c in held}
    # The larger sample has the smaller one in it: no tile is asked for twice.
    assert all(sum(teacher.asked) == (COUNT if said.in_full else said.audited) for _, said, (_, teacher) in runs)


@pytest.mark.parametrize("max_differing", [0.02, 0.03, 0.04])
def test_the_bound_after_either_audit_misses_no_more_often_than_it_says(max_differing: float) -> None:
    true = ((SURE >= 0.5) != (TEACHER >= 0.5)).mean()
    asked = {"audit": 60, "max_differing": max_differing, "confidence": 0.9}
    missed = np.mean([run(SURE, seed=seed, **asked)[1].before < true for seed in range(600)])
    assert missed <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 600)


def test_tiles_that_could_not_be_read_stay_unknown_and_are_not_audited() -> None:
    torn = STUDENT.copy()
    torn[:500] = np.nan
    result, said, _ = run(torn, max_differing=1.0)
    assert result.unreadable == 500 and np.isnan(result.p_tumour[:500]).all() and said.tiles == COUNT - 500


def test_what_the_audit_says_is_in_the_table_and_in_the_outlines(tmp_path: Path) -> None:
    said = {"audited": 300, "differing": 2, "bound": 0.0207, "in_full": False}
    table = pd.DataFrame({"slide": ["a", "b", "c"], "patient": 1, **dict.fromkeys(("tumour_mm2", "tissue_mm2"), 1.0)})
    told = with_audits(table.assign(share=0.5), {"a": said, "b": {**said, "bound": 0.0, "in_full": True}})
    write_tsv(told, tmp_path / "t.tsv")
    read = read_tumour(tmp_path / "t.tsv")
    np.testing.assert_allclose(read["differing_at_most"], [0.0207, 0, np.nan])
    assert list(read["in_full"]) == ["no", "yes", "unknown"] and read["audited"].iloc[0] == 300
    box = shapely.box(0, 0, 100, 100)
    how: dict[str, Any] = {"slide_id": "a", "name": "Tumor", "colour": (1, 2, 3), "mpp": 1.0, "parent": True}
    write_geojson(tmp_path / "o.geojson", [box], **how, origin=origin("quick", {"m": "0" * 64}), audit=audited(said))
    outlines = json.loads((tmp_path / "o.geojson").read_text(encoding="utf-8"))
    (parent,) = outlines["features"]
    wanted = {"Tiles audited": 300, "Audited tiles differing": 2, "Tiles differing at most %": 2.07, "Done in full": 0}
    assert outlines["properties"] == wanted and parent["properties"]["measurements"].items() >= wanted.items()
    assert (
        audited(None) == audited({**said, "bound": None}) == {}
        and audited({**said, "bound": 0.0, "in_full": True})["Tiles differing at most %"] == 0
    )
