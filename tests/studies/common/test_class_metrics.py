"""Scores of predicted classes against scikit-learn, formulas by hand and the paper's own formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from studies.common import class_metrics as cm

CLASSES = ("lung_aca", "lung_n", "lung_scc")


def predictions(
    n: int = 90, classes: tuple[str, ...] = CLASSES, folds: int = 1, seed: int = 0, skill: float = 1.0
) -> pd.DataFrame:
    """Made-up answers: softmax of noise with something added to the true class; three images per source."""
    rng = np.random.default_rng(seed)
    own = rng.integers(0, len(classes), n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), own] += skill
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frame = pd.DataFrame(p.astype(np.float32), columns=[f"p_{name}" for name in classes])
    frame.insert(0, "fold", np.arange(n) % folds)
    frame.insert(0, "protocol", "grouped")
    frame.insert(0, "group", [f"s{i // 3}" for i in range(n)])
    frame.insert(0, "label", np.array(classes)[own])
    frame.insert(0, "file", [f"{i:03d}.png" for i in range(n)])
    return frame


def answer(counts: list[list[int]], classes: tuple[str, ...]) -> pd.DataFrame:
    """Predictions with this confusion matrix."""
    rows = []
    for own, line in enumerate(counts):
        for said, number in enumerate(line):
            p = {f"p_{name}": 0.9 if k == said else 0.1 / (len(classes) - 1) for k, name in enumerate(classes)}
            rows += [{"label": classes[own], **p}] * number
    frame = pd.DataFrame(rows)
    names = [str(i) for i in range(len(frame))]
    return frame.assign(file=names, group=names, protocol="random", fold=0)


@given(st.integers(2, 5), st.integers(20, 120), st.integers(0, 10_000), st.floats(-1, 4))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_scores_are_those_of_scikit_learn(classes: int, n: int, seed: int, skill: float) -> None:
    names = tuple(f"c{k}" for k in range(classes))
    frame = predictions(n, names, seed=seed, skill=skill)
    own, said = cm.truth(frame), cm.called(frame)
    there = sorted(set(own))
    found = cm.scores(frame)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(own, said))
    assert found["mcc"] == pytest.approx(sklearn_metrics.matthews_corrcoef(own, said))
    if len(there) == classes:
        for name in ("precision", "recall", "f1"):
            score = getattr(sklearn_metrics, f"{name}_score")
            assert found[name] == pytest.approx(score(own, said, average="macro", zero_division=0))
        p = cm.probabilities(frame)
        areas = [sklearn_metrics.roc_auc_score(own == k, p[:, k]) for k in range(classes)]
        assert found["auc"] == pytest.approx(np.mean(areas))


def test_for_two_classes_mcc_is_the_formula_that_the_paper_prints() -> None:
    tp, fn, fp, tn = 41, 9, 4, 46
    found = cm.scores(answer([[tp, fn], [fp, tn]], ("tumour", "benign")))
    by_hand = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert found["mcc"] == pytest.approx(by_hand)


def test_for_two_classes_the_positive_ones_row_holds_sensitivity_specificity_and_auc() -> None:
    frame = answer([[41, 9], [4, 46]], ("tumour", "benign"))
    row = cm.class_scores(frame).set_index("class").loc["tumour"]
    assert (row["recall"], row["specificity"], row["precision"]) == pytest.approx((41 / 50, 46 / 50, 41 / 45))
    assert row["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(frame["label"] == "tumour", frame["p_tumour"]))


def test_a_class_that_is_never_called_has_precision_nought_and_one_that_is_not_there_is_left_out() -> None:
    never = cm.class_scores(answer([[5, 0, 0], [5, 0, 0], [0, 0, 5]], CLASSES)).set_index("class")
    assert never.loc["lung_n", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    absent = answer([[5, 0, 0], [0, 0, 0], [1, 0, 4]], CLASSES)
    row = cm.class_scores(absent).set_index("class").loc["lung_n"]
    assert row[["precision", "recall", "f1", "auc"]].isna().all()
    assert cm.scores(absent)["recall"] == pytest.approx((1 + 4 / 5) / 2)


def test_mcc_is_nought_where_everything_is_called_one_class() -> None:
    assert cm.scores(answer([[5, 0, 0], [5, 0, 0], [5, 0, 0]], CLASSES))["mcc"] == 0
    assert cm.scores(answer([[5, 0, 0], [0, 0, 0], [0, 0, 0]], CLASSES))["mcc"] == 0


def test_the_confusion_matrix_has_true_classes_in_rows_and_sums_folds() -> None:
    counts = [[5, 1, 0], [0, 7, 2], [3, 0, 4]]
    frame = answer(counts, CLASSES)
    frame["fold"] = np.arange(len(frame)) % 2
    assert cm.confusion(frame).tolist() == counts


def test_folds_are_averaged_with_the_sd_of_a_sample() -> None:
    frame = predictions(150, folds=5)
    table = cm.summary(frame, resamples=10, seed=0).set_index("metric")
    by_hand = [cm.scores(part)["accuracy"] for _, part in frame.groupby("fold")]
    assert table.loc["accuracy", "folds"] == 5
    assert table.loc["accuracy", "mean"] == pytest.approx(np.mean(by_hand))
    assert table.loc["accuracy", "sd"] == pytest.approx(np.std(by_hand, ddof=1))
    assert table[["low", "high"]].isna().all(axis=None)


def test_one_fold_has_no_sd_but_an_interval_over_groups() -> None:
    table = cm.summary(predictions(90), resamples=300, seed=0)
    assert table["sd"].isna().all()
    assert ((table["low"] < table["mean"]) & (table["mean"] < table["high"])).all()


def test_every_protocol_has_the_interval_of_its_own_predictions() -> None:
    own = {name: predictions(60, seed=k, skill=2.5 * k).assign(protocol=name) for k, name in enumerate(("one", "two"))}
    table = cm.summary(pd.concat(own.values(), ignore_index=True), resamples=60, seed=4)
    for name, frame in own.items():
        rows = table[table["protocol"] == name]
        found = dict(zip(rows["metric"], zip(rows["low"], rows["high"], strict=True), strict=True))
        assert found == cm.group_intervals(frame, resamples=60, seed=4)


def test_the_interval_draws_whole_groups_and_scores_every_draw_as_a_table_would_be() -> None:
    frame = predictions(60, skill=0.7)
    frame.loc[::4, "p_lung_aca"] = np.float32(0.25)  # ties
    names = sorted(frame["group"].unique())
    drawn = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=40)
    parts = dict(iter(frame.groupby("group")))
    tables = [
        pd.concat([parts[n] for n, times in zip(names, line, strict=True) for _ in range(times)]) for line in drawn
    ]
    by_hand = pd.DataFrame([cm.scores(table) for table in tables])
    for metric, (low, high) in cm.group_intervals(frame, resamples=40, seed=3).items():
        assert (low, high) == pytest.approx(tuple(np.quantile(by_hand[metric].dropna(), (0.025, 0.975))))


def test_groups_that_look_alike_make_intervals_wider_than_images_would() -> None:
    frame = predictions(30, skill=0.7)
    thrice = pd.concat([frame] * 9, ignore_index=True).assign(group=[str(i % 30) for i in range(270)])
    alone = thrice.assign(group=[str(i) for i in range(270)])
    (low, high), (inner_low, inner_high) = (
        cm.group_intervals(f, resamples=400, seed=0)["accuracy"] for f in (thrice, alone)
    )
    assert high - low > 2 * (inner_high - inner_low)


def test_one_group_alone_gives_no_interval() -> None:
    bounds = cm.group_intervals(predictions(12).assign(group="one"), resamples=10, seed=0)
    assert all(np.isnan(pair).all() for pair in bounds.values())


def test_fold_scores_hold_every_class_and_the_order_of_the_scores() -> None:
    long = cm.fold_scores(predictions(60, folds=2))
    assert list(long.columns) == ["protocol", "fold", "metric", "value"]
    assert set(long["metric"]) == {*cm.SCORES, *(f"recall {name}" for name in CLASSES)}
    assert len(long) == 2 * 9


def test_a_curve_starts_at_nothing_ends_at_all_and_averages_the_areas() -> None:
    frame = predictions(120, folds=3)
    curves = cm.roc_curves(frame)
    for k, (name, curve) in enumerate(curves.items()):
        assert (curve.false_rate[0], curve.true_rate[0], curve.true_rate[-1]) == (0, 0, 1)
        assert (np.diff(curve.true_rate) >= 0).all()
        areas = [
            sklearn_metrics.roc_auc_score(part["label"] == name, cm.probabilities(part)[:, k])
            for _, part in frame.groupby("fold")
        ]
        assert curve.auc == pytest.approx(np.mean(areas))
        # The drawn curve encloses what its number says.
        assert np.trapezoid(curve.true_rate, curve.false_rate) == pytest.approx(curve.auc, abs=0.01)
    assert cm.mean_roc(list(curves.values())).auc == pytest.approx(np.mean([c.auc for c in curves.values()]))


def test_a_missing_answer_is_refused() -> None:
    frame = predictions(9)
    frame.loc[2, "p_lung_n"] = np.nan
    with pytest.raises(ValueError, match="1 images have no probabilities"):
        cm.scores(frame)


def test_draws_that_lose_a_class_do_not_count() -> None:
    frame = answer([[8, 0, 0], [0, 8, 0], [0, 0, 1]], CLASSES)
    assert all(bounds == (1, 1) for bounds in cm.group_intervals(frame, resamples=200, seed=0).values())


@pytest.mark.slow
def test_the_interval_is_that_of_the_draws_that_hold_every_class() -> None:
    frame = predictions(60, seed=2, skill=0.7)
    # Two of twenty groups hold the third class: a tenth of the draws or more have neither.
    others = frame["label"].where(frame["label"] != "lung_scc", "lung_n")
    frame["label"] = others.where(~frame["group"].isin(["s3", "s11"]), "lung_scc")
    names = sorted(frame["group"].unique())
    found: dict[str, list[float]] = {"accuracy": [], "recall": [], "f1": []}
    for times in np.random.default_rng(6).multinomial(20, np.full(20, 1 / 20), size=60):
        drawn = pd.concat([frame[frame["group"] == name] for name in np.repeat(names, times)])
        if drawn["label"].nunique() < 3:
            continue
        own = drawn["label"]
        said = np.array(CLASSES)[drawn[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)]
        found["accuracy"].append(sklearn_metrics.accuracy_score(own, said))
        found["recall"].append(sklearn_metrics.balanced_accuracy_score(own, said))
        found["f1"].append(sklearn_metrics.f1_score(own, said, average="macro", labels=CLASSES, zero_division=0))
    assert 30 < len(found["accuracy"]) < 60
    bounds = cm.group_intervals(frame, resamples=60, seed=6)
    for metric, values in found.items():
        assert bounds[metric] == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def test_scores_of_the_class_looked_for_are_the_counts_of_the_paper() -> None:
    tp, fn, fp, tn = 41, 9, 4, 46
    frame = answer([[tn, fp], [fn, tp]], ("Non-cancer", "Cancer"))
    found = cm.scores(frame, "Cancer")
    assert tuple(found) == cm.POSITIVE_SCORES
    by_hand = {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }
    assert {name: found[name] for name in by_hand} == pytest.approx(by_hand)
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(frame["label"] == "Cancer", frame["p_Cancer"]))
    # Looked for the other way round, sensitivity and specificity change places, and MCC stays.
    other = cm.scores(frame, "Non-cancer")
    assert (other["recall"], other["specificity"]) == pytest.approx((found["specificity"], found["recall"]))
    assert other["mcc"] == pytest.approx(found["mcc"])


def test_intervals_of_the_class_looked_for_score_every_draw_as_a_table_would_be() -> None:
    frame = predictions(60, classes=("Non-cancer", "Cancer"), skill=0.7)
    names = sorted(frame["group"].unique())
    drawn = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=40)
    parts = dict(iter(frame.groupby("group")))
    tables = [
        pd.concat([parts[n] for n, times in zip(names, line, strict=True) for _ in range(times)]) for line in drawn
    ]
    by_hand = pd.DataFrame([cm.scores(table, "Cancer") for table in tables])
    bounds = cm.group_intervals(frame, resamples=40, seed=3, positive="Cancer")
    assert tuple(bounds) == cm.POSITIVE_SCORES
    for metric, (low, high) in bounds.items():
        assert (low, high) == pytest.approx(tuple(np.quantile(by_hand[metric].dropna(), (0.025, 0.975))))
    table = cm.summary(frame, resamples=40, seed=3, positive="Cancer").set_index("metric")
    assert set(table.index) == set(cm.POSITIVE_SCORES)
    assert table.loc["specificity", ["low", "high"]].tolist() == pytest.approx(list(bounds["specificity"]))
