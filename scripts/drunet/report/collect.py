"""Bringing together what the report shows, from the files that the workflow made."""

import csv
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import drunet
from drunet.errors import FailedSlideError
from drunet.files import AnyPath, read_json, sha256
from drunet.outcome import outcome_of, reason_of
from drunet.quality import FAULTS
from drunet.report.verdict import final_stage
from drunet.report.words import number

PACKAGES = (
    "snakemake", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime-gpu", "onnxruntime", "openslide-python",
    "openslide-bin", "opencv-python-headless", "numpy", "scikit-learn", "pandas",
)  # fmt: skip
METRICS_TEXT = ("slide", "split", "stage")
SLIDE_NUMBERS = ("width", "height", "mpp", "levels", "objective_power", "unread_mm2")


def read_slides(path: AnyPath) -> pd.DataFrame:
    """Read `slides.tsv`: numbers as float, NaN where a slide could not tell them; everything else as text."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(**{column: pd.to_numeric(table[column], errors="coerce") for column in SLIDE_NUMBERS})


def read_looks(path: AnyPath) -> pd.DataFrame:
    """Read slides with a result from a run's `slides.tsv`: their quality and likeness, where they were measured."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    known = [column for column in (*FAULTS, "unknown_tiles") if column in table]
    table = table.assign(**{column: pd.to_numeric(table[column]) for column in known})
    return table[table["status"] == "ok"]


def final_states(slides: pd.DataFrame, files: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """`slides.tsv` with the final state of slides that passed inspection and failed later.

    `files` are results of the runs as (run, slide ID, path): the first one of a slide that is an outcome decides its
    status, reason and mend; the reason names the runs and the rule that failed.
    """
    failures: dict[str, FailedSlideError] = {}
    runs: dict[str, list[str]] = {}
    for run, slide, path in files:
        if failure := outcome_of(path):
            failures.setdefault(slide, failure)
            runs.setdefault(slide, []).append(run)
    states, told = slides.copy(), {}
    for slide, failure in failures.items():
        where = f"{failure.stage}, run {', '.join(dict.fromkeys(runs[slide]))}"
        told[slide] = [failure.status, f"{where}: {reason_of(failure)}", failure.mend]
    # All at once: row by row, each would be looked for in all rows.
    if (failed := states["slide_id"].isin(told)).any():
        states.loc[failed, ["status", "reason", "mend"]] = [told[slide] for slide in states.loc[failed, "slide_id"]]
    return states


def read_metrics(paths: Mapping[str, str], slides: Sequence[Mapping[str, Any]], column: str = "run") -> pd.DataFrame:
    """Join tables, one per run (or model), with its name in a further column and the patient's number of each slide."""
    patients = {s["slide"]: s["patient"] for s in slides}
    frames = []
    for name, path in paths.items():
        # A slide may be called NA or null.
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        frame = frame.assign(**{c: pd.to_numeric(frame[c]) for c in frame.columns if c not in METRICS_TEXT})
        frames.append(frame.assign(**{column: name}, patient_id=frame["slide"].map(patients)))
    return pd.concat(frames, ignore_index=True)


def held_out_tiles(
    measured: Sequence[tuple[str, Mapping[str, Any]]], paths: Sequence[str], classifiers: Mapping[str, str]
) -> dict[str, pd.DataFrame]:
    """p_tumour and label of the test slides' labelled tiles, per classifier; slides that failed are left out.

    `measured` has (run, slide row) in the order of `paths`, the slides' metrics.json; a classifier that serves several
    runs (`classifiers`, by run) counts once.
    """
    frames, seen = dict[str, list[pd.DataFrame]](), set[tuple[str, str]]()
    for (run, row), path in zip(measured, paths, strict=True):
        key = (classifiers[run], row["slide"])
        if row["split"] != "test" or key in seen or outcome_of(path):
            continue
        seen.add(key)
        tiles = read_json(path)["tiles"]
        probability = np.array([np.nan if p is None else p for p in tiles["p_tumour"]], float)
        frames.setdefault(key[0], []).append(pd.DataFrame({"p_tumour": probability, "label": tiles["label"]}))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}


