"""Published figures beside measured ones, each marked as what it is."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from drunet.metrics import tile_scores
from drunet.report.tables import html_table, plain_columns
from drunet.report.verdict import final_stage
from drunet.report.words import number

MEASURED = "Measured here"
PUBLISHED = "Published, on the paper's own data (different from these slides)"
TITLES = {
    "drunet_experiments": "Segmentation experiments",
    "drunet_backbones": "Patch-wise classifiers",
    "drunet_multi_lens": "Effect of multi-lens distortion",
    "drunet_facts": "Single figures",
}
_COMPARED = ("drunet_experiments", "drunet_backbones")


def experiments_table(
    published: pd.DataFrame, *, dsc: pd.DataFrame, iou: pd.DataFrame, runs: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Runs of this cohort above the paper's experiments.

    `published` is drunet_experiments.tsv as text, `dsc` and `iou` are `summary_table` of each score, of one split;
    `runs` has the names of a run's classifier and refiner, where known.
    """
    rows = [_measured_run(str(run), dsc, iou, runs.get(str(run), {})) for run in dsc["run"].unique()]
    # The paper shows some experiments in a plot alone: a row of dashes tells nobody anything.
    stated = [row for row in published.to_dict("records") if row["dsc_mean"] or row["dsc_median"] or row["iou_mean"]]
    rows += [_published_experiment(row) for row in stated]
    return pd.DataFrame(rows)


def backbones_table(
    published: Mapping[str, pd.DataFrame], tiles: Mapping[str, pd.DataFrame], threshold: float
) -> pd.DataFrame | None:
    """Tile classifiers of this cohort, over all labelled tiles of the test slides, above the paper's backbones."""
    if "drunet_backbones" not in published:
        return None
    scores = ["f1", "precision", "recall"]
    rows: list[dict[str, Any]] = []
    for name, frame in tiles.items():
        measured = tile_scores(frame["p_tumour"].to_numpy(), frame["label"].to_numpy(), threshold)._asdict()
        rows.append({"source": MEASURED, "name": name, **{s: number(measured[s]) for s in scores}})
    rows += [
        {"source": PUBLISHED, "name": row["architecture"], **{s: row[s] for s in scores}}
        for row in published["drunet_backbones"].to_dict("records")
    ]
    return pd.DataFrame(rows)


def other_tables(published: Mapping[str, pd.DataFrame]) -> list[tuple[str, Markup]]:
    """(title, table) of DRU-Net's published figures that nothing here is measured against."""
    return [
        (TITLES.get(name, name.replace("_", " ")), html_table(frame, plain_columns(frame), caption=PUBLISHED))
        for name, frame in published.items()
        if name not in _COMPARED and name.startswith("drunet_")
    ]


def _measured_run(run: str, dsc: pd.DataFrame, iou: pd.DataFrame, parts: Mapping[str, Any]) -> dict[str, str]:
    here, overlap = dsc[dsc["run"] == run], iou[iou["run"] == run]
    final = final_stage(here)
    return {
        "source": MEASURED,
        "name": run,
        "classifier": parts.get("classifier", ""),
        "refiner": parts.get("refiner") or ("none" if parts.get("clustering") is None else "clustering"),
        "before": number(_score(here, "heatmap", "mean") if final != "heatmap" else None),
        "mean": number(_score(here, final, "mean")),
        "median": number(_score(here, final, "median")),
        "iou": number(_score(overlap, final, "mean")),
    }


def _published_experiment(row: Mapping[Any, Any]) -> dict[str, str]:
    refiner = ", ".join(part for part in (row["refiner"], row["refiner_data"]) if part)
    return {
        "source": PUBLISHED,
        "name": row["experiment"],
        "classifier": f"{row['classifier']}, {row['classifier_data']}",
        "refiner": refiner,
        "before": row["dsc_mean_without_refiner"],
        "mean": row["dsc_mean"],
        "median": row["dsc_median"],
        "iou": row["iou_mean"],
    }


def _score(summary: pd.DataFrame, stage: str, column: str) -> float:
    values = summary.loc[summary["stage"] == stage, column]
    return float(values.iloc[0]) if len(values) else float("nan")
