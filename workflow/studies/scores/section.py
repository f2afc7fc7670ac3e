"""What the study of pathologists' scores shows: figures, and its part of the report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from drunet.files import whole_file
from drunet.report.figures import INK, PALETTE, STYLE, WIDTH
from drunet.report.section import Section
from drunet.report.words import p_value
from studies.scores.scores import ALL
from studies.scores.scoring_sheet import SCALE

PUBLISHED_FACT = "pathologists' mean score (0-5)"
# Meanings of 0 to 5 in a word or two, for the axis.
SHORT = ("not\njudged", "wrong", "large part\nmissing", "some wrong\nareas", "few wrong\nareas", "whole\ntumour")
MARKERS = ("o", "s", "^", "D", "v", "P")


def published_mean(facts: str | os.PathLike[str]) -> str:
    """The paper's mean score as printed, from `resources/published/drunet_facts.tsv`."""
    table = pd.read_csv(facts, sep="\t", dtype=str, keep_default_na=False).set_index("figure")
    return str(table.loc[PUBLISHED_FACT, "value"])


def distribution_figure(scores: pd.DataFrame) -> Figure:
    """Bars: how often each reader gave each score, a panel per run; first presentations only.

    Parameters
    ----------
    scores : DataFrame
        reader, run, presentation, score.
    """
    first = scores[scores["presentation"] == 1]
    runs, readers = list(dict.fromkeys(first["run"])), list(dict.fromkeys(first["reader"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.0 + 2.3 * len(runs)), layout="constrained")
        panels = figure.subplots(len(runs), squeeze=False, sharex=True, sharey=True)[:, 0]
        width = 0.8 / len(readers)
        for panel, run in zip(panels, runs, strict=True):
            for number, reader in enumerate(readers):
                given = first.loc[(first["run"] == run) & (first["reader"] == reader), "score"]
                counts = [int((given == value).sum()) for value in SCALE]
                place = np.arange(len(SCALE)) + (number - (len(readers) - 1) / 2) * width
                label = f"{reader} (n = {len(given)})"
                bars = panel.bar(place, counts, width * 0.92, color=PALETTE[number % len(PALETTE)], label=label)
                panel.bar_label(bars, [str(c) if c else "" for c in counts], fontsize=8.5, color=INK, padding=1)
            panel.set_title(f"run {run}")
            panel.set_ylabel("outlines")
            panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            panel.grid(axis="y")
            _legend_beside_title(panel)
            panel.margins(y=0.12)
            # What cannot be judged is beside the scale, not at its lower end.
            panel.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        panels[-1].set_xticks(list(SCALE), [f"{v}\n{words}" for v, words in zip(SCALE, SHORT, strict=True)])
        panels[-1].set_xlabel("score")
    return figure


def dice_figure(scores: pd.DataFrame) -> Figure:
    """Points: each rated outline's Dice and score, a panel per run, a mark per reader; equal scores side by side.

    Parameters
    ----------
    scores : DataFrame
        reader, slide, run, presentation, score, dsc.
    """
    rated = scores[(scores["presentation"] == 1) & (scores["score"] > 0) & scores["dsc"].notna()]
    runs, readers = list(dict.fromkeys(scores["run"])), list(dict.fromkeys(scores["reader"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.5 * len(runs)), layout="constrained")
        panels = figure.subplots(len(runs), squeeze=False, sharex=True)[:, 0]
        for panel, run in zip(panels, runs, strict=True):
            for number, reader in enumerate(readers):
                points = rated[(rated["run"] == run) & (rated["reader"] == reader)]
                panel.scatter(
                    points["dsc"],
                    # Readers apart by a fixed step, so that equal scores do not hide each other.
                    points["score"] + 0.16 * (number - (len(readers) - 1) / 2),
                    s=34,
                    marker=MARKERS[number % len(MARKERS)],
                    color=PALETTE[number % len(PALETTE)],
                    alpha=0.85,
                    linewidths=0,
                    label=f"{reader} (n = {len(points)})",
                )
            panel.set_title(f"run {run}")
            panel.set_ylim(0.5, 5.5)
            panel.set_yticks(range(1, 6))
            panel.set_ylabel("score")
            panel.set_xlim(-0.02, 1.02)
            panel.grid()
            _legend_beside_title(panel)
        panels[-1].set_xlabel("Dice similarity coefficient of the segmentation")
    return figure


def write_figures(folder: Path, scores: pd.DataFrame) -> list[tuple[str, Path]]:
    """Draw the figures into a folder; with their captions."""
    drawn = (
        ("distribution", distribution_figure, "How often each reader gave each score. 0 lies beside the scale."),
        ("dice", dice_figure, "Score and Dice of the outlines that were rated (1 to 5), by reader."),
    )
    result = []
    for name, draw, caption in drawn:
        path = folder / f"{name}.png"
        with whole_file(path) as temporary, matplotlib.rc_context(STYLE):
            draw(scores).savefig(temporary, dpi=200)
        result.append((caption, path))
    return result


def scores_section(
    summary: pd.DataFrame,
    agreed: pd.DataFrame,
    correlated: pd.DataFrame,
    figures: Sequence[tuple[str, Path]],
    published: str,
    unread: Sequence[str],
) -> Section:
    """What was found, in words, tables and figures.

    Parameters
    ----------
    summary, agreed, correlated : DataFrame
        From `studies.scores.scores`.
    published : str
        The paper's mean.
    unread : sequence of str
        Readers whose sheet has not come back.
    """
    notes = [
        "A score of 0 means that there was nothing to judge: it is left out of mean and correlation, and `mean with 0` "
        "takes it in. The paper does not say which of the two its mean is.",
        "Kappa has quadratic weights over 0 to 5; `kappa rated` leaves out outlines that either reader gave 0.",
        "The p of a correlation takes slides as independent; several slides of one patient are not, so that it is then "
        "rather too small.",
        "Pictures are overviews: detail below a pixel of theirs was not seen by the readers.",
    ]
    if unread:
        notes.insert(0, f"No sheet has come back from {_listed(unread)}.")
    if agreed.empty:
        notes.insert(0, "One reader scored, and no case came twice: there is no agreement to measure.")
    tables = [(f"Scores by reader (published mean {published}, two readers, 20 slides)", summary)]
    if not agreed.empty:
        tables.append(("Agreement on the same outlines", agreed))
    tables.append(("Rank correlation (Spearman) of score and Dice", correlated))
    return Section(_TITLE, _lead(summary, agreed, correlated, published), tables, figures, notes)


def empty_section(folders: Mapping[str, str], published: str) -> Section:
    """What to do where no sheet has come back yet; `folders` are the readers' folders."""
    places = _listed([f"{folder} ({reader})" for reader, folder in folders.items()])
    return Section(
        _TITLE,
        "No sheet has come back yet, so there is nothing to report. The paper's two pathologists gave a mean of "
        f"{published} out of 5.\n\nMake the sheets with the target scoring_sheet and give each reader their folder and "
        f"nothing else: {places}. Name the filled sheets in the configuration under study_settings.scores.filled, by "
        "reader, and run the target study_scores.",
    )


_TITLE = "Pathologists' scores"


def _lead(summary: pd.DataFrame, agreed: pd.DataFrame, correlated: pd.DataFrame, published: str) -> str:
    words = []
    for run in dict.fromkeys(summary["run"]):
        rows = summary[summary["run"] == run]
        row, readers = rows.iloc[-1], int((rows["reader"] != ALL).sum())
        who = "One reader" if readers == 1 else f"{readers} readers"
        mean = "no outline that could be judged" if np.isnan(row["mean"]) else f"a mean of {row['mean']:.2f} out of 5"
        words.append(
            f"{who} gave the outlines of run {run} {mean} (published for DRU-Net: {published}), in {row['rated']} "
            f"ratings; {row['score_0']} more say that there was nothing to judge."
        )
        found = correlated[correlated["run"] == run].iloc[-1]
        if np.isfinite(found["rho"]):
            words.append(
                f"Score and Dice correlate (Spearman {found['rho']:.2f}, p {_equals(found['p'])}, n {found['n']})."
            )
    between = agreed[~agreed["who"].str.endswith("themselves")]
    words += [
        f"{row['who']} agree with a weighted kappa of {row['kappa']:.2f} (the same score on {row['exact']:.0%} of "
        f"{row['n']})."
        for _, row in between.iterrows()
        if np.isfinite(row["kappa"])
    ]
    return " ".join(words)


def _legend_beside_title(panel: Axes) -> None:
    # Inside it would hide bars or points of some cohort.
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=9, borderaxespad=0.3)


def _equals(p: float) -> str:
    printed = p_value(p)
    return printed if printed.startswith("<") else f"= {printed}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
