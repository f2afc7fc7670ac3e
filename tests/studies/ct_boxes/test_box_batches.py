from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from drunet.errors import ConfigError
from studies.common.images.batches import probabilities
from studies.ct_boxes.training import BoxBatches, MeanBoxIou, read_slice
from studies.ct_boxes.view import BoxView

COUNT, SIZE = 7, 32
FILES = [f"{k:05d}.png" for k in range(COUNT)]
BOXES = np.random.default_rng(3).uniform(2, 14, (COUNT, 4)) + [0, 0, 14, 14]


def drawn(file: str) -> np.ndarray:
    """A slice that is bright in its box, the more the later its number."""
    k = int(file[:5])
    image = np.zeros((SIZE, SIZE), np.uint8)
    x0, y0, x1, y1 = np.rint(BOXES[k]).astype(int)
    image[y0:y1, x0:x1] = 100 + 10 * k
    return image


def batches(**options: Any) -> Any:
    return BoxBatches(FILES, BOXES, **{"originals": drawn, "batch_size": 3, "seed": 5, **options})


def numbers(x: np.ndarray) -> list[int]:
    return [round((float(image.max()) * 255 - 100) / 10) for image in x]


def test_a_slice_comes_with_its_own_box() -> None:
    data = batches(unit=SIZE)
    seen: list[int] = []
    for index in range(len(data)):
        x, y = data[index]
        assert x.shape == (3, SIZE, SIZE, 1) and x.dtype == y.dtype == np.float32 and x.max() <= 1
        np.testing.assert_array_equal(x, data.inputs(index))
        np.testing.assert_allclose(y, BOXES[numbers(x)] / SIZE, rtol=1e-6)
        seen += numbers(x)
    assert len(data) == 3 and sorted(seen[:COUNT]) == list(range(COUNT)) and seen[COUNT:] == seen[:2]
    np.testing.assert_allclose(batches()[0][1], data[0][1] * SIZE, rtol=1e-6)


def test_batches_of_boxes_depend_on_seed_epoch_and_index_alone() -> None:
    view = BoxView(flip=True, shift=0.2, zoom=0.2)
    one, two = batches(view=view), batches(view=view, workers=3)
    one.epoch = two.epoch = 4
    _ = two[1]
    for a, b in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(a, b)
    two.epoch = 5
    assert (one[0][0] != two[0][0]).any()


def test_judging_shows_every_slice_once_as_it_is() -> None:
    data = batches(fixed=True, view=BoxView(flip=True, shift=0.2, zoom=0.2))
    images, boxes, weights = (np.concatenate(part) for part in zip(*(data[i] for i in range(len(data))), strict=True))
    assert numbers(images[:COUNT]) == list(range(COUNT))
    np.testing.assert_allclose(boxes[:COUNT], BOXES, rtol=1e-6)
    assert (boxes[COUNT:] == 0).all() and (weights[COUNT:] == 0).all() and len(images) == 9
    # Keras divides by the size of a batch, and takes the mean over batches weighted by size.
    assert weights.sum() / len(weights) == pytest.approx(1)


