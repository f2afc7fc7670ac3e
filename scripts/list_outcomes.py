"""List what became of every slide of a run: done, or where it failed, why and how to mend it; and its tumour."""

import pandas as pd

from drunet.console import job, say
from drunet.files import write_tsv
from drunet.heatmap import read_field
from drunet.inspection import outcome_table
from drunet.outcome import describe, outcome_of, stop_for
from drunet.quality import summary
from drunet.report.collect import read_slides
from drunet.report.tumour import tumour_per_patient, tumour_per_slide, with_audits
from drunet.tiles import read_table
from drunet.uncertainty.appearance import likeness, read_reference, withdrawn

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    outcomes = {slide: outcome_of(path) for slide, path in zip(params.slides, inputs.masks, strict=True)}
    failures = {slide: failure for slide, failure in outcomes.items() if failure}
    for failure in failures.values():
        say(f"left out: {describe(failure)}")
    failed = {slide: failure.status for slide, failure in failures.items()}
    if params.on_bad_slide == "fail":
        stop_for(failed)
    states = outcome_table(outcomes)
    learnt, looks = read_reference(inputs.appearance), {}
    # Of a cascade no tile is measured, and each slide says that nothing can be told.
    for slide, path in zip(params.slides, inputs.classified or [None] * len(params.slides), strict=True):
        if slide not in failures:
            tiles, facts = read_table(path) if path else (pd.DataFrame(), {})
            found = likeness(tiles, learnt)
            bound = {"bound": withdrawn(found)} if params.bounded else {}
            looks[slide] = {**summary(tiles), "unknown_tiles": facts.get("set_aside", 0), **found, **bound}
    states = states.join(pd.DataFrame.from_dict(looks, orient="index"), on="slide_id")
    write_tsv(states, snakemake.output.table)
    masks = dict(zip(params.slides, zip(inputs.small, inputs.tissue, strict=True), strict=True))
    tumour = tumour_per_slide(read_slides(inputs.slides), params.patients, masks, failed)
    if inputs.cascades:
        files = zip(params.slides, inputs.cascades, strict=True)
        audits = {slide: read_field(path)[1]["cascade"] for slide, path in files if slide not in failures}
        tumour = with_audits(tumour, audits)
    write_tsv(tumour, snakemake.output.tumour)
    write_tsv(tumour_per_patient(tumour), snakemake.output.patients)
