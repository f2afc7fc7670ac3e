"""Compare trainings with and without multi-lens distortion, on slides and on images, and write the study's page."""

from pathlib import Path
from typing import Any

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.page import by_name, render_section
from studies.multi_lens import slides as on_slides
from studies.multi_lens import tables as on_images

with job(snakemake.log[0]):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    settings, networks, seed = params.settings, params.networks, params.seed
    published, long = read_published(inputs.published), []
    view: dict[str, Any] = {"settings": settings, "slides": None, "images": None, "timed": params.timed}
    view["costs"] = on_images.relative_cost(pd.read_csv(inputs.times, sep="\t"))
    if networks:
        slides, (measures,) = without_failed(params.slides, inputs.measured)
        measured = {run: [read_json(path) for path in files] for run, files in by_name(measures, params.runs).items()}
        scores = on_slides.score_table(networks, measured, slides, params.measure["threshold"])
        compared = on_slides.compare(scores, published, resamples=params.measure["bootstrap"], seed=seed)
        tests = on_slides.slide_tests(scores)
        write_tsv(compared, outputs.slides)
        write_tsv(tests, outputs.slide_tests)
        save(on_slides.paired_slides(scores, published), outputs.slide_pairs)
        save(on_slides.slide_sweep(scores), outputs.slide_sweep)
        view["slides"] = on_slides.page_view(scores, compared, tests, published)
        view["refiners"] = sorted(set(params.refiners), key=str)
        long.append(on_slides.long_metrics(scores))
    if inputs.outcomes:
        outcomes, predictions = on_images.read_outcomes(inputs.outcomes), on_images.read_predictions(inputs.predictions)
        comparison, stated = on_images.compare(outcomes, predictions, published, settings["strength"])
        write_tsv(comparison, outputs.comparison)
        save(on_images.paired_dots(outcomes, stated, settings["strength"]), outputs.pairs)
        save(on_images.strength_sweep(outcomes), outputs.sweep)
        view["images"] = on_images.page_view(comparison, outcomes, settings)
        long.append(on_images.long_metrics(outcomes))
    write_tsv(pd.concat(long, ignore_index=True), outputs.metrics)
    render_section(Path(outputs.section).parent, Path(inputs.template), view)
