"""Does multi-lens distortion help a classifier? What the trainings of the study say, as tables.

Source: DRU-Net, Table 4 and Fig. 5. The paper does not say what its Wilcoxon tests pair. Two units are tested here:
trainings, paired by seed, which is the question itself; and test images, which are many, but only speak of the networks
that were trained and not of the next ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score

from drunet.files import read_json, write_json
from drunet.report.tables import number
from drunet.statistics import holm, paired_tests
from studies.multi_lens.arms import WITHOUT, arm_name

# Label and prediction of every test image, by dataset, arm and seed.
Predictions = Mapping[tuple[str, str, int], pd.DataFrame]


@dataclass(frozen=True)
class Comparison:
    """The two arms of Table 4, compared.

    Attributes
    ----------
    table : DataFrame
        From `comparison_table`.
    mcnemar : DataFrame
        From `image_tests`.
    published : dict
        Published F1 (without, with) of those sets that have one.
    """

    table: pd.DataFrame
    mcnemar: pd.DataFrame
    published: dict[str, tuple[float, float]]


def write_outcome(
    path: str, table: str, *, facts: Mapping[str, Any], history: pd.DataFrame, labels: np.ndarray, predicted: np.ndarray
) -> None:
    """Write what came of one training: facts and scores (JSON), and a row per test image (TSV)."""
    pd.DataFrame({"label": labels, "predicted": predicted}).to_csv(table, sep="\t", index=False)
    scores = {
        "f1_macro": float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(labels, predicted)),
        "seconds_per_epoch": float(history["seconds"].median()),
        "epochs": len(history),
    }
    write_json(path, {**facts, "scores": scores, "history": history.to_dict("records")})


def read_outcomes(paths: Iterable[str]) -> pd.DataFrame:
    """Collect trainings, a row each: dataset, arm, strength, seed, sizes of both parts, and the scores."""
    rows = []
    for path in paths:
        outcome = read_json(path)
        rows.append({**{k: v for k, v in outcome.items() if k not in ("scores", "history")}, **outcome["scores"]})
    return pd.DataFrame(rows)


def swept_sets(outcomes: pd.DataFrame) -> list[str]:
    """Sets that were tried with more strengths than none and one."""
    by_set = outcomes.groupby("dataset", sort=False)["strength"].nunique()
    return [str(name) for name, strengths in by_set.items() if strengths > 2]


def read_predictions(paths: Iterable[str]) -> Predictions:
    """Read what each training took the test images for; dataset, arm and seed stand in the files' names."""
    found = {}
    for path in map(Path, paths):
        arm, _, seed = path.stem.rpartition(".")
        found[path.parent.name, arm, int(seed)] = pd.read_csv(path, sep="\t")
    return found


