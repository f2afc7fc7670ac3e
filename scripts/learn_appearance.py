"""Note what the slides look like that a classifier learnt from."""

from drunet.console import job, say
from drunet.files import write_json
from drunet.outcome import describe, outcome_of
from drunet.tiles import read_table
from drunet.uncertainty.appearance import reference

with job(snakemake.log[0]):
    failures = {path: outcome_of(path) for path in snakemake.input.classified}
    for failure in filter(None, failures.values()):
        say(f"without {describe(failure)}")
    tables = [read_table(path)[0] for path, failure in failures.items() if not failure]
    write_json(snakemake.output.facts, {"model": snakemake.wildcards.model, **reference(tables)})
