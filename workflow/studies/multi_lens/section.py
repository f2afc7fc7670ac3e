"""What the multi-lens study tells its reader: lead, tables, figures and what to know to judge them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from drunet.statistics import DECISIVE_PAIRS
from studies.multi_lens.arms import lenses_of
from studies.multi_lens.scores import Comparison, relative_cost, swept_sets


def section_of(
    comparison: Comparison,
    outcomes: pd.DataFrame,
    times: pd.DataFrame,
    settings: Mapping[str, Any],
    figures: Path,
) -> Section:
    """The study's section of the report; `figures` is the folder of pairs.png, sweep.png and grid.png."""
    table, seeds, cost = comparison.table, outcomes["seed"].nunique(), settings["cost"]
    return Section(
        title="Multi-lens distortion",
        lead=_lead(table, settings, seeds),
        tables=[
            (
                "Macro F1 on test images, mean ± sd over seeds, beside DRU-Net, Table 4; p by signed ranks, over seeds "
                "and over images, Holm over the sets",
                table,
            ),
            (
                f"Training time per step at {cost['size']} px, batch {cost['batch_size']}: the forms in turn in one "
                f"run of {cost['rounds']} rounds of {cost['steps']} steps, overhead against none in the same round "
                "(published: +8 %)",
                _costs(times),
            ),
            ("Test images that one arm alone has right: McNemar's exact test", comparison.mcnemar),
        ],
        figures=_figures(comparison, outcomes, figures),
        notes=_notes(settings, seeds),
    )


def _figures(comparison: Comparison, outcomes: pd.DataFrame, folder: Path) -> list[tuple[str, Path]]:
    published = " Published figures are hollow diamonds." if comparison.published else ""
    sweep = (
        "By strength of the lenses: mean over seeds, and one standard deviation either way (Fig. 5; shaded: where the "
        "paper, on its own data, finds the best)."
    )
    return [
        (f"Without and with lenses, a line per seed.{published}", folder / "pairs.png"),
        *([(sweep, folder / "sweep.png")] if swept_sets(outcomes) else []),
        ("A patch with a grid drawn on it, seen through lenses (Fig. 2).", folder / "grid.png"),
    ]


def _lead(table: pd.DataFrame, settings: Mapping[str, Any], seeds: int) -> str:
    shares = {files.get("share", settings["share"]) for files in settings["datasets"].values() if files}
    share = " or ".join(f"{100 * s:g} %" for s in sorted(shares))
    network = settings["options"].get("backbone", settings["architecture"])
    rises, sets = int((table["change"] > 0).sum()), len(table)
    found = ", ".join(
        f"{name} " + f"{change:+.3f}".replace("-", "−")
        for name, change in zip(table["dataset"], table["change"], strict=True)
    )
    lenses = f"{settings['multi_lens']['lenses']} lenses of ±{settings['strength']:g}"
    return (
        f"Does multi-lens distortion help a classifier? {network} learnt from {share} of each set's training images at "
        f"{settings['size']} px, without and with {lenses}, in {seeds} paired trainings a set: one seed gives "
        "both arms the same images, initial weights, order, dropout and other augmentation.\n\n"
        f"With lenses, mean macro F1 was higher on {rises} of {sets} set{'s' if sets > 1 else ''} ({found})."
    )


def _notes(settings: Mapping[str, Any], seeds: int) -> list[str]:
    lens = settings["multi_lens"]
    low, high = lenses_of(lens, settings["strength"], settings["size"]).radius
    notes = [
        f"Lens radii are {low}-{high - 1} px: [{lens['radius'][0]}, {lens['radius'][1]}) px on {lens['radius_at']} px, "
        "scaled to the image.",
        "The paper states neither how it averages F1 over classes (macro here) nor what its Wilcoxon tests pair.",
        "Tests over images pair what the two arms make of a test image. They are sensitive, but speak of these trained "
        "networks alone: other seeds may turn them round.",
    ]
    if seeds < DECISIVE_PAIRS:
        floor = 2 / 2**seeds
        notes.append(f"A signed-rank test over {seeds} seeds cannot fall below p = {floor:.2g}, whatever the effect.")
    if settings["weights"] == "random":
        notes.append("Training starts from random weights here; the published figures start from pre-trained ones.")
    return notes


def _costs(times: pd.DataFrame) -> pd.DataFrame:
    words = {"without": "no lenses", "layer": "lenses in the model", "pipeline": "lenses in the data pipeline"}
    frames = []
    for value, clock in (("seconds", "wall"), ("cpu_seconds", "processor")):
        cost = relative_cost(times, value)
        frames.append(
            pd.DataFrame(
                {
                    "clock": clock,
                    "form": cost["form"].map(words),
                    "ms_per_step": 1000 * cost["seconds"],
                    "overhead (%)": 100 * cost["overhead"],
                    "lower quartile (%)": 100 * cost["low"],
                    "upper quartile (%)": 100 * cost["high"],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
