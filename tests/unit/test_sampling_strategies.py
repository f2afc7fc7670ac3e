"""Strategies: how often each class, tissue and area is shown, and what is said where a cohort cannot give it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from drunet.annotation import Annotation, Label, Region
from drunet.errors import ConfigError, TrainingDataError
from drunet.grid import Grid
from drunet.sampling import Crops, GridTiles, RegionCrops, Source, draw_epoch
from drunet.sampling.areas import induce_imbalance, scored_tiles
from drunet.sampling.balance import oversample, undersample
from drunet.sampling.strata import COLOUR_WEIGHTS, TileColours, TissueStrata
from drunet.sampling.strategies import sampled
from drunet.settings.sampling import STRATEGIES, SamplingSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, write_table

GRID = Grid(width=2000, height=1000, mpp=0.5, tile_mpp=1.0, size=50, step=50)
SIDE = 100  # of a tile, in level-0 pixels
TISSUES = np.array([[90, 40, 120], [200, 120, 170], [230, 190, 210], [240, 240, 238]], np.uint8)


def crops_of(labels: Sequence[int]) -> Crops:
    n = np.arange(len(labels))
    return Crops(n % 3, n * SIDE, n, np.asarray(labels, np.int64))


def times_shown(before: Crops, after: Crops) -> Counter[tuple[int, int]]:
    """How often each crop (by its y, which is unique) is shown, with its label; every one must have been there."""
    known = set(zip(*(v.tolist() for v in (before.slide, before.x, before.y, before.label)), strict=True))
    shown = list(zip(*(v.tolist() for v in (after.slide, after.x, after.y, after.label)), strict=True))
    assert set(shown) <= known
    return Counter((y, label) for _, _, y, label in shown)


both_classes = st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda v: 0 < sum(v) < len(v))


@settings(max_examples=50, deadline=None)
@given(both_classes, st.integers(0, 99))
def test_oversampling_shows_the_commoner_class_once_and_the_rarer_as_often(labels: list[int], seed: int) -> None:
    crops = crops_of(labels)
    after = oversample(np.random.default_rng(seed), crops)
    most = max(labels.count(0), labels.count(1))
    assert np.bincount(after.label).tolist() == [most, most]
    shown = times_shown(crops, after)
    for label in (0, 1):
        times = [shown[y, label] for y in np.flatnonzero(crops.label == label)]
        assert max(times) - min(times) <= 1 and min(times) >= 1


@settings(max_examples=50, deadline=None)
@given(both_classes, st.integers(0, 99))
def test_undersampling_shows_the_rarer_class_once_and_as_much_of_the_other(labels: list[int], seed: int) -> None:
    crops = crops_of(labels)
    after = undersample(np.random.default_rng(seed), crops)
    least = min(labels.count(0), labels.count(1))
    assert np.bincount(after.label).tolist() == [least, least]
    assert set(times_shown(crops, after).values()) == {1}


def table_of(labels: Sequence[int]) -> pd.DataFrame:
    n = np.arange(len(labels))
    return pd.DataFrame({"x": n * SIDE, "y": n, "label": np.array(labels, np.int8)})


def test_undersampling_shows_another_part_in_every_epoch_until_all_were_seen() -> None:
    source = GridTiles(0, table_of([1] * 5 + [0] * 50))
    epochs = [draw_epoch([source], 3, epoch, balance=undersample) for epoch in range(40)]
    parts = [frozenset(e.y[e.label == 0].tolist()) for e in epochs]
    assert len(set(parts)) > 30 and len(frozenset.union(*parts)) == 50
    again = draw_epoch([source], 3, 7, balance=undersample)
    np.testing.assert_array_equal(again.y, epochs[7].y)


@pytest.mark.parametrize(("balance", "length"), [(oversample, 112), (undersample, 22)])
def test_a_balance_works_on_tiles_and_regions_and_keeps_an_epochs_length(balance: Any, length: int) -> None:
    regions = annotated(("tumour", (0, 0)), ("tumour", (3, 0)), ("non_tumour", (6, 0)), ("non_tumour", (9, 0)))
    sources: list[Source] = [GridTiles(0, table_of([1] * 3 + [0] * 48)), regions_of(regions, 1)]
    drawn = [draw_epoch(sources, 1, epoch, balance=balance) for epoch in range(4)]
    assert [len(d) for d in drawn] == [length] * 4
    assert all(d.label.mean() == 0.5 for d in drawn)
    # Crops of regions are still drawn anew.
    assert len({tuple(d.x[d.slide == 1].tolist()) for d in drawn}) == 4
    longer = draw_epoch(sources, 1, 0, 3 * length, balance=balance)
    assert len(longer) == 3 * length and longer.label.mean() == 0.5


def test_one_class_alone_is_refused_before_it_is_balanced() -> None:
    with pytest.raises(TrainingDataError, match="one class only"):
        draw_epoch([GridTiles(0, table_of([1, 1]))], 0, 0, balance=oversample)


# Strata


def colours_by_position(crops: Crops) -> np.ndarray:
    """A tissue per crop, by its place; neighbours differ a little."""
    noise = np.random.default_rng(5).normal(0, 2, (5000, 3))
    return TISSUES[crops.x // SIDE % 4] + noise[crops.y]


def strata_of(crops: Crops, clusters: int = 4) -> TissueStrata:
    return TissueStrata(colours_by_position, crops, clusters=clusters, seed=0, where="here")


def mixed(number: int = 400) -> Crops:
    rng = np.random.default_rng(2)
    tissue = rng.choice(4, number, p=[0.1, 0.2, 0.3, 0.4])
    label = (rng.random(number) < np.array([0.9, 0.5, 0.2, 0.1])[tissue]).astype(int)
    return Crops(np.zeros(number, int), tissue * SIDE, np.arange(number), label)


def test_tissues_are_found_and_numbered_from_the_darkest() -> None:
    strata = strata_of(mixed())
    np.testing.assert_allclose(strata.centres, TISSUES, atol=2)
    np.testing.assert_array_equal(strata.clusters_of(mixed()), mixed().x // SIDE)
    facts = json.loads(json.dumps(strata.facts))
    assert sum(f["tumour"] + f["non_tumour"] for f in facts) == 400
    assert [f["tumour"] for f in facts] == [int(mixed().label[mixed().x // SIDE == c].sum()) for c in range(4)]


def test_every_stratum_is_shown_equally_often_and_an_epoch_keeps_its_length() -> None:
    crops = mixed(403)
    for seed in range(3):
        after = strata_of(crops)(np.random.default_rng(seed), crops)
        counts = Counter(zip(after.label.tolist(), (after.x // SIDE).tolist(), strict=True))
        assert len(after) == 403 and len(counts) == 8
        assert max(counts.values()) - min(counts.values()) <= 1
        shown = times_shown(crops, after)
        for label, tissue in counts:
            times = [shown[y, label] for y in np.flatnonzero((crops.label == label) & (crops.x // SIDE == tissue))]
            assert max(times) - min(times) <= 1


def test_a_stratum_that_is_missing_in_one_epoch_leaves_its_share_to_the_others() -> None:
    crops = mixed()
    fewer = crops.take(np.flatnonzero((crops.label == 0) | (crops.x != 0)))
    after = strata_of(crops)(np.random.default_rng(0), fewer)
    assert len(after) == len(fewer)
    assert np.ptp(list(Counter(zip(after.label.tolist(), after.x.tolist(), strict=True)).values())) <= 1


def test_an_empty_stratum_is_refused_by_its_name() -> None:
    crops = mixed()
    with pytest.raises(TrainingDataError, match=r"here: a stratum .* is empty \(found: no tumour tile in cluster 4\)"):
        strata_of(crops.take(np.flatnonzero((crops.label == 0) | (crops.x != 3 * SIDE))))


def test_fewer_tiles_than_clusters_are_refused() -> None:
    with pytest.raises(TrainingDataError, match=r"fewer tiles .*\(found: 3 of them, 4 clusters\)"):
        strata_of(mixed(3))


def test_the_colours_weigh_as_in_the_authors_code() -> None:
    # Blue counts six times green: two tissues that differ in green alone, by more, are one.
    tissues = np.array([[100, 40, 100], [100, 140, 100], [100, 40, 160], [100, 140, 160]], float)
    crops = Crops(np.zeros(40, int), np.arange(40) % 4, np.arange(40), np.arange(40) // 4 % 2)
    strata = TissueStrata(lambda c: tissues[c.x] + c.y[:, None] / 100, crops, clusters=2, seed=0, where="here")
    assert strata.clusters_of(crops).tolist() == [0, 0, 1, 1] * 10
    assert COLOUR_WEIGHTS == (0.2, 0.1, 0.6)


def test_the_nearest_tissue_of_a_new_colour_is_so_by_weighted_colours() -> None:
    # The last lies 90 in green and 10 in blue from the first, 10 and 40 from the second. The squares of 0.1 * 90 and
    # 0.6 * 10 make 117, those of 0.1 * 10 and 0.6 * 40 make 577; without weights it would be 8200 and 1700.
    tissues = np.array([[50, 50, 50], [50, 150, 100], [50, 140, 60]], float)
    crops = Crops(np.zeros(4, int), np.array([0, 0, 1, 1]), np.zeros(4, int), np.array([0, 1, 0, 1]))
    strata = TissueStrata(lambda c: tissues[c.x], crops, clusters=2, seed=0, where="here")
    new = Crops(np.zeros(3, int), np.arange(3), np.zeros(3, int), np.zeros(3, int))
    assert strata.clusters_of(new).tolist() == [0, 1, 0]


def test_a_tiles_colour_is_the_mean_of_its_pixels(lossless_slide: Any) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (10, 20, 3), np.uint8)
    path = lossless_slide(np.kron(blocks, np.ones((SIDE, SIDE, 1), np.uint8)), 0.5)
    colours = TileColours([lambda: Slide(path, "s1")] * 2, side_um=50.0)
    crops = Crops(np.array([0, 1, 1, 0]), np.array([0, 300, 1900, 50]), np.array([0, 500, 900, 0]), np.zeros(4, int))
    found = colours(crops)
    np.testing.assert_allclose(found[:3], [blocks[0, 0], blocks[5, 3], blocks[9, 19]], atol=1)
    np.testing.assert_allclose(found[3], blocks[0, :2].astype(float).mean(axis=0), atol=1)
    # A crop that reaches beyond the slide takes its border.
    beyond = Crops(np.array([0]), np.array([1960]), np.array([-30]), np.zeros(1, int))
    assert np.isfinite(colours(beyond)).all()


# Induced imbalance


def annotated(*squares: tuple[Label, tuple[int, int]], tiles: int = 2) -> Annotation:
    """Squares of `tiles` x `tiles` tiles with their corner at a column and row of the grid."""
    regions = []
    for label, (column, row) in squares:
        x, y = column * SIDE, row * SIDE
        regions.append(Region(shapely.box(x, y, x + tiles * SIDE, y + tiles * SIDE), label, label))
    return Annotation("psa", tuple(regions))


def regions_of(annotation: Annotation, slide: int = 0) -> RegionCrops:
    return RegionCrops(slide, annotation, GRID, TileRules())


def scored(p: np.ndarray) -> pd.DataFrame:
    """Tiles with the probability `p` (rows, columns)."""
    row, column = (a.ravel() for a in np.indices(p.shape))
    x, y = GRID.tile_origin(column, row)
    return pd.DataFrame({"x": x, "y": y, "p_tumour": p.ravel()})


ASKED = {"tumour": 4, "non_tumour": 5, "hard": 1, "threshold": 0.5}


def chosen_of(sources: Sequence[Source], tiles: Sequence[pd.DataFrame], **changes: Any) -> tuple[list[Source], Any]:
    ids = [f"s{i}" for i in range(len(sources))]
    options = {**ASKED, "seed": 1, "where": "here", **changes}
    kept, facts = induce_imbalance(sources, tiles, ids, **options)
    return kept, json.loads(json.dumps(facts))


def test_a_region_scores_as_its_most_suspicious_tile() -> None:
    p = np.full(GRID.shape, 0.1)
    p[1, 1], p[4, 5], p[7, 1] = 0.7, 0.8, 0.9
    small = Region(shapely.box(110, 710, 130, 750), "non_tumour", "non_tumour")
    beside = Region(shapely.box(1500, 500, 1700, 700), "non_tumour", "non_tumour")
    over = Region(shapely.box(300, 300, 500, 540), "non_tumour", "non_tumour")
    p[5, 3], p[5:7, 15:17] = 0.95, np.nan
    squares = annotated(("non_tumour", (0, 0)), ("tumour", (10, 2)))
    source = regions_of(Annotation("psa", (*squares.regions, over, small, beside)))
    by_corner = dict(zip(map(tuple, source.corners.tolist()), source.scores(scored(p)), strict=True))
    # Its neighbours, which only touch it, do not speak for a region of which nothing could be read.
    assert np.isnan(by_corner.pop((1500, 500)))
    # Of the tile at column 3, row 5 two fifths lie in the third region, and that at (5, 4) only touches it; the small
    # one lies inside the tile at (1, 7).
    assert by_corner == {(0, 0): 0.7, (300, 300): 0.1, (1000, 200): 0.1, (110, 710): 0.9}


def test_a_tile_scores_as_itself_and_unread_ones_not_at_all() -> None:
    p = np.random.default_rng(0).random(GRID.shape)
    p[0, 1] = np.nan
    row, column = (a.ravel() for a in np.indices(GRID.shape))
    x, y = GRID.tile_origin(column, row)
    label = np.random.default_rng(1).choice([-1, 0, 1], len(x))
    order = np.random.default_rng(2).permutation(len(x))
    source = GridTiles(0, pd.DataFrame({"x": x, "y": y, "label": label}))
    np.testing.assert_array_equal(source.scores(scored(p).iloc[order]), p.ravel()[label >= 0])
    np.testing.assert_array_equal(source.labels, label[label >= 0])


def slide_with(clear: int, hard: Sequence[float], tumour: int) -> tuple[GridTiles, pd.DataFrame]:
    """Tiles: first the clear ones, then hard ones with their probabilities, then tumour."""
    count = clear + len(hard) + tumour
    p = np.full(GRID.columns * GRID.rows, np.nan)
    p[:count] = [*np.linspace(0.01, 0.5, clear), *hard, *np.full(tumour, 0.9)]
    x, y = GRID.tile_origin(np.arange(count) % GRID.columns, np.arange(count) // GRID.columns)
    label = [0] * (clear + len(hard)) + [1] * tumour
    return GridTiles(0, pd.DataFrame({"x": x, "y": y, "label": label})), scored(p.reshape(GRID.shape))


def test_the_papers_numbers_are_chosen_and_the_hard_ones_are_those_just_above_the_threshold() -> None:
    hard = np.random.default_rng(0).permutation(np.linspace(0.51, 0.99, 25))
    source, tiles = slide_with(60, hard, 50)
    (kept,), facts = chosen_of([source], [tiles], tumour=40, non_tumour=50, hard=10)
    assert facts["used"] == facts["asked"] == {"tumour": 40, "clear": 40, "hard": 10}
    assert facts["had"] == {"tumour": 50, "clear": 60, "hard": 25, "unscored": 0}
    assert facts["note"] is None
    scores = kept.scores(tiles)
    np.testing.assert_allclose(np.sort(scores[(kept.labels == 0) & (scores > 0.5)]), np.sort(hard)[:10])
    assert np.count_nonzero((kept.labels == 0) & (scores <= 0.5)) == 40 and kept.labels.sum() == 40
    assert Counter(a["kind"] for a in facts["areas"]) == facts["used"]
    # What the facts say can be looked up on the slide.
    places = {(a["x"], a["y"]): a["score"] for a in facts["areas"]}
    for (x, y), score in zip(kept.corners.tolist(), scores, strict=True):
        assert places[x, y] == pytest.approx(score, abs=1e-5)
    assert Counter(draw_epoch([kept], 0, 0).label.tolist()) == {1: 40, 0: 50}


def test_regions_are_chosen_over_all_slides_by_their_worst_tile() -> None:
    p = [np.full(GRID.shape, 0.1), np.full(GRID.shape, 0.2)]
    p[0][1, 5], p[1][0, 9], p[1][1, 12] = 0.9, 0.6, 0.7  # one tile each of the non-tumour regions at 4, 8, 12
    squares: list[tuple[Label, tuple[int, int]]] = [("non_tumour", (c, 0)) for c in (4, 8, 12, 16)]
    squares += [("tumour", (c, 5)) for c in (0, 4, 8)]
    sources = [regions_of(annotated(*squares), i) for i in range(2)]
    kept, facts = chosen_of(sources, list(map(scored, p)), tumour=4, non_tumour=6, hard=2)
    assert facts["had"] == {"tumour": 6, "clear": 5, "hard": 3, "unscored": 0}
    hard = [(a["slide"], a["x"], a["score"]) for a in facts["areas"] if a["kind"] == "hard"]
    assert hard == [("s1", 800, 0.6), ("s1", 1200, 0.7)]
    crops = draw_epoch(kept, 0, 0)
    assert Counter(crops.label.tolist()) == {1: 16, 0: 24}, "four tiles fit into each region"
    chosen = {(a["slide"], a["x"], a["y"]) for a in facts["areas"]}
    assert {(f"s{i}", int(x), int(y)) for i, k in enumerate(kept) for x, y in k.corners} == chosen


def test_the_same_seed_chooses_the_same_areas_and_another_others() -> None:
    source, tiles = slide_with(60, [0.6] * 5, 50)
    first, again, other = (chosen_of([source], [tiles], seed=s)[1]["areas"] for s in (1, 1, 2))
    assert first == again != other


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 20))
def test_a_cohort_with_fewer_areas_keeps_the_proportions_and_says_so(tumour: int, clear: int, hard: int) -> None:
    source, tiles = slide_with(clear, np.linspace(0.6, 0.9, hard).tolist(), tumour)
    _, facts = chosen_of([source], [tiles], tumour=40, non_tumour=50, hard=10)
    used, had = facts["used"], facts["had"]
    assert all(used[kind] <= had[kind] for kind in used)
    assert used["hard"] <= 10 and used["tumour"] <= 40 and used["clear"] + used["hard"] <= 50
    # The classes keep 40 : 50 to the rounding of single areas, and nothing more could be taken.
    factor = min(1, tumour / 40, clear / 40, (clear + hard) / 50)
    assert abs(used["tumour"] - 40 * factor) <= 1
    assert abs(used["clear"] + used["hard"] - 50 * factor) <= 1
    assert used["hard"] == min(hard, round(10 * factor))
    assert (facts["note"] is None) == (used == facts["asked"])
    if facts["note"]:
        assert "asked 40 tumour, 40 clear, 10 hard" in facts["note"] and f"there are {tumour} tumour" in facts["note"]


def test_areas_that_a_first_model_did_not_see_are_not_taken_for_clear() -> None:
    source, tiles = slide_with(8, [0.6], 4)
    tiles.loc[:2, "p_tumour"] = np.nan
    (kept,), facts = chosen_of([source], [tiles])
    assert facts["had"] == {"tumour": 4, "clear": 5, "hard": 1, "unscored": 3}
    assert np.isfinite(kept.scores(tiles)).all()


@pytest.mark.parametrize(
    ("slide", "what"),
    [
        ((0, [0.6, 0.7], 3), r"needs clear areas .*first_model`: it calls every non-tumour area tumour"),
        ((5, [0.6], 0), r"needs tumour areas .*Annotate more"),
    ],
)
def test_a_first_model_or_a_cohort_that_gives_nothing_is_refused(slide: Any, what: str) -> None:
    source, tiles = slide_with(*slide)
    with pytest.raises(TrainingDataError, match=what) as caught:
        chosen_of([source], [tiles])
    assert "\n" not in str(caught.value)


# By name


def test_a_strategy_is_found_by_its_name_and_told_its_options(tmp_path: Path) -> None:
    source, tiles = slide_with(8, [0.6, 0.8], 6)
    path = tmp_path / "tiles.parquet"
    column, row = tiles["x"] // SIDE, tiles["y"] // SIDE
    write_table(
        path, pd.DataFrame({"column": column, "row": row, "p_tumour": tiles["p_tumour"]}), {"grid": GRID.to_dict()}
    )
    pd.testing.assert_frame_equal(scored_tiles(path), tiles)
    slides: dict[str, Any] = {"slide_ids": ["s0"], "scores": [str(path)]}

    def by_name(**config: Any) -> Any:
        return sampled([source], SamplingSettings.of(config, "here"), seed=1, where="here", **slides)

    plain = by_name(strategy="as_is")
    assert (plain.sources, plain.balance, plain.facts) == ([source], None, {"strategy": "as_is"})
    assert by_name(strategy="oversample").balance is oversample
    assert by_name(strategy="undersample").balance is undersample
    induced = by_name(strategy="induced_imbalance", first_model="m0", tumour=4, non_tumour=5, hard=1)
    assert induced.facts["first_model"] == "m0" and induced.facts["used"] == {"tumour": 4, "clear": 4, "hard": 1}
    assert len(induced.sources[0].labels) == 9


def test_crops_per_area_one_goes_with_every_strategy_and_shows_the_classes_in_the_numbers_that_were_chosen() -> None:
    # Tumour areas of 16 tiles beside non-tumour areas of one: 40 : 50 of areas is 40 : 50 of crops all the same.
    large: list[tuple[Label, tuple[int, int]]] = [("tumour", (c, r)) for c in (0, 5) for r in (0, 5)]
    small: list[tuple[Label, tuple[int, int]]] = [("non_tumour", (c, r)) for c in (11, 13, 15) for r in (0, 2)]
    regions = (*annotated(*large, tiles=4).regions, *annotated(*small, tiles=1).regions)
    source = regions_of(Annotation("psa", regions))
    by_number = {"as_is": {1: 4, 0: 6}, "oversample": {1: 6, 0: 6}, "undersample": {1: 4, 0: 4}}
    for strategy, expected in by_number.items():
        block = {"strategy": strategy, "crops_per_area": "one"}
        once = sampled([source], SamplingSettings.of(block, "here"), seed=1, where="here")
        assert Counter(draw_epoch(once.sources, 0, 0, balance=once.balance).label.tolist()) == expected
        assert once.facts == block
    (kept,), _ = chosen_of([source.once_each()], [scored(np.full(GRID.shape, 0.1))], tumour=4, non_tumour=5, hard=0)
    assert Counter(draw_epoch([kept], 0, 0).label.tolist()) == {1: 4, 0: 5}


def test_an_overlays_first_model_can_be_taken_back() -> None:
    # Blocks of configuration files merge: a key can be set to null, and never be removed.
    assert SamplingSettings.of({"strategy": "as_is", "first_model": None}, "here").first_model is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"strategy": "smote"},
            r"here\.strategy: .*found: 'smote'.*one of as_is, oversample",
        ),
        ({}, r"here: a key is missing \(found: strategy not given\)"),
        ({"strategy": "oversample", "clusters": 3}, r"oversample has no such option \(found: clusters\).*none\."),
        ({"strategy": "strata", "first_model": "a"}, r"strata has no such option .*Its options: clusters\."),
        ({"strategy": "induced_imbalance"}, r"needs first_model"),
        (
            {"strategy": "induced_imbalance", "first_model": "a", "hard": 51},
            r"here\.hard: .*found: 51, with non_tumour 50",
        ),
    ],
)
def test_a_wrong_block_ends_in_one_message(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SamplingSettings.of(config, "here")
    assert "\n" not in str(caught.value)


def test_the_papers_numbers_are_the_ones_where_nothing_is_said() -> None:
    filled = SamplingSettings.of({"strategy": "induced_imbalance", "first_model": "a"}, "here")
    assert (filled.tumour, filled.non_tumour, filled.hard) == (40, 50, 10)
    assert SamplingSettings.of({"strategy": "strata"}, "here").clusters == 4
    assert list(STRATEGIES) == ["as_is", "oversample", "undersample", "strata", "induced_imbalance"]