@pytest.mark.slow
def test_loss_and_overlap_of_padded_batches_are_means_over_slices() -> None:
    picture = keras.Input((SIZE, SIZE, 1))
    answer = keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.4))
    model = keras.Model(picture, answer(keras.layers.Flatten()(picture)))
    box = np.array([4, 5, 25, 27.0])
    model.layers[-1].bias.assign(box)
    model.compile(loss=keras.losses.MeanSquaredError(), metrics=[MeanBoxIou()])
    data = batches(fixed=True)
    loss, iou = model.evaluate(data, verbose=0)
    assert loss == pytest.approx(((BOXES - box) ** 2).mean(), rel=1e-5)
    common = np.minimum(BOXES[:, 2:], box[2:]) - np.maximum(BOXES[:, :2], box[:2])
    common = np.clip(common, 0, None).prod(axis=1)
    union = (BOXES[:, 2:] - BOXES[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - common
    assert iou == pytest.approx((common / union).mean(), rel=1e-5)
    assert probabilities(model, data).shape == (COUNT, 4)


def bounds(image: np.ndarray) -> np.ndarray:
    """Edges of what is bright, to a fraction of a pixel: from the sum and the middle of each profile."""
    found = []
    for axis in (0, 1):
        profile = image.astype(float).max(axis=axis) / 200
        width, middle = profile.sum(), np.average(np.arange(len(profile)) + 0.5, weights=profile)
        found.append((middle - width / 2, middle + width / 2))
    return np.array(found).T.ravel()


@pytest.mark.parametrize("seed", range(12))
def test_the_box_moves_with_the_picture(seed: int) -> None:
    image = np.zeros((60, 80), np.uint8)
    image[18:40, 22:50] = 200
    before, box = image.copy(), np.array([22, 18, 50, 40.0])
    seen, moved = BoxView(flip=True, shift=0.1, zoom=0.5).training(np.random.default_rng(seed), image, box)
    assert seen.shape == image.shape and seen.dtype == np.uint8
    np.testing.assert_allclose(bounds(seen), moved, atol=0.16)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(box, [22, 18, 50, 40])
    factor = (moved[2] - moved[0]) / 28
    assert 0.5 <= factor <= 1.5 and (moved[3] - moved[1]) / 22 == pytest.approx(factor)


def test_every_kind_of_change_is_drawn_and_none_is_where_none_is_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    box = np.array([5, 10, 15, 30.0])
    mirrored = set()
    for seed in range(8):
        seen, moved = BoxView(flip=True, shift=0, zoom=0).training(np.random.default_rng(seed), image, box)
        mirrored.add(moved[0] == 25)
        np.testing.assert_array_equal(seen, image[:, ::-1] if moved[0] == 25 else image)
    assert mirrored == {True, False}
    seen, moved = BoxView(flip=False, shift=0, zoom=0).training(np.random.default_rng(0), image, box)
    np.testing.assert_array_equal(seen, image)
    np.testing.assert_array_equal(moved, box)
    _, moved = BoxView(flip=False, shift=0.3, zoom=0).training(np.random.default_rng(1), image, box)
    np.testing.assert_allclose(moved[2:] - moved[:2], [10, 20])
    assert np.abs(moved - box).max() > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_box_at_the_edge_is_not_moved_out(seed: int) -> None:
    image = np.zeros((50, 50), np.uint8)
    box = np.array([0, 38, 12, 50.0])
    _, moved = BoxView(flip=True, shift=0.5, zoom=0.2).training(np.random.default_rng(seed), image, box)
    assert moved.min() >= 0 and moved.max() <= 50
    sides = moved[2:] - moved[:2]
    assert sides[0] == pytest.approx(sides[1]) and sides[0] >= 12 * 0.8 - 1e-9


def test_an_augmentation_is_read_from_the_settings() -> None:
    assert BoxView.of({"flip": True, "shift": 0.1, "zoom": 0}, "augment") == BoxView(flip=True, shift=0.1, zoom=0)
    for wrong, words in (
        ({"flip": True}, "augment: a key is missing"),
        ({"flip": "both", "shift": 0, "zoom": 0}, "augment.flip"),
        ({"flip": False, "shift": 0.6, "zoom": 0}, "augment.shift: the value does not fit"),
        ({"flip": False, "shift": 0, "zoom": -0.1}, "augment.zoom: the value does not fit"),
    ):
        with pytest.raises(ConfigError, match=words):
            BoxView.of(wrong, "augment")


def test_slices_are_reduced_by_area(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (64, 96), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "1.png")
    found = read_slice(tmp_path / "1.png", 32)
    assert found.shape == (32, 32) and found.dtype == np.uint8
    np.testing.assert_allclose(found, grey.reshape(32, 2, 32, 3).mean(axis=(1, 3)), atol=0.51)
