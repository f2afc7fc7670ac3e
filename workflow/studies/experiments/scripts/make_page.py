"""Set the runs of the paper's Table 2 beside each other: scores, tests, seconds, pictures."""

from pathlib import Path

from drunet.console import job, progress
from drunet.files import read_json, read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.section import write_section
from studies.experiments import tables as study
from studies.experiments.pictures import SlideFiles, seen_by_runs
from studies.experiments.section import draw_figures, experiments_section

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    labels, runs, settings = params.labels, params.runs, params.settings
    # Files come run by run, each in the slides' order.
    per_slide = inputs.measured, inputs.masks, inputs.slides, inputs.annotations, inputs.tissues
    rows = list(zip(params.slides, params.mpp, strict=True))
    kept, (measures, outlined, paths, annotations, tissues) = without_failed(rows, *per_slide)
    slides = [row for row, _ in kept]
    n = len(slides)
    of_run = {run: slice(i * n, (i + 1) * n) for i, run in enumerate(params.order)}
    measured = {run: [read_json(p) for p in measures[part]] for run, part in of_run.items()}
    scores = study.score_table(labels, measured, slides)

    margins, pictures = {}, {}
    with progress(n, "looking at the slides", "slides") as bar:
        for i, ((row, mpp), slide, annotation, tissue) in enumerate(
            zip(kept, paths, annotations, tissues, strict=True)
        ):
            files = SlideFiles(row["slide"], slide, annotation, tissue, mpp)
            masks = {run: outlined[part][i] for run, part in of_run.items()}
            longest = params.picture_px if i < settings["pictures"] else None
            shares, seen = seen_by_runs(files, masks, longest=longest, **params.counting)
            margins |= {(run, row["slide"]): share for run, share in shares.items()}
            pictures |= {(run, row["slide"]): picture for run, picture in seen.items()}
            bar.update()
    scores = study.with_margins(scores, margins)

    table = study.runs_table(scores, labels, runs, params.models, resamples=settings["bootstrap"], seed=params.seed)
    tests = study.tests_table(scores, labels, runs)
    seconds = study.seconds_table(Path(params.benchmarks), labels, runs, [row["slide"] for row in slides])
    for frame, path in ((study.long_table(scores), output.metrics), (table, output.runs), (tests, output.tests)):
        write_tsv(frame, path)
    write_tsv(seconds, output.seconds)

    published = read_published(inputs.published)
    shown = {name: Path(output[name]) for name in ("with_refiner", "without_refiner", "pictures", "seconds_figure")}
    figures = draw_figures(shown, scores, seconds, pictures, labels, runs, published)
    section = experiments_section(table, tests, seconds, published, figures, band_um=settings["band_um"])
    write_section(Path(output.section).parent, section)
