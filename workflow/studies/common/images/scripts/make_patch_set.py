"""Draw the embedded image set of the histology studies."""

from drunet.console import job
from studies.common.drawing.patches import write_patch_set

with job(snakemake.log[0]):
    settings = snakemake.params.settings
    write_patch_set(
        snakemake.output.folder,
        sources=settings["sources"],
        variants=settings["variants"],
        size=settings["size"],
        seed=snakemake.params.seed,
    )
