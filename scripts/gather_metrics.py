"""Gather the measurements of a run's slides into tables."""

from drunet.console import job, say
from drunet.evaluation import gather
from drunet.files import read_json, write_tsv
from drunet.outcome import describe, outcome_of
from drunet.report.tables import summary_table

with job(snakemake.log[0]):
    slides = snakemake.params.slides
    failures = [outcome_of(path) for path in snakemake.input]
    for failure in filter(None, failures):
        say(f"without scores: {describe(failure)}")
    measured = [None if failed else read_json(path) for path, failed in zip(snakemake.input, failures, strict=True)]
    metrics, tile_metrics = gather(measured, slides)
    write_tsv(metrics, snakemake.output.metrics)
    write_tsv(tile_metrics, snakemake.output.tile_metrics)
    patients = {s["slide"]: s["patient"] for s in slides}
    named = metrics.assign(run=snakemake.wildcards.run, patient_id=metrics["slide"].map(patients))
    summary = summary_table(named, resamples=snakemake.params.resamples, seed=snakemake.params.seed)
    write_tsv(summary, snakemake.output.summary)
