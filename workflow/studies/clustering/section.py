"""Few-shot and many-shot on evolved clusters (DRU-Net, runs VIII and IX): what was found, and what it was good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.classifier_arms import SCORES, wide, with_interval

SCORE_NAMES = {"f1": "F1", "precision": "precision", "recall": "recall", "auc": "AUC"}


def with_validity(metrics: pd.DataFrame, validity: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Metrics of the arms and, below, the validity of the clusters, in the columns of every study's metrics.tsv."""
    parts = [metrics]
    for model, table in validity.items():
        long = table.melt(id_vars="method", var_name="metric", value_name="value")
        long = long.rename(columns={"method": "arm"}).assign(protocol=f"clusters of {model}", repeat="")
        parts.append(long[list(metrics.columns)])
    return pd.concat(parts, ignore_index=True)


def scores_table(metrics: pd.DataFrame, arms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row per arm: its label and pooled scores with their intervals, as text."""
    rows = [{str(k): v for k, v in row.items()} for row in wide(metrics).to_dict("records")]
    return pd.DataFrame(
        [
            {
                "classifier": arms[row["arm"]]["label"],
                **{SCORE_NAMES[s]: with_interval(row, s, digits=3) for s in SCORES},
                "tiles": int(row["tiles"]),
            }
            for row in rows
        ]
    )


def classes_table(trained: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row per class of the arms that learn clusters: model, label, the clusters that it holds, training tiles."""
    labels = {arm["classifier"]: arm["label"] for arm in arms.values()}
    rows = [
        {
            "classifier": labels[model],
            "class": f"{entry['label']} {i + 1}",
            "clusters": ", ".join(map(str, entry["clusters"])),
            "training_tiles": entry["tiles"],
        }
        for model, facts in trained.items()
        for i, entry in enumerate(facts["classes"])
    ]
    return pd.DataFrame(rows)


def clustering_section(
    metrics: pd.DataFrame,
    validity: Mapping[str, pd.DataFrame],
    clusters: Mapping[str, Mapping[str, Any]],
    trained: Mapping[str, Mapping[str, Any]],
    figures: Sequence[tuple[str, str, Path]],
    *,
    arms: Mapping[str, Mapping[str, Any]],
) -> Section:
    """Put the study into words.

    Parameters
    ----------
    metrics : DataFrame
        From `studies.common.classifier_arms.arm_metrics`.
    validity, clusters : mapping of model to DataFrame, dict
        validity.tsv and clusters.json of the models whose clusters are learnt.
    trained : mapping of model to dict
        training.json of the models that learn them.
    figures : list of (model, "fitness" or "montage", Path)
    arms : mapping
        As in the study's settings.
    """
    captions = {
        "fitness": "The search for the clusters of {model}: fitness of the population's best and of its middle, and "
        "how many clusters the best one has.",
        "montage": "Tiles of each cluster of {model}, drawn within each label in its proportion; n beside each row. "
        "The search saw no label.",
    }
    shown = {
        "clusters": "clusters",
        "silhouette": "silhouette",
        "davies_bouldin": "Davies–Bouldin",
        "agreement": "agreement with the evolved",
        "agreement_with_label": "agreement with tumour / non-tumour",
    }
    tables = [
        (
            "Tiles of the test slides, pooled; 95 % intervals by patients. The paper scores no single tiles for these "
            "runs.",
            scores_table(metrics, arms),
        )
    ]
    for model, table in validity.items():
        caption = (
            f"Clusters of {model} beside k-means on the same points. Silhouette: more is better; Davies–Bouldin: less; "
            "agreement: adjusted Rand index, 1 for the same clusters and about 0 for chance."
        )
        tables.append((caption, table.rename(columns=shown)))
    tables.append(
        ("Classes: a cluster's tumour and its non-tumour tiles are a class each.", classes_table(trained, arms))
    )
    notes = [note for facts in trained.values() for note in facts["merged"]]
    for model, facts in clusters.items():
        notes.append(
            f"{model}: {facts['tiles']} tiles in {facts['components']} principal components, which keep "
            f"{facts['explained_variance']:.0%} of the features' variance; seed {facts['seed']}."
        )
        if facts["cut_by_seconds"]:
            notes.append(f"{model}: the search ran out of its seconds; another machine may find other clusters.")
    return Section(
        title="Few-shot and many-shot on clusters of tissue",
        lead=_lead(clusters, validity, metrics, arms),
        tables=tables,
        figures=[(captions[kind].format(model=model), path) for model, kind, path in figures],
        notes=list(dict.fromkeys(notes)),
    )


def _lead(
    clusters: Mapping[str, Mapping[str, Any]],
    validity: Mapping[str, pd.DataFrame],
    metrics: pd.DataFrame,
    arms: Mapping[str, Mapping[str, Any]],
) -> str:
    asked = (
        "Runs VIII and IX of the paper do not learn tumour and non-tumour, but kinds of tissue: features of tiles are "
        "clustered, an evolutionary search choosing how many clusters there are, and a prototypical network (few-shot) "
        "or a supervised head (many-shot) learns to tell them apart. What they say of a tile is summed into two."
    )
    answers = []
    for model, facts in clusters.items():
        k_means = validity[model].set_index("method")["clusters"].to_dict().get("k-means, best silhouette")
        beside = "" if k_means is None else f"; by silhouette, k-means would take {k_means}"
        answers.append(
            f"For {model} the search settled on {facts['clusters']} clusters after {facts['generations']} generations"
            f"{beside}."
        )
    rows = [{str(k): v for k, v in row.items()} for row in wide(metrics).to_dict("records")]
    scores = ", ".join(f"{arms[r['arm']]['label']} {r['f1']:.2f}" for r in rows)
    return f"{asked}\n\n{' '.join(answers)} F1 on the tiles of the test slides: {scores}."
