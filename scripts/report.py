"""Write the page that says what was done, on which slides, how well, and what could not be done."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published
from drunet.outcome import outcome_of
from drunet.report.collect import (
    digests,
    final_states,
    held_out_tiles,
    model_row,
    notes,
    read_looks,
    read_metrics,
    read_slides,
    run_times,
    versions,
)
from drunet.report.page import OverlayEntry, ReportInputs, write_page
from drunet.report.section import read_section
from drunet.report.tumour import read_tumour
from drunet.uncertainty.appearance import read_reference

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    classifiers = {run: parts["classifier"] for run, parts in params.runs.items()}
    measured = [(run, s) for run in params.runs for s in params.measured]
    # runs/{run}/{slide}/overlay.jpg: the path itself says whose picture it is.
    overlays = [
        OverlayEntry(slide=Path(o).parts[-2], run=Path(o).parts[-3], heatmap_picture=Path(h), overlay=Path(o))
        for h, o in zip(inputs.heatmaps, inputs.overlays, strict=True)
    ]
    results = [(o.run, o.slide, o.overlay) for o in overlays]
    results += [(run, row["slide"], path) for (run, row), path in zip(measured, inputs.measured, strict=True)]
    histories = {m: pd.read_csv(path, sep="\t") for m, path in zip(params.trained, inputs.histories, strict=True)}
    known = {classifiers[run]: read_reference(path) for run, path in zip(params.known, inputs.appearances, strict=True)}
    exports = [read_json(path) for path in inputs.exports]
    slides = final_states(read_slides(inputs.slides), results)
    metrics = read_metrics(dict(zip(params.runs, inputs.metrics, strict=True)), params.measured)
    Path(snakemake.output.pictures).mkdir()
    write_page(
        snakemake.output.page,
        ReportInputs(
            title=params.title,
            slides=slides,
            metrics=metrics,
            tile_metrics=read_metrics(dict(zip(classifiers.values(), inputs.tile_metrics, strict=True)), [], "model"),
            overlays=[o for o in overlays if not outcome_of(o.overlay)],
            histories=histories,
            calibrations={facts["model"]: facts for facts in map(read_json, inputs.calibrations)},
            bounds=[read_json(path) for path in inputs.bounds],
            looks={run: read_looks(path) for run, path in zip(params.runs, inputs.outcomes, strict=True)},
            known={name: len(facts["slides"]) for name, facts in known.items()},
            runtimes=run_times(params.benchmarks),
            models=[model_row(export) for export in exports],
            sections=[read_section(path) for path in inputs.sections],
            versions=versions() | digests(snakemake.config, inputs.slides),
            published={Path(path).stem: read_published(path) for path in inputs.published},
            runs=params.runs,
            formats=read_published(inputs.formats).query("format in @params.formats"),
            tiles=held_out_tiles(measured, inputs.measured, classifiers),
            notes=notes(slides, metrics, exports),
            tumour={run: read_tumour(path) for run, path in zip(params.runs, inputs.tumour, strict=True)},
            settings=params.settings,
            threshold=params.threshold,
            resamples=params.resamples,
            seed=params.seed,
        ),
    )
