"""The study `ct_pneumonia`: nine fine-tuned networks tell cancer from pneumonia on CT slices (paper 002)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from studies.common.class_metrics import Roc, roc_curves
from studies.common.images.class_figures import PROTOCOL_NAMES, loss_curves, protocol_dumbbell, roc_panels
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import ImageArm, beside_published, dumbbell_points, honest_protocol
from studies.ct_pneumonia.probe_figure import probe_intervals
from studies.ct_pneumonia.source_probe import is_probe, probe_points

# In the order of the paper's Table 2; recall is the sensitivity.
SHOWN = ("accuracy", "precision", "recall", "f1", "auc", "specificity")
# Two scores that stand beside each other in figures: AUC, unlike accuracy, does not hang on where the line is drawn.
FIGURED = {"accuracy": "accuracy", "auc": "AUC"}


def whole_image_arms(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[ImageArm]:
    """The arms that see whole images, in the order of the study's table of networks."""
    order = {name: place for place, name in enumerate(settings["tables"]["networks"])}
    seeing = [arm for arm in arms if not is_probe(settings["arms"][arm.name])]
    return sorted(seeing, key=lambda arm: order.get(arm.name, len(order)))


def probing_arms(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[ImageArm]:
    """The arms of the probe's table: a network on whole images, and what sees less."""
    by_name = {arm.name: arm for arm in arms}
    return [by_name[name] for name in settings["tables"]["probe"] if name in by_name]


def performance_table(
    scores: pd.DataFrame, arms: Sequence[ImageArm], published: pd.DataFrame, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Scores of finding the class that is looked for, each network below its published figures (Table 2)."""
    table = beside_published(scores, whole_image_arms(arms, settings), published, metrics=SHOWN)
    return table.rename(columns={"arm": "network", "recall": "recall (sensitivity)"})


def parameters_table(arms: Sequence[ImageArm], published: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Size of each network, how much of it learns (Table S3), and how it was trained."""
    printed = published.set_index("model")
    rows = []
    for arm in whole_image_arms(arms, settings):
        facts, plan = arm.facts, arm.facts["training"]
        known: Any = printed.loc[arm.published] if arm.published in printed.index else {}
        epsilon = plan.get("epsilon")
        rows.append(
            {
                "network": arm.label,
                "million parameters": round(facts["parameters"] / 1e6, 1),
                "million, published": str(known.get("millions_of_parameters", "")),
                "of which learn": round(facts["trainable_parameters"] / 1e6, 1),
                "input (px)": int(facts["size"]),
                "input, published": str(known.get("input_size", "")),
                "learning rate": f"{plan['learning_rate']:g}",
                "epsilon": "" if epsilon is None else f"{epsilon:g}",
            }
        )
    return pd.DataFrame(rows)


def figures(
    scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]
) -> dict[str, Figure]:
    """All drawings of the study but those of maps, by file name without suffix."""
    histories = {arm.label: arm.history for arm in arms if arm.history is not None}
    task, alarm = arms[0].task, settings["probe"]["alarm"]
    lines = {"accuracy": {"chance": chance(arms, scores)}, "auc": {"chance": 0.5, "alarm": alarm}}
    return {
        "protocols": protocol_dumbbell(dumbbell_points(scores, leak, task), FIGURED),
        "roc": roc_panels(roc_curves_of(arms, settings), of=settings["positive"]),
        "probe": probe_intervals(probe_points(scores, probing_arms(arms, settings), settings), FIGURED, lines),
        "losses": loss_curves(histories),
    }


def roc_curves_of(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> dict[str, dict[str, Roc]]:
    """Curves of finding the class, by title: per protocol the networks, and the probe beside its own network."""
    positive, panels = settings["positive"], {}
    for protocol in PROTOCOLS:
        for title, chosen in (
            ("whole images", whole_image_arms(arms, settings)),
            ("source probe", probing_arms(arms, settings)),
        ):
            own = {arm.label: arm.of(protocol) for arm in chosen if len(arm.of(protocol))}
            found = {label: roc_curves(part) for label, part in own.items()}
            heading = f"{PROTOCOL_NAMES[protocol]}, {title}"
            if own:
                heading += f"\nn = {len(next(iter(own.values()))):,} test images"
            panels[heading] = {label: curves[positive] for label, curves in found.items() if positive in curves}
    return panels


def chance(arms: Sequence[ImageArm], scores: pd.DataFrame) -> float:
    """Accuracy of always calling the more frequent class, on the test images of the honest protocol."""
    tested = arms[0].of(honest_protocol(scores, arms[0].task))
    return float(tested["label"].value_counts(normalize=True).max())
