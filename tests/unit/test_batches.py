from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import shapely

from drunet import direct
from drunet.annotation import Annotation, Region
from drunet.augment.pipeline import Augmentation, MultiLens
from drunet.grid import Grid
from drunet.sampling import GridTiles, RegionCrops
from drunet.sampling.balance import oversample
from drunet.settings.training import TrainingSettings
from drunet.slide import Slide
from drunet.tiles import TileRules
from drunet.training.batches import TileBatches
from drunet.training.loop import Trainer
from drunet.training.readers import SlideSource, TileReader
from drunet.training.windows import Field, SlideBatches
from drunet_demo.pyramid import write_pyramid

SIZE, MPP = 16, 1.0
GRID = Grid(width=256, height=192, mpp=0.5, tile_mpp=MPP, size=SIZE, step=SIZE)
AUGMENTATION = Augmentation(flip=True, quarter_turns=True, hue=0.05, multi_lens=MultiLens(2, (3, 6), (-0.4, 0.4)))


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[SlideSource]:
    folder = tmp_path_factory.mktemp("slides")
    sources = []
    for number in range(2):
        colours = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        write_pyramid(folder / f"s{number}.tif", np.kron(colours, np.ones((16, 16, 1), np.uint8)), 0.5)
        sources.append(SlideSource(str(folder / f"s{number}.tif"), f"s{number}"))
    return sources


def table(seed: int) -> pd.DataFrame:
    row, column = (a.ravel() for a in np.indices(GRID.shape))
    x, y = GRID.tile_origin(column, row)
    label = np.random.default_rng(seed).choice([-1, 0, 1], len(row)).astype(np.int8)
    return pd.DataFrame({"column": column, "row": row, "x": x, "y": y, "label": label})


def grid_tiles() -> list[GridTiles]:
    return [GridTiles(0, table(10)), GridTiles(1, table(11))]


def region_crops() -> list[RegionCrops]:
    tumour, other = shapely.box(20, 20, 120, 170), shapely.box(140, 10, 250, 180)
    annotation = Annotation("psa", (Region(tumour, "Tumor", "tumour"), Region(other, "Normal", "non_tumour")))
    return [RegionCrops(0, annotation, GRID, TileRules()), RegionCrops(1, annotation, GRID, TileRules())]


def tiles(slides: list[SlideSource], sources: Any = None, **options: Any) -> TileBatches:
    reader = TileReader(slides, size=SIZE, mpp=MPP, augmentation=options.pop("augmentation", AUGMENTATION))
    return TileBatches(reader, sources or grid_tiles(), **{"batch_size": 7, "seed": 5, **options})


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("sources", [grid_tiles, region_crops])
def test_a_batch_depends_on_seed_epoch_and_index_alone(slides: list[SlideSource], sources: Any) -> None:
    forwards, backwards, other = tiles(slides, sources()), tiles(slides, sources()), tiles(slides, sources(), seed=6)
    first = forwards[2]
    forwards.epoch = backwards.epoch = other.epoch = 3
    run = [forwards[i] for i in range(len(forwards))]
    again = [backwards[i] for i in reversed(range(len(backwards)))][::-1]
    assert all(same(a, b) for a, b in zip(run, again, strict=True))
    assert not same(run[2], first), "another epoch, another batch"
    assert not same(run[2], other[2]), "another seed, another batch"
    forwards.epoch = 0
    assert same(forwards[2], first), "an epoch can be gone back to"


@pytest.mark.parametrize("sources", [grid_tiles, region_crops])
def test_validation_is_the_same_in_every_epoch_and_not_augmented(slides: list[SlideSource], sources: Any) -> None:
    batches = tiles(slides, sources(), fixed=True)
    first = [batches[i] for i in range(len(batches))]
    batches.epoch = 4
    assert all(same(a, batches[i]) for i, a in enumerate(first))
    plain = tiles(slides, sources(), fixed=True, augmentation=None)
    assert all(same(a, plain[i]) for i, a in enumerate(first))


