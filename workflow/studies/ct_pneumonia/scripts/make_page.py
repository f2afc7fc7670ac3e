"""Make the page of cancer against pneumonia: the probe's verdict, scores and figures."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from studies.common.images.folder import read_list
from studies.common.images.tables import leaks, long_metrics, read_arms, summaries
from studies.common.page import render_section
from studies.ct_pneumonia import tables as study
from studies.ct_pneumonia.attention_maps import read_coverage
from studies.ct_pneumonia.tables import figures

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    positive, drawn = settings["positive"], {"resamples": settings["bootstrap"], "seed": params.seed}
    arms = read_arms(settings["arms"], params.arms, inputs.predictions, inputs.facts, params.networks, inputs.histories)
    scores = summaries(arms, **drawn, positive=positive)
    leak = leaks(arms, read_list(inputs.images))
    covered = [read_coverage(path) for path in inputs.coverage]
    protocol = params.trial.rpartition(".")[0]
    metrics = [long_metrics(arms, {}, positive=positive), study.coverage_metrics(params.explained, covered, protocol)]
    write_tsv(pd.concat(metrics, ignore_index=True), output.metrics)
    for name, figure in figures(scores, leak, arms, settings).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    labels = [settings["arms"][key.partition("/")[2]]["label"] for key in params.explained]
    boxes = study.coverage_table(dict(zip(labels, covered, strict=True)), **drawn)
    facts = {"grouping": read_json(inputs.groups), "collected": read_json(inputs.collected)}
    view = study.page_view(scores, leak, arms, settings, read_published(inputs.published), boxes, **facts)
    render_section(folder, Path(inputs.template), view)
