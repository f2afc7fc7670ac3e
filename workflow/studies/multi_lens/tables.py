"""Tables and figures of multi-lens distortion: scores, tests over seeds and over images, cost, and the page's view.

Source: Oskouei et al. 2025, Table 4 and Fig. 5. The paper does not say what its Wilcoxon tests pair. Two units are
tested here: trainings, paired by seed, which is the question itself; and test images, which are many, but whose tests
are about the trained networks only.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from drunet.augment.multi_lens import distort, draw_lenses
from drunet.augment.pipeline import MultiLens
from drunet.files import read_json, write_json
from drunet.report.figures import MUTED, PALETTE, STYLE, WIDTH, new_figure, nothing_drawn
from studies.common.model_figures import paired_lines
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
    return pd.DataFrame(rows, columns=["variant", "ms_per_step", *quartiles]).round(1)


def page_view(table: pd.DataFrame, outcomes: pd.DataFrame, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `page.md.j2` names of the part on images; `table` is from `compare`, `settings` are the study's."""
    lens, seeds = settings["multi_lens"], outcomes["seed"].nunique()
    sets = [files for files in settings["datasets"].values() if files]
    low, high = lenses_of(lens, settings["strength"], settings["size"]).radius
    printed = [column for column in map(str, table) if column.startswith("published_")]
    has_published = bool((table["published_with"] != "").any())
    return {
        "network": settings["options"].get("backbone", settings["architecture"]),
        "shares": [f"{100 * s:g} %" for s in sorted({files.get("share", settings["share"]) for files in sets})],
        "seeds": seeds,
        "changes": list(zip(table["dataset"], table["change"], strict=True)),
        "higher": int((table["change"] > 0).sum()),
        # Columns without an entry would push the others off the page.
        "comparison": table if has_published else table.drop(columns=printed),
        "has_published": has_published,
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


_CELLS = 11  # squares of the grid along the height of the patch


def sample_tile(tiles: pd.DataFrame) -> tuple[int, int]:
    """Level-0 corner (x, y) of the tile with the most tumour, or else the most tissue."""
    by = ["tumour_fraction", "tissue_fraction"]
    row = tiles.sort_values(by, ascending=False, kind="stable", na_position="last").iloc[0]
    return int(row["x"]), int(row["y"])


def grid_picture(patch: NDArray[np.uint8], strong: MultiLens, medium: MultiLens, *, seed: int) -> Figure:
    """A patch with a grid on it, and the same through lenses that are too strong and through medium ones (Fig. 2).

    Both use the same random numbers, so that lenses of the same number and radii are in the same places. `patch` is
    uint8 (h, w, 3).
    """
    height, width = patch.shape[:2]
    lined = patch.copy()
    cell, thick = height / _CELLS, max(1, height // 112)
    # No line on the edge: a lens that reaches beyond the edge repeats it.
    for at in np.arange(cell / 2, max(height, width), cell).round().astype(int):
        lined[at : at + thick] = lined[:, at : at + thick] = (20, 24, 32)
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(WIDTH / 3 + 0.36, panels=3)
        shown = {"a) original": None, "b) too strong": strong, "c) medium": medium}
        for axes, (title, lens) in zip(panels, shown.items(), strict=True):
            seen = lined
            if lens is not None:
                rng, draws = np.random.default_rng(seed), (lens.lenses, lens.radius, lens.strength)
                seen = distort(lined, draw_lenses(rng, (height, width), *draws, centres=lens.centres))
                title += f": {lens.lenses} lenses, ±{max(map(abs, lens.strength)):g}"
            axes.imshow(seen, interpolation="nearest")
            axes.set_title(title, fontsize=9.5)
            axes.set_axis_off()
    return figure


def paired_dots(outcomes: pd.DataFrame, published: Mapping[str, tuple[float, float]], strength: float) -> Figure:
    """Macro F1 without and with lenses, a line per seed; published values, by dataset, as hollow diamonds."""
    shown, panels = {WITHOUT: "without", arm_name(strength): f"±{strength:g}"}, []
    for dataset, here in outcomes.groupby("dataset", sort=False):
        wide = here.pivot_table(index="seed", columns="arm", values="f1_macro")[list(shown)].rename(columns=shown)
        panels.append((str(dataset), "macro F1 (test set)", wide))
    return paired_lines(panels, "seed", published)


def strength_sweep(outcomes: pd.DataFrame) -> Figure:
    """Macro F1 by maximum strength (Fig. 5): mean over seeds, and a band of one standard deviation on either side."""
    named = outcomes.rename(columns={"dataset": "series", "f1_macro": "value"})
    return sweep_figure({"macro F1 (test set)": named}, "seed")


def sweep_figure(panels: Mapping[str, pd.DataFrame], unit: str) -> Figure:
    """Scores by maximum strength of the lenses, a panel each by the label of its axis: mean and standard deviation.

    A panel's frame has columns series, strength and value (NaN: not defined), a row per `unit`. A series of two
    strengths or fewer is no sweep and not drawn.
    """
    frame = next(iter(panels.values()))
    swept = [str(name) for name, own in frame.groupby("series", sort=False) if own["strength"].nunique() > 2]
    with matplotlib.rc_context(STYLE):
        figure, axes_row = new_figure(3.3, panels=len(panels) if swept else 1)
        if not swept:
            return nothing_drawn(figure, axes_row[0], "nothing was trained with several strengths")
        for axes, (label, frame) in zip(axes_row, panels.items(), strict=True):
            for i, name in enumerate(swept):
                here = frame[frame["series"] == name]
                by = here.groupby("strength")["value"].agg(["mean", "std", "count"])
                at, mean, spread = by.index.to_numpy(), by["mean"].to_numpy(), by["std"].fillna(0).to_numpy()
                colour = PALETTE[i % len(PALETTE)]
                axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.16, linewidth=0)
                axes.plot(at, mean, marker="o", color=colour, label=f"{name} (n = {int(by['count'].min())} {unit}s)")
                axes.plot(here["strength"], here["value"], ".", color=colour, markersize=4, alpha=0.6)
            axes.axvspan(0.2, 0.4, color=MUTED, alpha=0.10, linewidth=0, zorder=0, label="best in Oskouei et al. 2025")
            axes.xaxis.set_major_locator(MultipleLocator(0.2))
            axes.xaxis.set_major_formatter(lambda value, _: "none" if abs(value) < 1e-9 else f"±{value:g}")
            axes.grid(axis="y")
            axes.set_xlabel("maximum strength of the lenses")
            axes.set_ylabel(label)
        figure.legend(*axes_row[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure
