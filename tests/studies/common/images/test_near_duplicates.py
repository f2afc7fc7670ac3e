from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import pair_confusion_matrix

from drunet.errors import ConfigError
from studies.common.images.folder import list_images
from studies.common.images.groups import read_groups
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.local_features import (
    MIRRORED,
    aligned_correlation,
    fitting_features,
    inside_body,
    local_features,
    small_grey,
)
from studies.common.images.near_duplicates import (
    candidate_pairs,
    check_facts,
    colour_signature,
    find_groups,
    identical_pairs,
    random_pairs,
    within_bound,
)

SHARED = Path(__file__).parents[4] / ".." / "shared" / "data"
PATCHES = SHARED / "lung_patches"
SETTINGS = {
    "candidates": 30,
    "size": 256,
    "features": 300,
    "ratio": 0.8,
    "tolerance": 3.0,
    "max_scale": 2.5,
    "inliers": 6,
    "check_pairs": None,
}
VARIANTS = ((0, 1, False), (20, 1, True), (-25, 1.1, False), (90, 1.3, True))
MATCH = NearDuplicates.of(SETTINGS, "near_duplicates")
FEW = NearDuplicates.of({**SETTINGS, "features": 120}, "near_duplicates")


def tissue(seed: int, side: int = 200) -> np.ndarray:
    """Blots of several sizes on a pale ground."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), rng.integers(200, 240, 3), np.uint8)
    for _ in range(160):
        centre, axes = rng.integers(0, side, 2), rng.integers(2, 12, 2)
        colour = [int(value) for value in rng.integers(40, 200, 3)]
        cv2.ellipse(image, centre.tolist(), axes.tolist(), float(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    return image


def variant(image: np.ndarray, angle: float, scale: float, mirrored: bool) -> np.ndarray:
    """Turned, enlarged about its middle, perhaps mirrored; the middle of it."""
    side = image.shape[0]
    turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((side / 2, side / 2), angle, scale), (side, side))
    middle = turned[30:-30, 30:-30]
    return np.ascontiguousarray(middle[:, ::-1] if mirrored else middle)


def features(image: np.ndarray):
    return local_features(small_grey(image, 256), 300)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, pd.DataFrame, pd.Series]:
    """Two classes, four sources each, four variants of a source, and one more image that is alone."""
    truth = {}
    for source in range(8):
        for k, (angle, scale, mirrored) in enumerate(
            [(0, 1, False), (20, 1, True), (-25, 1.1, False), (90, 1.3, True)]
        ):
            file = f"{'aca' if source < 4 else 'scc'}/{source}_{k}.png"
            (tmp_path / file).parent.mkdir(exist_ok=True)
            Image.fromarray(variant(tissue(source), angle, scale, mirrored)).save(tmp_path / file)
            truth[file] = str(source)
    Image.new("RGB", (140, 140), (220, 200, 210)).save(tmp_path / "scc" / "even.png")
    truth["scc/even.png"] = "even"
    images, _ = list_images(tmp_path, ["aca", "scc"], max_unreadable=0.0, where="made")
    return tmp_path, images, images["file"].map(truth)


@pytest.mark.slow
def test_variants_of_one_source_and_only_they_share_a_group(made: tuple[Path, pd.DataFrame, pd.Series]) -> None:
    root, images, truth = made
    groups, facts = find_groups(images, root, FEW, seed=0)
    assert adjusted_rand_score(truth, groups) == 1
    assert (facts["groups"], facts["largest"], facts["singletons"], facts["featureless"]) == (9, 4, 1, 1)
    assert facts["check"]["false_links"] == 0 and facts["check"]["pairs"] == min(16 * 17, facts["pairs_compared"])
    assert groups.iloc[0] == "aca.00001" and groups.groupby(groups).size().index.str.len().max() == 9
    again, same = find_groups(images, root, FEW, seed=0, threads=1)
    pd.testing.assert_series_equal(groups, again)
    assert facts == same


def test_a_source_in_two_classes_is_seen_by_the_check(made: tuple[Path, pd.DataFrame, pd.Series]) -> None:
    root, images, _ = made
    wrong = images.assign(label=np.where(images["file"] == "aca/0_0.png", "scc", images["label"]))
    wrong = wrong[wrong["file"].str.match(r"aca/0|scc/4")].reset_index(drop=True)
    groups, facts = find_groups(wrong, root, FEW, seed=0)
    assert facts["check"]["false_links"] >= 1
    assert facts["check"]["examples"][0][0] == "aca/0_0.png"
    assert groups.groupby(groups).apply(lambda own: wrong.loc[own.index, "label"].nunique()).max() == 1


def test_identical_images_share_a_group_even_where_nothing_can_be_compared(tmp_path: Path) -> None:
    for label, colour in (("aca", "white"), ("scc", "pink")):
        (tmp_path / label).mkdir()
        for k in range(3):
            Image.new("RGB", (20, 20), colour).save(tmp_path / label / f"{k}.png")
    images, _ = list_images(tmp_path, ["aca", "scc"], max_unreadable=0.0, where="made")
    groups, facts = find_groups(images, tmp_path, FEW, seed=0)
    assert groups.tolist() == ["aca.00001"] * 3 + ["scc.00001"] * 3
    assert facts["identical"] == 4 and facts["links"] == 0 and facts["over_largest"] == 0


def test_identical_images_join_the_groups_of_their_look_alikes(made: tuple[Path, pd.DataFrame, pd.Series]) -> None:
    root, images, _ = made
    two = images[images["file"].str.match(r"aca/[01]_[01]")].reset_index(drop=True)
    _, apart = find_groups(two, root, FEW, seed=0)
    # Two pairs of look-alikes; let the last of the one and the first of the other be the same file.
    _, facts = find_groups(two.assign(digest=list("abbc")), root, FEW, seed=0)
    assert (apart["groups"], apart["links"], apart["identical"]) == (2, 2, 0)
    assert (facts["groups"], facts["links"], facts["identical"]) == (1, 2, 1)


@pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40), (400, 1000), (7, 1000)])
def test_the_longer_side_of_a_small_picture_is_as_asked(height: int, width: int) -> None:
    grey = small_grey(np.zeros((height, width, 3), np.uint8), 200)
    assert grey.shape == tuple(max(1, round(side * 200 / max(height, width))) for side in (height, width))


def test_a_mirrored_descriptor_is_the_descriptor_of_the_mirrored_image() -> None:
    grey = small_grey(tissue(1, 255), 255)
    own, mirror = local_features(grey, 300), local_features(np.ascontiguousarray(grey[:, ::-1]), 300)
    # Features that were found at mirrored places on both.
    places = mirror.places * np.float32([-1, 1]) + np.float32([254, 0])
    distance = np.linalg.norm(own.places[:, None] - places[None], axis=2)
    rows, columns = np.nonzero(distance < 0.5)
    assert len(rows) > 100
    permuted = own.descriptors[:, MIRRORED].astype(int)
    error = np.abs(permuted[rows] - mirror.descriptors[columns]).mean(axis=1)
    plain = np.abs(own.descriptors[rows].astype(int) - mirror.descriptors[columns]).mean(axis=1)
    assert np.median(error) < 5 < 15 < np.median(plain)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_pair_is_linked_however_it_is_turned_and_only_within_the_scale(mirrored: bool) -> None:
    one = features(variant(tissue(3), 0, 1, False))
    assert fitting_features(one, features(variant(tissue(3), 130, 1.2, mirrored)), MATCH) >= MATCH.inliers
    assert fitting_features(one, features(variant(tissue(4), 0, 1, mirrored)), MATCH) == 0
    strict = MATCH.model_copy(update={"max_scale": 1.1})
    assert fitting_features(one, features(variant(tissue(3), 130, 1.3, mirrored)), strict) == 0


def test_the_colour_signature_ignores_turns_and_tells_stains_apart() -> None:
    image = tissue(5)
    own = colour_signature(image)
    assert float(own @ own) == pytest.approx(1, abs=1e-5)
    assert float(own @ colour_signature(np.ascontiguousarray(np.rot90(image)[:, ::-1]))) > 0.97
    assert float(own @ colour_signature(image[..., ::-1] // 2)) < 0.6


@given(st.integers(2, 30), st.integers(1, 40), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_candidates_are_the_nearest_of_the_same_or_of_other_classes(n: int, count: int, other: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    colours = rng.random((n, 5), dtype=np.float32)
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    labels = rng.choice(["a", "b"], n)
    expected = set()
    for i in range(n):
        allowed = [j for j in range(n) if j != i and (labels[i] == labels[j]) != other]
        nearest = sorted(allowed, key=lambda j: -float(colours[i] @ colours[j]))[:count]
        expected |= {(min(i, j), max(i, j)) for j in nearest}
    assert {tuple(pair) for pair in candidate_pairs(colours, labels, count, other_class=other)} == expected


def test_the_bound_on_false_links_is_clopper_and_pearsons() -> None:
    facts = check_facts(tried=2000, false_links=3)
    bound = binomtest(3, 2000).proportion_ci(confidence_level=0.90, method="exact").high
    assert facts["rate"] == 3 / 2000 and facts["rate_at_most"] == pytest.approx(bound)
    # The rule of three: nothing in n trials, so at most 3 / n.
    assert check_facts(10_000, 0)["rate_at_most"] == pytest.approx(3 / 10_000, rel=0.01)
    assert check_facts(0, 0)["rate_at_most"] == 1 and check_facts(0, 0)["rate"] is None


def test_identical_images_are_chained() -> None:
    assert identical_pairs(pd.Series(list("abacaa"))).tolist() == [[0, 2], [2, 4], [4, 5]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inliers": 3}, r"near_duplicates\.inliers: .* at least 4"),
        ({"candidates": 2.5}, "candidates: .* whole number"),
        ({"ratio": 1.0}, "ratio: .* less than 1"),
        ({"check_pairs": 0}, "check_pairs"),
        ({"inlier": 8}, "unknown key .*inliers"),
        ({"correlation": 1.0}, "correlation: .* less than 1"),
        ({"largest": 1}, "largest: .* at least 2"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NearDuplicates.of({**SETTINGS, **change}, "near_duplicates")


@pytest.mark.slow
def test_sources_of_real_images_are_found_without_a_false_one() -> None:
    if not PATCHES.is_dir():
        pytest.skip("no real patches here")
    known = pd.read_csv(PATCHES / "groups.csv")
    few = known[known["group"].isin(known.groupby("class")["group"].unique().str[:3].explode())]
    images = pd.DataFrame({"file": few["class"] + "/" + few["file"], "label": few["class"]}).reset_index(drop=True)
    images["digest"] = images["file"]
    truth = read_groups(PATCHES / "groups.csv", images, "groups", others=known["class"] + "/" + known["file"])
    groups, facts = find_groups(images, PATCHES, MATCH, seed=0)
    (_, apart), (missed, together) = pair_confusion_matrix(truth, groups)
    assert len(images) == 36 and apart == 0 and together > 0.9 * (together + missed)
    assert facts["check"]["false_links"] == 0


def slice_of(patient: int, angle: float = 0, height: int = 0) -> np.ndarray:
    """An axial slice: a patient's body with lungs and vessels, turned a little, on a table that all patients share."""
    rng = np.random.default_rng(patient)
    body = np.zeros((256, 256), np.uint8)
    cv2.ellipse(body, (128, 110), (96, 70), 0, 0, 360, 190, -1, cv2.LINE_AA)
    for x in (88, 168):
        cv2.ellipse(body, (x, 110), (32, 50), 0, 0, 360, 40, -1, cv2.LINE_AA)
        for _ in range(40):
            at = (int(x + rng.normal(0, 11)), int(110 + rng.normal(0, 18)))
            cv2.ellipse(
                body, at, rng.integers(2, 7, 2).tolist(), float(rng.integers(180)), 0, 360, 180, -1, cv2.LINE_AA
            )
    body = cv2.warpAffine(body, cv2.getRotationMatrix2D((128, 110), angle, 1), (256, 256))
    table = np.random.default_rng(99)
    image = np.full((256, 256), 20, np.uint8)
    image[200:203] = 150
    for x in range(8, 250, 6):
        cv2.line(image, (x, 206), (x + int(table.integers(-6, 7)), int(table.integers(215, 245))), 160, 2, cv2.LINE_AA)
    return np.repeat(np.maximum(image, body)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.Series]:
    """Six patients on one table, each twice."""
    root = tmp_path_factory.mktemp("slices")
    truth = {}
    for patient in range(6):
        for k, angle in enumerate((0, 4)):
            file = f"ct/{patient}_{k}.png"
            (root / "ct").mkdir(exist_ok=True)
            Image.fromarray(slice_of(patient, angle)).save(root / file)
            truth[file] = str(patient)
    images, _ = list_images(root, ["ct"], max_unreadable=0.0, where="made")
    return root, images, images["file"].map(truth)


