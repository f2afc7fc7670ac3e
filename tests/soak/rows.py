"""A report of thousands of slides: results of a few, linked under many names, and a tenth of them failed late."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tiny_cohort import ROOT, Project
from torture.rules import RUN, Case, Named, Rules

from drunet.errors import FailedSlideError
from drunet.outcome import write_outcome

# Every so many slides fail after inspection.
FAILED = 10
OF_A_RUN = ("segmentation.tif", "segmentation.png", "overlay.jpg", "heatmap.jpg", "metrics.json")
PARTS = ("classifier", "refiner")


@dataclass
class Told:
    """What was seen of the two jobs that list all slides."""

    rows: int
    outcomes: float
    report: float
    memory: float
    page: float
    opens: bool

    def __str__(self) -> str:
        return f"{self.rows:6}  {self.outcomes:10.1f}  {self.report:8.1f}  {self.memory:9.0f}  {self.page:7.1f}"


def report_of(project: Project, folder: Path, rows: int) -> Told:
    """List the outcomes of so many slides and write their page, in a process of its own."""
    names = multiply(project, folder, rows)
    asked = multiprocessing.get_context("fork").Process(target=_work, args=(project, folder, names))
    asked.start()
    asked.join()
    if asked.exitcode:
        said = (folder / "said.txt").read_text(encoding="utf-8")[-2000:]
        raise SystemExit(f"the report of {rows} slides ended with {asked.exitcode}\n{said}")
    told = json.loads((folder / "told.json").read_text())
    page = folder / "report/report.html"
    text = page.read_text(encoding="utf-8")
    listed = pd.read_csv(folder / f"runs/{RUN}/tumour.tsv", sep="\t")
    opens = text.rstrip().endswith("</html>") and names[-1] in text and len(listed) == rows
    return Told(rows, *told, page.stat().st_size / 1e6, opens)


def multiply(project: Project, folder: Path, rows: int) -> list[str]:
    """Link the results of a project's slides under as many names as asked; those names."""
    results, run = project.results, folder / f"runs/{RUN}"
    old = [row["slide_id"] for row in project.rows]
    names = [f"copy{number:05}" for number in range(rows)]
    failure = {"stage": "classify_tiles", "status": "unreadable", "mend": "Copy it anew."}
    for number, name in enumerate(names):
        (run / name).mkdir(parents=True)
        (folder / "slides" / name).mkdir(parents=True)
        own = [run / name / file for file in OF_A_RUN]
        source = old[number % len(old)]
        os.link(results / "slides" / source / "tissue.png", folder / "slides" / name / "tissue.png")
        if number % FAILED == FAILED - 1:
            write_outcome(own, FailedSlideError("its tiles cannot be read", where=name, **failure))
            continue
        for path in own:
            os.link(results / "runs" / RUN / source / path.name, path)
    for table, column in (("slides.tsv", "slide_id"), (f"runs/{RUN}/metrics.tsv", "slide")):
        listed = pd.read_csv(results / table, sep="\t", dtype=str, keep_default_na=False)
        each = dict(iter(listed.groupby(column)))
        kept = [n for n in range(rows) if column == "slide_id" or n % FAILED != FAILED - 1]
        many = [each[old[n % len(old)]].assign(**{column: names[n]}) for n in kept]
        pd.concat(many).to_csv(folder / table, sep="\t", index=False)
    return names


def _work(project: Project, folder: Path, names: list[str]) -> None:
    # A line for each slide that failed.
    with (folder / "said.txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    rules = Rules(folder, Case(Path()), Path(), project.config)
    results, of_run = project.results, folder / "runs" / RUN
    every = {file: [str(of_run / name / file) for name in names] for file in OF_A_RUN}
    tissue = [str(folder / "slides" / name / "tissue.png") for name in names]
    slides, tumour, outcomes = str(folder / "slides.tsv"), str(of_run / "tumour.tsv"), str(of_run / "slides.tsv")
    config, run = project.config, project.config["runs"][RUN]
    heatmaps, old = results / "heatmaps" / run["classifier"], [row["slide_id"] for row in project.rows]
    begun = time.perf_counter()
    rules.script(
        "list_outcomes",
        "list_outcomes.log",
        Named(
            slides=slides,
            masks=every["segmentation.tif"],
            small=every["segmentation.png"],
            tissue=tissue,
            cascades=[],
            classified=[str(heatmaps / f"{old[number % len(old)]}.parquet") for number in range(len(names))],
            appearance=[],
        ),
        Named(table=outcomes, tumour=tumour, patients=str(of_run / "tumour_per_patient.tsv")),
        slides=names,
        patients={name: number for number, name in enumerate(names, 1)},
        on_bad_slide="skip",
        bounded=False,
    )
    listed = time.perf_counter()
    settings = {key: config[key] for key in ("tissue", "tiles", "postprocess", "measure")}
    (folder / "report").mkdir()
    rules.script(
        "report",
        "report.log",
        Named(
            slides=slides,
            outcomes=[outcomes],
            appearances=[],
            tumour=[tumour],
            metrics=[str(of_run / "metrics.tsv")],
            tile_metrics=[str(results / "runs" / RUN / "tile_metrics.tsv")],
            measured=every["metrics.json"],
            overlays=every["overlay.jpg"],
            heatmaps=every["heatmap.jpg"],
            exports=[str(results / "models" / run[part] / "export.json") for part in PARTS],
            histories=[],
            calibrations=[],
            bounds=[],
            published=[str(p) for p in sorted((ROOT / "resources/published").glob("*.tsv"))],
            sections=[],
            formats=str(ROOT / "resources/exports.tsv"),
        ),
        Named(page=str(folder / "report/report.html"), pictures=str(folder / "report/pictures")),
        title="Soak",
        formats=["geojson"],
        runs={RUN: run},
        known=[],
        measured=[{"slide": name, "split": "test", "patient": number} for number, name in enumerate(names, 1)],
        trained=[],
        settings={**settings, "models": {run[part]: config[f"{part}s"][run[part]] for part in PARTS}},
        benchmarks=str(results / "benchmarks"),
        threshold=0.5,
        resamples=config["measure"]["bootstrap"],
        seed=config["seed"],
    )
    written = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (folder / "told.json").write_text(json.dumps([listed - begun, written - listed, memory]))
