"""What leaving out the U-Net's skip connection at full resolution does (paper, Ablation: HD falls by 4.8 %).

The paper leaves the connection out to get rid of small fragments along the outline, and compares Hausdorff distances of
final segmentations. Both refiners here learn from the same slides and heatmaps, and differ in the connection alone.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import cv2
import numpy as np
import pandas as pd

from drunet.evaluation import gather
from drunet.report.tables import stage_name
from drunet.report.words import number
from studies.common.statistics import SLIDES_AS_INDEPENDENT, holm, paired_tests, require_slides

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
    """A row per variant, slide and stage, from the slides' metrics.json and the `counted` fragments.

    Returns columns arm, slide, stage, hd_um, hd95_um, fragments, dsc. Raises ConfigError if there is no slide.
    """
    require_slides(slides, "study_settings.top_skip.split")
    tables = [gather(results, slides)[0].assign(arm=arm) for arm, results in measured.items()]
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[rows["stage"].isin(STAGES)]
    keys = zip(rows["arm"], rows["slide"], rows["stage"], strict=True)
    rows = rows.assign(fragments=[float(counted[key]) for key in keys])
    return rows[["arm", "slide", "stage", *SCORES]].reset_index(drop=True)


def changes_table(scores: pd.DataFrame) -> pd.DataFrame:
    """How each score changes when the connection is left out, over the slides that have it in both arms.

    Returns columns stage, score, n (slides), mean_with, mean_without, change_percent (of the mean), median_difference
    (without minus with), effect, p and p_holm (Wilcoxon's signed-rank test, Holm over the table), left_out, note.
    """
    rows = []
    for stage, score in product(STAGES, SCORES):
        here = scores[scores["stage"] == stage].sort_values("arm", ascending=False, kind="stable")
        test = paired_tests(here, arm="arm", value=score, reference=WITH).iloc[0]
        before, after = float(test["mean_b"]), float(test["mean_a"])
        change = 100 * (after - before) / before if before else float("nan")
        row = {"stage": stage, "score": score, "mean_with": before, "mean_without": after, "change_percent": change}
        rows.append(row | {key: test[key] for key in ("n", "median_difference", "effect", "p", "left_out", "note")})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))[CHANGES]


def paired(scores: pd.DataFrame, stage: str, score: str) -> pd.DataFrame:
    """A row per slide that has the score in both arms, a column per arm, the connection first."""
    here = scores[scores["stage"] == stage]
    wide = here.pivot_table(index="slide", columns="arm", values=score, sort=False)
    return wide.reindex(columns=[WITH, WITHOUT]).dropna()


def page_view(changes: pd.DataFrame, published: str, patients: int) -> dict[str, Any]:
    """What `page.md.j2` names; `published` is the paper's change of the Hausdorff distance in percent."""
    is_published = (changes["stage"] == STAGES[-1]) & (changes["score"] == "hd_um")
    final = changes[is_published].iloc[0]
    of = changes[changes["stage"] == STAGES[0]].set_index("score")["change_percent"]
    shown = changes[["stage", "score", "n"]].assign(stage=changes["stage"].map(stage_name))
    shown["score"] = changes["score"].map(SCORES)
    for column in ("with", "without"):
        # Dice below 1 beside distances of hundreds of µm: digits by row.
        pairs = changes[["score", f"mean_{column}"]].to_numpy()
        shown[column] = [number(value, 3 if score == "dsc" else 1) for score, value in pairs]
    shown["change (%)"] = changes["change_percent"]
    shown["published (%)"] = [number(published, 1) if here else "" for here in is_published]
    shown[["p", "p_holm"]] = changes[["p", "p_holm"]]
    return {
        "changes": shown,
        "final": final.to_dict(),
        "refined": of.to_dict(),
        "published": published,
        "patients": patients,
        "slides_as_independent": SLIDES_AS_INDEPENDENT,
    }