def changed(**values: object) -> NearDuplicates:
    return NearDuplicates.of({**SETTINGS, **values}, "near_duplicates")


def test_a_table_under_all_patients_joins_them_unless_the_body_alone_is_compared(slices) -> None:
    root, images, truth = slices
    together, _ = find_groups(images, root, MATCH, seed=0)
    assert set(together) == {"ct.00001"}
    apart, facts = find_groups(images, root, changed(body_only=True, correlation=0.55), seed=0)
    assert adjusted_rand_score(truth, apart) == 1 and facts["links"] == 6


def test_false_links_within_a_class_are_seen_where_sources_are_known(slices) -> None:
    root, images, truth = slices
    searched = images["file"].str.match(r"ct/[0-2]")
    known = images.assign(source=truth)[~searched]
    own = images[searched].reset_index(drop=True)
    _, facts = find_groups(own, root, MATCH, seed=0, known=known)
    # Of six images of three patients 12 pairs are of two patients; all show the table.
    assert facts["same_class"]["known"] and facts["same_class"]["pairs"] == facts["same_class"]["false_links"] == 12
    assert facts["check"]["pairs"] == 0 and "precision_at_least" not in facts["check"]
    _, facts = find_groups(own, root, changed(body_only=True, correlation=0.55), seed=0, known=known)
    assert facts["same_class"]["pairs"] == 12 and facts["same_class"]["false_links"] == 0
    _, facts = find_groups(own, root, MATCH, seed=0, known=known.assign(label="other"))
    assert not facts["same_class"]["known"] and facts["same_class"]["false_links"] == facts["same_class"]["pairs"] > 5


