"""Compare sampling and training strategies on the tiles of the test slides."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.report.figures import save
from drunet.report.section import render_section
from drunet.statistics import paired_tests
from studies.common.classifier_arms import arm_metrics, slide_scores
from studies.sampling import tables as study
from studies.sampling.figures import interval_dots
from studies.sampling.settings import models_of

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    arms, models = params.arms, models_of(params.arms)
    # Tile tables are the slides' own, so that every model reads the same ones.
    tables = [*inputs.tables] * len(models)
    measured = study.tiles_by_model(models, dict.fromkeys(models, params.slides), tables, inputs.answers)
    tuned = models_of(arms, tuned=True)
    held_out = study.tiles_by_model(tuned, params.held_out, inputs.held_out_tables, inputs.held_out_answers)
    facts = {model: read_json(path) for model, path in zip(params.trained, inputs.facts, strict=True)}
    thresholds = study.thresholds_of(arms, held_out)
    tiles = {name: measured[arm["classifier"]] for name, arm in arms.items()}
    metrics = arm_metrics(tiles, thresholds, resamples=params.bootstrap, seed=params.seed)
    by_slide = slide_scores(tiles, thresholds)
    tests = paired_tests(by_slide, value="f1", reference=params.reference)
    write_tsv(metrics, output.metrics)
    write_tsv(by_slide.drop(columns="patient"), output.slides)
    write_tsv(tests, output.tests)
    groups = {name: study.marks_of(params.settings[arm["classifier"]]) for name, arm in arms.items()}
    save(interval_dots(metrics, groups, params.reference), output.figure, dpi=200)
    learnt = study.learnt_table(arms, facts, thresholds)
    view = study.page_view(metrics, learnt, tests, reference=params.reference, facts=facts)
    render_section(Path(output.section).parent, Path(inputs.template), view)
