"""The study `backbones`: how well each backbone classifies tiles, and at what cost (DRU-Net, Table 5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.classifier_arms import POOLED, wide, with_interval

COST = "cost"
_SCORES = ("f1", "precision", "recall")
# What may differ between two arms of one protocol.
_ARCHITECTURE = ("architecture", "options")


def with_cost(metrics: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """The long table of scores with that of cost beneath, as protocol `cost`."""
    long = cost[["arm", "parameters", "gflops", "ms_per_tile"]].melt("arm", var_name="metric", value_name="value")
    return pd.concat([metrics, long.assign(protocol=COST, repeat="")[metrics.columns]], ignore_index=True)


def scores_table(metrics: pd.DataFrame, arms: Mapping[str, Mapping[str, Any]], published: pd.DataFrame) -> pd.DataFrame:
    """Scores over all tiles with their intervals, and the published ones beside them, as text.

    Parameters
    ----------
    metrics : DataFrame
        From `arm_metrics`.
    arms : mapping of arm to mapping
        `label`, and `published`: an architecture of the published table, or None.
    published : DataFrame
        architecture, f1, precision, recall; drunet_backbones.tsv.
    """
    printed = published.set_index("architecture")
    rows = []
    for row in wide(metrics, POOLED).to_dict("records"):
        arm = arms[row["arm"]]
        known = arm["published"] is not None
        cells = {"backbone": arm["label"]}
        cells |= {_heading(score): with_interval(row, score) for score in _SCORES}
        cells |= {
            f"published {_heading(score)}": str(printed.loc[arm["published"], score]) if known else ""
            for score in _SCORES
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def shown_cost(cost: pd.DataFrame, arms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The cost for a reader: parameters in millions, times in milliseconds."""
    return pd.DataFrame(
        {
            "backbone": [arms[a]["label"] for a in cost["arm"]],
            "million parameters": (cost["parameters"] / 1e6).round(1),
            "GFLOPs per tile": cost["gflops"].round(3),
            "ms per tile (median)": cost["ms_per_tile"].round(2),
            "fastest": cost["fastest"].round(2),
            "slowest": cost["slowest"].round(2),
        }
    )


def points(metrics: pd.DataFrame, cost: pd.DataFrame, arms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What the figure draws: label, parameters, gflops, ms_per_tile, f1, f1_low, f1_high."""
    scores = wide(metrics, POOLED)[["arm", "f1", "f1_low", "f1_high"]]
    joined = scores.merge(cost[["arm", "parameters", "gflops", "ms_per_tile"]], on="arm", validate="1:1")
    return joined.assign(label=[arms[a]["label"] for a in joined["arm"]])


def time_axis(cost: pd.DataFrame) -> str:
    """Label of an axis of times: what was timed, and on what."""
    return f"milliseconds per tile on ONNX Runtime ({_engine(cost.iloc[0])}), logarithmic"


def strayed(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Parts of the protocol in which the arms are not all alike, but for the architecture and its options."""
    kept = [{k: v for k, v in s.items() if k not in _ARCHITECTURE} for s in settings.values()]
    return [
        key for key in dict.fromkeys(k for s in kept for k in s) if any(s.get(key) != kept[0].get(key) for s in kept)
    ]


def backbones_section(
    metrics: pd.DataFrame,
    cost: pd.DataFrame,
    figure: Path,
    *,
    arms: Mapping[str, Mapping[str, Any]],
    published: pd.DataFrame,
    settings: Mapping[str, Mapping[str, Any]],
    size: int,
) -> Section:
    """The study for its reader.

    Parameters
    ----------
    metrics, cost : DataFrame
        From `arm_metrics` and `cost_table`.
    figure : Path
    arms, published
        As for `scores_table`.
    settings : mapping of arm to mapping
        The classifiers' entries in the configuration.
    size : int
        Side of a tile, px.
    """
    scores, first = wide(metrics, POOLED), cost.iloc[0]
    # An arm that calls no tile tumour on slides without any has no F1 at all.
    best = max(scores.to_dict("records"), key=lambda row: -1.0 if pd.isna(row["f1"]) else row["f1"])
    quickest = min(cost.to_dict("records"), key=lambda row: row["ms_per_tile"])
    slides, patients, tiles = (int(scores[k].iloc[0]) for k in ("slides", "patients", "tiles"))
    lead = (
        f"Which backbone suits a patch-wise classifier? The {len(arms)} here were judged on the {tiles} "
        f"labelled tiles of {slides} test slides ({patients} patients), at a threshold of 0.5. Highest F1: "
        f"{arms[best['arm']]['label']}, {with_interval(best, 'f1')}. Quickest: "
        f"{arms[quickest['arm']]['label']}, {quickest['ms_per_tile']:.2f} ms per tile."
    )
    return Section(
        title="Backbones of the patch-wise classifier",
        lead=lead,
        tables=[
            (
                "Measured on these slides (95 % interval), beside the paper's figures on its own",
                scores_table(metrics, arms, published),
            ),
            (f"Cost of one tile of {size} × {size} px", shown_cost(cost, arms)),
        ],
        figures=[
            (
                f"F1 on {tiles} tiles of {slides} test slides ({patients} patients) against the time that a tile "
                "takes; in brackets million parameters",
                figure,
            )
        ],
        notes=[
            _protocol_note(settings),
            "Intervals: percentile bootstrap over patients, all of a patient's tiles together. Few patients make them "
            "wide, and that two of them overlap does not show that two backbones are alike.",
            "The single backbones are whole but for their last layers; the paper does not say where its own ended. "
            "DR-fused is truncated, hence lighter than its parts. EfficientNetV2 is B0 unless its options say "
            "otherwise, for the paper does not say which it took. InceptionV3 sees tiles below 75 px enlarged.",
            "FLOPs: twice the multiply-accumulates of convolutions and dense layers, counted in the ONNX file.",
            f"Time: median of {int(first['repeats'])} batches of {int(first['batch_size'])} tiles on ONNX Runtime "
            f"({_engine(first)}), the networks in turn, without reading the slide. It is this machine's.",
        ],
    )


def _protocol_note(settings: Mapping[str, Mapping[str, Any]]) -> str:
    differing = strayed(settings)
    if differing:
        return f"The arms were not trained alike: they differ in {', '.join(differing)}."
    training = next(iter(settings.values())).get("training")
    if training is None:
        return "The arms are finished models; how they were trained is not known here."
    weights = next(iter(settings.values()))["weights"]
    start = f"{weights} weights" if isinstance(weights, str) else "weights from files"
    steps = training["steps_per_epoch"]
    length = "every tile once" if steps is None else f"{steps} steps"
    return (
        f"One protocol for all: from {start}, at most {training['epochs']} epochs of {length}, batches of "
        f"{training['batch_size']}, {training['optimiser']} at {training['learning_rate']:g}."
    )


def _engine(row: pd.Series) -> str:
    threads = int(row["threads"])
    return f"{row['provider']}, {f'{threads} thread' + 's' * (threads > 1) if threads else 'all cores'}"


def _heading(score: str) -> str:
    return "F1" if score == "f1" else score
