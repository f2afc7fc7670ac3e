"""Set students beside their teacher: speed, tile F1, Dice on the test slides; tables, figure and section."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.common.classifier_arms import DEFAULT_THRESHOLD, arm_metrics, labelled_tiles
from studies.slide_distillation import tables as study
from studies.slide_distillation.arms import runs_of
from studies.slide_distillation.figures import speed_against_dice
from studies.slide_distillation.section import section_of

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    arms, asked, reference = params.arms, params.asked, params.reference
    slides, (measures, tables, answered) = without_failed(params.slides, inputs.measured, inputs.tables, inputs.answers)
    settings = dict(zip(arms, params.settings, strict=True))
    files = study.dealt(measures, runs_of(arms), len(slides))
    measured = {run: [read_json(path) for path in paths] for run, paths in files.items()}
    scores = study.dice_scores(arms, measured, slides)
    dice = study.dice_table(scores, reference, resamples=params.bootstrap, seed=params.seed)
    answers = study.dealt(answered, list(arms), len(slides))
    tiles = {arm: labelled_tiles(slides, tables, paths) for arm, paths in answers.items()}
    metrics = arm_metrics(tiles, dict.fromkeys(arms, DEFAULT_THRESHOLD), resamples=params.bootstrap, seed=params.seed)
    cost = pd.read_csv(inputs.cost, sep="\t", dtype={"arm": str})
    write_tsv(study.long_table(metrics, cost, scores), output.metrics)
    write_tsv(dice, output.dice)

    stages = {s: study.STAGES[s] for s in dict.fromkeys(("heatmap", study.deciding_stage(dice)))}
    drawn = study.points(cost, dice, arms, settings, reference=reference, size=params.size, stages=list(stages))
    unit = "tiles per second on ONNX Runtime, logarithmic"
    figure = speed_against_dice(drawn, asked=asked, stages=stages, unit=unit, slides=f"{len(slides)} test slides")
    save(figure, output.figure, dpi=200)
    section = section_of(
        metrics,
        cost,
        dice,
        Path(output.figure),
        arms=arms,
        settings=settings,
        reference=reference,
        asked=asked,
        size=params.size,
    )
    write_section(Path(output.section).parent, section)
