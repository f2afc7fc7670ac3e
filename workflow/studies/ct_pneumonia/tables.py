"""Cancer against pneumonia on CT slices (Chu et al.), and whether the networks see the source instead.

The classes come from different sources (slices from a scanner, figures from articles). A probe sees what cannot hold
the answer: the border of the image, a heavy blur of it, or the facts of its file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from drunet.metrics import summarise
from studies.common.class_metrics import Roc, classes_in, roc_curves
from studies.common.images import tables as shared
from studies.common.images.class_figures import (
    PROTOCOL_LOOKS,
    PROTOCOL_NAMES,
    confusion_matrices,
    loss_curves,
    protocol_dumbbell,
    roc_panels,
)
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import Arms, ImageArm, dumbbell_points, strictest_protocol
from studies.common.images.tasks import shown_trial
from studies.common.model_figures import interval_rows
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.common.words import with_interval
from studies.ct_pneumonia.attention_maps import ArmMaps

# In the order of the paper's Table 2; recall is the sensitivity.
SHOWN = ("accuracy", "precision", "recall", "f1", "auc", "specificity")


def is_probe(arm: Mapping[str, Any]) -> bool:
    """Whether a model, by its settings, sees something else than whole images."""
    return bool(arm.get("sees")) or "classic" in arm


def sees_words(arm: Mapping[str, Any]) -> str:
    """What a model sees of an image."""
    sees = arm.get("sees") or {}
    if "border" in sees:
        return f"outer {100 * sees['border']:g} % of each side, inside black"
    if "blur" in sees:
        return f"image blurred with sigma {100 * sees['blur']:g} % of the side"
    return "facts of the file, no pixels" if "classic" in arm else "whole image"


def whole_image_arms(arms: Arms, settings: Mapping[str, Any]) -> list[ImageArm]:
    """The models that see whole images, in the order of the study's table of networks."""
    order = {name: place for place, name in enumerate(settings["tables"]["networks"])}
    seeing = [arm for arm in arms if not is_probe(settings["arms"][arm.name])]
    return sorted(seeing, key=lambda arm: order.get(arm.name, len(order)))


def probing_arms(arms: Arms, settings: Mapping[str, Any]) -> list[ImageArm]:
    """The models of the probe's table: a network on whole images, and what sees less."""
    by_name = {arm.name: arm for arm in arms}
    return [by_name[name] for name in settings["tables"]["probe"] if name in by_name]


