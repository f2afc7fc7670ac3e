"""Put the study of cancer against pneumonia together: the probe's verdict, scores, figures, and the study's page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.common.images.folder import read_list
from studies.common.images.tables import leaks, long_metrics, read_arms, summaries
from studies.ct_pneumonia import scores as study
from studies.ct_pneumonia.attention_figures import coverage_metrics, coverage_table
from studies.ct_pneumonia.attention_maps import read_coverage
from studies.ct_pneumonia.section import section_of

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    positive, drawn = settings["positive"], {"resamples": settings["bootstrap"], "seed": params.seed}
    arms = read_arms(settings["arms"], params.arms, inputs.predictions, inputs.facts, params.networks, inputs.histories)
    scores = summaries(arms, **drawn, positive=positive)
    leak = leaks(arms, read_list(inputs.images))
    covered = [read_coverage(path) for path in inputs.coverage]
    protocol = params.trial.rpartition(".")[0]
    metrics = [long_metrics(arms, {}, positive=positive), coverage_metrics(params.explained, covered, protocol)]
    write_tsv(pd.concat(metrics, ignore_index=True), output.metrics)
    for name, figure in study.figures(scores, leak, arms, settings).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    labels = [settings["arms"][key.partition("/")[2]]["label"] for key in params.explained]
    section = section_of(
        scores,
        leak,
        arms,
        settings,
        read_published(inputs.published),
        coverage_table(dict(zip(labels, covered, strict=True)), **drawn),
        pd.read_csv(inputs.chosen, sep="\t", dtype={"file": str, "group": str}),
        folder / "figures",
        grouping=read_json(inputs.groups),
        collected=read_json(inputs.collected),
    )
    write_section(folder, section)
