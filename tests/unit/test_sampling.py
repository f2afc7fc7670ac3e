"""What an epoch sees: every region, by the rules, in the same order for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry

from drunet.annotation import Annotation, Label, Region
from drunet.errors import TrainingDataError
from drunet.grid import Grid
from drunet.sampling import Crops, GridTiles, RegionCrops, check_classes, draw_epoch
from drunet.tiles import NON_TUMOUR, TUMOUR, UNLABELLED, TileRules

GRID = Grid(width=4000, height=3000, mpp=0.5, tile_mpp=1.0, size=64, step=64)
SIDE = 128.0  # of a tile, in level-0 pixels


def marked(*regions: tuple[Label, Polygon | MultiPolygon]) -> Annotation:
    return Annotation("psa", tuple(Region(area, label, label) for label, area in regions))


def box_of(crops: Crops, i: int, side: float = SIDE) -> BaseGeometry:
    return shapely.box(crops.x[i], crops.y[i], crops.x[i] + side, crops.y[i] + side)


def drawn(annotation: Annotation, seed: int = 0, grid: Grid = GRID, rules: TileRules | None = None) -> Crops:
    return RegionCrops(0, annotation, grid, rules or TileRules()).draw(np.random.default_rng(seed))


def tiles(labels: list[int], first: int = 0) -> pd.DataFrame:
    x = first + np.arange(len(labels), dtype=np.int32)
    return pd.DataFrame({"x": x, "y": x * 2, "label": np.array(labels, np.int8)})


def both_classes() -> Annotation:
    return marked(
        ("tumour", shapely.box(200, 200, 900, 800)),
        ("tumour", Point(2000, 2000).buffer(60)),
        ("non_tumour", shapely.box(2500, 300, 3500, 900)),
        ("non_tumour", Point(300, 2500).buffer(150)),
    )


# Regions


def test_every_region_gives_as_many_crops_as_tiles_fit_into_its_area_and_at_least_one() -> None:
    crops = drawn(both_classes())
    middles = [Point(x + SIDE / 2, y + SIDE / 2) for x, y in zip(crops.x, crops.y, strict=True)]
    for region in both_classes().regions:
        inside = [m for m, label in zip(middles, crops.label, strict=True) if region.geometry.buffer(1).contains(m)]
        assert len(inside) == max(1, round(region.geometry.area / SIDE**2))
        assert {int(crops.label[middles.index(m)]) for m in inside} == {region.label == "tumour"}
    assert len(crops) == 26 + 1 + 37 + 4


def test_dividing_a_region_by_hand_does_not_change_its_weight() -> None:
    whole = drawn(marked(("tumour", shapely.box(0, 0, 1280, 1280))))
    halves = drawn(marked(("tumour", shapely.box(0, 0, 640, 1280)), ("tumour", shapely.box(640, 0, 1280, 1280))))
    apart = drawn(marked(("tumour", shapely.box(0, 0, 640, 1280)), ("tumour", shapely.box(1000, 0, 1640, 1280))))
    assert len(whole) == len(halves) == len(apart) == 100


def test_taken_once_every_region_gives_one_crop_whatever_its_size_and_a_tile_is_one_anyhow() -> None:
    # Four tumour areas of 16 tiles each, five non-tumour areas as large as a tile: by area 64 to 5, by number 4 to 5.
    large = [("tumour", shapely.box(x, 0, x + 4 * SIDE, 4 * SIDE)) for x in (0, 700, 1400, 2100)]
    small = [("non_tumour", shapely.box(x, 1000, x + SIDE, 1000 + SIDE)) for x in (0, 300, 600, 900, 1200)]
    source = RegionCrops(0, marked(*large, *small), GRID, TileRules())  # type: ignore[arg-type]
    assert Counter(draw_epoch([source], 0, 0).label.tolist()) == {1: 64, 0: 5}
    once = source.once_each()
    epochs = [draw_epoch([once], 0, epoch) for epoch in range(3)]
    assert [Counter(crops.label.tolist()) for crops in epochs] == [{1: 4, 0: 5}] * 3
    # Each area has its own crop, at another place in every epoch.
    for crops in epochs:
        middles = [Point(x + SIDE / 2, y + SIDE / 2) for x, y in zip(crops.x, crops.y, strict=True)]
        assert all(sum(area.buffer(1).contains(m) for m in middles) == 1 for _, area in large)
    assert len({tuple(sorted(crops.x[crops.label == 1])) for crops in epochs}) == 3
    # What is chosen from it stays as it is taken, and the slide itself is left as it was.
    assert len(once.only([0, 4]).draw(np.random.default_rng(0))) == 2
    assert len(source.draw(np.random.default_rng(0))) == 69
    grid_tiles = GridTiles(0, tiles([TUMOUR, NON_TUMOUR, NON_TUMOUR]))
    assert len(grid_tiles.once_each().draw(np.random.default_rng(0))) == 3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_crops_keep_the_rules_wherever_the_regions_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    regions: list[tuple[Label, Polygon | MultiPolygon]] = []
    for label, count in (("tumour", 3), ("non_tumour", 4), ("ignore", 2)):
        for _ in range(count):
            x, y, r = rng.uniform(0, 1500), rng.uniform(0, 1200), rng.uniform(20, 300)
            area = Point(x, y).buffer(r).intersection(shapely.box(0, 0, 1500, 1200))
            if isinstance(area, Polygon) and area.area > 1:
                regions.append((label, area))  # type: ignore[arg-type]
    grid = Grid(width=1500, height=1200, mpp=0.5, tile_mpp=1.0, size=64, step=64)
    annotation = marked(*regions)
    crops = drawn(annotation, seed, grid)
    for i in range(len(crops)):
        box = box_of(crops, i)
        assert shapely.box(0, 0, 1500, 1200).covers(box)
        assert annotation.ignore.intersection(box).area < 1e-3
        if crops.label[i] == NON_TUMOUR:
            assert annotation.tumour.intersection(box).area < 1e-3
            assert annotation.non_tumour.intersection(box).area > 0
        else:
            assert annotation.tumour.intersection(box).area > 0


def test_crops_of_a_roomy_region_lie_at_least_half_inside_and_differ() -> None:
    annotation = both_classes()
    crops = drawn(annotation)
    for i in range(len(crops)):
        own = annotation.tumour if crops.label[i] == TUMOUR else annotation.non_tumour
        share = own.intersection(box_of(crops, i)).area / SIDE**2
        # The circle of 60 px is smaller than half a tile: it has to be nearly whole in the crop.
        assert share >= min(0.5, 0.9 * Point(0, 0).buffer(60).area / SIDE**2) - 0.01
    assert len({(x, y) for x, y in zip(crops.x, crops.y, strict=True)}) > 0.9 * len(crops)


def test_a_region_smaller_than_a_tile_is_seen_from_many_sides() -> None:
    region = Point(2000, 2000).buffer(50)
    places = set()
    for seed in range(12):
        crops = drawn(marked(("tumour", region)), seed)
        places.add((int(crops.x[0]), int(crops.y[0])))
        assert region.intersection(box_of(crops, 0)).area >= 0.9 * region.area - 1e-6
    assert len(places) > 8


def test_the_share_asked_for_is_that_of_the_rules() -> None:
    annotation = marked(("tumour", shapely.box(1000, 1000, 1300, 1300)))
    region = annotation.tumour
    least = [
        min(
            region.intersection(box_of(c, i)).area / SIDE**2
            for c in [drawn(annotation, s, rules=rules)]
            for i in range(5)
        )
        for rules in (TileRules(min_annotated=0.2), TileRules(min_annotated=0.95))
        for s in range(10)
    ]
    assert min(least[:10]) < 0.5
    assert min(least[10:]) >= 0.95 - 0.02


def test_a_thin_region_is_still_seen_in_every_epoch() -> None:
    thin = LineString([(100, 100), (1500, 1400)]).buffer(4)
    for seed in range(5):
        crops = drawn(marked(("tumour", thin)), seed)
        assert len(crops) == 1
        assert thin.intersection(box_of(crops, 0)).area > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_non_tumour_region_beside_tumour_gives_crops_without_tumour(seed: int) -> None:
    # A strip of normal tissue 70 px wide along the tumour: most crops centred in it would reach into the tumour.
    annotation = marked(
        ("tumour", shapely.box(0, 0, 1000, 3000)),
        ("non_tumour", shapely.box(1000, 0, 1070, 2000)),
    )
    crops = drawn(annotation, seed)
    chosen = np.flatnonzero(crops.label == NON_TUMOUR)
    assert len(chosen) == round(70 * 2000 / SIDE**2)
    for i in map(int, chosen):
        assert annotation.tumour.intersection(box_of(crops, i)).area == 0
        assert annotation.non_tumour.intersection(box_of(crops, i)).area > 0


def test_a_region_in_which_every_crop_would_bear_the_wrong_label_is_left_out() -> None:
    hole = shapely.box(1000, 1000, 1060, 1060)
    tumour = shapely.box(500, 500, 1500, 1500).difference(hole)
    free = ("non_tumour", shapely.box(2500, 300, 3500, 900))
    enclosed = drawn(marked(("tumour", tumour), ("non_tumour", hole), free))  # type: ignore[arg-type]
    without = drawn(marked(("tumour", tumour), free))  # type: ignore[arg-type]
    assert Counter(enclosed.label.tolist()) == Counter(without.label.tolist())


def test_crops_at_the_border_are_moved_onto_the_slide_and_checked_there() -> None:
    # Centred crops of the strip at the right border would hold no tumour; moved onto the slide they would.
    grid = Grid(width=1000, height=1000, mpp=0.3, tile_mpp=1.0, size=64, step=64)
    side = grid.size * grid.downsample
    annotation = marked(
        ("non_tumour", shapely.box(900, 0, 1000, 1000)),
        ("tumour", shapely.box(760, 0, 820, 500)),
    )
    for seed in range(5):
        crops = drawn(annotation, seed, grid)
        for i in range(len(crops)):
            assert crops.x[i] + side <= 1000
            assert crops.y[i] + side <= 1000
            if crops.label[i] == NON_TUMOUR:
                assert annotation.tumour.intersection(box_of(crops, i, side)).area < 1e-3


def test_a_slide_smaller_than_a_tile_gives_the_crop_at_its_corner() -> None:
    grid = Grid(width=90, height=70, mpp=0.5, tile_mpp=1.0, size=64, step=64)
    crops = drawn(marked(("tumour", shapely.box(0, 0, 90, 70))), grid=grid)
    assert (crops.x.tolist(), crops.y.tolist()) == ([0], [0])


def test_the_number_of_crops_is_the_same_in_every_epoch() -> None:
    annotation = marked(
        ("tumour", shapely.box(0, 0, 1000, 3000)),
        ("non_tumour", shapely.box(1000, 0, 1070, 2000)),
        ("ignore", shapely.box(1100, 500, 1200, 600)),
    )
    source = RegionCrops(0, annotation, GRID, TileRules())
    labels = {tuple(np.sort(source.draw(np.random.default_rng(s)).label)) for s in range(10)}
    assert len(labels) == 1


def test_an_annotation_without_regions_gives_no_crops() -> None:
    crops = drawn(Annotation("psa", ()))
    assert [len(v) for v in (crops.slide, crops.x, crops.y, crops.label)] == [0] * 4


# Tiles of the grid


def test_labelled_tiles_are_seen_once_and_unlabelled_ones_never() -> None:
    source = GridTiles(3, tiles([TUMOUR, UNLABELLED, NON_TUMOUR, TUMOUR]))
    crops = source.draw(np.random.default_rng(0))
    assert crops.x.tolist() == [0, 2, 3]
    assert crops.y.tolist() == [0, 4, 6]
    assert crops.label.tolist() == [1, 0, 1]
    assert crops.slide.tolist() == [3, 3, 3]


# Epochs


def sources() -> list[GridTiles | RegionCrops]:
    return [
        GridTiles(0, tiles([1, 0, -1, 0, 1] * 4)),
        RegionCrops(1, both_classes(), GRID, TileRules()),
        GridTiles(2, tiles([0] * 7, first=100)),
    ]


def as_set(crops: Crops) -> Counter[tuple[int, ...]]:
    return Counter(zip(*(v.tolist() for v in (crops.slide, crops.x, crops.y, crops.label)), strict=True))


def test_an_epoch_holds_every_crop_of_every_slide_once_in_random_order() -> None:
    crops = draw_epoch(sources(), seed=5, epoch=0)
    assert Counter(crops.slide.tolist()) == {0: 16, 1: 68, 2: 7}
    of_grid = {t for t in as_set(crops) if t[0] == 2}
    assert of_grid == {(2, 100 + i, 200 + 2 * i, 0) for i in range(7)}
    # Slides and classes are mixed, not one after the other.
    assert np.count_nonzero(np.diff(crops.slide)) > 20
    assert np.count_nonzero(np.diff(crops.label)) > 20


def test_the_same_seed_and_epoch_give_the_same_crops_and_others_give_others() -> None:
    first = draw_epoch(sources(), seed=5, epoch=2)
    again = draw_epoch(sources(), seed=5, epoch=2)
    for name in ("slide", "x", "y", "label"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    for seed, epoch in ((5, 3), (6, 2), (2, 5)):
        other = draw_epoch(sources(), seed=seed, epoch=epoch)
        assert len(other) == len(first)
        assert as_set(other) != as_set(first)
        assert not np.array_equal(other.slide, first.slide)


def test_drawing_leaves_the_global_state_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    draw_epoch(sources(), seed=5, epoch=0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("samples", [1, 20, 90, 91, 92, 250])
def test_an_epoch_has_the_length_asked_for(samples: int) -> None:
    crops = draw_epoch(sources(), seed=5, epoch=0, samples=samples)
    assert len(crops) == samples
    tiles_seen = Counter(t for t in as_set(crops).elements() if t[0] != 1)
    if samples <= 91:
        assert max(tiles_seen.values(), default=0) <= 1
    else:
        # A further round begins only when all have been seen.
        assert len(tiles_seen) == 23
        assert max(tiles_seen.values()) <= -(-samples // 91)


def test_a_shorter_epoch_is_another_selection_each_time() -> None:
    seen: set[tuple[int, ...]] = set()
    for epoch in range(12):
        seen |= set(as_set(draw_epoch(sources()[::2], seed=1, epoch=epoch, samples=8)))
    assert len(seen) == 23


# Nothing to learn from


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([1, 1], "one class only"),
        ([0, -1], "one class only"),
        ([-1, -1], "no labelled tiles"),
        ([], "no labelled tiles"),
    ],
)
def test_a_class_that_is_missing_is_refused_with_the_numbers(labels: list[int], what: str) -> None:
    with pytest.raises(TrainingDataError, match=what) as caught:
        draw_epoch([GridTiles(0, tiles(labels))], seed=0, epoch=0)
    counts = (labels.count(1), labels.count(0))
    assert caught.value.found == f"{counts[0]} tumour and {counts[1]} non-tumour tiles"
    assert "\n" not in str(caught.value)


def test_no_slides_at_all_are_refused_in_the_same_way() -> None:
    with pytest.raises(TrainingDataError, match="no labelled tiles"):
        draw_epoch([], seed=0, epoch=0)


def test_regions_of_one_class_are_refused() -> None:
    only = RegionCrops(0, marked(("tumour", shapely.box(0, 0, 500, 500))), GRID, TileRules())
    with pytest.raises(TrainingDataError, match="one class only"):
        draw_epoch([only], seed=0, epoch=0)
    check_classes(np.array([1, 0]))


def test_a_model_may_be_validated_on_one_class_alone() -> None:
    table = pd.DataFrame({"x": [0, 64], "y": [0, 0], "label": [0, 0]})
    with pytest.raises(TrainingDataError):
        draw_epoch([GridTiles(0, table)], seed=1, epoch=0)
    assert len(draw_epoch([GridTiles(0, table)], seed=1, epoch=0, both_classes=False)) == 2
