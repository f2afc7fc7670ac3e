"""Write the digest of a slide."""

from drunet.console import job
from drunet.export.digests import slide_digest
from drunet.files import write_json

with job(snakemake.log[0]):
    write_json(snakemake.output.digest, {"sha256": slide_digest(snakemake.input.slide)})
