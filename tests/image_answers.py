"""Made-up predictions, histories and costs of image classifiers, as their trainings leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drunet.files import write_json
from studies.common.images.protocols import folds_of
from studies.common.images.tasks import arm_settings, arm_task, arms_of, networks_of

LUNG = ("lung_aca", "lung_n", "lung_scc")
VARIANTS = 6  # images of one source
# groups.json, where groups were searched for.
GROUPING = {
    "unreadable": 0,
    "source": "search",
    "images": 420,
    "groups": 70,
    "largest": 6,
    "singletons": 0,
    "pairs_compared": 1765,
    "links": 901,
    "identical": 0,
    "featureless": 0,
    "check": {
        "pairs": 1765,
        "false_links": 0,
        "rate": 0.0,
        "rate_at_most": 0.0017,
        "examples": [],
    },
    "over_largest": 0,
    "bound": None,
    "same_class": {"known": False, "pairs": 1700, "false_links": 12, "rate": 0.007, "rate_at_most": 0.0114},
}


def image_list(classes: Sequence[str] = LUNG, sources: int = 10) -> pd.DataFrame:
    """images.tsv: file, label, group; six images per source."""
    rows = [
        {"file": f"{name}/{name}_{i:03d}.png", "label": name, "group": f"{name}-{i // VARIANTS}"}
        for name in classes
        for i in range(sources * VARIANTS)
    ]
    return pd.DataFrame(rows).sort_values("file", ignore_index=True)


def answers(
    images: pd.DataFrame,
    skills: Mapping[str, float],
    *,
    folds: int = 5,
    run: Sequence[int] | Mapping[str, Sequence[int]] = (0, 1),
    seed: int = 0,
    classes: Sequence[str] = LUNG,
) -> pd.DataFrame:
    """predictions.parquet: by protocol a skill, 0 is chance; random folds divide groups, grouped ones do not."""
    rng = np.random.default_rng(seed)
    whole = images[images["label"].isin(list(classes))].reset_index(drop=True)
    single = np.arange(len(whole))
    units = {"random": single, "given": single, "grouped": pd.factorize(whole["group"])[0]}
    parts = []
    for protocol, skill in skills.items():
        places = np.random.default_rng(7).permutation(units[protocol].max() + 1)[units[protocol]] % folds
        for fold in run[protocol] if isinstance(run, Mapping) else run:
            test = whole[places == fold].reset_index(drop=True)
            own = pd.Index(classes).get_indexer(pd.Index(test["label"]))
            logits = rng.normal(size=(len(test), len(classes)))
            logits[np.arange(len(test)), own] += skill
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            shares = pd.DataFrame(p.astype(np.float32), columns=[f"p_{name}" for name in classes])
            parts.append(pd.concat([test.assign(protocol=protocol, fold=fold), shares], axis=1))
    return pd.concat(parts, ignore_index=True)


def history(predictions: pd.DataFrame, epochs: int = 6, seed: int = 0) -> pd.DataFrame:
    """history.tsv of the same trials; a fold more is an epoch less."""
    rng, rows = np.random.default_rng(seed), []
    for (protocol, fold), _ in predictions.groupby(["protocol", "fold"], sort=False):
        for epoch in range(1, epochs + 1 - int(fold)):
            loss = 1.1 * 0.75**epoch + 0.02 * rng.random()
            gap = 0.02 if protocol == "random" else 0.03 * epoch
            row = {"protocol": protocol, "fold": fold, "epoch": epoch, "loss": loss, "val_loss": loss + gap}
            row |= {"accuracy": 1 - loss / 2, "val_accuracy": 1 - (loss + gap) / 2, "seconds": 2.0 + 0.1 * epoch}
            rows.append(row)
    return pd.DataFrame(rows)


def costs(arms: Sequence[str]) -> pd.DataFrame:
    """cost.tsv of networks, each twice the one before."""
    common = {"batch_size": 8, "repeats": 9, "threads": 1, "provider": "CPUExecutionProvider"}
    rows = [
        {
            "arm": arm,
            "parameters": 1_000_000 * 2**k,
            "gflops": 0.1 * 2**k,
            "ms_per_tile": 0.5 * 2**k,
            "fastest": 0.45 * 2**k,
            "slowest": 0.6 * 2**k,
            **common,
        }
        for k, arm in enumerate(arms)
    ]
    return pd.DataFrame(rows)


def training_facts(settings: Mapping[str, Any], arm: str, classes: Sequence[str]) -> dict[str, Any]:
    """training.json of an arm, as far as a page reads it."""
    own = settings["arms"][arm]
    if "classic" in own:
        return {"classic": own["classic"], "classes": list(classes)}
    lesson = {**settings["distillation"], "teacher": own["teacher"]} if own.get("teacher") else None
    trained = arm_settings(settings, arm)
    return {
        "classes": list(classes),
        "size": settings["view"]["size"],
        "weights": trained["weights"],
        "training": trained["training"],
        "parameters": 23_600_000,
        "trainable_parameters": 1_200_000,
        "distillation": lesson,
    }


def write_study(
    folder: Path, settings: Mapping[str, Any], skills: Mapping[str, Mapping[str, float]], *, sources: int = 10
) -> dict[str, Any]:
    """Write what the trainings of a study leave, and say where, as its report's rule would.

    Parameters
    ----------
    folder : Path
    settings : mapping
        The study's.
    skills : mapping of arm to mapping of protocol to float
    """
    tasks = {name: task for name, task in settings["tasks"].items() if task}
    images = image_list(list(dict.fromkeys(c for t in tasks.values() for c in t["classes"])), sources)
    folder.mkdir(parents=True, exist_ok=True)
    images.to_csv(folder / "images.tsv", sep="\t", index=False)
    found: dict[str, Any] = {key: [] for key in ("arms", "predictions", "facts", "networks", "histories", "costs")}
    for task, block in tasks.items():
        for arm in arms_of(settings, task):
            home = folder / task / arm
            home.mkdir(parents=True)
            own = arm_task(settings, task, arm)
            frame = answers(
                images,
                {p: skills[arm][p] for p in own["protocols"]},
                folds=block["split"].get("folds", 7),
                run={protocol: folds_of(own["split"], protocol) for protocol in own["protocols"]},
                classes=block["classes"],
                seed=len(found["arms"]),
            )
            frame.to_parquet(home / "predictions.parquet", index=False)
            write_json(home / "training.json", training_facts(settings, arm, block["classes"]))
            found["arms"].append(f"{task}/{arm}")
            found["predictions"].append(home / "predictions.parquet")
            found["facts"].append(home / "training.json")
            if "classic" not in settings["arms"][arm]:
                history(frame).to_csv(home / "history.tsv", sep="\t", index=False)
                found["networks"].append(f"{task}/{arm}")
                found["histories"].append(home / "history.tsv")
        costs(networks_of(settings, task)).to_csv(folder / task / "cost.tsv", sep="\t", index=False)
        found["costs"].append(folder / task / "cost.tsv")
    return {**found, "tasks": list(tasks), "images": folder / "images.tsv"}
