"""Compare distilled students with their teacher: speed, F1 on tiles and Dice on the test slides."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.classifier_arms import DEFAULT_THRESHOLD, arm_metrics, labelled_tiles
from studies.common.model_figures import cost_scatter
from studies.common.page import by_name, render_section
from studies.slide_distillation import tables as study

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    arms, asked, reference, size = params.arms, params.asked, params.reference, params.size
    slides, (measures, tables, answered) = without_failed(params.slides, inputs.measured, inputs.tables, inputs.answers)
    settings = dict(zip(arms, params.settings, strict=True))
    files = by_name(measures, params.runs)
    measured = {run: [read_json(path) for path in paths] for run, paths in files.items()}
    scores = study.dice_scores(arms, measured, slides)
    dice = study.dice_table(scores, reference, resamples=params.bootstrap, seed=params.seed)
    answers = by_name(answered, arms)
    tiles = {arm: labelled_tiles(slides, tables, paths) for arm, paths in answers.items()}
    metrics = arm_metrics(tiles, dict.fromkeys(arms, DEFAULT_THRESHOLD), resamples=params.bootstrap, seed=params.seed)
    cost = pd.read_csv(inputs.cost, sep="\t", dtype={"arm": str})
    write_tsv(study.long_table(metrics, cost, scores), output.metrics)
    write_tsv(dice, output.dice)

    points = study.points(cost, dice, arms)
    save(
        cost_scatter(points, unit="ms per tile (log scale)", score="mean Dice (95 % interval)"), output.figure, dpi=200
    )
    view = study.page_view(
        metrics, cost, dice, arms=arms, settings=settings, reference=reference, asked=asked, size=size
    )
    render_section(Path(output.section).parent, Path(inputs.template), view)
