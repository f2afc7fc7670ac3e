"""Temperature scaling finds the temperature that was there, changes no order, and its error is that of the formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from tiny_onnx import SIZE, by_hand, colour_model

from drunet.errors import ConfigError, ModelError
from drunet.export.calibrated import write_calibrated
from drunet.uncertainty.calibration import (
    calibrate,
    calibration_error,
    fit_temperature,
    reliability,
    temperature_of,
    tempered,
)


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too bold by a factor of their logits, and labels that keep the word of the true ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, count)
    return special.expit(z * temperature), (rng.random(count) < special.expit(z)).astype(int)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_logistic_regression_without_an_intercept(temperature: float) -> None:
    """The likelihood of 1/T is that of a regression on logits with one coefficient; solved by scikit-learn."""
    p, label = drawn(4000, temperature)
    solver = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8).fit(special.logit(p)[:, None], label)
    found = fit_temperature(p, label)
    assert found == pytest.approx(1 / solver.coef_[0, 0], rel=1e-3)
    assert found == pytest.approx(temperature, rel=0.1)


def test_likelihood_and_error_are_those_of_others() -> None:
    p, label = drawn(3000, 2.0)
    by_definition = -np.mean(np.where(label == 1, np.log(p), np.log1p(-p)))
    tiles = pd.DataFrame({"slide": "s", "patient": 0, "split": "test", "p_tumour": p, "label": label})
    assert calibrate(tiles, seed=1)["splits"]["test"]["before"]["nll"] == pytest.approx(by_definition)
    # Equal numbers in each bin: scikit-learn's quantiles divide the tiles as ranks do.
    observed, predicted = calibration_curve(label, p, n_bins=15, strategy="quantile")
    bins = reliability(p, label)
    np.testing.assert_allclose(bins[["observed", "predicted"]], np.stack([observed, predicted], 1), atol=0.006)
    assert calibration_error(bins) == pytest.approx(np.abs(observed - predicted).mean(), abs=0.005)
    assert bins["tiles"].tolist() == [200] * 15


def test_tiles_that_determine_no_temperature_get_none() -> None:
    p = np.linspace(0.01, 0.99, 50)
    assert fit_temperature(p, np.ones(50, int)) is None, "one class"
    assert fit_temperature(p, (p > 0.5).astype(int)) is None, "no fault"
    assert fit_temperature(p, (p < 0.5).astype(int)) is None, "worse than chance"
    with pytest.raises(ConfigError, match="determine no temperature"):
        temperature_of({"temperature": None}, "net")


@given(st.lists(st.floats(0, 1, width=32), min_size=2), st.floats(0.06, 19))
def test_no_temperature_changes_an_order_or_the_side_of_a_half(values: list[float], temperature: float) -> None:
    p = np.sort(np.array([*values, np.nan], np.float32))
    answer = tempered(p, temperature)
    assert answer.dtype == np.float32 and np.isnan(answer[-1]) and (np.diff(answer[:-1]) >= 0).all()
    assert ((answer[:-1] >= 0.5) >= (p[:-1] >= 0.5)).all() and (answer[:-1][p[:-1] < 0.49] < 0.5).all()


def cohort(patients: int, seed: int = 3) -> pd.DataFrame:
    rows = []
    for number in range(patients + 2):
        p, label = drawn(400, 2.5, seed + number)
        split = "test" if number >= patients else "val"
        of = {"slide": f"s{number}", "patient": number, "split": split}
        rows.append(pd.DataFrame({"p_tumour": p, "label": label}).assign(**of))
    return pd.concat(rows)


def test_validation_tiles_are_judged_by_what_other_patients_say_and_test_tiles_by_all_of_them() -> None:
    tiles = cohort(4)
    unread = tiles[:2].assign(p_tumour=[np.nan, 0.5], label=[1, -1])
    facts = calibrate(pd.concat([tiles, unread]), seed=1)
    val, test = tiles[tiles["split"] == "val"], tiles[tiles["split"] == "test"]
    assert facts["temperature"] == pytest.approx(fit_temperature(val["p_tumour"].to_numpy(), val["label"].to_numpy()))
    p, label = test["p_tumour"].to_numpy(), test["label"].to_numpy()
    assert facts["splits"]["test"]["after"]["ece"] == calibration_error(
        reliability(tempered(p, facts["temperature"]), label)
    )
    assert facts["splits"]["val"] | {"before": 0, "after": 0} == {
        "tiles": 1600, "slides": 4, "patients": 4, "apart": True, "before": 0, "after": 0,
    }  # fmt: skip
    # Four patients, four folds: each judged by the other three.
    apart = pd.concat(
        rows.assign(p_tumour=tempered(rows["p_tumour"].to_numpy(), fit_temperature(*others(val, number)) or 0))
        for number, rows in val.groupby("patient")
    )
    q, truth = apart["p_tumour"].to_numpy(), apart["label"].to_numpy()
    expected = -np.mean(np.where(truth == 1, np.log(q), np.log1p(-q)))
    assert facts["splits"]["val"]["after"]["nll"] == pytest.approx(expected)
    for split in ("val", "test"):
        judged = facts["splits"][split]
        assert judged["before"]["ece"] > 0.08 and judged["after"]["ece"] < 0.05


def others(tiles: pd.DataFrame, patient: object) -> tuple[np.ndarray, np.ndarray]:
    rows = tiles[tiles["patient"] != patient]
    return rows["p_tumour"].to_numpy(), rows["label"].to_numpy()


def test_one_validation_patient_is_said_to_judge_itself_and_none_gives_no_temperature() -> None:
    tiles = cohort(1)
    assert calibrate(tiles, seed=1)["splits"]["val"]["apart"] is False
    facts = calibrate(tiles[tiles["split"] == "test"], seed=1)
    assert facts["temperature"] is None and facts["splits"]["test"]["after"] is None and "val" not in facts["splits"]


def test_the_graph_holds_the_temperature_before_its_softmax(tmp_path: Path) -> None:
    plain, target = colour_model(tmp_path / "plain.onnx"), tmp_path / "calibrated.onnx"
    assert write_calibrated(plain, target, 2.5, seed=1, where="net") < 1e-6
    tiles = np.random.default_rng(5).uniform(0, 255, (6, SIZE, SIZE, 3)).astype(np.float32)
    session = ort.InferenceSession(target.read_bytes(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"tiles": tiles})
    np.testing.assert_allclose(answer[:, 1], tempered(by_hand(tiles), 2.5), atol=1e-5)
    assert {p.key: p.value for p in onnx.load(target).metadata_props}["temperature"] == "2.5"


def test_a_graph_without_a_softmax_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    plain, target = colour_model(tmp_path / "plain.onnx", last="Sigmoid"), tmp_path / "calibrated.onnx"
    with pytest.raises(ModelError, match=r"does not end in a softmax.*Sigmoid"):
        write_calibrated(plain, target, 2.5, seed=1, where="net")
    assert not target.exists()