def test_the_inside_of_the_body_holds_the_lungs_and_not_the_table() -> None:
    inside = inside_body(slice_of(0)[..., 0])
    assert inside[110, 88] == inside[110, 168] == inside[110, 128] == 1
    assert inside[190:].sum() == 0 and inside[110, 20] == 0
    assert inside.mean() == pytest.approx(np.pi * 96 * 70 / 256**2, abs=0.03)
    # A figure that is lung to its borders is looked at as a whole, one without any object nowhere.
    assert inside_body(np.full((90, 120), 200, np.uint8)).mean() == 1
    # Cropped to the lungs, which the borders cut: what is bright is a middle that reaches from top to bottom.
    cropped = np.full((90, 120), 30, np.uint8)
    cropped[:, 50:75] = 200
    assert inside_body(cropped).mean() == 1 and inside_body(cropped[:, :60][:, ::-1]).mean() == 1
    cropped[80:] = 30
    assert inside_body(cropped).mean() < 0.2
    assert inside_body(np.zeros((90, 120), np.uint8)).sum() == 0


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_correlation_of_aligned_pictures_is_pearsons_where_they_overlap(mirrored: bool) -> None:
    first = local_features(small_grey(tissue(1, 256), 256), 50, detailed=True)
    second = local_features(small_grey(tissue(2, 256), 256), 50, detailed=True)
    # Places of the first picture lie 30 px further right in the second one: it shows the columns 30 to 255.
    matrix = np.float64([[1, 0, 30], [0, 1, 0]])
    other = second.detail[:, ::-1] if mirrored else second.detail
    expected = np.corrcoef(first.detail[:, :226].ravel().astype(float), other[:, 30:].ravel().astype(float))[0, 1]
    assert aligned_correlation(first, second, matrix, mirrored) == pytest.approx(expected, abs=1e-9)
    assert aligned_correlation(first, first, np.eye(2, 3), False) == pytest.approx(1)
    assert aligned_correlation(first, second, np.float64([[1, 0, 240], [0, 1, 0]]), mirrored) == 0
    with pytest.raises(ValueError, match="without detail"):
        aligned_correlation(features(tissue(1)), second, matrix, mirrored)


