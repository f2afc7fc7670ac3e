"""Made-up answers of a network of boxes: slices of patients, and predictions of a stated quality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

TRUE = ["xmin", "ymin", "xmax", "ymax"]
SIDE = 100
STAGES = ("source", "untouched", "fine-tuned")


def slice_list(patients: dict[str, int], each: int, seed: int = 0) -> pd.DataFrame:
    """slices.tsv: boxes of a patient lie in one place, as neighbouring slices have them."""
    rng = np.random.default_rng(seed)
    rows, person = [], 0
    for subtype, count in patients.items():
        for _ in range(count):
            person += 1
            x, y = rng.integers(10, 50, 2)
            for _ in range(each):
                box = np.array([x, y, x + 30, y + 25]) + rng.integers(-2, 3)
                rows.append([subtype, person, SIDE, SIDE, *box.astype(float), 1])
    frame = pd.DataFrame(rows, columns=["subtype", "patient", "width", "height", *TRUE, "boxes"])
    frame.insert(0, "file", [f"{k:05d}.png" for k in range(len(frame))])
    return frame


def parts_of(slices: pd.DataFrame, protocol: str, share: float, seed: int) -> np.ndarray:
    """`test` for so many of the slices, or of the patients."""
    rng = np.random.default_rng(seed)
    units = slices["patient"].to_numpy() if protocol == "grouped" else np.arange(len(slices))
    names = np.unique(units)
    tested = rng.permutation(names)[: max(1, round(share * len(names)))]
    return np.where(np.isin(units, tested), "test", "training")


def answers(
    slices: pd.DataFrame, protocol: str, moved: dict[str, float], *, source: str = "B", share: float = 0.3
) -> pd.DataFrame:
    """predictions.parquet: every box moved to the right by so many px, by stage."""
    rows = []
    for subtype, part in slices.groupby("subtype", sort=False):
        sides = parts_of(part, protocol, share, seed=ord(str(subtype)))
        for stage in ("source",) if str(subtype) in source.split("+") else ("untouched", "fine-tuned"):
            own = part.assign(part="untouched" if stage == "untouched" else sides, stage=stage, target=subtype)
            rows.append(own)
    frame = pd.concat(rows, ignore_index=True)
    shift = frame["stage"].map(moved)
    for column in TRUE:
        frame[f"p{column}"] = frame[column] + (shift if column.startswith("x") else 0)
    width = frame["xmax"] - frame["xmin"]
    # Two boxes of one size, apart by d in one direction: (w - d) / (w + d).
    frame["iou"] = np.clip(width - shift, 0, None) / (width + np.minimum(shift, width))
    wanted = ["file", "subtype", "patient", "part", "stage", "target", *TRUE, *[f"p{c}" for c in TRUE], "iou"]
    return frame[wanted]


def history(targets: tuple[str, ...] = ("A", "G"), epochs: int = 20) -> pd.DataFrame:
    """history.tsv: a loss that begins high and falls."""
    rows: list[dict[str, Any]] = []
    for stage, target in (("source", "B"), *(("fine-tuned", t) for t in targets)):
        for epoch in range(1, epochs + 1):
            rows.append({"stage": stage, "target": target, "epoch": epoch, "loss": 900 / epoch**1.5 + 5, "iou": 0.5})
    return pd.DataFrame(rows)


def facts(parameters: int = 1_000_000) -> dict[str, Any]:
    """What training.json must tell the page."""
    plan = {"epochs": 20, "batch_size": 8, "optimiser": "adam", "learning_rate": 0.001}
    return {
        "source": "B",
        "size": 64,
        "skipped": {},
        "parameters": parameters,
        "training": plan,
        "fine_tuning": {"training": {**plan, "epochs": 10}},
    }
