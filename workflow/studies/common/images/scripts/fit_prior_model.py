"""Fit a model that is no network on the images of a task, or on facts of their files alone, and test it."""

from drunet.console import job
from studies.common.images.folder import read_list
from studies.common.images.groups import read_sources
from studies.common.images.prior_models import fit_prior_model

with job(snakemake.log[0]):
    outputs, params, wildcards = snakemake.output, snakemake.params, snakemake.wildcards
    facts = snakemake.input.get("facts")
    name = f"{wildcards.study}, {wildcards.task}, {wildcards.arm}"
    how = {"validation_share": params.validation_share, "seed": params.seed, "threads": snakemake.threads}
    images, known = read_list(snakemake.input.images), read_sources(facts) if facts else None
    outcome = fit_prior_model(name, params.classic, params.task, images, params.root, file_facts=known, **how)
    outcome.write(predictions=outputs.predictions, facts=outputs.facts)
