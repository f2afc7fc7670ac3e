"""Make the page of the ResNet-50 study: scores beside the published ones, and figures."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from studies.common.images.external import external_metrics, external_view
from studies.common.images.folder import read_list
from studies.common.images.tables import leaks, long_metrics, read_arms, summaries
from studies.common.page import render_section
from studies.histology_resnet50 import tables as study

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    arms = read_arms(settings["arms"], params.arms, inputs.predictions, inputs.facts, params.networks, inputs.histories)
    scores = summaries(arms, resamples=settings["bootstrap"], seed=params.seed)
    leak = leaks(arms, read_list(inputs.images))
    answers = {key: pd.read_parquet(file) for key, file in zip(params.tested, inputs.external, strict=True)}
    listed = read_json(inputs.external_facts) if answers else {}
    external = external_view(arms, answers, listed, scores, resamples=settings["bootstrap"], seed=params.seed)
    metrics = [long_metrics(arms, {}), study.confused_metrics(arms, settings["confused"]["classes"])]
    write_tsv(pd.concat([*metrics, *external_metrics(answers)], ignore_index=True), output.metrics)
    for name, figure in study.figures(scores, leak, arms).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    published = read_published(inputs.published).set_index("figure")["value"].to_dict()
    facts = {
        "grouping": read_json(inputs.groups),
        "unreadable": len(read_list(inputs.unreadable)),
        "external": external,
    }
    view = study.page_view(scores, leak, arms, settings, published, **facts, picture=bool(inputs.picture))
    render_section(folder, Path(inputs.template), view)
