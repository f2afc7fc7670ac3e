"""Compare backbones on the tiles of the test slides, with what they cost."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.backbones import tables as study
from studies.common.classifier_arms import DEFAULT_THRESHOLD, arm_metrics, labelled_tiles, slide_scores
from studies.common.model_figures import cost_scatter
from studies.common.page import by_name, render_section

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    slides, (tables, answered) = without_failed(params.slides, inputs.tables, inputs.answers)
    arms = params.arms
    answers = by_name(answered, arms)
    tiles = {arm: labelled_tiles(slides, tables, paths) for arm, paths in answers.items()}
    thresholds = dict.fromkeys(arms, DEFAULT_THRESHOLD)
    metrics = arm_metrics(tiles, thresholds, resamples=params.bootstrap, seed=params.seed)
    cost = pd.read_csv(inputs.cost, sep="\t", dtype={"arm": str})
    write_tsv(study.with_cost(metrics, cost), output.metrics)
    write_tsv(slide_scores(tiles, thresholds).drop(columns="patient"), output.slides)
    points = study.points(metrics, cost, arms)
    save(cost_scatter(points, unit="ms per tile (log scale)", score="F1 (95 % interval)"), output.figure, dpi=200)
    published = read_published(inputs.published)
    view = study.page_view(metrics, cost, arms=arms, published=published, size=params.size, scaling=params.scaling)
    render_section(Path(output.section).parent, Path(inputs.template), view)