def parameters_table(arms: Arms, published: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Size and training of each network beside the published size and input (Table S3)."""
    networks = whole_image_arms(arms, settings)
    table, printed = shared.training_table(networks), published.set_index("model").to_dict("index")
    known = [printed.get(arm.published or "", {}) for arm in networks]
    table.insert(2, "million, published", [row.get("millions_of_parameters", "") for row in known])
    table.insert(6, "input, published", [row.get("input_size", "") for row in known])
    return table


def probe_table(scores: pd.DataFrame, arms: Arms, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Accuracy, AUC, sensitivity and specificity of some models under every protocol, and what each sees."""
    unpublished = pd.DataFrame(columns=["model"])
    table = shared.beside_published(scores, arms, unpublished, metrics=("accuracy", "auc", "recall", "specificity"))
    sees = {arm.label: sees_words(settings["arms"][arm.name]) for arm in arms}
    table.insert(1, "sees", [sees[label] for label in table["model"]])
    return table.drop(columns="folds").rename(columns={"recall": "sensitivity"})


def coverage_table(tables: Mapping[str, pd.DataFrame], *, resamples: int, seed: int) -> pd.DataFrame:
    """How the map of a layer of each network meets the boxes, from coverage.tsv; intervals draw whole patients."""
    rows = []
    for label, table in tables.items():
        if table.empty:
            continue
        shares = []
        for name in ("share", "highlighted"):
            values, groups = table[name].to_numpy(float), table["group"].to_numpy()
            found = summarise(values, groups, resamples=resamples, seed=seed)._asdict()
            shares.append(with_interval(found["mean"], found["low"], found["high"], 3))
        right = table.loc[table["right"], "found"]
        rows.append(
            {
                "network": label,
                "layer": table["layer"].iloc[0],
                "boxes": len(table),
                "share of the box covered": shares[0],
                "share of the image highlighted": shares[1],
                "found": f"{table['found'].sum()} of {len(table)}",
                "found, of correct images": f"{right.sum()} of {len(right)}" if len(right) else "no image is correct",
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


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    settings: Mapping[str, Any],
    published: pd.DataFrame,
    covered: pd.DataFrame,
    *,
    grouping: Mapping[str, Any],
    collected: Mapping[str, Any],
) -> dict[str, Any]:
    """What `page.md.j2` names; `scores` are those of the positive class, `settings` without paths."""
    task, networks = arms[0].task, whole_image_arms(arms, settings)
    protocol = shared.strictest_protocol(scores, task)
    here = scores[scores["protocol"] == protocol]
    rows = {m: part.set_index("key").to_dict("index") for m, part in here.groupby("metric")}
    there = [arm for arm in networks if arm.key in rows["accuracy"]]
    probes = [arm for arm in arms if is_probe(settings["arms"][arm.name]) and arm.key in rows["auc"]]
    accuracy = [rows["accuracy"][arm.key]["mean"] for arm in there]
    best = there[int(np.argmax(accuracy))]
    tested, printed = there[0].of(protocol), published["accuracy"].astype(float)
    names, attention = {arm.name for arm in networks}, settings["attention"]
    explained = shown_trial(settings["tasks"][task]).partition(".")[0]
    return {
        **shared.shared_view(scores, leak, arms, grouping, metrics=("accuracy", "auc")),
        "positive": settings["positive"],
        "drawn": settings["embedded"],
        "protocol": protocol,
        "explained": explained,
        "strict": protocol == shared.GROUPED,
        "networks": len(there),
        "tested": {"images": len(tested), "groups": tested["group"].nunique()},
        "accuracy": {"least": min(accuracy), "most": max(accuracy)},
        "published_accuracy": {"least": printed.min(), "most": printed.max()},
        "best": {"label": best.label, "accuracy": rows["accuracy"][best.key], "auc": rows["auc"][best.key]},
        "here_folds": shared.folds_of_scores(here),
        "leak": shared.leak_of(leak, task),
        "probes": [
            {"label": arm.label, "sees": sees_words(settings["arms"][arm.name]), "auc": rows["auc"][arm.key]}
            for arm in probes
        ],
        "alarm": settings["probe"]["alarm"],
        # Scores for the positive class, each network below its published figures (Table 2).
        "performance": shared.beside_published(scores, networks, published, metrics=SHOWN).rename(
            columns={"model": "network", "recall": "sensitivity (recall)"}
        ),
        "probe": probe_table(scores, probing_arms(arms, settings), settings),
        "covered": covered,
        "parameters": parameters_table(arms, published, settings),
        **{key: attention[key] for key in ("threshold", "found", "score")},
        "window": settings["collect"]["window"],
        "collected": {
            "annotation_without_dicom": 0,
            "without_patient": 0,
            "passed_over": 0,
            "drawn": {},
            "balanced": False,
            **collected,
        },
        "untrained": [name for name in settings["tables"]["networks"] if name not in names],
    }


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
    histories = {arm.label: arm.history for arm in arms if arm.history is not None}
    points, unit = probe_points(scores, networks + probes), " on test images, 95 % interval"
    return {
        "protocols": protocol_dumbbell(dumbbell_points(scores, leak, arms[0].task), FIGURED),
        "roc": roc_panels(roc_curves_of(arms, settings), of=settings["positive"]),
        "probe": interval_rows(points, FIGURED, PROTOCOL_LOOKS, lines, unit=unit, above=len(networks)),
        "confusion": confusion_matrices(
            shared.matrices(whole_image_arms(arms, settings)), classes_in(arms[0].predictions)
        ),
        "losses": loss_curves(histories),
        "accuracies": loss_curves(histories, "accuracy"),
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
    """The map of a layer of every network, by its shown name, a row per image (Chu et al., figure 3)."""
    rows, words = [], []
    for k, image in enumerate(shown.to_dict("records")):
        first = next(iter(maps.values()))
        row = [Panel(first.images[k], boxes=first.boxes_of(k), title="" if k else "image")]
        for label, own in maps.items():
            row.append(
                Panel(own.images[k], own.last[k], own.boxes_of(k), title="" if k else f"{label}\n{own.last_name}")
            )
        rows.append(row)
        right = f"correct: {int(image['right'])} of {int(image['networks'])}"
        words.append(f"image {k + 1}\n{right}\nmean p = {image['p']:.2f}")
    return panel_grid(rows, words, most=_COLUMNS, letters=6.8)


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
