"""The model card: what a stranger has to know before trusting a model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

import drunet
from drunet.annotation.provenance import provenance_sentence
from drunet.files import write_text

TASKS = {
    "classifier": "Patch-wise classifier: the probability that a tile shows lung tumour.",
    "refiner": "Refinement network: outlines of lung tumour from a slide at low resolution and its heatmap.",
}


def write_card(
    path: str | os.PathLike[str],
    *,
    name: str,
    facts: Mapping[str, Any],
    history: pd.DataFrame,
    weights_sha256: str,
) -> None:
    """Write a Markdown card: task, data, training, result, limits, and the digests that pin it.

    Parameters
    ----------
    facts : mapping
        What the training left in training.json, its settings included.
    history : DataFrame
        history.tsv.
    """
    settings = facts["settings"]
    task = TASKS["refiner" if "classifier" in settings else "classifier"]
    watched = "val_loss" if "val_loss" in history else "loss"
    best = history.iloc[int(history[watched].to_numpy().argmin())]
    result = "\n".join(f"| {k} | {v:.4g} |" for k, v in best.items())
    slides = ", ".join(facts["training_slides"])
    held_out = ", ".join(facts["validation_slides"]) or "none: the training loss decided"
    counts = facts.get("samples_per_epoch")
    samples = f"\n- Samples per epoch: {counts['tumour']} tumour, {counts['non_tumour']} non-tumour" if counts else ""
    taught = f"\n- {_taught(facts['distillation'])}" if facts.get("distillation") else ""
    write_text(
        path,
        f"""# {name}

{task}

- Architecture: {facts["architecture"]}
- Starting weights: {settings["weights"]}{taught}
- Weights (SHA-256): `{weights_sha256}`
- Made with drunet {drunet.__version__}, Keras {facts["keras"]}, seed {facts["seed"]}

## Data

- Training slides ({len(facts["training_slides"])}): {slides}
- Validation slides ({len(facts["validation_slides"])}): {held_out}{samples}
- Annotations: {provenance_sentence(facts["annotation_provenance"])}

## Result

Best of {len(history)} epochs by {watched}, in {history["seconds"].sum() / 60:.1f} minutes:

| | |
|---|---|
{result}

## Limits

Measured on the slides named here and in the report, and on nothing else. For research; not a medical device.

## Settings

```json
{json.dumps(dict(settings), indent=2)}
```
""",
    )


def _taught(lesson: Mapping[str, Any]) -> str:
    batch = lesson["batch"]
    return (
        f"Distilled from {lesson['teacher']} (SHA-256 `{lesson['sha256']}`) at temperature {lesson['temperature']:g}, "
        f"weight {lesson['weight']:g}: batches of {batch['labelled']} labelled and {batch['unlabelled']} unlabelled "
        f"tiles, the latter out of {lesson['tissue_tiles']} tissue tiles of the training slides. What its teacher gets "
        "wrong it has learnt too"
    )
