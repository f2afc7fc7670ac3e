"""Compare trainings with and without multi-lens distortion: tables, figures and the study's section."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import write_tsv
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.multi_lens import scores as multi_lens
from studies.multi_lens.figures import paired_dots, strength_sweep
from studies.multi_lens.section import section_of

with job(snakemake.log[0]):
    inputs, outputs, settings = snakemake.input, snakemake.output, snakemake.params.settings
    outcomes = multi_lens.read_outcomes(inputs.outcomes)
    published = pd.read_csv(inputs.published, sep="\t", dtype=str, keep_default_na=False)
    comparison = multi_lens.compare(
        outcomes, multi_lens.read_predictions(inputs.predictions), published, settings["strength"]
    )
    times = pd.read_csv(inputs.times, sep="\t")
    write_tsv(multi_lens.long_metrics(outcomes), outputs.metrics)
    write_tsv(comparison.table, outputs.comparison)
    write_tsv(comparison.mcnemar, outputs.mcnemar)
    save(paired_dots(outcomes, comparison.published, settings["strength"]), outputs.pairs)
    save(strength_sweep(outcomes), outputs.sweep)
    folder = Path(outputs.section).parent
    write_section(folder, section_of(comparison, outcomes, times, settings, folder / "figures"))
