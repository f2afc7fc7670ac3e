"""Show what the search for clusters found, and how well the models that learn the clusters do."""

import shutil
from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, whole_file, write_tsv
from drunet.outcome import without_failed
from studies.clustering import tables as study
from studies.common.classifier_arms import DEFAULT_THRESHOLD, arm_metrics, labelled_tiles
from studies.common.page import by_name, render_section

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    slides, (tables, answered) = without_failed(params.slides, inputs.tables, inputs.answers)
    arms, owners = params.arms, params.owners
    answers = by_name(answered, arms)
    tiles = {arm: labelled_tiles(slides, tables, paths) for arm, paths in answers.items()}
    thresholds = dict.fromkeys(arms, DEFAULT_THRESHOLD)
    metrics = arm_metrics(tiles, thresholds, resamples=params.bootstrap, seed=params.seed)
    validity = {m: pd.read_csv(path, sep="\t") for m, path in zip(owners, inputs.validity, strict=True)}
    write_tsv(study.with_validity(metrics, validity), output.metrics)
    for source, target in zip(inputs.montages, output.montages, strict=True):
        # A section holds its own figures, so that its folder can be given away.
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)
    clusters = {m: read_json(path) for m, path in zip(owners, inputs.clusters, strict=True)}
    trained = {m: read_json(path) for m, path in zip(params.learners, inputs.trained, strict=True)}
    view = study.page_view(metrics, validity, clusters, trained, arms)
    render_section(Path(output.section).parent, Path(inputs.template), view)
