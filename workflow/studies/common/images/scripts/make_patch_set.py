"""Draw the embedded image set of the histology studies."""

from drunet.console import job
from studies.common.drawing.patches import write_patch_set

with job(snakemake.log[0]):
    write_patch_set(snakemake.output.folder, seed=snakemake.params.seed, **snakemake.params.settings)
