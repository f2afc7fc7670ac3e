"""Tables and figure of the saliency maps: the explained tiles, counts and agreement of the methods."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.report.words import number
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.common.words import percent
from studies.saliency.tile_choice import KINDS

_COLUMNS = 6  # as in the paper; more tiles make a further block
_ID_LETTERS = 14
# Larger errors of integrated gradients, or of the probabilities, get a warning.
_GAP, _DIFFERENCE = 0.05, 0.01
_NAMES = {
    "integration_gap": "error of integrated gradients, maximum (share of the score's change)",
    "probability_difference": "difference of the probability from that in the heatmap, maximum",
}


# The results of one model by name: its tiles (`chosen_table`) and its metrics (`metrics_table`).
Explained = tuple[str, pd.DataFrame, pd.DataFrame]


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
    for model, tiles, metrics in explained:
        value = dict(zip(metrics["metric"], metrics["value"].astype(float), strict=True))
        gap = value.get("integration_gap", 0.0)
        counts = {kind: int((tiles["kind"] == kind).sum()) for kind in KINDS}
        picked = bool(settings["tiles"])
        wanted = {kind: 0 if picked else settings[f"{kind.replace(' ', '_')}s"] for kind in KINDS}
        models.append(
            {
                "name": model,
                "tiles": tiles,
                "slides": 0 if picked else tiles["slide"].nunique(),
                "lacking": [(kind, n, wanted[kind]) for kind, n in counts.items() if n < wanted[kind]],
                "gap": gap if gap > _GAP else None,
                "differs": value.get("probability_difference", 0.0) > _DIFFERENCE,
            }
        )
    shown = ("split", "score", "baseline", "tiles")
    return {"models": models, "checks": _checks(explained), **{key: settings[key] for key in shown}}


def _checks(explained: Sequence[Explained]) -> pd.DataFrame:
    """A row per metric, a column per model."""
    both = pd.concat([metrics for _, _, metrics in explained])
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


def saliency_figure(
    images: np.ndarray, chosen: pd.DataFrame, rows: Mapping[str, np.ndarray], *, side_um: float
) -> Figure:
    """Draw every tile, uint8 (n, h, w, 3), in a column, with a map per row over its grey picture.

    `chosen` has slide, p_tumour and kind of the tiles, `rows` maps float32 (n, h, w) in [0, 1] by name.
    """
    told = chosen[["slide", "kind", "p_tumour"]].itertuples(index=False, name=None)
    grid = [[Panel(image, title=_words(k, *row)) for k, (image, row) in enumerate(zip(images, told, strict=True))]]
    grid += [[Panel(image, own) for image, own in zip(images, maps, strict=True)] for maps in rows.values()]
    names = ["\n".join(name.split(" ", 1)) for name in (f"tile, {side_um:g} µm", *rows)]
    return panel_grid(grid if len(images) else [], names, most=_COLUMNS, letters=7.5, nothing="no tile was found")


def _words(place: int, slide: str, kind: str, p: float) -> str:
    """Letter and kind, the ID on lines that fit over a tile, and the probability."""
    broken = [slide[k : k + _ID_LETTERS] for k in range(0, len(slide), _ID_LETTERS)]
    head = f"{string.ascii_lowercase[place % 26]}  {kind}"
    return "\n".join([head, *broken, "p > 0.999" if p > 0.999 else f"p = {p:.3f}"])