def test_an_epoch_shows_every_labelled_tile_once_with_its_pixels_and_its_label(slides: list[SlideSource]) -> None:
    batches = tiles(slides, augmentation=None)
    batches.epoch = 2
    read = [batches[i] for i in range(len(batches))]
    images, labels = (np.concatenate(part) for part in zip(*read, strict=True))
    assert images.dtype == labels.dtype == np.float32
    assert [len(image) for image, _ in read[:-1]] == [7] * (len(read) - 1)
    expected = {}
    for number, source in enumerate(slides):
        labelled = table(10 + number).query("label >= 0")
        with Slide(source.path, source.slide_id) as slide:
            for x, y, label in labelled[["x", "y", "label"]].to_numpy():
                expected[number, x, y] = slide.read(x, y, (SIZE, SIZE), MPP), label
    crops = batches.crops
    keys = list(zip(crops.slide.tolist(), crops.x.tolist(), crops.y.tolist(), strict=True))
    assert sorted(keys) == sorted(expected)
    for key, image, label in zip(keys, images, labels, strict=True):
        pixels, truth = expected[key]
        np.testing.assert_array_equal(image, pixels.astype(np.float32) / 255)
        assert label.tolist() == [1 - truth, truth]


def test_augmentation_changes_pixels_and_no_label(slides: list[SlideSource]) -> None:
    changed, plain = tiles(slides)[0], tiles(slides, augmentation=None)[0]
    np.testing.assert_array_equal(changed[1], plain[1])
    assert np.mean([np.array_equal(a, b) for a, b in zip(changed[0], plain[0], strict=True)]) < 0.5
    assert changed[0].min() >= 0 and changed[0].max() <= 1


