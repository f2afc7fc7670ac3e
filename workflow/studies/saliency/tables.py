"""Tables of the saliency maps: the explained tiles, counts and agreement of the methods."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from drunet.report.words import number
from studies.common.words import percent
from studies.saliency.tile_choice import KINDS

# Larger errors of integrated gradients, or of the probabilities, get a warning.
_GAP, _DIFFERENCE = 0.05, 0.01
_NAMES = {
    "integration_gap": "error of integrated gradients, maximum (share of the score's change)",
    "probability_difference": "difference of the probability from that in the heatmap, maximum",
}


@dataclass(frozen=True)
class Explained:
    """The results of one model: its tiles (`chosen_table`) and its metrics (`metrics_table`)."""

    model: str
    tiles: pd.DataFrame
    metrics: pd.DataFrame


def chosen_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """Tile (the letter in the figure), slide, column, row, kind, p_tumour, from what `choose_tiles` gives."""
    letters = [string.ascii_lowercase[i % 26] for i in range(len(chosen))]
    return chosen.assign(tile=letters)[["tile", "slide", "column", "row", "kind", "p_tumour"]]


def metrics_table(model: str, split: str, metrics: Mapping[str, float]) -> pd.DataFrame:
    """Arm, protocol, repeat, metric, value."""
    rows = [(model, split, "", metric, value) for metric, value in metrics.items()]
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def page_view(explained: Sequence[Explained], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `page.md.j2` names; `settings` are the study's."""
    models = []
    for one in explained:
        value = dict(zip(one.metrics["metric"], one.metrics["value"].astype(float), strict=True))
        gap = value.get("integration_gap", 0.0)
        counts = {kind: int((one.tiles["kind"] == kind).sum()) for kind in KINDS}
        wanted = {kind: settings[f"{kind.replace(' ', '_')}s"] for kind in KINDS}
        models.append(
            {
                "name": one.model,
                "tiles": one.tiles,
                "slides": one.tiles["slide"].nunique(),
                "lacking": [(kind, n, wanted[kind]) for kind, n in counts.items() if n < wanted[kind]],
                "gap": gap if gap > _GAP else None,
                "differs": value.get("probability_difference", 0.0) > _DIFFERENCE,
            }
        )
    shown = ("split", "score", "baseline")
    return {"models": models, "checks": _checks(explained), **{key: settings[key] for key in shown}}


def _checks(explained: Sequence[Explained]) -> pd.DataFrame:
    """A row per metric, a column per model."""
    both = pd.concat([one.metrics for one in explained])
    both = both.assign(
        value=[_printed(m, float(v)) for m, v in zip(both["metric"], both["value"], strict=True)],
        metric=[_NAMES.get(m, m.replace("_", " ")) for m in both["metric"]],
    )
    table = both.pivot_table(index="metric", columns="arm", values="value", aggfunc="first", sort=False)
    return table.reset_index().rename_axis(columns=None)


def _printed(metric: str, value: float) -> str:
    if metric == "integration_gap":
        return percent(value, 1)
    if metric == "probability_difference":
        return f"{value:.0e}"
    return number(value, 2 if metric.startswith("rank_correlation") else 0)
