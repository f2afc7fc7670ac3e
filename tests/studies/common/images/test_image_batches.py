from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from drunet.settings.training import TrainingSettings
from drunet.training.distillation import DistillationLoss, LabelledAccuracy
from drunet.training.loop import Trainer
from studies.common.images.batches import ImageBatches, Originals, probabilities
from studies.common.images.view import View

VIEW = View(size=8, short_side=8, rotation=0.0, flip="none")
STILL = View(size=8, short_side=8, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip="none", rotation=0.0)
COUNT = 11
FILES = [f"{i}.png" for i in range(COUNT)]
LABELS = np.arange(COUNT) % 3


def original(file: str) -> np.ndarray:
    """An image whose first value tells which one it is, and whose pixels differ."""
    number = int(file.removesuffix(".png"))
    image = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image[0, 0, 0] = number
    return image


def batches(view: View = VIEW, **options: Any) -> Any:
    given = {"classes": 3, "originals": original, "view": view, "batch_size": 4, "seed": 7, **options}
    return ImageBatches(FILES, LABELS, **given)


def batches_in(epoch: int, fixed: bool) -> Any:
    data = batches(fixed=fixed)
    data.epoch = epoch
    return data


def numbers(x: np.ndarray) -> list[int]:
    return np.rint(x[:, 0, 0, 0] * 255).astype(int).tolist()


def test_an_epoch_shows_every_image_and_fills_its_last_batch_from_the_start() -> None:
    data = batches(view=STILL)
    seen = [numbers(data[i][0]) for i in range(len(data))]
    assert [len(batch) for batch in seen] == [4, 4, 4]
    order = [number for batch in seen for number in batch]
    assert sorted(order[:COUNT]) == list(range(COUNT)) and order[COUNT:] == order[:1]
    x, y = data[1]
    assert x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    np.testing.assert_array_equal(y, np.eye(3)[LABELS[seen[1]]])


def test_a_batch_depends_on_seed_epoch_and_index_alone() -> None:
    one, two = batches(), batches(workers=3)
    one.epoch = two.epoch = 2
    _ = two[0], two[2]
    np.testing.assert_array_equal(one[1][0], two[1][0])
    for other in (batches(seed=8), batches()):
        other.epoch = 2 if other.seed == 8 else 3
        assert (other[1][0] != one[1][0]).any()


def test_an_image_shown_twice_in_an_epoch_is_seen_two_ways() -> None:
    data = batches(steps=6)
    order = np.random.default_rng([7, 0]).permutation(COUNT)
    first, again = data[0][0][0], data[2][0][3]
    assert order[0] == order[(2 * 4 + 3) % COUNT] and (first != again).any()
    assert len(data) == 6 and len(data[5][0]) == 4


def test_the_teacher_answers_for_the_very_pixels_that_are_yielded() -> None:
    asked = []

    def teacher(x: np.ndarray) -> np.ndarray:
        asked.append(x.copy())
        means = x.mean(axis=(1, 2))
        return np.asarray(means / means.sum(axis=1, keepdims=True), dtype=np.float32)

    x, y = batches(teacher=teacher)[1]
    np.testing.assert_array_equal(asked[0], x)
    assert y.shape == (4, 6)
    np.testing.assert_array_equal(y[:, 3:], teacher(x))
    np.testing.assert_array_equal(y[:, :3], batches()[1][1])


def test_the_images_of_a_batch_alone_cost_no_answers() -> None:
    def teacher(x: np.ndarray) -> np.ndarray:
        raise AssertionError("asked")

    for fixed in (False, True):
        quiet = batches(fixed=fixed, teacher=teacher)
        quiet.epoch = 3
        for index in range(3):
            np.testing.assert_array_equal(quiet.inputs(index), batches_in(3, fixed)[index][0])


@pytest.mark.slow
def test_batch_norm_statistics_are_taken_without_the_teacher(tmp_path: Path) -> None:
    def asked(reestimated: int) -> int:
        count = 0

        def teacher(x: np.ndarray) -> np.ndarray:
            nonlocal count
            count += 1
            return np.full((len(x), 3), 1 / 3, dtype=np.float32)

        x = image = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization()(keras.layers.Flatten()(x))
        model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
        plan = TrainingSettings(
            optimiser="adam",
            learning_rate=0.01,
            batch_size=4,
            epochs=2,
            steps_per_epoch=None,
            patience=9,
            precision="float32",
            reestimate_batches=reestimated,
        )
        trainer = Trainer(model, loss=DistillationLoss(3.0, 0.6), metrics=[LabelledAccuracy()], plan=plan)
        trainer.train(
            batches=batches(teacher=teacher),
            validation=batches(fixed=True, distilled=True),
            folder=tmp_path / str(reestimated),
            identity="one",
            name="a student",
        )
        return count

    assert asked(0) == asked(3) > 0


def test_images_to_be_judged_by_come_in_order_and_padding_counts_nothing() -> None:
    data = batches(STILL, fixed=True, distilled=True)
    parts = [data[i] for i in range(len(data))]
    x, y, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    assert numbers(x)[:COUNT] == list(range(COUNT)) and [len(part[0]) for part in parts] == [4, 4, 4]
    np.testing.assert_array_equal(y[:COUNT, :3], np.eye(3)[LABELS])
    assert not y[COUNT:].any() and not y[:, 3:].any() and not weight[COUNT:].any()
    data.epoch = 5
    np.testing.assert_array_equal(data[0][0], parts[0][0])


@pytest.mark.parametrize("loss", ["categorical_crossentropy", DistillationLoss(3.0, 0.6)])
def test_the_validation_loss_is_the_mean_cross_entropy_over_the_images(loss: Any) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(loss=loss, metrics=[LabelledAccuracy()])
    data = batches(fixed=True, distilled=not isinstance(loss, str))
    evaluated = model.evaluate(data, verbose=0, return_dict=True)
    images = np.stack([original(file) for file in FILES]).astype(np.float32) / 255
    p = model.predict(images, verbose=0).astype(float)
    assert evaluated["loss"] == pytest.approx(-np.log(p[np.arange(COUNT), LABELS]).mean(), rel=1e-5)
    assert evaluated["accuracy"] == pytest.approx((p.argmax(axis=1) == LABELS).mean())
    np.testing.assert_allclose(probabilities(model, data), p, atol=1e-6)


def test_one_shape_is_all_that_a_network_ever_sees() -> None:
    shapes = set()

    class Watching(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            shapes.add(tuple(x.shape))
            return x

    model = keras.Sequential([Watching(), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="categorical_crossentropy", run_eagerly=True)
    model.fit(batches(), validation_data=batches(fixed=True), epochs=2, verbose=0, shuffle=False)
    probabilities(model, batches(fixed=True))
    assert {shape[0] for shape in shapes if shape[0] is not None} <= {4}


def test_originals_are_kept_up_to_the_limit_and_decoded_beyond_it(tmp_path: Any, monkeypatch: Any) -> None:
    from studies.common.images import batches as image_batches

    decoded = []

    def decode(path: Any) -> np.ndarray:
        decoded.append(path.name)
        return original(path.name)

    monkeypatch.setattr(image_batches, "read_image", decode)
    # 8 x 8 x 3 bytes each: two fit.
    originals = Originals(tmp_path, keep_mb=2.5 * 192 / 1e6)
    for _ in range(2):
        for file in FILES[:4]:
            np.testing.assert_array_equal(originals(file), original(file))
    assert decoded == ["0.png", "1.png", "2.png", "3.png", "2.png", "3.png"]
    with pytest.raises(ValueError, match="read-only"):
        originals("0.png")[0] = 0
