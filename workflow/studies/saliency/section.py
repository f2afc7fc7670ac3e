"""The tables and the page of study_saliency."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section

# From here on the sums of integrated gradients, or the tiles themselves, are not what they should be.
_GAP, _DIFFERENCE = 0.05, 0.01
_SCORES = {
    "log_odds": "the log odds of tumour",
    "log_probability": "the logarithm of the probability of tumour",
    "probability": "the probability of tumour",
}

_NAMES = {
    "integration_gap": "change of the score that integrated gradients miss, at most",
    "probability_difference": "probability here less that of the heatmap, at most",
}


@dataclass(frozen=True)
class SeenInside:
    """What was seen of one model: its tiles (`chosen_table`), its metrics (`metrics_table`) and the figure."""

    model: str
    tiles: pd.DataFrame
    metrics: pd.DataFrame
    figure: Path


def chosen_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """Tile (the letter in the figure), slide, column, row, kind, p_tumour, from what `choose_tiles` gives."""
    letters = [string.ascii_lowercase[i % 26] for i in range(len(chosen))]
    return chosen[["slide", "column", "row", "kind", "p_tumour"]].assign(tile=letters).iloc[:, [5, 0, 1, 2, 3, 4]]


def metrics_table(model: str, split: str, metrics: Mapping[str, float]) -> pd.DataFrame:
    """Arm, protocol, repeat, metric, value."""
    rows = [(model, split, "", metric, value) for metric, value in metrics.items()]
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def saliency_section(seen: Sequence[SeenInside], settings: Mapping[str, Any]) -> Section:
    """The study's page: a figure and a table of tiles per model, and how far the methods agree."""
    lead = (
        f"By which parts of a tile does {_listed([s.model for s in seen])} decide? For tiles called tumour, rightly or "
        f"wrongly, a figure shows the gradient of {_SCORES[settings['score']]} (the largest of the three colours), "
        f"integrated gradients from a {settings['baseline']} tile, and Grad-CAM. The tiles are those with the highest "
        "probabilities, from as many different slides as there are.\n\n"
        "The paper looked into six tiles of six slides (Fig. 7): where the classifier was wrong, it went in part by "
        "reactive pneumocytes and macrophages."
    )
    return Section(
        "Looking inside the classifier",
        lead,
        tables=[(f"Tiles of {s.model}", s.tiles) for s in seen] + [("Agreement and checks", _checks(seen))],
        figures=[(_caption(s), s.figure) for s in seen],
        notes=[*_lacking(seen, settings), *_doubts(seen), *_cautions(settings)],
    )


def _caption(seen: SeenInside) -> str:
    return (
        f"{seen.model}: {len(seen.tiles)} tiles and what influences the decision, from blue (least) to red (most), "
        "over the grey tile. Gradients are stretched by themselves to their 99th percentile; Grad-CAM has one scale "
        "per tile for its branches and their sum."
    )


def _checks(seen: Sequence[SeenInside]) -> pd.DataFrame:
    both = pd.concat([s.metrics for s in seen])
    both = both.assign(value=[_printed(m, float(v)) for m, v in zip(both["metric"], both["value"], strict=True)])
    names = [_NAMES.get(m, m.replace("_", " ")) for m in both["metric"]]
    table = both.assign(metric=names).pivot_table(
        index="metric", columns="arm", values="value", aggfunc="first", sort=False
    )
    return table.reset_index().rename_axis(columns=None)


def _printed(metric: str, value: float) -> str:
    if metric == "integration_gap":
        return f"{100 * value:.1f} %"
    if metric == "probability_difference":
        return f"{value:.0e}"
    return f"{value:.2f}" if metric.startswith("rank_correlation") else f"{value:.0f}"


def _lacking(seen: Sequence[SeenInside], settings: Mapping[str, Any]) -> list[str]:
    notes = []
    for s in seen:
        for kind in ("true positive", "false positive"):
            found, wanted = int((s.tiles["kind"] == kind).sum()), settings[f"{kind.replace(' ', '_')}s"]
            if found < wanted:
                notes.append(
                    f"{s.model}: {found} of {wanted} {kind} tiles were found among the {settings['split']} slides."
                )
        slides = s.tiles["slide"].nunique()
        if 0 < slides < len(s.tiles):
            notes.append(f"{s.model}: the {len(s.tiles)} tiles come from {slides} slide(s), as many as could be.")
    return notes


def _doubts(seen: Sequence[SeenInside]) -> list[str]:
    notes = []
    for s in seen:
        value = dict(zip(s.metrics["metric"], s.metrics["value"].astype(float), strict=True))
        if value.get("integration_gap", 0) > _GAP:
            gap = f"{100 * value['integration_gap']:.0f} %"
            notes.append(f"{s.model}: integrated gradients miss up to {gap} of the score's change; set more `steps`.")
        if value.get("probability_difference", 0) > _DIFFERENCE:
            notes.append(f"{s.model}: the model gives other probabilities for these tiles than the heatmap holds.")
    return notes


def _cautions(settings: Mapping[str, Any]) -> list[str]:
    notes = [
        "The maps show what sways the decision, not where there is tumour, and the gradients not in which direction."
    ]
    if settings["baseline"] in ("white", "black"):
        notes.append(
            f"Counted from a {settings['baseline']} tile, {settings['baseline']} pixels get no integrated gradient."
        )
    notes.append("Grad-CAM is as coarse as the layer it looks at. Rank correlations are over 8 × 8 places of a tile.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