def test_a_chain_breaks_at_its_weakest_link_and_identical_images_stay_together() -> None:
    links = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [0, 2]])
    fits, none = np.array([30, 9, 7, 20, 8]), np.empty((0, 2), np.int64)
    assert within_bound(links, fits, none, 5, None).tolist() == [True] * 5
    assert within_bound(links, fits, none, 5, 5).tolist() == [True] * 5
    # {0, 1} and {3, 4} come first; 2 joins {0, 1}, and the link to {3, 4} would make five.
    assert within_bound(links, fits, none, 5, 4).tolist() == [True, True, False, True, True]
    assert within_bound(links, fits, none, 5, 2).tolist() == [True, False, False, True, False]
    same = np.array([[0, 1], [1, 2]])
    assert within_bound(links, fits, same, 5, 2).tolist() == [True, True, False, True, True]


def test_a_group_is_no_larger_than_its_bound(slices) -> None:
    root, images, _ = slices
    groups, facts = find_groups(images, root, changed(largest=4), seed=0)
    assert facts["largest"] == groups.value_counts().max() == 4 and facts["bound"] == 4
    # Twelve images in three groups of four: the pairs between them were linked and are left out.
    assert facts["over_largest"] > 0 and facts["links"] > facts["over_largest"]


def test_random_pairs_are_different_images_of_one_class() -> None:
    labels = np.array(["a"] * 30 + ["b"] * 5 + ["alone"])
    pairs = random_pairs(labels, 400, np.random.default_rng(0))
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all() and (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs) > 150 and set(labels[pairs[:, 0]]) == {"a", "b"}


@pytest.mark.slow
def test_ct_pictures_of_different_patients_on_one_table_stay_apart() -> None:
    """Grouped by eye: the same nodule, vessels and vertebra in each group; all but the last two on the same table."""
    folder = SHARED / "ct" / "malignant"
    if not folder.is_dir():
        pytest.skip("no real CT pictures here")
    truth = {101: 0, 102: 0, 311: 1, 313: 1, 393: 1, 155: 2, 273: 2, 58: 2, 356: 3, 364: 3, 262: 3, 91: 4, 94: 4}
    truth |= {28: 5, 36: 6, 483: 7, 30: 8, 400: 9, 507: 10, 284: 11, 215: 12, 216: 12}
    images = pd.DataFrame({"file": [f"Malignant case ({number}).jpg" for number in truth], "label": "malignant"})
    images["digest"] = images["file"]
    groups, facts = find_groups(images, folder, changed(body_only=True, correlation=0.55, largest=20), seed=0)
    assert adjusted_rand_score(list(truth.values()), groups) == 1 and facts["over_largest"] == 0
    together, _ = find_groups(images, folder, MATCH, seed=0)
    assert together.value_counts().max() > 10
