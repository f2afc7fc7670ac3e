from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.metrics import f1_score
from tiny_onnx import SIZE, by_hand, colour_model

from drunet.errors import ModelError
from drunet.training.distillation import DistillationLoss, LabelledAccuracy, LabelledF1, OnnxTeacher


def by_formula(y: np.ndarray, p: np.ndarray, temperature: float, weight: float) -> np.ndarray:
    """Cross-entropy and divergence in float64, with SciPy's own softmax and relative entropy."""
    classes = p.shape[1]
    label, q = y[:, :classes].astype(float), y[:, classes:].astype(float)
    soft_q, soft_p = (softmax(np.log(a.astype(float)) / temperature, axis=1) for a in (q, p))
    hard = -(label * np.log(p.astype(float))).sum(axis=1)
    return (1 - weight) * hard + weight * temperature**2 * rel_entr(soft_q, soft_p).sum(axis=1)


def answers(seed: int, n: int = 6, classes: int = 3, spread: float = 3.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, spread, (n, classes))
    return np.asarray(softmax(logits, axis=1), dtype=np.float32)


def labels(seed: int, n: int = 6, classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[np.random.default_rng(seed).integers(0, classes, n)]


def per_sample(loss: DistillationLoss, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(loss.call(keras.ops.convert_to_tensor(y), p)))


def trained_logits(y: np.ndarray, logits: np.ndarray, loss: Any) -> np.ndarray:
    """What one step of gradient descent at rate 1 takes from logits: n times the gradient of the mean loss.

    The logits are the weights of a layer that one-hot rows pick, so that any backend works the gradient out.
    """
    n, classes = logits.shape
    layer = keras.layers.Dense(classes, use_bias=False, activation="softmax")
    model = keras.Sequential([keras.Input((n,)), layer])
    layer.set_weights([logits.astype(np.float32)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    model.train_on_batch(np.eye(n, dtype=np.float32), y)
    return n * (logits - np.asarray(layer.get_weights()[0]))


def test_the_loss_is_what_is_worked_out_by_hand() -> None:
    # T = 2 halves log-odds: teacher 9:1 becomes 3:1, student 1:1 stays. KL = 3/4 log(3/2) + 1/4 log(1/2) = 0.130812.
    y = np.array([[1, 0, 0.9, 0.1]], np.float32)
    p = np.array([[0.5, 0.5]], np.float32)
    divergence = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert divergence == pytest.approx(0.130812, abs=1e-6)
    expected = 0.3 * np.log(2) + 0.7 * 4 * divergence
    assert float(DistillationLoss(2.0, 0.7)(y, p)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_each_sample_costs_what_the_formula_says(temperature: float, weight: float) -> None:
    y, p = np.concatenate([labels(1), answers(2)], axis=1), answers(3)
    expected = by_formula(y, p, temperature, weight)
    np.testing.assert_allclose(per_sample(DistillationLoss(temperature, weight), y, p), expected, rtol=2e-4, atol=2e-6)
    assert float(DistillationLoss(temperature, weight)(y, p)) == pytest.approx(expected.mean(), rel=2e-4, abs=2e-6)


def test_without_weight_it_is_keras_cross_entropy() -> None:
    y, p = np.concatenate([labels(1), answers(2)], axis=1), answers(3)
    expected = keras.ops.convert_to_numpy(keras.losses.categorical_crossentropy(y[:, :3], p))
    np.testing.assert_allclose(per_sample(DistillationLoss(4.0, 0.0), y, p), expected, rtol=1e-6)


def test_without_a_teacher_it_is_keras_cross_entropy_whatever_the_weight() -> None:
    label, p = labels(1), answers(3)
    expected = keras.ops.convert_to_numpy(keras.losses.categorical_crossentropy(label, p))
    for y in (label, np.concatenate([label, np.zeros_like(p)], axis=1)):
        np.testing.assert_allclose(per_sample(DistillationLoss(4.0, 0.7), y, p), expected, rtol=1e-6)


def test_a_student_that_answers_like_its_teacher_pays_for_its_labels_only() -> None:
    p = answers(2)
    y = np.concatenate([np.zeros_like(p), p], axis=1)
    np.testing.assert_allclose(per_sample(DistillationLoss(3.0, 1.0), y, p), 0, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_unlabelled_sample_is_taught_by_the_soft_term_alone(temperature: float) -> None:
    logits = np.random.default_rng(5).normal(0, 2, (4, 3))
    q = answers(6, n=4)
    y = np.concatenate([np.zeros_like(q), q], axis=1)
    soft_q, soft_p = softmax(np.log(q.astype(float)) / temperature, axis=1), softmax(logits / temperature, axis=1)
    np.testing.assert_allclose(
        per_sample(DistillationLoss(temperature, 0.6), y, softmax(logits, axis=1).astype(np.float32)),
        0.6 * temperature**2 * rel_entr(soft_q, soft_p).sum(axis=1),
        rtol=1e-4,
    )
    # d KL / d logits = (softened p - softened q) / T: nothing of the label's term may be in it.
    expected = 0.6 * temperature * (soft_p - soft_q)
    got = trained_logits(y, logits, DistillationLoss(temperature, 0.6))
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_a_sample_without_label_and_teacher_teaches_nothing() -> None:
    logits = np.random.default_rng(5).normal(0, 2, (3, 3)).astype(np.float32)
    np.testing.assert_array_equal(trained_logits(np.zeros((3, 6), np.float32), logits, DistillationLoss()), 0)


def test_the_gradient_keeps_its_size_at_any_temperature() -> None:
    # Hinton et al., section 2: at high temperatures it tends to (z - v) / classes for centred logits, whatever T.
    rng = np.random.default_rng(7)
    z, v = rng.normal(0, 1, (2, 5, 3))
    z, v = z - z.mean(axis=1, keepdims=True), v - v.mean(axis=1, keepdims=True)
    y = np.concatenate([np.zeros((5, 3)), softmax(v, axis=1)], axis=1).astype(np.float32)
    for temperature, within in ((20.0, 0.1), (100.0, 0.03)):
        got = trained_logits(y, z, DistillationLoss(temperature, 1.0))
        np.testing.assert_allclose(got, (z - v) / 3, atol=within * np.abs(z - v).max() / 3)


@pytest.mark.parametrize("gap", [30.0, 60.0])
def test_a_student_that_is_sure_and_wrong_is_still_taught(gap: float) -> None:
    # Far below Keras' cut-off of 1e-7: its clipped logarithm would teach nothing here.
    logits = np.array([[gap, 0.0, 0.0]])
    q = np.array([[0.01, 0.98, 0.01]])
    soft_q = softmax(np.log(q) / 4, axis=1)
    soft_p = np.exp(log_softmax(logits / 4, axis=1))
    y = np.concatenate([np.zeros((1, 3)), q], axis=1).astype(np.float32)
    got = trained_logits(y, logits, DistillationLoss(4.0, 1.0))
    np.testing.assert_allclose(got, 4 * (soft_p - soft_q), rtol=1e-3, atol=1e-4)


def test_answers_of_exactly_0_and_1_stay_finite() -> None:
    corners = np.eye(3, dtype=np.float32)
    y = np.concatenate([corners, corners[::-1]], axis=1)
    assert np.isfinite(per_sample(DistillationLoss(1.0, 0.5), y, corners)).all()
    assert np.isfinite(trained_logits(y, 500 * np.eye(3), DistillationLoss(1.0, 0.5))).all()


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": float("nan")}, {"weight": 1.2}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="temperature above 0"):
        DistillationLoss(**wrong)  # type: ignore[arg-type]


def test_loss_and_metric_survive_being_written_down() -> None:
    loss = keras.losses.deserialize(keras.losses.serialize(DistillationLoss(3.0, 0.2)))
    assert (loss.temperature, loss.weight) == (3.0, 0.2)
    for metric in (LabelledAccuracy, LabelledF1):
        assert isinstance(keras.metrics.deserialize(keras.metrics.serialize(metric())), metric)


def test_accuracy_counts_labelled_samples_only() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    label = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], np.float32)
    for y in (label, np.concatenate([label, p], axis=1)):
        metric = LabelledAccuracy()
        metric.update_state(y, p)
        assert float(metric.result()) == pytest.approx(2 / 3)
        metric.update_state(np.zeros_like(y), p)
        assert float(metric.result()) == pytest.approx(2 / 3)
    weighted = LabelledAccuracy()
    weighted.update_state(label, p, sample_weight=np.array([3.0, 1.0, 1.0, 0.0], np.float32))
    assert float(weighted.result()) == pytest.approx(3 / 4)


def test_f1_is_the_mean_over_classes_of_labelled_samples() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(3), 40).astype(np.float32)
    own, counts = rng.integers(0, 3, 40), rng.random(40) > 0.2
    label = np.eye(3, dtype=np.float32)[own] * counts[:, None]
    expected = f1_score(own[counts], p.argmax(axis=1)[counts], average="macro")
    for y in (label, np.concatenate([label, p], axis=1)):
        metric = LabelledF1()
        for half in (slice(0, 25), slice(25, 40)):
            metric.update_state(y[half], p[half])
        assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
    weights, weighted = rng.random(40).astype(np.float32), LabelledF1()
    weighted.update_state(label, p, sample_weight=weights)
    expected = f1_score(own, p.argmax(axis=1), average="macro", sample_weight=weights * counts)
    assert float(weighted.result()) == pytest.approx(expected, abs=1e-5)


def test_a_teacher_answers_for_pictures_in_0_to_1_whatever_its_file_wants(tmp_path: Path) -> None:
    from drunet.inference import Layout

    pictures = np.random.default_rng(0).random((5, SIZE, SIZE, 3)).astype(np.float32)
    tumour = by_hand(255 * pictures)
    for layout in (Layout(), Layout(channels_last=False, scale=1 / 255), Layout(tumour=0)):
        path = colour_model(
            tmp_path / "t.onnx", channels_last=layout.channels_last, scale=layout.scale, tumour=layout.tumour
        )
        answered = OnnxTeacher(path, 2, size=SIZE, layout=layout)(pictures)
        assert answered.dtype == np.float32
        np.testing.assert_allclose(answered, np.stack([1 - tumour, tumour], axis=1), atol=1e-5)


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = colour_model(tmp_path / "t.onnx")
    with pytest.raises(ModelError, match=r"other classes.*teacher: 2; student: aca, n, scc"):
        OnnxTeacher(path, ["aca", "n", "scc"], size=SIZE)
    named(path, '["n", "aca"]')
    with pytest.raises(ModelError, match=r"teacher: n, aca; student: aca, n"):
        OnnxTeacher(path, ["aca", "n"], size=SIZE)
    OnnxTeacher(path, ["n", "aca"], size=SIZE)
    with pytest.raises(ModelError, match=r"teacher: n, aca; student: 3"):
        OnnxTeacher(path, 3, size=SIZE)


def test_a_teacher_that_gives_no_probabilities_is_refused(tmp_path: Path) -> None:
    path = colour_model(tmp_path / "t.onnx", last="Identity", bias=40.0)
    with pytest.raises(ModelError, match="no probabilities"):
        OnnxTeacher(path, 2, size=SIZE)(np.zeros((1, SIZE, SIZE, 3), np.float32))


def named(path: Path, classes: str) -> None:
    import onnx

    proto = onnx.load(path)
    proto.metadata_props.add(key="classes", value=classes)
    onnx.save(proto, path)
