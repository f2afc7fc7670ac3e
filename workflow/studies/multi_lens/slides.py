"""Multi-lens distortion on slides: scores by network and strength, tests over slides, and the page's view.

Source: Oskouei et al. 2025, Table 4 (last rows) and Fig. 5. The runs of a network differ in the lenses of their
classifier alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.errors import ConfigError
from drunet.metrics import summarise
from drunet.report.words import number
from studies.common.model_figures import paired_lines
from studies.common.statistics import SLIDES_AS_INDEPENDENT, holm, paired_tests
from studies.common.words import with_interval
from studies.multi_lens.arms import WITHOUT, arm_name, strength_of
from studies.multi_lens.tables import sweep_figure

SCORES = {"accuracy": "accuracy of tiles", "f1": "F1 of tiles", "dsc_heatmap": "Dice, heatmap", "dsc": "Dice, final"}
_COHORT = "NLCB"  # of the published rows that are of slides
_COUNTS = ["right", "tiles", "hits", "called", "tumour"]

# Strength of the lenses by run, by network: the run without lenses, the one with, and those of further strengths.
Networks = Mapping[str, Mapping[str, float]]


def score_table(
    networks: Networks,
    measured: Mapping[str, Sequence[Mapping[str, Any]]],
    slides: Sequence[Mapping[str, Any]],
    threshold: float,
) -> pd.DataFrame:
    """A row per network, strength and slide, from the slides' metrics.json by run; `slides` are in the same order.

    Returns columns network, run, arm, strength, slide, patient; the `SCORES` (NaN: not defined), of which accuracy and
    F1 are of the labelled tiles that were read, tumour from `threshold`, and Dice is that of the heatmap and of the
    final segmentation; and how many tiles are right, there, called tumour and tumour, and both (hits). Raises
    ConfigError if there is no slide to compare on.
    """
    if not slides:
        where, mend = (
            "study_settings.multi_lens.slides",
            "Mark annotated slides `test` in the sheet, or write null here.",
        )
        raise ConfigError("there is no usable annotated test slide to compare on", where=where, mend=mend)
    rows = []
    for network, runs in networks.items():
        for run, strength in runs.items():
            place = {"network": network, "run": run, "arm": arm_name(strength), "strength": strength}
            for slide, found in zip(slides, measured[run], strict=True):
                row = {**place, "slide": slide["slide"], "patient": slide["patient"]}
                rows.append({**row, **_slide_scores(found, threshold)})
    return pd.DataFrame(rows).astype(dict.fromkeys(SCORES, float))


def _slide_scores(found: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    p, label = (np.array(found["tiles"][key], dtype=float) for key in ("p_tumour", "label"))
    tumour, called = (label == 1)[np.isfinite(p)], p[np.isfinite(p)] >= threshold
    dice = {stage["stage"]: stage["dsc"] for stage in found["stages"]}
    right, tiles = int((called == tumour).sum()), len(tumour)
    counts = dict(zip(_COUNTS, (right, tiles, int((called & tumour).sum()), called.sum(), tumour.sum()), strict=True))
    scores = {"accuracy": right / tiles if tiles else None, "f1": found["tiles"]["f1"]}
    return {**scores, "dsc_heatmap": dice["heatmap"], "dsc": dice["segmentation"], **counts}


def slide_tests(scores: pd.DataFrame) -> pd.DataFrame:
    """Wilcoxon's signed-rank test over slides of every strength against no lenses, for each network and score.

    Returns columns network, score, lenses and those of `studies.common.statistics.paired_tests`; Holm's correction
    counts all tests of one score.
    """
    tests = [
        paired_tests(own, value=score, reference=WITHOUT).assign(network=network, score=score)
        for score in SCORES
        for network, own in scores.groupby("network", sort=False)
    ]
    joined = pd.concat(tests, ignore_index=True)
    joined["p_holm"] = joined.groupby("score")["p"].transform(lambda p: holm(p.to_numpy(dtype=float)))
    joined["lenses"] = [lenses_word(strength_of(arm)) for arm in joined["arm_a"]]
    first = ["network", "score", "lenses"]
    return joined[[*first, *joined.columns.drop(first)]]


def compare(scores: pd.DataFrame, published: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """A row per network and strength: scores of all tiles and means over slides, with the published F1 beside, as text.

    `published` has text columns: model, dataset, f1_without, f1_with. Intervals are of the mean, by patient.
    """
    printed = published[published["dataset"] == _COHORT].set_index("model").to_dict("index")
    rows = []
    for network, of_network in scores.groupby("network", sort=False):
        beside = printed.get(str(network), {})
        stated = [beside.get("f1_without", ""), beside.get("f1_with", "")]
        for place, (strength, own) in enumerate(of_network.groupby("strength", sort=False)):
            right, tiles, hits, called, tumour = own[_COUNTS].sum()
            row = {"network": network, "lenses": lenses_word(float(str(strength)))}
            row |= {"accuracy": number(right / tiles if tiles else None, 3)}
            row |= {"F1": number(2 * hits / (called + tumour) if called + tumour else None, 3)}
            row |= {"F1 (paper)": stated[place] if place < 2 else ""}
            for score in ("dsc_heatmap", "dsc"):
                mean = summarise(own[score].to_numpy(), own["patient"].to_numpy(), resamples=resamples, seed=seed)
                row[SCORES[score]] = with_interval(mean.mean, mean.low, mean.high, 3)
            rows.append(row)
    return pd.DataFrame(rows)


def lenses_word(strength: float) -> str:
    """A variant in words."""
    return f"±{strength:g}" if strength else "none"


def long_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns arm, protocol (the network), repeat (the slide), metric and value, as every study has them."""
    long = scores.melt(["arm", "network", "slide"], list(SCORES), var_name="metric").dropna(subset="value")
    return long.rename(columns={"network": "protocol", "slide": "repeat"})


