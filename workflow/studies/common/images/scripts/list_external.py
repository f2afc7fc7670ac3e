"""List a second folder of images, without those that share a source with the study's own."""

from drunet.console import job
from drunet.files import write_json
from studies.common.images.external import list_external
from studies.common.images.folder import read_list, write_list
from studies.common.images.job_settings import NearDuplicates

with job(snakemake.log[0]):
    output, params = snakemake.output, snakemake.params
    images, facts = list_external(
        read_list(snakemake.input.images),
        params.root,
        params.external,
        params.classes,
        NearDuplicates.of(params.near_duplicates, "near_duplicates"),
        max_unreadable=params.max_unreadable,
        seed=params.seed,
        threads=snakemake.threads,
    )
    write_list(output.images, images)
    write_json(output.facts, facts)
