"""Fit a classifier's temperature on validation tiles, and say how well its probabilities keep their word."""

import pandas as pd

from drunet.console import job, say
from drunet.files import write_json
from drunet.outcome import describe, outcome_of
from drunet.report.figures import reliability_curves, save
from drunet.tiles import read_table
from drunet.uncertainty.calibration import calibrate

with job(snakemake.log[0]):
    inputs, frames = snakemake.input, []
    for row, labels, answers in zip(snakemake.params.slides, inputs.tiles, inputs.classified, strict=True):
        if failure := outcome_of(answers):
            say(f"without {describe(failure)}")
            continue
        labelled = read_table(labels)[0][["column", "row", "label"]]
        frames.append(labelled.merge(read_table(answers)[0], on=["column", "row"], validate="1:1").assign(**row))
    columns = ["slide", "patient", "split", "p_tumour", "label"]
    facts = calibrate(pd.concat(frames) if frames else pd.DataFrame(columns=columns), snakemake.params.seed)
    write_json(snakemake.output.facts, {"model": snakemake.wildcards.model, **facts})
    save(reliability_curves({snakemake.wildcards.model: facts}), snakemake.output.picture)
