from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from drunet.training.batch_norm import BatchNormEstimator


def batches(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(3 + i, 1 + i, (6, 5, 4, 2))).astype(np.float32) for i in range(3)]


def model_of(*between: keras.Layer) -> keras.Model:
    """Make BN, an outer convolution by one matrix, whatever lies between, and a BN in a nested model."""
    keras.utils.set_random_seed(1)
    nested = keras.Sequential([keras.Input((5, 4, 3)), layers.BatchNormalization(name="inner")], name="nested")
    x = image = keras.Input((5, 4, 2))
    x = layers.BatchNormalization(momentum=0.9, name="outer")(x)
    x = layers.Conv2D(3, 1, name="conv")(x)
    for layer in between:
        x = layer(x)
    return keras.Model(image, nested(x))


def statistics(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    return norm.moving_mean.numpy().copy(), norm.moving_variance.numpy().copy()


def by_hand(model: keras.Model, data: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Average batch means and variances of both layers, the second fed by the first's batch-wise output."""
    kernel, bias = (np.asarray(w, dtype=np.float64) for w in model.get_layer("conv").get_weights())
    outer, inner = [], []
    for batch in data:
        x = batch.reshape(-1, 2).astype(np.float64)
        outer.append((x.mean(0), x.var(0)))
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + model.get_layer("outer").epsilon)
        x = x @ kernel[0, 0] + bias
        inner.append((x.mean(0), x.var(0)))
    return [np.mean([s[i] for s in outer], axis=0) for i in (0, 1)], [
        np.mean([s[i] for s in inner], axis=0) for i in (0, 1)
    ]


def test_statistics_are_the_plain_average_over_the_batches() -> None:
    model, data = model_of(), batches()
    outer, inner = model.get_layer("outer"), model.get_layer("nested").get_layer("inner")
    trainable = [w.numpy().copy() for w in model.trainable_weights]
    assert BatchNormEstimator(model)(iter(data)) == 3
    for norm, expected in zip((outer, inner), by_hand(model, data), strict=True):
        np.testing.assert_allclose(statistics(norm)[0], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(statistics(norm)[1], expected[1], rtol=1e-4)
    assert (outer.momentum, inner.momentum) == (0.9, 0.99)
    for before, after in zip(trainable, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_what_the_layers_held_before_leaves_no_trace() -> None:
    model, data = model_of(), batches()
    BatchNormEstimator(model)(data)
    clean = statistics(model.get_layer("outer"))
    model.get_layer("outer").moving_mean.assign(np.full(2, np.nan))
    model.get_layer("outer").moving_variance.assign(np.full(2, np.inf))
    BatchNormEstimator(model)(data)
    for one, other in zip(clean, statistics(model.get_layer("outer")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_frozen_layers_are_left_alone() -> None:
    model, data = model_of(), batches()
    outer = model.get_layer("outer")
    outer.trainable = False
    BatchNormEstimator(model)(data)
    np.testing.assert_array_equal(statistics(outer)[0], 0)
    np.testing.assert_array_equal(statistics(outer)[1], 1)
    inner = model.get_layer("nested").get_layer("inner")
    assert BatchNormEstimator(model)._norms == [inner]
    # The frozen layer passes its input on nearly unchanged, so that the next one sees the raw spread of the batches.
    kernel, bias = model.get_layer("conv").get_weights()
    means = [batch.reshape(-1, 2).mean(0) / np.sqrt(1 + outer.epsilon) @ kernel[0, 0] + bias for batch in data]
    np.testing.assert_allclose(statistics(inner)[0], np.mean(means, axis=0), rtol=1e-3)


def test_dropout_is_off_while_statistics_are_taken_and_on_afterwards() -> None:
    plain, data = model_of(), batches()
    dropping = model_of(layers.SpatialDropout2D(0.5, name="spatial"), layers.Dropout(0.5, name="single"))
    for model in (plain, dropping):
        BatchNormEstimator(model)(data)
    np.testing.assert_allclose(plain.get_weights()[-1], dropping.get_weights()[-1], rtol=1e-6)
    assert [dropping.get_layer(name).rate for name in ("spatial", "single")] == [0.5, 0.5]


def test_training_goes_on_with_its_own_momentum() -> None:
    model, data = model_of(), batches()
    model.compile("sgd", "mse")
    target = np.zeros((6, 5, 4, 3), dtype=np.float32)
    model.train_on_batch(data[0], target)
    BatchNormEstimator(model)(data)
    held = statistics(model.get_layer("outer"))[0]
    model.train_on_batch(data[2], target)
    expected = 0.9 * held + 0.1 * data[2].reshape(-1, 2).mean(0)
    np.testing.assert_allclose(statistics(model.get_layer("outer"))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("broken", [[], [np.zeros((6, 5, 4, 7), dtype=np.float32)]])
def test_without_usable_batches_everything_stays_as_it_was(broken: list[np.ndarray]) -> None:
    model = model_of()
    BatchNormEstimator(model)(batches())
    before = model.get_weights()
    with pytest.raises(Exception, match=r"no batches|shape|dimension|axis"):
        BatchNormEstimator(model)([*(batches()[:1] if broken else []), *broken])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.get_layer("outer").momentum == 0.9


def test_models_with_several_inputs_take_lists_and_dicts() -> None:
    one, two = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    norm = layers.BatchNormalization()
    model = keras.Model([one, two], norm(layers.Add()([one, two])))
    a, b = np.random.default_rng(0).random((2, 8, 3), dtype=np.float32)
    for batch in ([a, b], {"a": a, "b": b}):
        BatchNormEstimator(model)([batch])
        np.testing.assert_allclose(norm.moving_mean.numpy(), (a + b).mean(0), rtol=1e-5)
