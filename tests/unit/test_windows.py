"""Windows of slides for a refiner at a physical scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from drunet.augment.pipeline import Augmentation
from drunet.training.windows import Field, WindowBatches

SIDE = 32


def field(height: int, width: int, number: int) -> Field:
    """Every pixel tells in its colour where it lies; the left half was looked at, and holds what is tumour."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([y % 256, x % 256, np.full_like(x, number)], axis=-1).astype(np.uint8)
    looked = x < width // 2
    return Field(image, (x / width).astype(np.float32), looked & (y > height // 2), looked)


def windows(*fields: Field, **more: Any) -> WindowBatches:
    return WindowBatches(fields, SIDE, **{"batch_size": 4, "seed": 3, **more})


def corners(batches: WindowBatches) -> list[tuple[int, int, int]]:
    """Slide and corner of every window of an epoch, read from the pixels."""
    found = []
    for index in range(len(batches)):
        image = np.round(batches[index][0]["input_image"] * 255).astype(int)
        found += [(int(i[0, 0, 2]), int(i[0, 0, 0]), int(i[0, 0, 1])) for i in image]
    return found


def test_windows_lie_around_what_was_looked_at_and_twice_cover_it() -> None:
    batches = windows(field(100, 120, 0), field(200, 60, 1))
    first = corners(batches)
    area = {0: 100 * 60, 1: 200 * 30}
    assert [sum(w[0] == i for w in first) for i in (0, 1)] == [round(2 * area[i] / SIDE**2) for i in (0, 1)]
    for slide, y, x in first:
        height, width = ((100, 120), (200, 60))[slide]
        assert 0 <= y <= height - SIDE and 0 <= x <= width - SIDE
        assert x + SIDE // 2 <= width // 2, "its middle was looked at"


def test_windows_are_drawn_anew_each_epoch_and_the_same_for_the_same_seed() -> None:
    one, other, third = (windows(field(100, 120, 0), seed=seed) for seed in (3, 3, 4))
    first = corners(one)
    assert first == corners(other) != corners(third)
    one.epoch = 1
    assert corners(one) != first
    one.epoch = 0
    assert corners(one) == first


def test_fixed_windows_cover_all_that_was_looked_at_once_and_the_same_in_every_epoch() -> None:
    batches = windows(field(100, 120, 0), fixed=True)
    first = corners(batches)
    covered = np.zeros((100, 120), int)
    for _, y, x in first:
        covered[y : y + SIDE, x : x + SIDE] += 1
    assert (covered[:, :60] > 0).all()
    batches.epoch = 5
    assert corners(batches) == first and len(first) == len(set(first)) == len(batches.chosen(0)) * len(batches)


def test_a_slide_smaller_than_a_window_goes_on_as_glass() -> None:
    image, heat, truth, looked = np.zeros((20, 10, 3), np.uint8), *(np.ones((20, 10)) for _ in range(3))
    small = Field(image, heat.astype(np.float32), truth.astype(bool), looked.astype(bool))
    inputs, target = windows(small, fixed=True)[0]
    assert inputs["input_image"].shape == (1, SIDE, SIDE, 3)
    assert (inputs["input_image"][0, :20, :10] == 0).all()
    assert inputs["input_image"][0].sum() == 3 * (SIDE**2 - 200), "the rest is white"
    assert inputs["input_pred"].sum() == 200 and target[..., 1].sum() == 200


def test_image_heat_and_truth_stay_together_under_augmentation() -> None:
    changing = Augmentation(flip=True, quarter_turns=True, zoom=(0.8, 1.25), shear=5.0)
    batches = windows(field(100, 120, 0), augmentation=changing, steps=8)
    for index in range(8):
        inputs, target = batches[index]
        x = inputs["input_image"][..., 1] * 255
        # The heat is the position along the slide, which the image tells, too.
        np.testing.assert_allclose(inputs["input_pred"][..., 0], x / 120, atol=0.01)
        sure = (x < 58) & (inputs["input_image"][..., 0] * 255 > 53)
        assert target[..., 1][sure].mean() > 0.99
        assert (target.sum(-1) == 1).all()


def test_a_slide_of_which_nothing_was_looked_at_gives_no_window() -> None:
    blank = np.zeros((50, 50), np.float32)
    empty = Field(np.zeros((50, 50, 3), np.uint8), blank, blank > 0, blank > 0)
    assert windows(empty, field(64, 64, 1)).count == windows(field(64, 64, 1)).count
    assert windows(empty, fixed=True).count == 0
