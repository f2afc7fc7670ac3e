"""The montage of clusters: tiles of each, drawn in proportion to their labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.report.words import plural
from drunet.tiles import NON_TUMOUR, TUMOUR
from studies.common.clustering.tiles import LABEL_NAMES
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.common.words import percent


def choose_examples(table: pd.DataFrame, per_cluster: int, *, seed: int) -> pd.DataFrame:
    """Draw training tiles for a montage, at most `per_cluster` of each cluster, its two labels in their proportion.

    `table`: split, label, cluster: clusters.parquet. Returns rows of `table`, by cluster, tumour first.
    """
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    training = table[table["split"] == "training"]
    for _, members in training.groupby("cluster", sort=True):
        tumour, other = (members.index[members["label"] == label].to_numpy() for label in (TUMOUR, NON_TUMOUR))
        shown = min(per_cluster, len(members))
        wanted = min(round(shown * len(tumour) / len(members)), len(tumour))
        # At least one tile of each label that the cluster has, however rare.
        wanted = min(max(wanted, int(len(tumour) > 0 and shown > 1)), shown - int(len(other) > 0 and shown > 1))
        for group, count in ((tumour, wanted), (other, shown - wanted)):
            chosen += sorted(rng.choice(group, count, replace=False).tolist())
    return table.loc[chosen]


def montage(
    examples: pd.DataFrame,
    read: Callable[[Mapping[str, Any]], np.ndarray],
    members: Sequence[Mapping[str, Any]],
    size_um: float,
) -> Figure:
    """A row of tiles per cluster, each with its label above it; beside the row the cluster's size and share of tumour.

    `examples` are from `choose_examples`, `read` gives the pixels, uint8 (h, w, 3), of a row of them, `members` are
    those of clusters.json; a tile is `size_um` µm wide.
    """
    facts = {member["cluster"]: member for member in members}
    rows: list[list[Panel | None]] = []
    words = []
    for cluster, own in examples.groupby("cluster", sort=True):
        records = [{str(k): v for k, v in record.items()} for record in own.to_dict("records")]
        rows.append([Panel(read(record), title=LABEL_NAMES[int(record["label"])]) for record in records])
        known = facts[int(str(cluster))]
        words.append(f"cluster {cluster}\n{plural(known['tiles'], 'tile')}\n{percent(known['tumour'])} tumour")
    words[0] += f"\n(a tile: {size_um:g} µm)"
    return panel_grid(rows, words, letters=6.0, bar=False)
