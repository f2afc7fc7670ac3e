"""Compare trainings with and without multi-lens distortion, and write the study's page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_published, write_tsv
from drunet.report.figures import save
from studies.common.page import render_section
from studies.multi_lens import tables
from studies.multi_lens.tables import paired_dots, strength_sweep

with job(snakemake.log[0]):
    inputs, outputs, settings = snakemake.input, snakemake.output, snakemake.params.settings
    outcomes, predictions = tables.read_outcomes(inputs.outcomes), tables.read_predictions(inputs.predictions)
    given = read_published(inputs.published)
    comparison, published = tables.compare(outcomes, predictions, given, settings["strength"])
    write_tsv(tables.long_metrics(outcomes), outputs.metrics)
    write_tsv(comparison, outputs.comparison)
    save(paired_dots(outcomes, published, settings["strength"]), outputs.pairs)
    save(strength_sweep(outcomes), outputs.sweep)
    view = tables.page_view(comparison, outcomes, pd.read_csv(inputs.times, sep="\t"), settings)
    render_section(Path(outputs.section).parent, Path(inputs.template), view)
