"""Tables of multi-lens distortion: scores, paired tests over seeds and over images, cost, and the page's view.

Source: Oskouei et al. 2025, Table 4 and Fig. 5. The paper does not say what its Wilcoxon tests pair. Two units are
tested here: trainings, paired by seed, which is the question itself; and test images, which are many, but whose tests
are about the trained networks only.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from drunet.files import read_json, write_json
from studies.common.statistics import DECISIVE_PAIRS, holm, paired_tests
from studies.common.words import with_spread
from studies.multi_lens.arms import WITHOUT, arm_name, lenses_of

# Label and prediction of every test image, by dataset, arm and seed.
Predictions = Mapping[tuple[str, str, int], pd.DataFrame]
_FORMS = {"without": "no lenses", "layer": "lenses in the model", "pipeline": "lenses in the data pipeline"}


def write_outcome(
    path: str, table: str, *, facts: Mapping[str, Any], history: pd.DataFrame, labels: np.ndarray, predicted: np.ndarray
) -> None:
    """Write the result of one training: facts and scores (JSON), and a row per test image (TSV)."""
    pd.DataFrame({"label": labels, "predicted": predicted}).to_csv(table, sep="\t", index=False)
    scores = {
        "f1_macro": float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(labels, predicted)),
        "seconds_per_epoch": float(history["seconds"].median()),
        "epochs": len(history),
    }
    write_json(path, {**facts, "scores": scores, "history": history.to_dict("records")})


def read_outcomes(paths: Iterable[str]) -> pd.DataFrame:
    """Trainings, a row each: dataset, arm, strength, seed, sizes of both parts, and the scores."""
    found = pd.DataFrame([outcome | outcome["scores"] for outcome in map(read_json, paths)])
    return found.drop(columns=["scores", "history"])


def swept_sets(outcomes: pd.DataFrame) -> list[str]:
    """Sets that were trained with more than one strength, beside none."""
    by_set = outcomes.groupby("dataset", sort=False)["strength"].nunique()
    return [str(name) for name, strengths in by_set.items() if strengths > 2]


def read_predictions(paths: Iterable[str]) -> Predictions:
    """Read the predictions of each training; dataset, arm and seed are in the files' names."""
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
    tests = {}
    for dataset, frame in outcomes.groupby("dataset", sort=False):
        two = frame[frame["arm"].isin((WITHOUT, arm_name(strength)))]
        tests[str(dataset)] = paired_tests(two, subject="seed", value="f1_macro", reference=WITHOUT)
    return _over_datasets(tests)


def pooled_image_test(predictions: Predictions, strength: float) -> pd.DataFrame:
    """Wilcoxon's signed-rank test over test images, of the number of seeds that classify each correctly."""
    tests = {}
    for dataset in dict.fromkeys(key[0] for key in predictions):
        votes = []
        for arm in (WITHOUT, arm_name(strength)):
            frames = [f for (name, other, _), f in predictions.items() if (name, other) == (dataset, arm)]
            # Whole numbers: shares of seeds would differ in their last digit, so that equal steps would not tie.
            right = np.sum([f["label"].to_numpy() == f["predicted"].to_numpy() for f in frames], axis=0)
            votes.append(pd.DataFrame({"image": np.arange(len(right)), "arm": arm, "value": right}))
        tests[dataset] = paired_tests(pd.concat(votes), subject="image", reference=WITHOUT)
    return _over_datasets(tests)


def compare(
    outcomes: pd.DataFrame, predictions: Predictions, published: pd.DataFrame, strength: float
) -> tuple[pd.DataFrame, dict[str, tuple[float, float]]]:
    """Table 4: macro F1 without lenses and with lenses of ±`strength`, with the published figures beside, as printed.

    `published` has text columns: model, dataset, f1_without, f1_with, wilcoxon_p. The table has columns dataset, seeds,
    F1 of both variants (mean ± sd), change, p over seeds (`seed_tests`) and over images (`pooled_image_test`), and the
    published values. Beside it goes the published F1 (without, with) by set.
    """
    seeds, images = seed_tests(outcomes, strength), pooled_image_test(predictions, strength)
    printed = {_plain(row["dataset"]): row for row in published.to_dict("records")}
    rows, figures = [], {}
    for name, frame in outcomes.groupby("dataset", sort=False):
        dataset, beside = str(name), printed.get(_plain(str(name)), {})
        if beside:
            figures[dataset] = (float(beside["f1_without"]), float(beside["f1_with"]))
        without, with_lenses = (frame.loc[frame["arm"] == arm, "f1_macro"] for arm in (WITHOUT, arm_name(strength)))
        by_seed, by_image = (t.loc[t["dataset"] == dataset].iloc[0] for t in (seeds, images))
        rows.append(
            {
                "dataset": dataset,
                "seeds": int(by_seed["n"]),
                "F1_without": with_spread(without.mean(), without.std(), 4),
                "F1_with": with_spread(with_lenses.mean(), with_lenses.std(), 4),
                "change": by_seed["mean_a"] - by_seed["mean_b"],
                "p_seeds": by_seed["p_holm"],
                "p_images": by_image["p_holm"],
                "published_without": beside.get("f1_without", ""),
                "published_with": beside.get("f1_with", ""),
                "published_p": beside.get("wilcoxon_p", ""),
            }
        )
    return pd.DataFrame(rows), figures


def relative_cost(times: pd.DataFrame) -> pd.DataFrame:
    """Median over rounds of the time per step, and of each form's ratio to `without` in its own round, less one.

    `times` are from `measure_step_times`. Returns the page's table; quartiles are of the overhead.
    """
    wide = times.pivot_table(index="round", columns="form", values="seconds")
    rows = []
    for form in ["without", *sorted(set(times["form"]) - {"without"})]:
        low, middle, high = (100 * float(v) for v in np.quantile(wide[form] / wide["without"] - 1, (0.25, 0.5, 0.75)))
        rows.append((_FORMS[form], 1000 * float(wide[form].median()), middle, low, high))
    quartiles = ["overhead (%)", "lower quartile (%)", "upper quartile (%)"]
    return pd.DataFrame(rows, columns=["variant", "ms_per_step", *quartiles])


def page_view(
    table: pd.DataFrame, outcomes: pd.DataFrame, times: pd.DataFrame, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What `page.md.j2` names; `table` is from `compare`, `times` from `measure_step_times`, `settings` are the
    study's.
    """
    lens, seeds = settings["multi_lens"], outcomes["seed"].nunique()
    sets = [files for files in settings["datasets"].values() if files]
    low, high = lenses_of(lens, settings["strength"], settings["size"]).radius
    return {
        "settings": settings,
        "network": settings["options"].get("backbone", settings["architecture"]),
        "shares": [f"{100 * s:g} %" for s in sorted({files.get("share", settings["share"]) for files in sets})],
        "seeds": seeds,
        "changes": list(zip(table["dataset"], table["change"], strict=True)),
        "higher": int((table["change"] > 0).sum()),
        "comparison": table,
        "costs": relative_cost(times),
        "has_published": bool((table["published_with"] != "").any()),
        "swept": bool(swept_sets(outcomes)),
        "radius": (low, high - 1),
        # The smallest p of a signed-rank test over so many pairs, two-sided.
        "least_p": 2 / 2**seeds if seeds < DECISIVE_PAIRS else None,
    }


def _over_datasets(tests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat([test.assign(dataset=dataset) for dataset, test in tests.items()], ignore_index=True)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _plain(name: str) -> str:
    """A dataset's name as it is compared: letters and digits alone."""
    return "".join(c for c in name.lower() if c.isalnum())
