"""Put the distillation study together: scores beside the published ones, figures, and the study's page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.common.images.folder import read_list
from studies.common.images.notes import time_axis
from studies.common.images.tables import leaks, long_metrics, read_arms, summaries
from studies.histology_distillation import tables as study
from studies.histology_distillation.section import section_of

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    arms = read_arms(settings["arms"], params.arms, inputs.predictions, inputs.facts, params.networks, inputs.histories)
    costs = {task: pd.read_csv(path, sep="\t") for task, path in zip(params.tasks, inputs.costs, strict=True)}
    cost = costs[arms[0].task]
    scores = summaries(arms, resamples=settings["bootstrap"], seed=params.seed)
    leak = leaks(arms, read_list(inputs.images))
    tables = study.score_tables(
        scores, arms, {Path(path).stem: read_published(path) for path in inputs.published}, settings
    )
    write_tsv(long_metrics(arms, costs), output.metrics)
    drawn = study.figures(scores, leak, arms, cost, settings, time_axis=time_axis(cost))
    for name, figure in drawn.items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    section = section_of(
        scores,
        leak,
        tables,
        arms,
        cost,
        settings,
        folder / "figures",
        grouping=read_json(inputs.groups),
        unreadable=len(read_list(inputs.unreadable)),
        picture=bool(inputs.picture),
    )
    write_section(folder, section)
