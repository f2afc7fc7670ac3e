"""Compare backbones on the tiles of the test slides, with what they cost."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.backbones import section as study
from studies.common.classifier_arms import DEFAULT_THRESHOLD, arm_metrics, labelled_tiles, slide_scores
from studies.common.cost_figures import f1_against_time

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    slides, (tables, answered) = without_failed(params.slides, inputs.tables, inputs.answers)
    arms, count = params.arms, len(slides)
    # Answers come arm by arm, each in the slides' order.
    answers = {arm: answered[i * count : (i + 1) * count] for i, arm in enumerate(arms)}
    tiles = {arm: labelled_tiles(slides, tables, paths) for arm, paths in answers.items()}
    thresholds = dict.fromkeys(arms, DEFAULT_THRESHOLD)
    metrics = arm_metrics(tiles, thresholds, resamples=params.bootstrap, seed=params.seed)
    cost = pd.read_csv(inputs.cost, sep="\t", dtype={"arm": str})
    write_tsv(study.with_cost(metrics, cost), output.metrics)
    write_tsv(slide_scores(tiles, thresholds).drop(columns="patient"), output.slides)
    save(f1_against_time(study.points(metrics, cost, arms), unit=study.time_axis(cost)), output.figure, dpi=200)
    section = study.backbones_section(
        metrics,
        cost,
        Path(output.figure),
        arms=arms,
        published=read_published(inputs.published),
        settings=dict(zip(arms, params.settings, strict=True)),
        size=params.size,
    )
    write_section(Path(output.section).parent, section)
