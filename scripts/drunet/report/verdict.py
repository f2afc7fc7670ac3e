"""What the numbers of a report amount to, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from drunet.report.tables import SPLITS, STAGES, ordered, split_name, stage_name

# Below this many patients a percentile bootstrap is known to give intervals that are too narrow.
FEW_PATIENTS = 10
# Above this many runs only the best one is put into words.
MANY_RUNS = 3


def verdict(slides: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Say in a few sentences what the numbers amount to.

    Parameters
    ----------
    slides : DataFrame
        slides.tsv.
    summary : DataFrame
        `summary_table` of the Dice coefficient.
    """
    sentences = [_slides_sentence(slides)]
    split = judged_split(summary)
    if split is None:
        return " ".join([*sentences, "Nothing was measured: no usable slide has an annotation to compare with."])
    if split != "test":
        sentences.append(_no_test_sentence(split))
    judged = summary[summary["split"] == split]
    runs = list(dict.fromkeys(judged["run"]))
    if len(runs) > MANY_RUNS:
        best = _best_run(judged)
        sentences.append(f"Of {len(runs)} runs compared on the same slides, {best} ends with the highest mean Dice.")
        runs = [best]
    sentences += [_run_sentence(run, judged[judged["run"] == run], split) for run in runs]
    patients = int(judged["groups"].max())
    if 1 < patients < FEW_PATIENTS:
        sentences.append(f"With {patients} patients an interval is itself uncertain, and rather too narrow.")
    return " ".join(sentences)


def _slides_sentence(slides: pd.DataFrame) -> str:
    failed = slides.loc[slides["status"] != "ok", "status"]
    if failed.empty:
        return f"All {len(slides)} slides could be used." if len(slides) != 1 else "The one slide could be used."
    causes = ", ".join(f"{n} {str(status).replace('_', ' ')}" for status, n in failed.value_counts(sort=False).items())
    were = "was" if len(failed) == 1 else "were"
    usable = f"{len(slides) - len(failed)} of {len(slides)} slides could be used"
    return f"{usable}; {len(failed)} {were} left out ({causes})."


def _no_test_sentence(split: str) -> str:
    if split == "train":
        return "There is no measured test slide: the models learnt from these slides, which tell little about others."
    return f"There is no measured test slide: the figures are of the {split_name(split)} slides."


def _run_sentence(run: str, rows: pd.DataFrame, split: str) -> str:
    steps: list[str] = []
    for _, row in rows.iterrows():
        where = "for the stitched heatmap" if row["stage"] == "heatmap" else stage_name(row["stage"])
        words = "" if steps else "95\u00a0% interval "
        interval = "" if pd.isna(row["low"]) else f" ({words}{row['low']:.2f} to {row['high']:.2f})"
        steps.append(f"{row['mean']:.2f}{interval} {where}" if row["n"] else f"not defined {where}")
    n, patients = int(rows["n"].max()), int(rows["groups"].max())
    kind = f"{split_name(split)} slide{'s' if n != 1 else ''}" if split else f"slide{'s' if n != 1 else ''}"
    of = f"{n} {kind} of {patients} patient{'s' if patients != 1 else ''}"
    return f"Over {of}, {run} reaches a mean Dice of {_joined(steps)}."


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def judged_split(summary: pd.DataFrame) -> str | None:
    """The split to judge by: test where there is one, else the next best."""
    measured = summary[summary["n"] > 0]
    return ordered(measured["split"], SPLITS)[0] if len(measured) else None


def final_stage(rows: pd.DataFrame) -> str:
    """The last stage that a summary has."""
    present = set(rows["stage"])
    return [stage for stage in STAGES if stage in present][-1]


def _best_run(judged: pd.DataFrame) -> str:
    measured = judged[judged["n"] > 0]
    final = measured[measured["stage"] == final_stage(measured)]
    return str(final["run"].iloc[int(final["mean"].argmax())])


def headline(slides: pd.DataFrame, summary: pd.DataFrame, split: str | None) -> list[tuple[str, str, str]]:
    """(figure, what it is, interval) of the numbers to print large: usable slides, the best run's Dice by stage."""
    usable = int((slides["status"] == "ok").sum())
    tiles = [(f"{usable}\u2009/\u2009{len(slides)}", "slides usable", "")]
    if split is None:
        return tiles
    judged = summary[(summary["split"] == split) & (summary["n"] > 0)]
    best = _best_run(judged)
    name = f"{best}: " if len(set(judged["run"])) > 1 else ""
    for _, row in judged[judged["run"] == best].iterrows():
        interval = "" if pd.isna(row["low"]) else f"{row['low']:.2f} – {row['high']:.2f}"
        tiles.append((f"{row['mean']:.2f}", f"{name}Dice, {stage_name(row['stage'])}", interval))
    return tiles
