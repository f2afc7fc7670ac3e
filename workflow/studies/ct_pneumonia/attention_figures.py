"""Figures of where the networks of the CT study see evidence, and the table of the boxes that they cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.metrics import summarise
from studies.common.images.tables import with_spread
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.ct_pneumonia.attention_maps import ArmMaps

NOTHING = "no test image of the class was there to show"
NO_LAYERS = "no layers over the depth were asked for"
_COLUMNS = 5  # networks side by side; more are unreadable at a page's width
_GROUP_WORDS = {"frozen": "held fixed", "trainable": "learning", "all": "all"}


def last_maps_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """The last convolution of every network, a row per image (paper 002, figure 3).

    Parameters
    ----------
    maps : mapping of str to ArmMaps
        By the network's shown name.
    shown : DataFrame
        chosen.tsv: p, right, networks of each image.
    """
    rows = []
    for k in range(len(shown)):
        first = next(iter(maps.values()))
        row = [Panel(first.images[k], boxes=first.boxes_of(k), title="" if k else "image")]
        for label, own in maps.items():
            row.append(Panel(own.images[k], own.last[k], own.boxes_of(k), title="" if k else label))
        rows.append(row)
    words = [f"image {k}\n{_right(image)}" for k, image in enumerate(shown.itertuples(index=False), start=1)]
    return panel_grid(rows, words, most=_COLUMNS, nothing=NOTHING)


def layers_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """Layers over the depth of some networks, of the first image (paper 002, figure 4); a row per network."""
    deep = {label: own for label, own in maps.items() if len(own.layer_names)} if len(shown) else {}
    most = max((len(own.layer_names) for own in deep.values()), default=0)
    rows: list[Sequence[Panel | None]] = []
    for own in deep.values():
        row: list[Panel | None] = [Panel(own.images[0], boxes=own.boxes_of(0), title="image")]
        row += [
            Panel(own.images[0], found[0], own.boxes_of(0), title=str(name))
            for name, found in zip(own.layer_names, own.layers, strict=True)
        ]
        rows.append(row + [None] * (most + 1 - len(row)))
    nothing = NO_LAYERS if len(shown) else NOTHING
    return panel_grid(rows, list(deep), most=most + 1, letters=6.3, nothing=nothing)


def averages_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """Averages over the convolutions held fixed, learning and all, of the first image (paper 002, figure S3)."""
    rows: list[Sequence[Panel | None]] = []
    names = [str(name) for name in next(iter(maps.values())).group_names] if len(shown) else []
    for g in range(len(names)):
        row: list[Panel | None] = []
        for label, own in maps.items():
            there = np.isfinite(own.groups[g]).all()
            size = f"{own.group_sizes[g]} layers" if there else "no layer"
            title = size if g else f"{label}\n{size}"
            row.append(Panel(own.images[0], own.groups[g] if there else None, own.boxes_of(0), title))
        rows.append(row)
    words = [f"convolutions\n{_GROUP_WORDS[name]}" for name in names]
    return panel_grid(rows, words, most=_COLUMNS, letters=7.5, nothing=NOTHING)


def coverage_table(tables: Mapping[str, pd.DataFrame], *, resamples: int, seed: int) -> pd.DataFrame:
    """How the map of each network's last convolution meets the annotated boxes; empty where there are none.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        coverage.tsv by the network's shown name.
    resamples, seed : int
        Of the intervals, which draw whole groups (patients).

    Returns
    -------
    DataFrame
        network, boxes, share of the box covered, share of the image highlighted (what a box anywhere would have on
        average), found, found where the image was called rightly.
    """
    rows = []
    for label, table in tables.items():
        if table.empty:
            continue
        shares = {
            name: summarise(
                table[name].to_numpy(float), table["group"].to_numpy(), resamples=resamples, seed=seed
            ).to_dict()
            for name in ("share", "highlighted")
        }
        right = table[table["right"]]
        rows.append(
            {
                "network": label,
                "boxes": len(table),
                "share of the box covered": with_spread({**shares["share"], "sd": float("nan")}),
                "share of the image highlighted": with_spread({**shares["highlighted"], "sd": float("nan")}),
                "found": _counted(table),
                "found, of those called rightly": _counted(right) if len(right) else "none called rightly",
            }
        )
    return pd.DataFrame(rows)


def coverage_metrics(keys: Sequence[str], tables: Sequence[pd.DataFrame], protocol: str) -> pd.DataFrame:
    """Coverage as rows of metrics.tsv: arm, protocol, repeat, metric, value."""
    rows = [
        {"arm": key, "protocol": protocol, "repeat": 0, "metric": metric, "value": float(table[column].mean())}
        for key, table in zip(keys, tables, strict=True)
        if len(table)
        for metric, column in (("box_covered", "share"), ("highlighted", "highlighted"), ("box_found", "found"))
    ]
    return pd.DataFrame(rows, columns=["arm", "protocol", "repeat", "metric", "value"])


def _counted(table: pd.DataFrame) -> str:
    return f"{int(table['found'].sum())} of {len(table)}"


def _right(image: object) -> str:
    p, right, networks = (getattr(image, key) for key in ("p", "right", "networks"))
    return f"called rightly by\n{int(right)} of {int(networks)}\nmean p = {float(p):.2f}"
