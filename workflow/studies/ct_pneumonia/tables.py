"""Cancer against pneumonia on CT slices (Chu et al. 2024), and whether the networks see the source instead.

The classes of the paper come from different sources (slices from a scanner, figures from articles), so a network may
win by the source alone. A probe sees what cannot hold the answer: the border of the image, a heavy blur of it, or the
facts of its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from drunet.metrics import summarise
from drunet.report.words import score, with_interval
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import (
    GROUPED,
    HEADINGS,
    ImageArm,
    beside_published,
    folds_of_scores,
    leak_of,
    protocols_in,
    shared_view,
    strictest_protocol,
    training_table,
)
from studies.common.images.tasks import arm_view

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


def whole_image_arms(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[ImageArm]:
    """The models that see whole images, in the order of the study's table of networks."""
    order = {name: place for place, name in enumerate(settings["tables"]["networks"])}
    seeing = [arm for arm in arms if not is_probe(settings["arms"][arm.name])]
    return sorted(seeing, key=lambda arm: order.get(arm.name, len(order)))


def probing_arms(arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> list[ImageArm]:
    """The models of the probe's table: a network on whole images, and what sees less."""
    by_name = {arm.name: arm for arm in arms}
    return [by_name[name] for name in settings["tables"]["probe"] if name in by_name]


def performance_table(
    scores: pd.DataFrame, arms: Sequence[ImageArm], published: pd.DataFrame, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Scores for the positive class, each network below its published figures (Table 2)."""
    table = beside_published(scores, whole_image_arms(arms, settings), published, metrics=SHOWN)
    return table.rename(columns={"model": "network", "recall": "sensitivity (recall)"})


def parameters_table(arms: Sequence[ImageArm], published: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Size and training of each network beside the published size and input (Table S3)."""
    networks = whole_image_arms(arms, settings)
    table, printed = training_table(networks), published.set_index("model").to_dict("index")
    known = [printed.get(arm.published or "", {}) for arm in networks]
    table.insert(2, "million, published", [row.get("millions_of_parameters", "") for row in known])
    table.insert(6, "input, published", [row.get("input_size", "") for row in known])
    return table


def probe_table(scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> pd.DataFrame:
    """Accuracy, AUC, sensitivity and specificity of some models under every protocol, and what each sees."""
    rows = []
    for arm in arms:
        own = scores[scores["key"] == arm.key]
        for protocol in protocols_in(own):
            here: Any = own[own["protocol"] == protocol].set_index("metric")
            cells = {HEADINGS[m]: score(here.loc[m]) for m in ("accuracy", "auc", "recall", "specificity")}
            rows.append(
                {"model": arm.label, "sees": sees_words(settings["arms"][arm.name]), "split": protocol, **cells}
            )
    return pd.DataFrame(rows).rename(columns={"recall": "sensitivity"})


def coverage_table(tables: Mapping[str, pd.DataFrame], *, resamples: int, seed: int) -> pd.DataFrame:
    """How the map of each network's last convolution meets the annotated boxes; empty where there are none.

    `tables`: coverage.tsv by the network's shown name. `resamples`, `seed`: of the intervals, which draw whole groups
    (patients).
    """
    rows = []
    for label, table in tables.items():
        if table.empty:
            continue
        shares = []
        for name in ("share", "highlighted"):
            values, groups = table[name].to_numpy(float), table["group"].to_numpy()
            found = summarise(values, groups, resamples=resamples, seed=seed).to_dict()
            shares.append(with_interval(found["mean"], found["low"], found["high"], 3))
        right = table.loc[table["right"], "found"]
        rows.append(
            {
                "network": label,
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


def verdict(
    scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any], *, protocol: str, alarm: float
) -> dict[str, Any]:
    """Whether the accuracy may come from the source.

    `scores`: from `summaries`, of the positive class. `arms`: of one task. `settings`: the study's. `protocol`: the
    strictest one. `alarm`: a probe counts if the lower bound of its AUC is above this. Where several folds were run,
    the mean less one standard deviation stands for the bound. Returns dict: alarm (None: not known) and lists of
    models, each with label, sees and auc (a row of `scores`): telling (probes above the alarm), rest (below it),
    unbounded (without a bound, which say nothing), partners (networks on whole images that are built as a probe is).
    """
    here = scores[(scores["metric"] == "auc") & (scores["protocol"] == protocol)].set_index("key").to_dict("index")
    found: dict[str, Any] = {"telling": [], "rest": [], "unbounded": [], "partners": []}
    there = [(arm, settings["arms"][arm.name]) for arm in arms if arm.key in here]
    built = [own.get("options") for _, own in there if own.get("sees")]
    for arm, own in there:
        auc = here[arm.key]
        bound = auc["mean"] - auc["sd"] if np.isnan(auc["low"]) else auc["low"]
        if is_probe(own):
            kind = "unbounded" if np.isnan(bound) else "telling" if bound > alarm else "rest"
        elif own.get("options") in built:
            kind = "partners"
        else:
            continue
        found[kind].append({"label": arm.label, "sees": sees_words(own), "accuracy": auc})
    return {"alarm": bool(found["telling"]) if found["telling"] or found["rest"] else None, **found}


def kept_epochs(networks: Sequence[ImageArm]) -> dict[str, list[str]]:
    """Protocols whose trainings all have a validation loss, by which the tested epoch is chosen, and the others."""
    validated: dict[str, bool] = {}
    for arm in networks:
        if arm.history is not None:
            for protocol, part in arm.history.groupby("protocol"):
                has = "val_loss" in part and pd.to_numeric(part["val_loss"]).notna().any()
                validated[str(protocol)] = validated.get(str(protocol), True) and bool(has)
    return {
        "validated": [p for p in PROTOCOLS if validated.get(p)],
        "unvalidated": [p for p in PROTOCOLS if validated.get(p) is False],
    }


def settings_view(networks: Sequence[ImageArm], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the authors' code by the settings of the networks that see whole images.

    Returns dict: counted (all networks train as many layers as their table says), frozen (the share that all hold
    fixed, or None where they differ), fits (how images are made square), zero_centred, score (what Grad-CAM
    differentiates).
    """
    own = [settings["arms"][arm.name] for arm in networks]
    counted = [arm["options"].get("trainable_layers") is not None for arm in own]
    shares = {float(arm["freeze_fraction"]) for arm in own}
    return {
        "counted": all(counted),
        "frozen": None if any(counted) or len(shares) > 1 else next(iter(shares)),
        "fits": sorted({arm_view(settings, arm.name)["fit"] for arm in networks}),
        "zero_centred": any(arm["options"].get("normalise") == "caffe" for arm in own),
        "score": settings["attention"]["score"],
    }


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    published: pd.DataFrame,
    covered: pd.DataFrame,
    shown: pd.DataFrame,
    *,
    grouping: Mapping[str, Any],
    collected: Mapping[str, Any],
) -> dict[str, Any]:
    """What `page.md.j2` names.

    `scores`, `leak`: from `summaries` (of the positive class) and `leaks`. `settings`: the study's, as of
    `studies.common.study_settings.without_paths`. `published`: published.tsv. `covered`: from `coverage_table`; empty
    where no test image has a box. `shown`: chosen.tsv: the images of the maps. `grouping`, `collected`: groups.json and
    collected.json.
    """
    task, networks = arms[0].task, whole_image_arms(arms, settings)
    protocol, alarm = strictest_protocol(scores, task), settings["probe"]["alarm"]
    here = scores[scores["protocol"] == protocol]
    rows = {m: part.set_index("key").to_dict("index") for m, part in here.groupby("metric")}
    there = [arm for arm in networks if arm.key in rows["accuracy"]]
    accuracy = [rows["accuracy"][arm.key]["mean"] for arm in there]
    best = there[int(np.argmax(accuracy))]
    tested = there[0].of(protocol)
    told, unknown = grouping.get("sourced", {}), grouping.get("unsourced", {})
    names, printed = {arm.name for arm in networks}, published["accuracy"].astype(float)
    return {
        **shared_view(scores, leak, arms, task, grouping, metrics=("accuracy", "auc")),
        **settings_view(networks, settings),
        **kept_epochs(networks),
        "positive": settings["positive"],
        "drawn": settings["embedded"],
        "protocol": protocol,
        "strict": protocol == GROUPED,
        "networks": len(there),
        "tested": {"images": len(tested), "groups": tested["group"].nunique()},
        "accuracy": {"least": min(accuracy), "most": max(accuracy)},
        "published_accuracy": {"least": printed.min(), "most": printed.max()},
        "best": {"label": best.label, "accuracy": rows["accuracy"][best.key], "auc": rows["auc"][best.key]},
        "here_folds": folds_of_scores(here),
        "classes": [
            {
                "label": label,
                "images": told.get(label, {}).get("images", 0) + unknown.get(label, 0),
                "sources": told.get(label, {}).get("sources", 0),
            }
            for label in dict.fromkeys([*told, *unknown])
        ],
        "unknown": [{"label": label, "images": count} for label, count in unknown.items() if count],
        "leaking": _leaking(scores, leak, networks, protocol),
        "verdict": verdict(scores, arms, settings, protocol=protocol, alarm=alarm),
        "alarm": f"{alarm:g}",
        "performance": performance_table(scores, arms, published, settings),
        "probe": probe_table(scores, probing_arms(arms, settings), settings),
        "covered": covered,
        "parameters": parameters_table(arms, published, settings),
        "threshold": settings["attention"]["threshold"],
        "found": settings["attention"]["found"],
        "shown": {"images": len(shown), "right": int((shown["right"] == shown["networks"]).sum())},
        "window": settings["collect"]["window"],
        "collected": {"annotation_without_dicom": 0, "without_patient": 0, **collected},
        "untrained": [name for name in settings["tables"]["networks"] if name not in names],
    }


def _leaking(
    scores: pd.DataFrame, leak: pd.DataFrame, networks: Sequence[ImageArm], protocol: str
) -> list[dict[str, Any]]:
    """For each protocol that leaks its share, and where it is compared with `protocol` the best network under both."""
    own = scores[(scores["metric"] == "accuracy") & scores["key"].isin([arm.key for arm in networks])]
    accuracy: Any = own.pivot_table(index="label", columns="protocol", values="mean")
    found = []
    for other, share in leak_of(leak, networks[0].task).items():
        if other == GROUPED:
            continue
        row: dict[str, Any] = {"protocol": other, "share": share, "compared": None}
        if other != protocol and other in accuracy and not (both := accuracy[[other, protocol]].dropna()).empty:
            label = str(both[protocol].idxmax())
            there, here = float(both.loc[label, other]), float(both.loc[label, protocol])
            row["compared"] = {"label": label, "there": there, "here": here, "gap": there - here}
        found.append(row)
    return found
