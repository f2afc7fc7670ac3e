"""Fit a prior model (support vectors, a forest, nearest neighbours) on the images of a task, and test it."""

from drunet.console import job
from drunet.images.folder import read_list
from drunet.studies.prior_models import fit_prior_model

with job(snakemake.log[0]):
    outputs, params, wildcards = snakemake.output, snakemake.params, snakemake.wildcards
    outcome = fit_prior_model(
        f"{wildcards.study}, {wildcards.task}, {wildcards.arm}",
        params.classic,
        params.task,
        read_list(snakemake.input.images),
        params.root,
        validation_share=params.validation_share,
        seed=params.seed,
        threads=snakemake.threads,
    )
    outcome.write(outputs.predictions, outputs.facts)
