"""What the study of distilled students in front of the refiner tells its reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.classifier_arms import POOLED, wide, with_interval
from studies.slide_distillation.tables import STAGES, answered, deciding_stage, is_taught, twin_of

Arms = Mapping[str, Mapping[str, Any]]


def section_of(
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    dice: pd.DataFrame,
    figure: Path,
    *,
    arms: Arms,
    settings: Arms,
    reference: str,
    asked: Mapping[str, float],
    size: int,
) -> Section:
    """The study for its reader.

    Parameters
    ----------
    metrics : DataFrame
        From `studies.common.classifier_arms.arm_metrics`, of the labelled tiles.
    cost : DataFrame
        cost.tsv: `studies.common.cost.cost_table` with the columns of `speed_table`.
    dice : DataFrame
        From `studies.slide_distillation.tables.dice_table`.
    figure : Path
    arms : mapping of arm to mapping
        `label`.
    settings : mapping of arm to mapping
        The classifiers' entries in the configuration.
    reference : str
        The arm of the teacher.
    asked : mapping
        speed and dsc: what makes a student good enough.
    size : int
        Side of a tile, px.
    """
    stage = deciding_stage(dice)
    verdicts = answered(cost, dice, asked, reference, stage)
    of = dice[(dice["arm"] == reference) & (dice["stage"] == stage)].iloc[0]
    slides, patients = int(of["slides"]), int(of["patients"])
    return Section(
        title="A distilled student in the place of the patch-wise classifier",
        lead=_lead(verdicts, dice, arms, settings, reference, asked, stage),
        tables=[
            (f"Speed and size, tiles of {size} × {size} px, the networks in turn in one run", cost_shown(cost, arms)),
            (
                f"F1 on labelled tiles, and mean Dice of {slides} test slides ({patients} patients) at every stage, "
                f"with 95 % intervals; the change is that of the {STAGES[stage]} against the teacher's",
                agreement_shown(metrics, dice, verdicts, arms, stage),
            ),
        ],
        figures=[
            (
                f"Tiles per second against mean Dice of {slides} test slides ({patients} patients); beside the points "
                "the width of the pyramid",
                figure,
            )
        ],
        notes=_notes(cost, settings, reference),
    )


def cost_shown(cost: pd.DataFrame, arms: Arms) -> pd.DataFrame:
    """Tiles per second, the ratio to the teacher's with its quartiles, parameters and multiply-accumulates."""
    ratios = [f"{r.ratio:.2f} ({r.ratio_low:.2f}–{r.ratio_high:.2f})" for r in cost.itertuples()]
    return pd.DataFrame(
        {
            "classifier": [arms[a]["label"] for a in cost["arm"]],
            "tiles per second": cost["tiles_per_s"].round(1),
            "times the teacher's (quartiles)": ratios,
            "million parameters": (cost["parameters"] / 1e6).round(2),
            "GMAC per tile": (cost["gflops"] / 2).round(3),
        }
    )


def agreement_shown(
    metrics: pd.DataFrame, dice: pd.DataFrame, verdicts: pd.DataFrame, arms: Arms, stage: str
) -> pd.DataFrame:
    """Tile F1, Dice at every stage that there is, the change at `stage`, and whether it is as was asked."""
    tiles = wide(metrics, POOLED).set_index("arm")
    cells = dice.set_index(["arm", "stage"])
    good = dict(zip(verdicts["arm"], verdicts["good"], strict=True))
    stages = [s for s in STAGES if s in set(dice["stage"])]
    rows = []
    for arm in dict.fromkeys(dice["arm"]):
        # What was asked for stands first: on a narrow page the stages are what is scrolled to.
        row = {
            "classifier": arms[arm]["label"],
            "change": _change(cells.loc[(arm, stage)]) if arm in good else "",
            "as asked": ("yes" if good[arm] else "no") if arm in good else "",
            "tile F1": with_interval(dict(tiles.loc[arm]), "f1"),
        }
        for each in stages:
            known = (arm, each) in cells.index
            row[STAGES[each]] = _interval(cells.loc[(arm, each)]) if known else ""
        rows.append(row)
    return pd.DataFrame(rows)


def _lead(
    verdicts: pd.DataFrame,
    dice: pd.DataFrame,
    arms: Arms,
    settings: Arms,
    reference: str,
    asked: Mapping[str, float],
    stage: str,
) -> str:
    taught = verdicts[[is_taught(settings[a]) for a in verdicts["arm"]]]
    good = taught[taught["good"]]
    names = "; ".join(
        f"{arms[r['arm']]['label']}, {r['ratio']:.1f} times, {_signed(r['difference'])}"
        for r in good.to_dict("records")
    )
    lead = (
        f"Can a light student do the work of {arms[reference]['label']}? Asked for were at least {asked['speed']:g} "
        f"times its tiles per second, and a mean Dice ({STAGES[stage]}) at most {asked['dsc']:g} below. "
        f"{len(good)} of {len(taught)} distilled students are so{f': {names}' if names else ''}."
    )
    at = dice[dice["stage"] == stage].set_index("arm")["mean"]
    for arm in verdicts["arm"]:
        twin = twin_of(arm, settings)
        if twin is not None:
            lead += (
                f"\n\nWhat the teacher gives: the network of {arms[twin]['label']} reaches {at[twin]:.3f} with it, and "
                f"{at[arm]:.3f} from labels alone."
            )
    return lead


def _notes(cost: pd.DataFrame, settings: Arms, reference: str) -> list[str]:
    first = cost.iloc[0]
    threads = int(first["threads"])
    notes = [
        "The refiner is the teacher's own: it learnt from the teacher's heatmaps, and no student's were shown to it.",
        "Intervals: percentile bootstrap over patients. On a slide without tumour Dice is 0 or 1: one such slide moves "
        "the mean of few by much.",
        f"Time: {int(first['repeats'])} batches of {int(first['batch_size'])} tiles each on ONNX Runtime "
        f"({first['provider']}, {f'{threads} thread' + 's' * (threads > 1) if threads else 'all cores'}), without "
        "reading the slide; the ratio is the median over turns, in each of which every network ran once.",
        "One training per arm: part of any difference is the chance of a training.",
    ]
    lessons = {
        (d["temperature"], d["weight"], d["unlabelled_share"])
        for s in settings.values()
        if (d := s.get("distillation")) is not None
    }
    if len(lessons) == 1:
        temperature, weight, share = lessons.pop()
        notes.insert(
            1,
            f"Students learn at temperature {temperature:g} with weight {weight:g} of the soft term; {100 * share:g} % "
            "of each batch are tissue tiles of the training slides without regard to labels. The paper (Tian et al. "
            "2024) states neither temperature nor weight.",
        )
    if "onnx" in settings[reference]:
        notes.append("The teacher is a finished model; how it was trained is not known here.")
    return notes


def _interval(row: Any) -> str:
    low = f" ({row['low']:.2f}–{row['high']:.2f})" if pd.notna(row["low"]) else ""
    return "" if pd.isna(row["mean"]) else f"{row['mean']:.3f}{low}"


def _change(row: Any) -> str:
    if pd.isna(row["difference"]):
        return ""
    low, high = row["difference_low"], row["difference_high"]
    return _signed(row["difference"]) + (f" ({_signed(low)} to {_signed(high)})" if pd.notna(low) else "")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
