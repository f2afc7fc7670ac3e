"""Figures of the CT study: scores, the source probe, and Grad-CAM maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drunet.report.figures import INK, MUTED, STYLE, new_figure, nothing_drawn
from drunet.report.tables import require_columns
from studies.common.class_metrics import Roc, roc_curves
from studies.common.images.class_figures import (
    PROTOCOL_COLOURS,
    PROTOCOL_MARKERS,
    PROTOCOL_NAMES,
    loss_curves,
    name_rows,
    protocol_dumbbell,
    roc_panels,
)
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import ImageArm, dumbbell_points, strictest_protocol
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.ct_pneumonia.attention_maps import ArmMaps
from studies.ct_pneumonia.tables import is_probe, probing_arms, whole_image_arms

NOTHING = "there is no test image of the class"
NO_LAYERS = "the settings ask for no layers over the depth"
# AUC, unlike accuracy, does not depend on a decision threshold.
FIGURED = {"accuracy": "accuracy", "auc": "AUC"}
_COLUMNS = 5  # networks side by side; more are unreadable at a page's width
_APART = 0.2  # of a row, between the protocols of one model


def figures(
    scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]
) -> dict[str, Figure]:
    """All figures of the study but those of maps, by file name without suffix."""
    probing = probing_arms(arms, settings)
    lines = {"accuracy": {"chance": chance(arms, scores)}, "auc": {"chance": 0.5, "alarm": settings["probe"]["alarm"]}}
    return {
        "protocols": protocol_dumbbell(dumbbell_points(scores, leak, arms[0].task), FIGURED),
        "roc": roc_panels(roc_curves_of(arms, settings), of=settings["positive"]),
        "probe": probe_intervals(probe_points(scores, probing, settings), FIGURED, lines),
        "losses": loss_curves({arm.label: arm.history for arm in arms if arm.history is not None}),
    }


def roc_curves_of(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> dict[str, dict[str, Roc]]:
    """Curves of the positive class by title: per protocol the networks, and the probe beside its own network."""
    positive, panels = settings["positive"], {}
    groups = {"whole images": whole_image_arms(arms, settings), "source probe": probing_arms(arms, settings)}
    for protocol in PROTOCOLS:
        for title, chosen in groups.items():
            own = {arm.label: arm.of(protocol) for arm in chosen if len(arm.of(protocol))}
            if own:
                found = {label: roc_curves(part) for label, part in own.items()}
                heading = f"{PROTOCOL_NAMES[protocol]}, {title}\nn = {len(next(iter(own.values()))):,} test images"
                panels[heading] = {label: curves[positive] for label, curves in found.items() if positive in curves}
    return panels


def chance(arms: Sequence[ImageArm], scores: pd.DataFrame) -> float:
    """Accuracy of always predicting the more frequent class, on the test images of the strictest protocol."""
    tested = arms[0].of(strictest_protocol(scores, arms[0].task))
    return float(tested["label"].value_counts(normalize=True).max())


def probe_points(scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> pd.DataFrame:
    """What `probe_intervals` draws; over folds the bounds are one standard deviation off."""
    there = {arm.key: is_probe(settings["arms"][arm.name]) for arm in arms}
    points = scores[scores["key"].isin(list(there))].copy()
    for bound, sign in (("low", -1), ("high", 1)):
        points[bound] = points[bound].fillna(points["mean"] + sign * points["sd"])
    return points.assign(arm=points["label"], probe=points["key"].map(there).astype(bool))


def probe_intervals(
    frame: pd.DataFrame, metrics: Mapping[str, str], lines: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Scores with their intervals, a row per model, the networks above and the probes below.

    `frame`: arm (shown name), probe (bool), protocol, metric, mean, low, high (NaN where there is no interval).
    `metrics`: a panel per metric, by name, and what its axis calls it. `lines`: mapping of metric to mapping of str to
    float, upright lines by their name, e.g. chance.
    """
    require_columns(frame, ("arm", "probe", "protocol", "metric", "mean", "low", "high"), "probe")
    networks = list(dict.fromkeys(frame.loc[~frame["probe"], "arm"]))
    arms = list(dict.fromkeys([*networks, *frame["arm"]]))
    there = [protocol for protocol in PROTOCOL_COLOURS if protocol in set(frame["protocol"])]
    with matplotlib.rc_context(STYLE):
        if not arms:
            figure, (axes,) = new_figure(0.6)
            return nothing_drawn(figure, axes, "no model has been trained")
        figure, panels = new_figure(1.25 + 0.38 * len(arms), panels=len(metrics))
        for axes, (metric, name) in zip(panels, metrics.items(), strict=True):
            for place, protocol in enumerate(there):
                here = frame[(frame["metric"] == metric) & (frame["protocol"] == protocol)].set_index("arm")
                here = here.reindex(arms)
                height = np.arange(len(arms)) + _APART * (place - (len(there) - 1) / 2)
                colour = PROTOCOL_COLOURS[protocol]
                axes.hlines(height, here["low"], here["high"], color=colour, linewidth=1.6, alpha=0.7)
                axes.scatter(here["mean"], height, s=30, color=colour, marker=PROTOCOL_MARKERS[protocol], zorder=3)
            for words, value in lines.get(metric, {}).items():
                axes.axvline(value, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0)
                place_of: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
                axes.annotate(words, (value, 1), (0, 2), ha="center", va="bottom", fontsize=8, color=MUTED, **place_of)
            if 0 < len(networks) < len(arms):
                axes.axhline(len(networks) - 0.5, color=INK, linewidth=0.8)
            name_rows(axes, arms if axes is panels[0] else [""] * len(arms))
            axes.set_xlabel(f"{name} on test images, 95 % interval")
            axes.grid(axis="x")
            axes.margins(x=0.06)
        looks: list[Any] = [
            {"color": PROTOCOL_COLOURS[p], "marker": PROTOCOL_MARKERS[p], "label": PROTOCOL_NAMES[p]} for p in there
        ]
        figure.legend(handles=[Line2D([], [], **look) for look in looks], loc="outside upper left", ncols=len(looks))
    return figure


def last_maps_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """The last convolution of every network, a row per image (Chu et al. 2024, figure 3).

    `maps`: mapping of str to ArmMaps, by the network's shown name. `shown`: chosen.tsv: p, right, networks of each
    image.
    """
    rows, words = [], []
    for k, image in enumerate(shown.to_dict("records")):
        first = next(iter(maps.values()))
        row = [Panel(first.images[k], boxes=first.boxes_of(k), title="" if k else "image")]
        for label, own in maps.items():
            row.append(Panel(own.images[k], own.last[k], own.boxes_of(k), title="" if k else label))
        rows.append(row)
        right = f"correct: {int(image['right'])} of {int(image['networks'])}"
        words.append(f"image {k + 1}\n{right}\nmean p = {image['p']:.2f}")
    return panel_grid(rows, words, most=_COLUMNS, nothing=NOTHING)


def layers_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """Layers over the depth of some networks, of the first image (Chu et al. 2024, figure 4); a row per network."""
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
    """Means over the frozen, the trainable and all convolutions, of the first image (Chu et al. 2024, figure S3)."""
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
    return panel_grid(rows, [f"{name}\nconvolutions" for name in names], most=_COLUMNS, letters=7.5, nothing=NOTHING)
