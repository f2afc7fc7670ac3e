from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.common.errors import ImageSetError
from studies.common.images.protocols import folds_of
from studies.common.images.splits import assign_folds, assign_parts, leak, split_of

# Those that draw; parts that are given have tests of their own.
PROTOCOLS = ("random", "grouped")
PUBLISHED = {"training": 10200, "validation": 2550, "test": 2250}


def images_of(sizes: dict[str, list[int]], seed: int = 0) -> pd.DataFrame:
    """Images in mixed order: per class the sizes of its groups."""
    rows = [(label, f"{label}{g}") for label, own in sizes.items() for g, size in enumerate(own) for _ in range(size)]
    return pd.DataFrame(rows, columns=["label", "group"]).sample(frac=1, random_state=seed).reset_index(drop=True)


sets = st.dictionaries(
    st.sampled_from(["aca", "n", "scc"]), st.lists(st.integers(1, 5), min_size=6, max_size=14), min_size=2, max_size=3
)
splits = st.sampled_from([{"folds": 3}, {"folds": 2, "run": [1]}, {"parts": PUBLISHED}])


@settings(deadline=None, max_examples=25)
@given(sets, splits, st.sampled_from(PROTOCOLS), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_parts_share_nothing_hold_every_class_and_keep_groups_whole(
    sizes: dict[str, list[int]], split: dict, protocol: str, share: float, seed: int
) -> None:
    images = images_of(sizes)
    for fold in folds_of(split, protocol):
        found = split_of(images, protocol, split, fold, share, seed)
        parts = [found.training, found.validation, found.test]
        aside = "parts" in split or share > 0
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(images)))
        for part in parts[:1] + parts[2:] + parts[1:2] * aside:
            assert set(images["label"].iloc[part]) == set(sizes)
        assert aside == bool(len(found.validation))
        if protocol == "grouped":
            assert leak(images, found.training, found.test) == 0
            assert leak(images, found.training, found.validation) == 0
            assert leak(images, found.validation, found.test) == 0


@st.composite
def patients(draw: st.DrawFn) -> pd.DataFrame:
    """Patients of whom some have images of two or three classes, unlike in number."""
    held = st.lists(st.integers(0, 6), min_size=3, max_size=3).filter(any)
    several = draw(st.lists(held, min_size=1, max_size=25))
    alone = [[6 * (k == c) for k in range(3)] for c in range(3) for _ in range(draw(st.integers(4, 6)))]
    rows = [
        (label, f"p{g}")
        for g, counts in enumerate([*several, *alone])
        for label, count in zip("abc", counts, strict=True)
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["label", "group"]).sample(frac=1, random_state=0).reset_index(drop=True)


@settings(deadline=None, max_examples=60)
@given(patients(), st.integers(0, 99))
@pytest.mark.slow
def test_a_group_that_spans_classes_is_never_divided_and_parts_keep_their_proportion(
    images: pd.DataFrame, seed: int
) -> None:
    part = assign_parts(images, "grouped", PUBLISHED, seed)
    np.testing.assert_array_equal(part, assign_parts(images, "grouped", PUBLISHED, seed))
    assert pd.Series(part).groupby(images["group"]).nunique().max() == 1
    for name, wanted in PUBLISHED.items():
        for _, own in images.groupby("label"):
            number = (part[own.index] == name).sum()
            assert number > 0
            assert abs(number - wanted / 15000 * len(own)) <= 1.5 * own["group"].value_counts().max()


@settings(deadline=None, max_examples=25)
@given(patients(), splits, st.integers(0, 99))
def test_no_part_of_a_split_shares_a_group_that_spans_classes(images: pd.DataFrame, split: dict, seed: int) -> None:
    for fold in folds_of(split, "grouped"):
        found = split_of(images, "grouped", split, fold, 0.25, seed)
        parts = [set(images["group"].iloc[part]) for part in (found.training, found.validation, found.test)]
        assert all(parts) and sum(map(len, parts)) == images["group"].nunique()
        assert sum(map(len, (found.training, found.validation, found.test))) == len(images)


