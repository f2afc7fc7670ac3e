"""The model card: what a stranger has to know before trusting a model."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

import drunet
from drunet.annotation.provenance import provenance_sentence
from drunet.errors import printable
from drunet.files import AnyPath, write_text
from drunet.report.figures import kept_epoch
from drunet.report.tables import split_name, stage_name
from drunet.report.words import interval, number

TASKS = {
    "classifier": "Patch-wise classifier: the probability that a tile shows lung tumour.",
    "refiner": "Refinement network: outlines of lung tumour from a slide at low resolution and its heatmap.",
}
_USE = """## Intended use

Research: to find tumour on slides in transmitted light (H&E) like those that it learnt from, to measure it, and to
draft annotations that a pathologist corrects. Not a medical device: no diagnosis and no treatment may rest on it."""
# Licences that Hugging Face knows by these names; any other is `other`, with its own name.
_LICENCES = """apache-2.0 mit bsd-3-clause gpl-3.0 agpl-3.0 cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0
cc-by-nc-nd-4.0"""
_QUALITY = """Dice is the overlap of outline and annotation: 1 is the same area, 0 none. The interval is that of the
mean of slides when patients are drawn anew (bootstrap). No patient is in two splits. Only test slides tell how it does
on new ones: the others helped to make it.

| slides | step | slides measured | patients | mean Dice | 95 % interval | left out |
|---|---|---|---|---|---|---|"""


def write_card(
    path: AnyPath, *, name: str, facts: Mapping[str, Any], history: pd.DataFrame, weights_sha256: str
) -> None:
    """Write a Markdown card: task, data, training, result, limits, and the digests that pin it.

    `facts` are what the training left in training.json, its settings included; `history` is history.tsv.
    """
    # Folders may be called after people.
    settings = json.loads(re.sub(r'"[^"]*[/\\]([^"/\\]+)"', r'"\1"', json.dumps(facts["settings"])))
    role = "refiner" if "classifier" in settings else "classifier"
    slides = ", ".join(facts["training_slides"]) or "not known, the weights are as they came"
    none = "none: the training loss decided" if len(history) else "none"
    held_out = ", ".join(facts["validation_slides"]) or none
    if facts.get("validated_on_wta"):
        held_out += ". They are wholly annotated, the training slides partially: a test on their cohort is not external"
    counts = facts.get("samples_per_epoch")
    samples = f"\n- Samples per epoch: {counts['tumour']} tumour, {counts['non_tumour']} non-tumour" if counts else ""
    begun = f"Starting weights: {settings.get('weights')}"
    if encoder := facts.get("encoder"):
        begun = (
            f"Head on the features of the encoder {encoder['name']}, a finished ONNX file: its training slides are not "
            f"known\n- Encoder given (SHA-256): `{encoder['sha256']}`"
        )
    if stains := facts.get("stain_normalisation"):
        left = ", ".join(stains["not_normalised"]) or "none"
        begun += f"\n- Stains of its tiles are normalised ({stains['method']}); not on training slides: {left}"
    taught = f"\n- {_taught(facts['distillation'])}" if facts.get("distillation") else ""
    write_text(
        path,
        f"""{_front_matter(role, metrics=["f1", "accuracy"] if role == "classifier" else [])}# {name}

{TASKS[role]}

- Architecture: {facts["architecture"]}
- {begun}{taught}
- Weights (SHA-256): `{weights_sha256}`
- Made with drunet {drunet.__version__}, Keras {facts["keras"]}, seed {facts["seed"]}

## Data

- Training slides ({len(facts["training_slides"])}): {slides}
- Validation slides ({len(facts["validation_slides"])}): {held_out}{samples}
- Annotations: {provenance_sentence(facts["annotation_provenance"])}

## Result

{_result(history, settings["training"].get("keep", "best_loss"))}

{_USE}

## Limits

Measured on the slides named here and in the report, and on nothing else. For research; not a medical device.

## Settings

```json
{json.dumps(dict(settings), indent=2)}
```
""",
    )


def write_finished_card(path: AnyPath, role: str, facts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write the card of a model that was not trained here: what is known of it, and what its trial decided.

    `role` is ``classifier`` or ``refiner``, `facts` what `drunet.export.adoption.adopt` returned, `settings` the
    model's entry in the configuration.
    """
    decided = facts["decided"]
    shapes = {name: f"{shape}".replace("None", "n", 1) for name, shape in facts["inputs"].items()}
    inputs = ", ".join(f"`{printable(name)}` {shapes[name]} as the {use}" for name, use in decided["inputs"].items())
    usual = {"channels_last": True, "scale": 1.0, "tumour_index": 1}
    assumed = ", ".join(f"{key} {settings.get(key, value)}" for key, value in usual.items())
    batch = f"{decided['batch']} at a time; a last batch is filled up" if decided["batch"] else "any number"
    seen = "\n\n![Eight tiles with their probabilities](tiles.png)" if role == "classifier" else ""
    write_text(
        path,
        f"""{_front_matter(role, settings.get("licence", ""))}# {facts["name"]}

{TASKS[role]}

- A finished ONNX file, not trained here: its training slides are not known, nor how well it does elsewhere
- File given (SHA-256): `{facts["source_sha256"]}`
- File used (SHA-256): `{facts["sha256"]}`
- Licence: {settings.get("licence") or "not stated"}
- Taken in with drunet {drunet.__version__}

## What its trial decided

- Inputs: {inputs}; type {decided["input_type"]}; batch: {batch}
- Output: `{printable(decided["output"])}`, {decided["classes"]} class{"es" if decided["classes"] > 1 else ""}
- Layers added: {"; ".join(decided["changed"]) or "none, the file is copied byte for byte"}
- Set or assumed: {assumed}

No trial can tell whether the class and the scale are right: look at tiles and their probabilities.{seen}

{_USE}

## Limits

Measured on the slides named in the report, and on nothing else. For research; not a medical device.
""",
    )