def paired_slides(scores: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """F1 and Dice of every slide without lenses and with those of the second run; published F1 as hollow diamonds."""
    printed = published[published["dataset"] == _COHORT].set_index("model")
    panels, stated = [], {}
    for network, own in scores.groupby("network", sort=False):
        arms = list(dict.fromkeys(own["arm"]))[:2]
        names = {arm: lenses_word(strength_of(arm)) for arm in arms}
        for score, label in (("f1", "F1"), ("dsc", "Dice")):
            wide = own.pivot_table(index="slide", columns="arm", values=score, sort=False).reindex(columns=arms)
            panels.append((f"{network}: {label}", SCORES[score], wide.dropna().rename(columns=names)))
        if network in printed.index:
            without, with_lenses = printed.loc[[str(network)], ["f1_without", "f1_with"]].to_numpy(dtype=float)[0]
            stated[f"{network}: F1"] = (without, with_lenses)
    return paired_lines(panels, "slide", stated)


def slide_sweep(scores: pd.DataFrame) -> Figure:
    """Accuracy of tiles and Dice by maximum strength (Fig. 5): mean over slides, and one standard deviation."""
    named = scores.rename(columns={"network": "series"})
    shown = ("accuracy", "dsc")
    return sweep_figure({SCORES[score]: named.rename(columns={score: "value"}) for score in shown}, "slide")


def page_view(
    scores: pd.DataFrame, table: pd.DataFrame, tests: pd.DataFrame, published: pd.DataFrame
) -> dict[str, Any]:
    """What `page.md.j2` names of the part on slides, from the tables of this module."""
    # Of each score and network the first test is of the run that the paper's table compares.
    compared = tests.drop_duplicates(["network", "score"])
    printed = published[published["dataset"] == _COHORT].set_index("model")["wilcoxon_p"].to_dict()
    shown = tests[["network", "score", "lenses", "n", "median_difference", "effect", "p", "p_holm"]]
    in_paper = [row in compared.index and score == "f1" for row, score in tests["score"].items()]
    stated = [printed.get(name, "") if here else "" for name, here in zip(tests["network"], in_paper, strict=True)]
    noted = {"note": tests["note"]} if tests["note"].astype(bool).any() else {}
    return {
        "networks": list(dict.fromkeys(scores["network"])),
        "slides": scores["slide"].nunique(),
        "patients": scores["patient"].nunique(),
        "tiles": int(scores.drop_duplicates("slide")["tiles"].sum()),
        "changes": compared.to_dict("records"),
        "table": table,
        "tests": shown.assign(score=tests["score"].map(SCORES), **{"p (paper)": stated}, **noted),
        "swept": bool((scores.groupby("network")["strength"].nunique() > 2).any()),
        "slides_as_independent": SLIDES_AS_INDEPENDENT,
    }