def test_groups_that_span_classes_fill_every_part_of_every_class() -> None:
    # Each patient has both classes: by hand, three parts of ten patients alike are 8, 1 and 1.
    rows = [(label, f"p{g}") for g in range(10) for label in ("normal", "tumour") for _ in range(4)]
    images = pd.DataFrame(rows, columns=["label", "group"])
    counts = pd.crosstab(images["label"], assign_parts(images, "grouped", {"a": 8, "b": 1, "c": 1}, 0))
    assert counts.to_numpy().tolist() == [[32, 4, 4]] * 2
    # A triangle of patients, each of two classes: two parts cannot both have all three.
    rows = [(label, pair) for pair in ("ab", "bc", "ca") for label in pair]
    with pytest.raises(ImageSetError, match=r"a class is missing from a part .*ask for fewer parts"):
        assign_parts(pd.DataFrame(rows, columns=["label", "group"]), "grouped", {"a": 1, "b": 1}, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("parts", [{"training": 8, "validation": 0, "test": 2}, {"training": 8, "test": 2}])
def test_parts_without_validation_leave_it_to_its_share(protocol: str, parts: dict) -> None:
    images = images_of({"aca": [1] * 50, "scc": [1] * 100})
    found = split_of(images, protocol, {"parts": parts}, 0, 0.25, 0)
    assert [len(part) for part in (found.training, found.validation, found.test)] == pytest.approx([90, 30, 30], abs=1)
    none = split_of(images, protocol, {"parts": parts}, 0, 0.0, 0)
    assert [len(part) for part in (none.training, none.validation, none.test)] == [120, 0, 30]
    np.testing.assert_array_equal(none.test, found.test)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folds_test_each_image_once_and_keep_the_shares_of_classes(protocol: str) -> None:
    images = images_of({"aca": [4] * 25, "scc": [4] * 50})
    folds = assign_folds(images, protocol, 5, seed=3)
    counts = pd.crosstab(folds, images["label"])
    assert counts.to_numpy().tolist() == [[20, 40]] * 5


def test_published_counts_are_met_exactly_by_image_and_nearly_by_group() -> None:
    images = images_of({label: [20] * 250 for label in ("aca", "n", "scc")})
    counts = pd.crosstab(images["label"], assign_parts(images, "random", PUBLISHED, 0))
    assert counts.loc["aca", list(PUBLISHED)].tolist() == [3400, 850, 750]
    assert counts.sum().to_dict() == PUBLISHED
    grouped = pd.Series(assign_parts(images, "grouped", PUBLISHED, 0)).value_counts()
    assert all(abs(grouped[name] - wanted) <= 3 * 20 for name, wanted in PUBLISHED.items())


@pytest.mark.parametrize("seed", range(5))
def test_large_groups_come_first_and_small_ones_even_out(seed: int) -> None:
    images = images_of({"aca": [6, *[1] * 6], "scc": [1, 1, 2, 4]})
    counts = pd.crosstab(images["label"], assign_parts(images, "grouped", {"one": 1, "two": 1}, seed))
    assert counts.to_numpy().tolist() == [[6, 6], [4, 4]]


def test_a_group_of_two_classes_goes_where_it_helps_the_rarer_one_more() -> None:
    # 100 images of a and 10 of b in two parts. Of the patients with both, the first goes to one part and the second to
    # the other. The parts then lack 10 and 30 of a, 4 and 1 of b: the third, by least squares of the shares, helps
    # 10·10/100² + 2·4/10² = 0.09 in the first and 10·30/100² + 2·1/10² = 0.05 in the second. By the number of images it
    # would go to the second, which had too many of b thereafter.
    rows = [(label, f"p{g}") for g, (a, b) in enumerate([(40, 1), (20, 4), (10, 2)]) for label in "a" * a + "b" * b]
    images = pd.concat([pd.DataFrame(rows, columns=["label", "group"]), images_of({"a": [10] * 3, "b": [1] * 3})])
    counts = pd.crosstab(images["label"], assign_parts(images, "grouped", {"one": 1, "two": 1}, 0))
    assert counts.to_numpy().tolist() == [[50, 50], [5, 5]]


def test_a_random_split_leaks_as_much_as_counting_says() -> None:
    # A test image stays clean only if its 3 siblings are in its own fifth: (1/5)^3 of them, nearly.
    images = images_of({"aca": [4] * 400, "scc": [4] * 400})
    found = split_of(images, "random", {"folds": 5}, 0, 0.0, 1)
    assert leak(images, found.training, found.test) == pytest.approx(1 - 0.2**3, abs=0.01)


def test_leak_is_the_share_of_test_images_with_a_sibling_learnt() -> None:
    images = pd.DataFrame({"group": list("aabbc")})
    assert leak(images, np.array([0, 2]), np.array([1, 3, 4])) == pytest.approx(2 / 3)
    assert leak(images, np.array([0]), np.array([], dtype=int)) == 0


def test_a_seed_decides_and_another_one_decides_otherwise() -> None:
    images = images_of({"aca": [2] * 20, "scc": [3] * 20})
    for protocol in PROTOCOLS:
        for split in ({"folds": 4}, {"parts": PUBLISHED}):
            first, again, other = (split_of(images, protocol, split, 0, 0.25, seed).test for seed in (0, 0, 1))
            np.testing.assert_array_equal(first, again)
            assert first.tolist() != other.tolist()


def test_folds_do_not_share_their_validation_images() -> None:
    images = images_of({"aca": [1] * 60, "scc": [1] * 60})
    first, second = (split_of(images, "random", {"folds": 3}, fold, 0.25, 0) for fold in (0, 1))
    assert len(first.validation) == 20
    assert first.validation.tolist() != second.validation.tolist()


def test_as_many_groups_as_parts_are_enough_and_fewer_are_an_error() -> None:
    images = images_of({"aca": [2, 2, 2], "scc": [3] * 10})
    part = assign_parts(images, "grouped", PUBLISHED, 0)
    assert set(part[images["label"] == "aca"]) == set(PUBLISHED)
    few = images_of({"aca": [9, 1], "scc": [3] * 10})
    with pytest.raises(ImageSetError, match=r"aca: .*fewer groups than parts \(found: 2 groups for 3 parts\)"):
        assign_parts(few, "grouped", PUBLISHED, 0)
    assert set(assign_parts(few, "random", PUBLISHED, 0)) == set(PUBLISHED)


def test_fewer_groups_than_folds_name_class_count_and_folds() -> None:
    images = images_of({"aca": [5, 5, 5], "scc": [1] * 20})
    with pytest.raises(ImageSetError, match=r"aca: .*fewer groups than folds \(found: 3 groups for 5 folds\)"):
        assign_folds(images, "grouped", 5, 0)
    with pytest.raises(ImageSetError, match=r"aca: .*fewer images than folds"):
        assign_folds(images, "random", 16, 0)


def test_all_folds_are_trained_unless_some_are_named() -> None:
    assert folds_of({"folds": 4}, "random") == [0, 1, 2, 3]
    assert folds_of({"folds": 5, "run": [0, 3]}, "random") == [0, 3]
    by_protocol = {"folds": 3, "run": {"random": [1]}}
    assert folds_of(by_protocol, "random") == [1]
    assert folds_of(by_protocol, "grouped") == [0, 1, 2]
