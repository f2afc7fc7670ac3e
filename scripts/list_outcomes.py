"""List what became of every usable slide of a run: done, or where it failed, why and how to mend it."""

from drunet.console import job, say
from drunet.files import write_tsv
from drunet.inspection import outcome_table
from drunet.outcome import describe, outcome_of, stop_for

with job(snakemake.log[0]):
    outcomes = {slide: outcome_of(path) for slide, path in zip(snakemake.params.slides, snakemake.input, strict=True)}
    failures = {slide: failure for slide, failure in outcomes.items() if failure}
    for failure in failures.values():
        say(f"left out: {describe(failure)}")
    if snakemake.params.on_bad_slide == "fail":
        stop_for({slide: failure.status for slide, failure in failures.items()})
    write_tsv(outcome_table(outcomes), snakemake.output.table)
