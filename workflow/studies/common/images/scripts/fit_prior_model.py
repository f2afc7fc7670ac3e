"""Fit a model that is no network on the images of a task, or on facts of their files alone, and test it."""

from drunet.console import job
from studies.common.images.folder import read_list
from studies.common.images.groups import read_sources
from studies.common.images.prior_models import fit_prior_model

with job(snakemake.log[0]):
    outputs, params, wildcards = snakemake.output, snakemake.params, snakemake.wildcards
    facts = snakemake.input.get("facts")
    outcome = fit_prior_model(
        f"{wildcards.study}, {wildcards.task}, {wildcards.arm}",
        params.classic,
        params.task,
        read_list(snakemake.input.images),
        params.root,
        validation_share=params.validation_share,
        seed=params.seed,
        file_facts=read_sources(facts) if facts else None,
        threads=snakemake.threads,
    )
    outcome.write(predictions=outputs.predictions, facts=outputs.facts)