def write_run_card(
    path: AnyPath,
    run: str,
    cards: Mapping[str, str],
    digests: Mapping[str, str],
    summary: pd.DataFrame,
    calibration: Mapping[str, Any] | None = None,
) -> None:
    """Write the card of a run, its models together: quality with intervals first, then what each of them is.

    `cards` and `digests` are their cards' texts and their ONNX files' SHA-256 by name, the classifier first; `summary`
    is summary.tsv of the run alone, `calibration` what `drunet.uncertainty.calibration.calibrate` says of the
    classifier.
    """
    quality = _QUALITY if len(summary) else "No slide with an annotation was measured: how good it is is not known."
    for row in summary.itertuples():
        mean, spread = number(row.mean, 3), interval(row.low, row.high, 3)
        cells = (split_name(row.split), stage_name(row.stage), row.n, row.groups, mean, spread, row.left_out)
        quality += f"\n| {' | '.join(map(str, cells))} |"
    tests = summary[(summary["split"] == "test") & (summary["stage"] == "segmentation")]
    scores = [
        {"type": "dice", "name": "Dice, mean of slides", "value": round(float(v), 4)} for v in tests["mean"].dropna()
    ]
    of = {"task": {"type": "image-segmentation"}, "dataset": {"type": "private", "name": "test slides"}}
    results: Any = [{"name": run, "results": [{**of, "metrics": scores}]}] if scores else []
    parts = [
        f"# {run}\n\nFinds lung tumour in whole-slide images by {' and '.join(f'`{name}`' for name in cards)}.",
        f"## Quality\n\n{quality}",
        *([f"## Calibration\n\n{_calibrated(calibration)}"] if calibration else []),
        _USE,
        "## Limits\n\nMeasured on the slides counted here, and on nothing else: other scanners, stains and organs may\n"
        "be worse, and tumour that fills less than a tile may be missed. For research; not a medical device.",
    ]
    for name, card in cards.items():
        # Under one heading each, without what is said above.
        body = card.split("\n---\n", 1)[-1].split("\n", 1)[-1].replace(f"{_USE}\n", "").replace("\n## ", "\n### ")
        parts.append(f"## Model {name}\n\n- ONNX file (SHA-256): `{digests[name]}`\n{body}")
    front = _front_matter("refiner", metrics=["dice"], **{"model-index": results})
    write_text(path, front + "\n\n".join(part.strip() for part in parts) + "\n")


def _calibrated(facts: Mapping[str, Any]) -> str:
    """What temperature scaling does to a classifier's probabilities, and the error before and after."""
    if facts["temperature"] is None:
        return "The validation tiles determine no temperature. Take probabilities for an order, not for frequencies."
    errors = "; ".join(
        f"{judged['before']['ece']:.3f} before and {judged['after']['ece']:.3f} after on {judged['tiles']} tiles of "
        f"{judged['slides']} {split_name(split)} slides" + ("" if judged["apart"] else " (which fitted it)")
        for split, judged in facts["splits"].items()
    )
    worse = any(judged["after"]["ece"] > judged["before"]["ece"] for judged in facts["splits"].values())
    harm = " Where it is larger after, the temperature does harm: fit it on more validation patients." * worse
    return (
        f"Temperature {facts['temperature']:.4g} of the classifier's tile probabilities. Expected calibration error, "
        f"tumour against the rest in {facts['bins']} bins of equally many tiles: {errors}. The ONNX files named here "
        f"answer without it: `calibrated.onnx`, where it was asked for, holds it. No two tiles change places.{harm}"
    )


def _front_matter(role: str, licence: str | None = None, **more: Any) -> str:
    """What Hugging Face reads of a card; `licence` None: whoever trained the model has to say."""
    name = (licence or "").lower().replace(" ", "-")
    known = name in _LICENCES.split()
    told = {"license": "unknown" if not licence else name if known else "other"}
    if licence and not known:
        told["license_name"] = printable(licence)
    task = "image-classification" if role == "classifier" else "image-segmentation"
    tags = ["histopathology", "whole-slide-image", "tumour-segmentation", "drunet"]
    front = {**told, "library_name": "onnx", "pipeline_tag": task, "tags": tags, **{k: v for k, v in more.items() if v}}
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _result(history: pd.DataFrame, keep: str) -> str:
    if history.empty:
        return "Nothing was trained here."
    kept, watched = kept_epoch(history, keep)
    chosen = f"Best of {len(history)} epochs by {watched}" if watched else f"Last of {len(history)} epochs"
    rows = "\n".join(f"| {k} | {v:.4g} |" for k, v in history.iloc[kept].dropna().items())
    minutes = history["seconds"].sum() / 60
    return f"{chosen}, in {minutes:.1f} minutes:\n\n| | |\n|---|---|\n{rows}"


def _taught(lesson: Mapping[str, Any]) -> str:
    batch = lesson["batch"]
    return (
        f"Distilled from {lesson['teacher']} (SHA-256 `{lesson['sha256']}`) at temperature {lesson['temperature']:g}, "
        f"weight {lesson['weight']:g}: batches of {batch['labelled']} labelled and {batch['unlabelled']} unlabelled "
        f"tiles, the latter out of {lesson['tissue_tiles']} tissue tiles of the training slides. What its teacher gets "
        "wrong it has learnt too"
    )