@pytest.mark.parametrize("samples", [10, 500])
def test_an_epoch_can_be_shorter_or_longer_than_the_tiles(slides: list[SlideSource], samples: int) -> None:
    batches = tiles(slides, samples=samples)
    assert len(batches) == -(-samples // 7)
    assert sum(len(batches[i][1]) for i in range(len(batches))) == samples


def test_slides_can_be_read_again_after_closing(slides: list[SlideSource]) -> None:
    batches = tiles(slides)
    before = batches[0]
    batches.reader.close()
    assert same(before, batches[0])
    batches.reader.close()


def test_a_balance_shapes_what_is_learnt_from_and_not_what_is_validated_on(slides: list[SlideSource]) -> None:
    source = [GridTiles(0, table(10).query("label == 1 or index % 4 == 0"))]
    plain = tiles(slides, source)
    balanced = tiles(slides, source, balance=oversample)
    for balanced.epoch in (0, 3):
        labels = np.concatenate([balanced[i][1] for i in range(len(balanced))])
        assert labels.sum(axis=0).tolist() == [np.bincount(plain.crops.label).max()] * 2
    assert len(balanced) == -(-len(balanced.crops) // 7)
    check = tiles(slides, source, fixed=True, balance=oversample)
    assert sorted(check.crops.y) == sorted(plain.crops.y)


def trained_by(workers: int, slides: list[SlideSource], folder: Path) -> list[np.ndarray]:
    """Weights and scores after an epoch, and a validation, with so many workers."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(image))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(pooled))
    plan = {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 7, "epochs": 2, "steps_per_epoch": None}
    plan |= {"patience": 5, "precision": "float32", "reestimate_batches": 3}
    trainer = Trainer(model, loss="categorical_crossentropy", metrics=[], plan=TrainingSettings.of(plan, "here"))
    learnt, checked = tiles(slides, region_crops(), workers=workers), tiles(slides, fixed=True, workers=workers)
    history = trainer.train(batches=learnt, validation=checked, folder=folder, identity="", name="m1")
    assert history["waited"].between(0, 1).all()
    return [*model.get_weights(), history[["loss", "val_loss"]].to_numpy()]


@pytest.mark.slow
def test_a_training_ends_with_the_same_weights_whatever_the_number_of_workers(
    slides: list[SlideSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few that threads take decoded tiles from each other.
    monkeypatch.setattr(direct, "KEPT_BYTES", 200_000)
    one, *others = (trained_by(workers, slides, tmp_path / str(workers)) for workers in (1, 2, 4))
    assert all(same(one, other) for other in others)


# ---- whole slides for the refiner


def stack(count: int = 5, side: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures whose red is the heatmap, and heatmaps whose upper half is the truth."""
    rng = np.random.default_rng(0)
    red = rng.integers(0, 256, (count, side, side), np.uint8)
    images = np.stack([red, rng.integers(0, 256, red.shape, np.uint8), np.zeros_like(red)], -1)
    return images, red.astype(np.float32) / 255, red >= 128


def fields() -> list[Field]:
    return [Field(*parts, np.ones_like(parts[2])) for parts in zip(*stack(), strict=True)]


def slide_batches(**options: Any) -> SlideBatches:
    return SlideBatches(fields(), **{"batch_size": 2, "seed": 3, "augmentation": AUGMENTATION, **options})


def test_picture_heatmap_and_truth_are_moved_alike() -> None:
    # Without hue: colour changes the picture alone.
    lens = MultiLens(3, (5, 12), (-0.4, 0.4))
    batches = slide_batches(augmentation=Augmentation(flip=True, quarter_turns=True, multi_lens=lens))
    moved = 0
    for index in range(len(batches)):
        inputs, truth = batches[index]
        image, heat = inputs["input_image"], inputs["input_pred"]
        assert image.shape[1:] == (24, 24, 3) and heat.shape[1:] == (24, 24, 1) and truth.shape[1:] == (24, 24, 2)
        assert image.dtype == heat.dtype == truth.dtype == np.float32
        np.testing.assert_array_equal(image[..., 0], heat[..., 0])
        np.testing.assert_array_equal(truth[..., 1], heat[..., 0] >= 128 / 255)
        np.testing.assert_array_equal(truth.sum(-1), 1)
        moved += sum(not (h[..., 0] == original).all() for h in heat for original in stack()[1])
    assert moved == 5 * 5


def originals(batches: SlideBatches) -> list[int]:
    """Which slides an epoch shows, recognised by their heatmaps."""
    heats = [h[..., 0] for i in range(len(batches)) for h in batches[i][0]["input_pred"]]
    return [int(np.flatnonzero([np.array_equal(h, o) for o in stack()[1]])[0]) for h in heats]


def test_an_epoch_shows_every_slide_once_in_an_order_of_its_own() -> None:
    batches, orders = slide_batches(augmentation=None), []
    for batches.epoch in range(4):
        orders.append(originals(batches))
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len(set(map(tuple, orders))) > 1
    batches.epoch = 1
    assert originals(batches) == orders[1]


def test_steps_set_the_length_of_an_epoch_and_spread_the_slides_evenly() -> None:
    batches = slide_batches(augmentation=None, steps=10)
    assert len(batches) == 10
    assert np.bincount(originals(batches)).tolist() == [4] * 5
    assert len(originals(slide_batches(augmentation=None, steps=2))) == 4


def test_a_refiners_batches_depend_on_seed_epoch_and_index_alone() -> None:
    one, other = slide_batches(), slide_batches()
    one.epoch = other.epoch = 2
    late = other[2]
    for index in range(3):
        np.testing.assert_array_equal(one[index][0]["input_image"], other[index][0]["input_image"])
    np.testing.assert_array_equal(one[2][1], late[1])
    one.epoch = 3
    assert not np.array_equal(one[0][0]["input_image"], other[0][0]["input_image"])


def test_the_same_slide_is_changed_otherwise_in_every_batch_and_epoch() -> None:
    batches, seen = SlideBatches(fields()[:1], batch_size=1, seed=3, steps=2, augmentation=AUGMENTATION), []
    for batches.epoch in range(3):
        seen += [batches[index][0]["input_image"].tobytes() for index in range(2)]
    assert len(set(seen)) == 6


def test_a_refiners_validation_keeps_order_and_pixels() -> None:
    batches = slide_batches(fixed=True, batch_size=1)
    for batches.epoch in (0, 5):
        assert originals(batches) == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal(batches[3][0]["input_image"][0], stack()[0][3].astype(np.float32) / 255)
