"""Fetch a listed model by its digest."""

from drunet.console import job
from drunet.export.listed import obtain

with job(snakemake.log[0]):
    params = snakemake.params
    obtain(snakemake.output.model, snakemake.wildcards.digest, params.address, params.folder)
