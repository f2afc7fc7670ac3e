"""What leaving out the U-Net's skip connection at full resolution does (paper, Ablation: HD falls by 4.8 %).

The paper leaves the connection out to get rid of small fragments along the outline, and compares Hausdorff distances of
final segmentations. Both refiners here learn from the same slides and heatmaps, and differ in the connection alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from drunet.evaluation import gather, require_slides
from drunet.report.section import SLIDES_AS_INDEPENDENT, Section
from drunet.report.tables import number, stage_name
from drunet.statistics import holm, paired_tests

# In this order: the change is from the first to the second.
WITH, WITHOUT = "with top skip", "without top skip"
SCORES = {"hd_um": "Hausdorff distance (µm)", "hd95_um": "HD95 (µm)", "fragments": "fragments", "dsc": "Dice"}
STAGES = ("refined", "segmentation")
CHANGES = ["stage", "score", "n", "mean_with", "mean_without", "change_percent", "median_difference", "effect", "p"]
CHANGES += ["p_holm", "left_out", "note"]
PUBLISHED = "Hausdorff distance change, top skip connection removed"


def fragments(mask: np.ndarray) -> int:
    """Connected components (8-neighbourhood) of a bool (h, w) mask."""
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return int(count) - 1


def score_table(
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
    counted: Mapping[tuple[str, str, str], int],
    slides: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """A row per arm, slide and stage.

    Parameters
    ----------
    measured : mapping of arm to the slides' metrics.json
    counted : mapping of (arm, slide, stage) to fragments
    slides : sequence of mapping
        slide, split and patient, in the order of `measured`.

    Returns
    -------
    DataFrame
        arm, slide, stage, hd_um, hd95_um, fragments, dsc.

    Raises
    ------
    ConfigError
        There is no slide to compare on.
    """
    require_slides(slides, "study_settings.top_skip.split")
    tables = [gather(results, slides)[0].assign(arm=arm) for arm, results in measured.items()]
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[rows["stage"].isin(STAGES)]
    keys = zip(rows["arm"], rows["slide"], rows["stage"], strict=True)
    rows = rows.assign(fragments=[float(counted[key]) for key in keys])
    return rows[["arm", "slide", "stage", *SCORES]].reset_index(drop=True)


def long_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores as every study keeps them: arm, protocol (stage), repeat (slide), metric, value."""
    long = scores.melt(id_vars=["arm", "stage", "slide"], value_vars=list(SCORES), var_name="metric")
    return long.dropna(subset="value").rename(columns={"stage": "protocol", "slide": "repeat"}).reset_index(drop=True)


def changes_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How each score changes when the connection is left out, over the slides that have it in both arms.

    Returns
    -------
    DataFrame
        stage, score, n (slides), mean_with, mean_without, change_percent (of the mean), median_difference (without
        minus with), effect, p and p_holm (Wilcoxon's signed-rank test, Holm over the table), left_out, note.
    """
    rows = []
    for stage in STAGES:
        for score in SCORES:
            here = scores[scores["stage"] == stage].sort_values("arm", ascending=False, kind="stable")
            test = paired_tests(here, arm="arm", value=score, reference=WITH).iloc[0]
            before, after = float(test["mean_b"]), float(test["mean_a"])
            rows.append(
                {
                    "stage": stage,
                    "score": score,
                    "n": test["n"],
                    "mean_with": before,
                    "mean_without": after,
                    "change_percent": 100 * (after - before) / before if before else float("nan"),
                    **{key: test[key] for key in ("median_difference", "effect", "p", "left_out", "note")},
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))[CHANGES]


def paired(scores: pd.DataFrame, stage: str, score: str) -> pd.DataFrame:
    """A row per slide that has the score in both arms, a column per arm, the connection first."""
    here = scores[scores["stage"] == stage]
    wide = here.pivot_table(index="slide", columns="arm", values=score, sort=False)
    return wide.reindex(columns=[WITH, WITHOUT]).dropna()


def top_skip_section(changes: pd.DataFrame, figures: Mapping[str, Path], published: str, patients: int) -> Section:
    """The section of the study `top_skip`; `published` is the paper's change of the Hausdorff distance in percent."""
    one = number(1)
    of = changes.set_index(["stage", "score"])["change_percent"]
    final = changes[(changes["stage"] == STAGES[-1]) & (changes["score"] == "hd_um")].iloc[0]
    # Dice below 1 beside distances of hundreds of µm: digits by row. What is left out stands in the notes.
    means = {
        column: [number(3 if score == "dsc" else 1)(value) for score, value in changes[["score", column]].to_numpy()]
        for column in ("mean_with", "mean_without")
    }
    shown = pd.DataFrame(
        {
            "stage": changes["stage"].map(stage_name),
            "score": changes["score"].map(SCORES),
            "n": changes["n"],
            "with": means["mean_with"],
            "without": means["mean_without"],
            "change (%)": changes["change_percent"],
            "published (%)": [
                published.replace("-", "−") if (s, k) == (STAGES[-1], "hd_um") else ""
                for s, k in changes[["stage", "score"]].to_numpy()
            ],
            "p": changes["p"],
            "p_holm": changes["p_holm"],
        }
    )
    lead = (
        "Two refiners that differ in one connection, the U-Net's skip at full resolution, refine the heatmaps of one "
        "classifier. Leaving it out changes the mean Hausdorff distance of the final segmentations by "
        f"{one(final['change_percent'])} % over {final['n']} slides (published, on other slides: "
        f"{published.replace('-', '−')} %)."
    )
    if pd.notna(final["p"]):
        lead += f" Wilcoxon's signed-rank test: p = {final['p']:.2g}."
    lead += (
        f" Before post-processing the distance changes by {one(of['refined', 'hd_um'])} %, and the number of fragments "
        f"by {one(of['refined', 'fragments'])} %."
    )
    return Section(
        title="Top skip connection left out",
        lead=lead,
        tables=[("Change from with to without the connection", shown)],
        figures=list(figures.items()),
        notes=[
            f"The slides come from {patients} patients. A slide whose distance is not defined in one arm (nothing "
            "outlined on a slide with tumour, or something on one without) is left out of both; a slide "
            "without tumour on which nothing is outlined has the distance 0.",
            "Fragments are connected parts of the outlined tumour; after post-processing those below the smallest "
            "annotated area are gone, so that the refined stage shows them best.",
            SLIDES_AS_INDEPENDENT,
            "A dash for p: changes.tsv says why no test could be made.",
            "One training per arm: part of any difference is the chance of a training.",
        ],
    )
