"""Tables of few-shot and many-shot training on clusters of tissue (DRU-Net, runs VIII and IX)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from studies.common.classifier_arms import wide, with_interval

SCORE_NAMES = {"f1": "F1", "precision": "precision", "recall": "recall", "auc": "AUC"}
VALIDITY_NAMES = {
    "clusters": "clusters",
    "silhouette": "silhouette",
    "davies_bouldin": "Davies–Bouldin",
    "agreement": "ARI with the evolved clusters",
    "agreement_with_label": "ARI with tumour / non-tumour",
}


def with_validity(metrics: pd.DataFrame, validity: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Metrics of the arms and, below, the validity of the clusters, in the columns of every study's metrics.tsv."""
    parts = [metrics]
    for model, table in validity.items():
        long = table.melt(id_vars="method", var_name="metric", value_name="value")
        long = long.rename(columns={"method": "arm"}).assign(protocol=f"clusters of {model}", repeat="")
        parts.append(long[list(metrics.columns)])
    return pd.concat(parts, ignore_index=True)


def page_view(
    metrics: pd.DataFrame,
    validity: Mapping[str, pd.DataFrame],
    clusters: Mapping[str, Mapping[str, Any]],
    trained: Mapping[str, Mapping[str, Any]],
    arms: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What `page.md.j2` names: from `arm_metrics`; by model validity.tsv and clusters.json of those that clusters were
    found for, and training.json of those that learn clusters; and the variants of the settings.
    """
    labels = {arm["classifier"]: arm["label"] for arm in arms.values()}
    rows = wide(metrics).to_dict("records")
    scores = [
        {
            "classifier": arms[str(row["arm"])]["label"],
            **{heading: with_interval(row, score, 3) for score, heading in SCORE_NAMES.items()},
            "tiles": int(row["tiles"]),
        }
        for row in rows
    ]
    classes = [
        {
            "classifier": labels[model],
            "class": f"{entry['label']} {i + 1}",
            "clusters": ", ".join(map(str, entry["clusters"])),
            "training_tiles": entry["tiles"],
        }
        for model, facts in trained.items()
        for i, entry in enumerate(facts["classes"])
    ]
    searches = []
    for model, facts in clusters.items():
        k_means = validity[model].set_index("method")["clusters"].to_dict().get("k-means, best silhouette")
        table = validity[model].rename(columns=VALIDITY_NAMES)
        searches.append({**facts, "model": model, "k_means": k_means, "validity": table})
    return {
        "f1": [(arms[str(row["arm"])]["label"], row["f1"]) for row in rows],
        "scores": pd.DataFrame(scores),
        "classes": pd.DataFrame(classes),
        "searches": searches,
        "merged": list(dict.fromkeys(note for facts in trained.values() for note in facts["merged"])),
    }
