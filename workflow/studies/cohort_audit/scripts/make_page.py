"""Ask what beside the tissue tells slides apart, and write the audit's page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.cohort_audit import tables as study
from studies.cohort_audit.copies import copies
from studies.cohort_audit.figures import trait_figure
from studies.cohort_audit.shifts import shift_table
from studies.common.page import render_section

with job(snakemake.log[0]):
    inputs, output, params, settings = snakemake.input, snakemake.output, snakemake.params, snakemake.params.settings
    rows, (noted, colours) = without_failed(params.slides, inputs.seen, inputs.colours)
    seen = [{**row, **read_json(path)} for row, path in zip(rows, noted, strict=True)]
    options = {"alpha": settings["alpha"], "permutations": settings["permutations"], "seed": params.seed}
    answers, unasked = study.ask(seen, **options)
    tiles = pd.concat(
        [pd.read_csv(c, sep="\t").assign(patient=r["patient"]) for r, c in zip(rows, colours, strict=True)]
    )
    gap = study.split_gap(tiles, params.seed)
    pairs = study.leaking(copies({s["slide"]: s["signature"] for s in seen}, settings["copies"]), seen)
    _, (shifts,) = without_failed(list(inputs.shifts), inputs.shifts)
    moved = shift_table(pd.concat([pd.read_csv(p, sep="\t") for p in shifts]), params.threshold) if shifts else None
    write_tsv(answers, output.answers)
    write_tsv(pairs, output.copies)
    write_tsv(study.long_metrics(answers, gap, moved), output.metrics)
    save(trait_figure(answers), output.figure, dpi=200)
    view = study.page_view(answers, unasked, gap, pairs, moved, seen, settings)
    render_section(Path(output.section).parent, Path(inputs.template), view)
