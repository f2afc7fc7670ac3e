"""Figures of the CT study: scores, the source probe, and Grad-CAM maps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.common.class_metrics import Roc, roc_curves
from studies.common.images.class_figures import (
    PROTOCOL_LOOKS,
    PROTOCOL_NAMES,
    loss_curves,
    protocol_dumbbell,
    roc_panels,
)
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import Arms, dumbbell_points, strictest_protocol
from studies.common.row_figures import interval_rows
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.ct_pneumonia.attention_maps import ArmMaps
from studies.ct_pneumonia.tables import is_probe, probing_arms, whole_image_arms

NO_LAYERS = "the settings ask for no layers over the depth"
# AUC, unlike accuracy, does not depend on a decision threshold.
FIGURED = {"accuracy": "accuracy", "auc": "AUC"}
_COLUMNS = 5  # networks side by side; more are unreadable at a page's width


def figures(scores: pd.DataFrame, leak: pd.DataFrame, arms: Arms, settings: Mapping[str, Any]) -> dict[str, Figure]:
    """All figures of the study but those of maps, by file name without suffix."""
    networks, probes = (
        [arm for arm in probing_arms(arms, settings) if is_probe(settings["arms"][arm.name]) == probe]
        for probe in (False, True)
    )
    lines = {"accuracy": {"chance": chance(arms, scores)}, "auc": {"chance": 0.5, "alarm": settings["probe"]["alarm"]}}
    points, unit = probe_points(scores, networks + probes), " on test images, 95 % interval"
    return {
        "protocols": protocol_dumbbell(dumbbell_points(scores, leak, arms[0].task), FIGURED),
        "roc": roc_panels(roc_curves_of(arms, settings), of=settings["positive"]),
        "probe": interval_rows(points, FIGURED, PROTOCOL_LOOKS, lines, unit=unit, above=len(networks)),
        "losses": loss_curves({arm.label: arm.history for arm in arms if arm.history is not None}),
    }


def roc_curves_of(arms: Arms, settings: Mapping[str, Any]) -> dict[str, dict[str, Roc]]:
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


def chance(arms: Arms, scores: pd.DataFrame) -> float:
    """Accuracy of always predicting the more frequent class, on the test images of the strictest protocol."""
    tested = arms[0].of(strictest_protocol(scores, arms[0].task))
    return float(tested["label"].value_counts(normalize=True).max())


def probe_points(scores: pd.DataFrame, arms: Arms) -> pd.DataFrame:
    """Rows of the figure of the probe, as `arms` come; over folds the bounds are one standard deviation off."""
    points = pd.concat([scores[scores["key"] == arm.key] for arm in arms])
    for bound, sign in (("low", -1), ("high", 1)):
        points[bound] = points[bound].fillna(points["mean"] + sign * points["sd"])
    return points.assign(row=points["label"], group=points["protocol"])


def last_maps_figure(maps: Mapping[str, ArmMaps], shown: pd.DataFrame) -> Figure:
    """The last convolution of every network, by its shown name, a row per image (Chu et al., figure 3)."""
    rows, words = [], []
    for k, image in enumerate(shown.to_dict("records")):
        first = next(iter(maps.values()))
        row = [Panel(first.images[k], boxes=first.boxes_of(k), title="" if k else "image")]
        for label, own in maps.items():
            row.append(Panel(own.images[k], own.last[k], own.boxes_of(k), title="" if k else label))
        rows.append(row)
        right = f"correct: {int(image['right'])} of {int(image['networks'])}"
        words.append(f"image {k + 1}\n{right}\nmean p = {image['p']:.2f}")
    return panel_grid(rows, words, most=_COLUMNS)


def layers_figure(maps: Mapping[str, ArmMaps]) -> Figure:
    """Layers over the depth of some networks, of the first image (Chu et al., figure 4); a row per network."""
    deep = {label: own for label, own in maps.items() if len(own.layer_names)}
    rows = []
    for own in deep.values():
        shown = [
            ("image", None),
            *((str(name), found[0]) for name, found in zip(own.layer_names, own.layers, strict=True)),
        ]
        rows.append([Panel(own.images[0], found, own.boxes_of(0), title) for title, found in shown])
    return panel_grid(rows, list(deep), letters=6.3, nothing=NO_LAYERS)


def averages_figure(maps: Mapping[str, ArmMaps]) -> Figure:
    """Means over the frozen, the trainable and all convolutions, of the first image (Chu et al., figure S3)."""
    rows = []
    names = [str(name) for name in next(iter(maps.values())).group_names]
    for g in range(len(names)):
        row = []
        for label, own in maps.items():
            there = np.isfinite(own.groups[g]).all()
            size = f"{own.group_sizes[g]} layers" if there else "no layer"
            title = size if g else f"{label}\n{size}"
            row.append(Panel(own.images[0], own.groups[g] if there else None, own.boxes_of(0), title))
        rows.append(row)
    return panel_grid(rows, [f"{name}\nconvolutions" for name in names], most=_COLUMNS, letters=7.5)
