"""Tables of the backbones, and what the page shows of them (Oskouei et al. 2025, Table 5)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from studies.common.classifier_arms import DEFAULT_THRESHOLD, wide, with_interval

Arms = Mapping[str, Mapping[str, Any]]

_SCORES = {"f1": "F1", "precision": "precision", "recall": "recall"}
# What a network's option `normalise` makes of its tiles.
PIXELS = {"none": "RGB in [0, 1]", "own": "as its ImageNet weights", "": "as its file"}
_COSTS = {"backbone": "backbone", "pixels": "pixels", "parameters": "parameters (million)", "gflops": "GFLOPs per tile"}
_COSTS |= {"ms_per_tile": "ms per tile (median)", "fastest": "fastest (ms)", "slowest": "slowest (ms)"}


def with_cost(metrics: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """The long table of scores with that of cost beneath, as protocol `cost`."""
    long = cost[["arm", "parameters", "gflops", "ms_per_tile"]].melt("arm", var_name="metric", value_name="value")
    return pd.concat([metrics, long.assign(protocol="cost", repeat="")[metrics.columns]], ignore_index=True)


def scores_table(metrics: pd.DataFrame, arms: Arms, published: pd.DataFrame) -> pd.DataFrame:
    """Scores over all tiles with their intervals, and the published ones beside them, as text.

    An arm has a `label`, and `published`: an architecture of the published table (drunet_backbones.tsv), or None.
    """
    printed = published.set_index("architecture").to_dict("index")
    rows = []
    for row in wide(metrics).to_dict("records"):
        arm = arms[row["arm"]]
        beside = {} if arm["published"] is None else printed[arm["published"]]
        cells = {"backbone": arm["label"]}
        cells |= {heading: with_interval(row, score) for score, heading in _SCORES.items()}
        rows.append(cells | {f"{heading} (paper)": beside.get(s, "") for s, heading in _SCORES.items()})
    return pd.DataFrame(rows)


def points(metrics: pd.DataFrame, cost: pd.DataFrame, arms: Arms) -> pd.DataFrame:
    """What the figure draws: label, parameters, ms, score (F1), low, high."""
    names = {"f1": "score", "f1_low": "low", "f1_high": "high", "ms_per_tile": "ms"}
    scores = wide(metrics)[["arm", "f1", "f1_low", "f1_high"]]
    joined = scores.merge(cost[["arm", "parameters", "ms_per_tile"]], on="arm", validate="1:1").rename(columns=names)
    return joined.assign(label=[arms[a]["label"] for a in joined["arm"]])


def page_view(
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    *,
    arms: Arms,
    published: pd.DataFrame,
    size: int,
    scaling: Mapping[str, str],
) -> dict[str, Any]:
    """What `page.md.j2` names; `size` is a tile's side in px, `scaling` the option `normalise` of each arm."""
    scores, drawn = wide(metrics), points(metrics, cost, arms)
    labels = [arms[a]["label"] for a in cost["arm"]]
    pixels = [PIXELS.get(scaling[a], scaling[a]) for a in cost["arm"]]
    shown = cost.assign(backbone=labels, pixels=pixels, parameters=cost["parameters"] / 1e6)[list(_COSTS)]
    return {
        **{key: int(scores[key].iloc[0]) for key in ("tiles", "slides", "patients")},
        "threshold": DEFAULT_THRESHOLD,
        # An arm that calls no tile tumour on slides without any has no F1 at all.
        "best": drawn.iloc[int(drawn["score"].fillna(-1).argmax())].to_dict(),
        "fastest": drawn.iloc[int(drawn["ms"].argmin())].to_dict(),
        "size": size,
        "scaling": sorted(set(scaling.values())),
        "engine": cost.iloc[0].to_dict(),
        "scores": scores_table(metrics, arms, published),
        "cost": shown.rename(columns=_COSTS),
    }
