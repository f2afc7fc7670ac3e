"""Compare sampling and training strategies on the tiles of the test slides."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.classifier_arms import arm_metrics, slide_scores
from studies.common.page import render_section
from studies.common.statistics import paired_tests
from studies.sampling import tables as study
from studies.sampling.settings import models_of

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    arms, models = params.arms, models_of(params.arms)
    slides, (tables, answers) = without_failed(params.slides, inputs.tables, inputs.answers)
    # Tile tables are the slides' own, so that every model reads the same ones.
    measured = study.tiles_by_model(models, dict.fromkeys(models, slides), tables * len(models), answers)
    tuned = models_of(arms, tuned=True)
    rows = [(model, row) for model in tuned for row in params.held_out[model]]
    rows, files = without_failed(rows, inputs.held_out_tables, inputs.held_out_answers)
    by_model = {model: [row for owner, row in rows if owner == model] for model in tuned}
    held_out = study.tiles_by_model(tuned, by_model, *files)
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
    save(study.figure(metrics, groups, params.reference), output.figure, dpi=200)
    learnt = study.learnt_table(arms, facts, thresholds)
    view = study.page_view(metrics, learnt, tests, reference=params.reference)
    render_section(Path(output.section).parent, Path(inputs.template), view)