def model_row(export: Mapping[str, Any]) -> dict[str, Any]:
    """What the report's table of models shows of an `export.json`."""
    slides = export["training_slides"]
    own = {key: export[key] for key in ("name", "architecture", "parameters", "parity")}
    return own | {"learnt from": f"{len(slides)} slides" if slides else "not known", "sha256": export["sha256"]}


def notes(slides: pd.DataFrame, metrics: pd.DataFrame, exports: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """Sentences to judge the figures by; `slides` is slides.tsv, `metrics` those of all runs, `exports` export.json."""
    none = "A slide without annotated tumour counts as Dice 1 when nothing is outlined on it, and as 0 if anything is."
    test = metrics[(metrics["split"] == "test") & metrics["dsc"].notna()]
    # Nothing can be recalled where there is no tumour.
    if len(empty := test.loc[test["recall"].isna(), "slide"].unique()):
        others = test[~test["slide"].isin(empty) & (test["stage"] == final_stage(test))]
        means = [f"{run} {number(mean)}" for run, mean in others.groupby("run", sort=False)["dsc"].mean().items()]
        none += f" Of the test slides: {', '.join(empty)}. Mean Dice of the others at the end: {', '.join(means)}."
    lines = [none] if (slides["annotation_kind"] != "").any() else []
    if ((slides["annotation_kind"] == "psa") & (slides["status"] == "ok")).any():
        lines.append("On partially annotated slides only the marked regions count, and no distances are given.")
    lines += [
        f"{model['name']} learnt from partially annotated slides; wholly annotated ones decided which epoch was best. "
        "If the test slides are of their cohort, the test is not external."
        for model in exports
        if model.get("validated_on_wta")
    ]
    lines += [
        f"The annotation of {row['slide_id']} began as a model's outline ({row['annotation_origin']}): "
        "it flatters the model that it came from, and its kin."
        for row in slides.to_dict("records")
        if row["split"] == "test" and row["annotation_origin"] not in ("", "drawn")
    ]
    lines += [
        f"{row['unread_mm2']:.3g} mm² of the tissue of {row['slide_id']} are missing in its file: "
        "what is there is unknown, and is neither learnt from nor measured."
        for row in slides.to_dict("records")
        if row["status"] == "ok" and row.get("unread_mm2", 0) > 0
    ]
    lines += [f"{row['slide_id']}: {row['noted']}." for row in slides.to_dict("records") if row.get("noted")]
    return lines


def run_times(folder: AnyPath) -> pd.DataFrame:
    """Every job's stage, slide (the file's name), seconds and peak memory_mb, from Snakemake's benchmark files."""
    lines = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        stage, *rest = path.relative_to(folder).with_suffix("").parts
        # Thousands of files of a line each: for pandas a minute's work.
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            lines += [(path, stage, ("", *rest)[-1], row["s"], row.get("max_rss")) for row in rows]
    table = pd.DataFrame(lines, columns=["path", "stage", "slide", "seconds", "memory_mb"])
    numbers = table[["seconds", "memory_mb"]].apply(pd.to_numeric, errors="coerce")
    jobs = table.assign(**numbers).groupby(["path", "stage", "slide"], sort=False)
    return jobs.agg({"seconds": "mean", "memory_mb": "max"}).reset_index().drop(columns="path")


def digests(config: Mapping[str, Any], slides: AnyPath) -> dict[str, str]:
    """SHA-256 of the whole configuration, with its keys in order, and of slides.tsv."""
    whole = json.dumps(config, sort_keys=True, default=str).encode()
    return {"SHA-256 of the configuration": hashlib.sha256(whole).hexdigest(), "SHA-256 of slides.tsv": sha256(slides)}


def versions() -> dict[str, str]:
    """Versions of what computed the numbers: this package, Python, the processor's kind, and the packages above."""
    found = {"drunet": drunet.__version__, "Python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
