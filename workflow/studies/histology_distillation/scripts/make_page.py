"""Make the page of the distillation study: scores beside the published ones, and figures."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from studies.common.images.external import external_metrics, external_view
from studies.common.images.folder import read_list
from studies.common.images.tables import leaks, long_metrics, read_arms, summaries
from studies.common.page import render_section
from studies.histology_distillation import tables as study

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    arms = read_arms(settings["arms"], params.arms, inputs.predictions, inputs.facts, params.networks, inputs.histories)
    costs = {task: pd.read_csv(path, sep="\t") for task, path in zip(params.tasks, inputs.costs, strict=True)}
    cost = costs[arms[0].task]
    scores = summaries(arms, resamples=settings["bootstrap"], seed=params.seed)
    leak = leaks(arms, read_list(inputs.images))
    answers = {key: pd.read_parquet(file) for key, file in zip(params.tested, inputs.external, strict=True)}
    listed = read_json(inputs.external_facts) if answers else {}
    external = external_view(arms, answers, listed, scores, resamples=settings["bootstrap"], seed=params.seed)
    write_tsv(pd.concat([long_metrics(arms, costs), *external_metrics(answers)], ignore_index=True), output.metrics)
    for name, figure in study.figures(scores, leak, arms, cost, settings).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    published = {Path(path).stem: read_published(path) for path in inputs.published}
    facts = {
        "grouping": read_json(inputs.groups),
        "unreadable": len(read_list(inputs.unreadable)),
        "external": external,
    }
    view = study.page_view(scores, leak, arms, cost, settings, published, **facts, picture=bool(inputs.picture))
    render_section(folder, Path(inputs.template), view)
