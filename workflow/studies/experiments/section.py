"""What the comparison of runs shows and tells its reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.report.figures import save
from drunet.report.section import SLIDES_AS_INDEPENDENT, Section, shown_tests
from drunet.report.tables import number
from studies.experiments.figures import picture_grid, run_boxes, stacked_seconds
from studies.experiments.tables import AFTER, BEFORE, SLIDE_STAGES, Runs, named_after, named_before, published_of

LEVEL = 0.05
# The slide itself stands above the runs, under the empty name.
SLIDE_ROW = ""
_CAPTIONS = {
    "with_refiner": "Dice of every slide at the end of each run (paper: Fig. 3)",
    "without_refiner": "Dice of every slide without refiner, each classifier once (paper: Fig. 4)",
    "pictures": "Slides, and what the runs make of them, with Dice (paper: Fig. 6)",
    "seconds_figure": "Seconds per slide in each run, by stage; a job that runs share counts for each of them",
}
_PUBLISHED = {
    "dsc_mean_without_refiner": "published Dice, heatmap",
    "dsc_mean": "published Dice",
    "dsc_median": "published median",
    "iou_mean": "published IoU",
}


def draw_figures(
    paths: Mapping[str, Path],
    scores: pd.DataFrame,
    seconds: pd.DataFrame,
    pictures: Mapping[tuple[str, str], np.ndarray],
    labels: Mapping[str, str],
    runs: Runs,
    published: pd.DataFrame,
) -> dict[str, Path]:
    """Draw the study's figures.

    Parameters
    ----------
    paths : mapping of with_refiner, without_refiner, seconds_figure and pictures to Path
        Where they are written.
    scores, seconds : DataFrame
        Of `score_table` and `seconds_table`.
    pictures : mapping of (run, slide) to uint8 (h, w, 3)
        Under the empty run the slide itself.
    published : DataFrame
        drunet_experiments.tsv, as text.

    Returns
    -------
    dict of caption to Path
    """
    counted = f"{scores['slide'].nunique()} slides of {scores['patient_id'].nunique()} patients"
    after, before = named_after(scores), named_before(scores, labels, runs)
    means = published_of(published, labels, "dsc_mean")
    means_before = published_of(published, labels, "dsc_mean_without_refiner")
    figures = {
        "with_refiner": run_boxes(after, published=_by_name(after, means), slides=counted),
        "without_refiner": run_boxes(before, published=_by_name(before, means_before), slides=counted),
        "seconds_figure": stacked_seconds(
            seconds.assign(name=seconds["experiment"] + "  " + seconds["run"]), _recorded_stages(seconds)
        ),
        "pictures": _pictures(scores, pictures, labels),
    }
    for name, figure in figures.items():
        save(figure, paths[name], dpi=200)
    return {_CAPTIONS[name]: paths[name] for name in figures}


def experiments_section(
    runs: pd.DataFrame,
    tests: pd.DataFrame,
    seconds: pd.DataFrame,
    published: pd.DataFrame,
    figures: Mapping[str, Path],
    *,
    band_um: float,
) -> Section:
    """The section of the study `experiments`.

    Parameters
    ----------
    runs, tests, seconds : DataFrame
        Of `runs_table`, `tests_table` and `seconds_table`.
    published : DataFrame
        drunet_experiments.tsv, as text.
    figures : mapping of caption to Path
    band_um : float
        Width of the margin in which false positives are counted.
    """
    tables = [
        ("What each run is made of", _makings(runs)),
        (
            f"Scores on the same {_counted(runs)}; published figures are of the paper's own slides",
            _scores(runs, published),
        ),
    ]
    if len(seconds):
        tables.append(("Seconds per slide, by stage", _seconds(seconds, published)))
    for family in dict.fromkeys(tests["family"]):
        here = shown_tests(tests[tests["family"] == family])
        tables.append((f"Wilcoxon's signed-rank test of Dice, {family} ({len(here)} tests)", here))
    return Section(
        title="Runs beside each other",
        lead=_lead(runs, tests),
        tables=tables,
        figures=list(figures.items()),
        notes=_notes(runs, tests, band_um),
    )


def _by_name(rows: pd.DataFrame, means: Mapping[str, float]) -> dict[str, float]:
    """Published means by the names in a figure; one row may stand for several experiments."""
    names = rows.drop_duplicates("name").set_index("name")["experiment"]
    stated = {name: [means[e] for e in experiments.split(", ") if e in means] for name, experiments in names.items()}
    return {str(name): values[0] for name, values in stated.items() if values}


def _recorded_stages(seconds: pd.DataFrame) -> dict[str, str]:
    return {stage: words for stage, words in SLIDE_STAGES.items() if stage in set(seconds["stage"])}


def _pictures(
    scores: pd.DataFrame, pictures: Mapping[tuple[str, str], np.ndarray], labels: Mapping[str, str]
) -> Figure:
    experiments = {experiment: run for experiment, run in labels.items() if any(r == run for r, _ in pictures)}
    columns = list(dict.fromkeys(slide for _, slide in pictures))
    after = scores[scores["stage"] == AFTER]
    dice = dict(zip(zip(after["experiment"], after["slide"], strict=True), after["dsc"], strict=True))
    shown = {("slide", s): pictures[SLIDE_ROW, s] for s in columns}
    captions = {}
    for experiment, run in experiments.items():
        for slide in columns:
            shown[experiment, slide] = pictures[run, slide]
            captions[experiment, slide] = f"{dice[experiment, slide]:.2f}"
    return picture_grid([("slide", ""), *experiments.items()], columns, shown, captions)


def _lead(runs: pd.DataFrame, tests: pd.DataFrame) -> str:
    two = number(2)
    judged = runs[runs["dsc_mean"].notna()]
    sentences = [f"{len(runs)} runs, judged on the same {_counted(runs)}."]
    if len(judged):
        best = judged.iloc[int(judged["dsc_mean"].argmax())]
        sentences.append(f"{best['experiment']} ({best['run']}) has the highest mean Dice, {two(best['dsc_mean'])}.")
    refined = judged[judged["refiner"] != "none"]
    if len(refined):
        higher = int((refined["dsc_mean"] > refined["before_dsc_mean"]).sum())
        count = f"{higher} of {len(refined)} runs with a refiner"
        sentences.append(f"In {count}, refinement and post-processing together raise the mean Dice of the heatmap.")
    pairs = tests[(tests["family"] == "with refiner") & tests["p_holm"].notna()]
    if len(pairs):
        apart = int((pairs["p_holm"] < LEVEL).sum())
        # The smallest p of an exact test on k slides that differ is 2 / 2^k; Holm multiplies it by the number of pairs.
        least = 2.0 ** (1 - (pairs["n"] - pairs["zeros"])) * len(pairs)
        few = "; there are too few slides for any test to get there" if (least >= LEVEL).all() else ""
        sentences.append(f"Of {len(pairs)} pairs of runs, {apart} differ at p < {LEVEL} after Holm's correction{few}.")
    return " ".join(sentences)


def _makings(runs: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "experiment": "experiment",
        "run": "run",
        "classifier": "classifier",
        "classifier_data": "learnt from",
        "refiner": "refiner",
        "refiner_data": "refiner learnt from",
    }
    return runs[list(columns)].rename(columns=columns)


def _scores(runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    stated = published.set_index("experiment")
    two = number(2)
    table = pd.DataFrame(
        {
            "experiment": runs["experiment"],
            "Dice, heatmap": runs["before_dsc_mean"],
            "Dice, final": runs["dsc_mean"],
            "95\u00a0% interval": [
                "" if pd.isna(low) else f"{two(low)} – {two(high)}"
                for low, high in zip(runs["dsc_low"], runs["dsc_high"], strict=True)
            ],
            "sd": runs["dsc_sd"],
            "median": runs["dsc_median"],
            "IoU": runs["iou_mean"],
            "HD95 (µm)": runs["hd95_um_mean"],
        }
    )
    if "margin_mean" in runs:
        table["margin called tumour"] = runs["margin_mean"]
    for column, heading in _PUBLISHED.items():
        table[heading] = [stated[column].get(e, "") for e in runs["experiment"]]
    return table


def _seconds(seconds: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    means = seconds.pivot_table(index="experiment", columns="stage", values="seconds", sort=False)
    table = means[[stage for stage in SLIDE_STAGES if stage in means]]
    table = table.assign(total=table.sum(axis=1)).rename(columns=SLIDE_STAGES)
    stated = published.set_index("experiment")["seconds_per_slide"]
    table["published"] = [stated.get(e, "") for e in table.index]
    return table.rename_axis(None, axis=1).reset_index()


def _notes(runs: pd.DataFrame, tests: pd.DataFrame, band_um: float) -> list[str]:
    notes = [
        f"Heatmap: the stitched heatmap at its threshold ({BEFORE}). Final: after refinement, where there is one, and "
        f"post-processing ({AFTER}). Intervals come from bootstrap draws of patients.",
        "A slide without annotated tumour counts as Dice 1 when nothing is outlined on it, and as 0 when anything is.",
        "Runs that share a classifier share its heatmaps, which are tested once.",
        f"{SLIDES_AS_INDEPENDENT} Pairs without a difference are dropped; Holm's correction counts a table's tests.",
        "Seconds are of whole jobs, each of which starts Python and opens its files anew. A job that runs share counts "
        "for each of them. The published seconds are of slides of about 108,640 × 129,835 px on other hardware.",
    ]
    if "margin_mean" in runs:
        notes.insert(
            3,
            f"Margin called tumour: share of the tissue within {band_um:g} µm around the annotated tumour that is "
            "falsely called tumour. The paper gives 25 % for H2G-Net as it came, and no width.",
        )
    if _learns_otherwise(runs):
        notes.append(
            "The published classifier of X learnt from 40 tumour and 50 non-tumour areas, ten of them for being hard "
            "(induced imbalance); `learnt from` says what it was here. The target study_sampling compares the two."
        )
    if tests["note"].astype(bool).any():
        notes.append("A dash for p: the note beside it says why no test could be made.")
    return notes


def _learns_otherwise(runs: pd.DataFrame) -> bool:
    """Whether X stands beside its published figures with a classifier that chose its areas in another way."""
    return bool((~runs.loc[runs["experiment"] == "X", "classifier_data"].str.contains("induced imbalance")).any())


def _counted(runs: pd.DataFrame) -> str:
    slides, patients = int(runs["slides"].max()), int(runs["patients"].max())
    return f"{slides} slide{'s' if slides != 1 else ''} of {patients} patient{'s' if patients != 1 else ''}"