def long_metrics(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, protocol (the dataset), repeat (the seed), metric and value, as every study has them."""
    values = ["f1_macro", "accuracy", "seconds_per_epoch", "epochs"]
    long = outcomes.melt(["arm", "dataset", "seed"], values, var_name="metric")
    return long.rename(columns={"dataset": "protocol", "seed": "repeat"})


def seed_tests(outcomes: pd.DataFrame, strength: float) -> pd.DataFrame:
    """Wilcoxon's signed-rank test of F1 over seeds, per dataset, with Holm's correction over the datasets."""
    rows = []
    for dataset, frame in outcomes.groupby("dataset", sort=False):
        two = frame[frame["arm"].isin((WITHOUT, arm_name(strength)))]
        test = paired_tests(two, subject="seed", value="f1_macro", reference=WITHOUT)
        rows.append(test.assign(dataset=dataset))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def image_tests(predictions: Predictions, strength: float) -> pd.DataFrame:
    """Tests over test images, each classified by both arms.

    Parameters
    ----------
    predictions : mapping of (dataset, arm, seed) to DataFrame
        Columns label and predicted; the images of a dataset always in the same order.
    strength : float

    Returns
    -------
    DataFrame
        A row per dataset and seed: dataset, seed, n (images), only_with, only_without (images that one arm alone has
        right), p (McNemar's exact test, two sides: are the two equally likely?), p_holm over all rows.
    """
    rows = []
    for (dataset, arm, seed), without in predictions.items():
        other = predictions.get((dataset, arm_name(strength), seed))
        if arm != WITHOUT or other is None:
            continue
        right, right_with = (f["label"].to_numpy() == f["predicted"].to_numpy() for f in (without, other))
        only_with, only_without = int((right_with & ~right).sum()), int((right & ~right_with).sum())
        differing = only_with + only_without
        p = binomtest(only_with, differing, 0.5).pvalue if differing else float("nan")
        rows.append(
            {
                "dataset": dataset,
                "seed": seed,
                "n": len(right),
                "only_with": only_with,
                "only_without": only_without,
                "p": float(p),
            }
        )
    table = pd.DataFrame(rows, columns=["dataset", "seed", "n", "only_with", "only_without", "p"])
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def pooled_image_test(predictions: Predictions, strength: float) -> pd.DataFrame:
    """Wilcoxon's signed-rank test over test images: by how many seeds each is classified rightly, with and without."""
    rows = []
    for dataset in dict.fromkeys(key[0] for key in predictions):
        votes = []
        for arm in (WITHOUT, arm_name(strength)):
            frames = [f for (name, other, _), f in predictions.items() if (name, other) == (dataset, arm)]
            # Whole numbers: shares of seeds would differ in their last digit, and steps of one height not tie.
            right = np.sum([f["label"].to_numpy() == f["predicted"].to_numpy() for f in frames], axis=0)
            votes.append(pd.DataFrame({"image": np.arange(len(right)), "arm": arm, "value": right}))
        test = paired_tests(pd.concat(votes), subject="image", reference=WITHOUT)
        rows.append(test.assign(dataset=dataset))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def compare(outcomes: pd.DataFrame, predictions: Predictions, published: pd.DataFrame, strength: float) -> Comparison:
    """Compare training without lenses and with lenses of ±`strength` on every set.

    Parameters
    ----------
    outcomes, predictions
        From `read_outcomes` and `read_predictions`.
    published : DataFrame of text
        model, dataset, f1_without, f1_with, wilcoxon_p.
    strength : float
    """
    printed = {_plain(str(row["dataset"])): {str(k): str(v) for k, v in row.items()} for _, row in published.iterrows()}
    known = {name: printed[_plain(name)] for name in outcomes["dataset"].unique() if _plain(name) in printed}
    table = comparison_table(
        outcomes, seed_tests(outcomes, strength), pooled_image_test(predictions, strength), known, strength
    )
    figures = {name: (float(row["f1_without"]), float(row["f1_with"])) for name, row in known.items()}
    return Comparison(table, image_tests(predictions, strength), figures)


def comparison_table(
    outcomes: pd.DataFrame,
    seeds: pd.DataFrame,
    images: pd.DataFrame,
    published: Mapping[str, Mapping[str, str]],
    strength: float,
) -> pd.DataFrame:
    """Table 4: macro F1 without and with lenses per dataset, with the published figures beside them.

    Parameters
    ----------
    outcomes, seeds, images
        From `read_outcomes`, `seed_tests` and `pooled_image_test`.
    published : mapping of dataset to f1_without, f1_with and wilcoxon_p, as printed
    strength : float

    Returns
    -------
    DataFrame
        dataset, seeds, F1 of both arms (mean ± sd), change, p over seeds and over images (corrected after Holm over the
        datasets), and what is published.
    """
    rows = []
    for dataset, frame in outcomes.groupby("dataset", sort=False):
        printed = published.get(str(dataset), {})
        without, with_lenses = (frame.loc[frame["arm"] == arm, "f1_macro"] for arm in (WITHOUT, arm_name(strength)))
        by_seed, by_image = (t.loc[t["dataset"] == dataset].iloc[0] for t in (seeds, images))
        rows.append(
            {
                "dataset": dataset,
                "seeds": int(by_seed["n"]),
                "F1_without": _mean_and_spread(without),
                "F1_with": _mean_and_spread(with_lenses),
                "change": by_seed["mean_a"] - by_seed["mean_b"],
                "p_seeds": by_seed["p_holm"],
                "p_images": by_image["p_holm"],
                "published_without": printed.get("f1_without", ""),
                "published_with": printed.get("f1_with", ""),
                "published_p": printed.get("wilcoxon_p", ""),
            }
        )
    return pd.DataFrame(rows)


def relative_cost(times: pd.DataFrame, value: str = "seconds") -> pd.DataFrame:
    """Median over rounds of the seconds per step, and of each form's ratio to `without` in its own round, less one.

    Parameters
    ----------
    times : DataFrame
        From `measure_step_times`.
    value : {"seconds", "cpu_seconds"}

    Returns
    -------
    DataFrame
        form, seconds, overhead (share; 0.03 is 3 %), low, high (quartiles of the overhead), rounds.
    """
    wide = times.pivot_table(index="round", columns="form", values=value)
    rows = []
    for form in ["without", *sorted(set(times["form"]) - {"without"})]:
        low, middle, high = (float(v) for v in np.quantile(wide[form] / wide["without"] - 1, (0.25, 0.5, 0.75)))
        rows.append(
            {
                "form": form,
                "seconds": float(wide[form].median()),
                "overhead": middle,
                "low": low,
                "high": high,
                "rounds": len(wide),
            }
        )
    return pd.DataFrame(rows)


def _mean_and_spread(values: pd.Series) -> str:
    show = number(4)
    return show(values.mean()) + (f" ± {show(values.std())}" if len(values) > 1 else "")


def _plain(name: str) -> str:
    """A dataset's name as it is compared: letters and digits alone."""
    return "".join(c for c in name.lower() if c.isalnum())
